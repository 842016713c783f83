/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Change tracking of one disk: the live map that writes are marked in, and the sidecar that
 * keeps it all.
 */
#ifndef VHDX_TRACKER_H
#define VHDX_TRACKER_H

#include "store/container.h"
#include "core/rct/report.h"
#include "inflight.h"

#include <linux/completion.h>
#include <linux/rwsem.h>
#include <linux/workqueue.h>

struct vhdx_open_layer;

/**
 * struct vhdx_tracker_face - what is shown of a tracker to those who must not wait for its lock
 * @lock:	everything here; nothing is waited for under it
 * @state:	VHDX_TRACKING_*
 * @reason:	why changes since the newest point can't be told; VHDX_REASON_*
 * @file:	the sidecar's, while @state is not OFF; tracker->file keeps it
 */
struct vhdx_tracker_face {
	spinlock_t lock;
	u32 state;
	u32 reason;
	struct file *file;
};

/**
 * struct vhdx_question - somebody tells what is known, with tracker->lock held for reading
 * @scope:	of the task (rule K3)
 * @history:	what can be told, for as long as the lock is held
 */
struct vhdx_question {
	unsigned int scope;
	struct vhdx_history history;
};

/**
 * struct vhdx_tracker - see the file comment
 * @layer:	whose changes it keeps
 * @changed:	tells those who poll for it
 * @lock:	the sidecar, its timeline, @state and @off_reason; held for reading by
 *		queries, for writing by all that changes points
 * @state:	VHDX_TRACKING_* of the uapi header
 * @off_reason:	why the sidecar that was there is not used; VHDX_REASON_*
 * @generation:	changes with points, gaps and @state; written under @lock, read without
 * @unit:	in bytes, 0 without a sidecar; the same
 * @face:	follows @state, gaps and @file
 * @inflight:	the live map, exchanged with @lock held for writing; and the writes in flight
 * @file:	where the sidecar is kept; open while @state is not OFF, or @abandoned
 * @sidecar:	the sidecar; loaded while @state is not OFF, or @abandoned
 * @commit_work: a commit of the sidecar that somebody waits for, but not for ever
 * @commit_done: it has ended
 * @commit_error: how
 * @abandoned:	nobody waits for it any more: it owns @file and @sidecar until it ends
 */
struct vhdx_tracker {
	struct vhdx_open_layer *layer;
	void (*changed)(struct vhdx_tracker *tracker);
	struct rw_semaphore lock;
	u32 state;
	u32 off_reason;
	u64 generation;
	u32 unit;
	struct vhdx_tracker_face face;
	struct vhdx_inflight inflight;
	struct vhdx_container file;
	struct vhdx_sidecar sidecar;
	struct work_struct commit_work;
	struct completion commit_done;
	int commit_error;
	bool abandoned;
};

/* tracker.c: life */
int vhdx_tracker_init(struct vhdx_tracker *tracker, struct vhdx_open_layer *layer,
		      void (*changed)(struct vhdx_tracker *tracker));
int vhdx_tracker_resume(struct vhdx_tracker *tracker, int sidecar_fd, struct vhdx_diag *gap,
			struct vhdx_diag *diag);
int vhdx_tracker_commit(struct vhdx_tracker *tracker);
void vhdx_tracker_activate(struct vhdx_tracker *tracker, vhdx_guid *data_write_guid);
void vhdx_tracker_save(struct vhdx_tracker *tracker, vhdx_guid *data_write_guid,
		       struct vhdx_diag *gap);
void vhdx_tracker_saved(struct vhdx_tracker *tracker);
void vhdx_tracker_check_kept(struct vhdx_tracker *tracker, struct vhdx_diag *gap);
void vhdx_tracker_invalidate(struct vhdx_tracker *tracker, int err);
void vhdx_tracker_lose(struct vhdx_tracker *tracker);
unsigned long vhdx_tracker_timeout(void);
void vhdx_tracker_close_sidecar(struct vhdx_tracker *tracker);
bool vhdx_tracker_is_stuck(struct vhdx_tracker *tracker);
void vhdx_tracker_changed(struct vhdx_tracker *tracker);
u32 vhdx_tracker_shown(struct vhdx_tracker *tracker, u32 *reason);
struct file *vhdx_tracker_shown_file(struct vhdx_tracker *tracker);
int vhdx_tracker_begin_question(struct vhdx_tracker *tracker, struct vhdx_question *question,
				struct vhdx_diag *diag);
void vhdx_tracker_end_question(struct vhdx_tracker *tracker, struct vhdx_question *question);
int vhdx_tracker_fail(struct vhdx_tracker *tracker, int err, struct vhdx_diag *diag);
void vhdx_tracker_destroy(struct vhdx_tracker *tracker);

struct vhdx_changemap *vhdx_tracker_new_map(struct vhdx_tracker *tracker);
void vhdx_tracker_free_map(struct vhdx_changemap *map);

/* The live map, for holders of tracker->lock. */
static inline struct vhdx_changemap *vhdx_tracker_live(struct vhdx_tracker *tracker)
{
	return rcu_dereference_protected(tracker->inflight.live, lockdep_is_held(&tracker->lock));
}

static inline u64 vhdx_tracker_generation(const struct vhdx_tracker *tracker)
{
	return READ_ONCE(tracker->generation);
}

static inline u32 vhdx_tracker_unit(const struct vhdx_tracker *tracker)
{
	return READ_ONCE(tracker->unit);
}

#endif
