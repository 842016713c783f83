/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A sidecar that is open, and the errands that are run on it.
 *
 * Whatever writes it, or reads it for the sake of a change, is an errand in a worker, and a task
 * waits for that up to a deadline (rule T7). An errand that hangs beyond it keeps the sidecar: its
 * file, the claim on that, all buffers, and the module. Whoever gave it up writes nothing more to
 * it, and neither does the errand, if it ever goes on: what it was writing then is the last thing.
 *
 * Questions don't wait for errands. Points, gaps and deltas change in memory only while
 * timeline_lock is held for writing, and nobody does I/O or waits for it meanwhile. A block that
 * was found while it was held for reading keeps what is in it until the read side of @readers that
 * was entered before is left, also if another task forgets the point.
 */
#ifndef VHDX_OPEN_SIDECAR_H
#define VHDX_OPEN_SIDECAR_H

#include "coarse.h"
#include "sidecar_cache.h"
#include "core/rct/sidecar.h"
#include "core/vhdx/image.h"
#include "store/container.h"

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/kref.h>
#include <linux/refcount.h>
#include <linux/rwsem.h>
#include <linux/srcu.h>
#include <linux/workqueue.h>

struct vhdx_open_sidecar;

/*
 * What an errand does; its parameters and results are in open->errand. 0 or -errno; after -ENOSPC
 * it is called once more, if there may be readers.
 */
typedef int (*vhdx_sidecar_errand_fn)(struct vhdx_open_sidecar *open);

/**
 * struct vhdx_sidecar_errand - one at a time; what it needs outlives the task that waits for it
 * @run:	what it does
 * @map:	a map that it reads or marks; @open->orphan once nobody waits for it any more
 * @point:	a point that it adds
 * @position:	of a point that it removes
 * @format:	it writes the sidecar anew, in units of @unit bytes; 0: the default
 * @disk_id:	of the container
 * @disk_size:	the same
 * @locator:	of its parent
 * @guid:	the container's DataWriteGuid
 * @next_guid:	the one that the container is about to get, or zero
 * @diag:	what is wrong, of those that say
 * @err:	what it ended with
 * @work:	runs it
 * @done:	it has ended
 */
struct vhdx_sidecar_errand {
	vhdx_sidecar_errand_fn run;
	struct vhdx_changemap *map;
	struct vhdx_timeline_point point;
	u32 position;
	bool format;
	u32 unit;
	vhdx_guid disk_id;
	u64 disk_size;
	struct vhdx_locator locator;
	vhdx_guid guid;
	vhdx_guid next_guid;
	struct vhdx_diag diag;
	int err;
	struct work_struct work;
	struct completion done;
};

/**
 * struct vhdx_open_sidecar - see the file comment
 * @refs:	of the memory
 * @users:	of the file: the tracker, and an errand while it runs; the last one closes it
 * @file:	where the sidecar is kept
 * @path:	what that was called when it was opened; NULL: too long, or handed on
 * @store:	the same for @sidecar; it takes no more writes once this is @given_up
 * @sidecar:	loaded or formatted, or all zero. An errand's, but for its timeline
 * @timeline_lock: sidecar.timeline. An errand holds it for writing, and so may the task that runs
 *		errands, while none is under way
 * @version:	changes with sidecar.timeline, under @timeline_lock. Not zero, and no other sidecar
 *		has the same one, before or after
 * @readers:	of blocks, see the file comment
 * @cache:	of its blocks
 * @coarse:	its coarse map, or NULL: it can only be read
 * @wq:		where errands run: of this sidecar alone, since they may hang
 * @coarse_wq:	where the coarse map's committer works: no write waits for an errand
 * @errand:	under way, or the last one
 * @worker:	the task that runs it
 * @steps:	transfers and flushes of errands that have ended
 * @given_up:	the tracker has another sidecar, or none
 * @abandoned:	an errand was under way then, beyond its deadline
 * @orphan:	a map that this errand may still look at
 * @close_work: closes the file
 * @closed:	that has happened
 */
struct vhdx_open_sidecar {
	struct kref refs;
	refcount_t users;
	struct vhdx_container file;
	char *path;
	struct vhdx_store store;
	struct vhdx_sidecar sidecar;
	struct rw_semaphore timeline_lock;
	u64 version;
	struct srcu_struct readers;
	struct vhdx_sidecar_cache cache;
	struct vhdx_coarse *coarse;
	struct workqueue_struct *wq;
	struct workqueue_struct *coarse_wq;
	struct vhdx_sidecar_errand errand;
	struct task_struct *worker;
	atomic_long_t steps;
	bool given_up;
	bool abandoned;
	struct vhdx_changemap *orphan;
	struct work_struct close_work;
	struct completion closed;
};

/* Out of room, or of memory: nothing was written, and all is as it was. */
static inline bool vhdx_sidecar_is_unharmed(int err)
{
	return err == -ENOSPC || err == -ENOMEM;
}

extern struct workqueue_struct *vhdx_tracker_wq;

int vhdx_open_sidecar_init(void);
void vhdx_open_sidecar_exit(void);

struct vhdx_open_sidecar *vhdx_open_sidecar_new(int disk, struct file *file, const char *path,
						bool read_only, struct vhdx_diag *diag);
int vhdx_open_sidecar_run(struct vhdx_open_sidecar *open, vhdx_sidecar_errand_fn run);
int vhdx_open_sidecar_commit_now(struct vhdx_open_sidecar *open);
int vhdx_open_sidecar_commit(struct vhdx_open_sidecar *open);
bool vhdx_open_sidecar_is_removed(const struct vhdx_sidecar *sidecar);
unsigned long vhdx_sidecar_timeout(void);
struct vhdx_open_sidecar *vhdx_open_sidecar_get(struct vhdx_open_sidecar *open);
int vhdx_open_sidecar_cover(struct vhdx_open_sidecar *open, struct vhdx_coarse_host *host);
void vhdx_open_sidecar_arm(struct vhdx_open_sidecar *open);
void vhdx_open_sidecar_begin_change(struct vhdx_open_sidecar *open);
void vhdx_open_sidecar_end_change(struct vhdx_open_sidecar *open);
void vhdx_open_sidecar_put(struct vhdx_open_sidecar *open);
void vhdx_open_sidecar_put_memory(struct vhdx_open_sidecar *open);

#endif
