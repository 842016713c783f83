/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where new payload blocks go. Nothing is handed out before one scan has seen the whole
 * BAT (rule V6); reads and writes in place never wait for it.
 */
#ifndef VHDX_ALLOCATOR_H
#define VHDX_ALLOCATOR_H

#include "core/space.h"

#include <linux/mutex.h>

/* More than these, and it is the container that is bad, which then need not grow for it. */
#define VHDX_BAD_PLACES	32

enum vhdx_scan_state {
	VHDX_SCAN_PENDING,
	VHDX_SCAN_OK,
	VHDX_SCAN_FAILED,
};

/**
 * struct vhdx_allocator - space of one container
 * @lock:	everything; held while the scan runs
 * @state_lock:	@scan and @why, for those who only look
 * @log_reserved: the log has all its space in the container
 * @end:	where the next block goes
 * @spare:	blocks that were given back; not zero any more
 * @spare_count: how many
 * @spare_capacity: room in @spare
 * @bad:	some that could not be written, longest ago first: for when there is no other
 * @bad_count:	how many
 */
struct vhdx_allocator {
	struct mutex lock;
	spinlock_t state_lock;
	enum vhdx_scan_state scan;
	char why[VHDX_DIAG_TEXT];
	bool log_reserved;
	u64 end;
	u64 *spare;
	unsigned int spare_count;
	unsigned int spare_capacity;
	u64 bad[VHDX_BAD_PLACES];
	unsigned int bad_count;
};

struct vhdx_disk;

void vhdx_allocator_init(struct vhdx_allocator *allocator);
void vhdx_allocator_destroy(struct vhdx_allocator *allocator);
void vhdx_allocator_refuse(struct vhdx_allocator *allocator, const char *why);
int vhdx_allocator_take(struct vhdx_disk *disk, u64 *offset, bool *zeroed);
void vhdx_allocator_give_back(struct vhdx_disk *disk, u64 offset, int err);

#endif
