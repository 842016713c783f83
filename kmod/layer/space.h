/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where new payload blocks go. Nothing is handed out before one scan has seen the whole
 * BAT (rule V6); reads and writes in place never wait for it.
 *
 * Room is made by a worker, in large steps ahead of what is asked for: to change a file's
 * size, or what is allocated in it, waits for all I/O on the file, and a write that memory
 * reclaim waits for should find its place ready (rule K3). It reads as zeroes: a file grows by
 * nothing else; of a device that takes zeroes without having them written, the next blocks are
 * cleared. So what a first write takes does not depend on the size of its block, and it takes a
 * place without any wait.
 */
#ifndef VHDX_ALLOCATOR_H
#define VHDX_ALLOCATOR_H

#include "core/vhdx/space.h"
#include "freed.h"

#include <linux/mutex.h>
#include <linux/workqueue.h>

/* More than these, and it is the container that is bad, which then need not grow for it. */
#define VHDX_BAD_PLACES	32

enum vhdx_scan_state {
	VHDX_SCAN_PENDING,
	VHDX_SCAN_OK,
	VHDX_SCAN_FAILED,
};

/**
 * struct vhdx_allocator - space of one container
 * @lock:	everything below; held while the scan runs, not while the container grows
 * @state_lock:	@scan and @why, for those that only look
 * @prepare:	makes room
 * @error:	why it could make none, the last time
 * @log_reserved: the log has all its space in the container
 * @end:	where the next block goes
 * @step:	how far @prepare makes room ahead
 * @late:	how many pieces of a device, in succession, took @prepare long to clear
 * @ready:	blocks may go up to here: a file is that long, a device is cleared so far, if it can
 *		be. Only @prepare moves it on
 * @zero:	from here to @ready it reads as zeroes (rule V2)
 * @found:	how long the container was made by other programs, behind its last block: never
 *		trimmed below this; 0: there was nothing
 * @spare:	blocks that were given back; not zero any more
 * @spare_count: how many
 * @spare_capacity: room in @spare
 * @bad:	some that could not be written, longest ago first: for when there is no other
 * @bad_count:	how many
 * @freed:	space of blocks that were unmapped
 * @lost_count:	how many of another length than blocks have could not be written
 */
struct vhdx_allocator {
	struct mutex lock;
	spinlock_t state_lock;
	enum vhdx_scan_state scan;
	char why[VHDX_DIAG_TEXT];
	struct work_struct prepare;
	int error;
	bool log_reserved;
	u64 end;
	u64 step;
	unsigned int late;
	u64 ready;
	u64 zero;
	u64 found;
	u64 *spare;
	unsigned int spare_count;
	unsigned int spare_capacity;
	u64 bad[VHDX_BAD_PLACES];
	unsigned int bad_count;
	struct vhdx_freed_space freed;
	unsigned int lost_count;
};

struct vhdx_open_layer;

void vhdx_allocator_init(struct vhdx_allocator *allocator);
void vhdx_allocator_stop(struct vhdx_allocator *allocator);
void vhdx_allocator_destroy(struct vhdx_allocator *allocator);
void vhdx_allocator_refuse(struct vhdx_allocator *allocator, const char *why);
int vhdx_allocator_ready(struct vhdx_open_layer *layer);
int vhdx_allocator_take(struct vhdx_open_layer *layer, u32 length, u64 *offset, bool *zeroed);
bool vhdx_allocator_take_now(struct vhdx_open_layer *layer, u32 length, bool zero, u64 *offset,
			     bool *zeroed);
void vhdx_allocator_give_back(struct vhdx_open_layer *layer, u64 offset, u32 length, int err);
void vhdx_allocator_trim(struct vhdx_open_layer *layer);

#endif
