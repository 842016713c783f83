/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Change tracking of one disk: the live map that writes are marked in, and the sidecar that
 * keeps it all.
 */
#ifndef VHDX_TRACKER_H
#define VHDX_TRACKER_H

#include "core/rct/report.h"
#include "checkpoint.h"
#include "coarse.h"
#include "inflight.h"
#include "open_sidecar.h"
#include "past.h"
#include "precedence.h"

#include <linux/mutex.h>
#include <linux/workqueue.h>

struct vhdx_open_layer;

/* What who asks or seals is told once writes fail since the sidecar did. */
#define VHDX_STOPPED_TEXT \
	"the sidecar failed, and writes fail rather than go unrecorded (tracking_errors=fail): mend what the sidecar lies on, detach the disk and attach it again, naming the sidecar if it lies elsewhere (--sidecar); its points are kept"

/**
 * struct vhdx_tracker_face - what is shown of a tracker to tasks that must not wait at all
 * @lock:	everything here, and tracker->open; nothing is waited for under it
 * @state:	VHDX_TRACKING_*
 * @reason:	why changes since the newest point can't be told; VHDX_REASON_*
 * @former_path: of the sidecar that failed, or was of no use at attach, until there is one again;
 *		or NULL
 * @former_removed: its file had no name left
 */
struct vhdx_tracker_face {
	spinlock_t lock;
	u32 state;
	u32 reason;
	char *former_path;
	bool former_removed;
};

/**
 * struct vhdx_question - a task looks at the history
 * @scope:	of that task (rule K3)
 * @open:	the sidecar, kept open; NULL: tracking is off
 * @version:	of its timeline
 * @history:	of the disk; true while open->timeline_lock is held
 */
struct vhdx_question {
	unsigned int scope;
	struct vhdx_open_sidecar *open;
	u64 version;
	struct vhdx_history history;
};

/**
 * struct vhdx_tracker_statistics - since the sidecar was taken up
 * @coarse_commits: that writes waited for, to set regions
 * @coarse_regions: that are set
 * @checkpoints: that were written
 * @recovered_bytes: see struct vhdx_tracker
 */
struct vhdx_tracker_statistics {
	u64 coarse_commits;
	u32 coarse_regions;
	u64 checkpoints;
	u64 recovered_bytes;
};

/**
 * struct vhdx_tracker - see the file comment
 *
 * @tree is held by whoever changes the sidecar: over its errands, each of which has a deadline, and
 * over I/O on the container. Questions take open->timeline_lock for reading, and nobody does I/O
 * under that. It comes after @tree.
 *
 * @layer:	the layer whose changes it keeps; set once that is open
 * @past:	what its parents tell; set once all layers are open
 * @changed:	wakes the tasks that poll for new points and gaps
 * @disk:	number of the disk
 * @sidecar_file: until the attach ends: the file that vhdx_tracker_resume() will be given, or NULL,
 *		for who needs the sidecar before
 * @sidecar_path: likewise: what it is called by who attaches the disk
 * @tree:	serialises errands of the sidecar. @state and @off_reason
 * @precedence:	of seals of several disks, which wait for several of these locks
 * @overdue:	of questions that points kept changing under
 * @state:	VHDX_TRACKING_* of the uapi header
 * @off_reason:	why the sidecar that was there is not used; VHDX_REASON_*
 * @condemned:	the sidecar failed, and the container says so, or writes fail: tracking is about to
 *		be turned off
 * @insists:	where the sidecar fails, writes fail instead of going unrecorded
 *		(tracking_errors=fail); set before the disk is started
 * @stopped:	that has happened, and lasts until the disk is detached; set under face.lock
 * @lacking:	no session begins, for the sidecar has no room to say so: VHDX_REASON_HOST_FULL or
 *		VHDX_REASON_NO_SPACE; else VHDX_REASON_NONE. Set with @tree held
 * @generation:	changes with points, gaps and @state, after them; read without a lock
 * @unit:	in bytes, 0 without a sidecar; the same
 * @face:	follows @state, gaps and @open
 * @inflight:	the live map, exchanged with @tree held; and the writes in flight
 * @coarse:	of @open, while a disk that is written is tracked. Writes use it under RCU;
 *		exchanged with @tree held
 * @coarse_host: what its committer needs
 * @off_work:	turns tracking off after that has failed
 * @withdraw_work: does so where it was enabled, and no point could be sealed
 * @withdrawn:	why; 0: it has, or has nothing to do
 * @checkpoint:	of the live delta, in the background
 * @recovered_bytes: that were found in regions at attach, and may not have been written
 * @sealing:	what else is live, or NULL: see look_at_maps(). Set with @tree held, and
 *		taken away with open->timeline_lock held for writing as well
 * @open:	the sidecar, while @state is not OFF. Set with @tree and face.lock held, and taken
 *		away with open->timeline_lock held for writing as well
 * @former:	the last one that was given up; its memory
 * @walk_work:	finds out which blocks of the sidecar are free, while it is in use
 */
struct vhdx_tracker {
	struct vhdx_open_layer *layer;
	struct vhdx_past past;
	void (*changed)(struct vhdx_tracker *tracker);
	int disk;
	struct file *sidecar_file;
	const char *sidecar_path;
	struct mutex tree;
	struct vhdx_precedence precedence;
	struct vhdx_precedence overdue;
	u32 state;
	u32 off_reason;
	bool condemned;
	bool insists;
	bool stopped;
	u32 lacking;
	u64 generation;
	u32 unit;
	struct vhdx_tracker_face face;
	struct vhdx_inflight inflight;
	struct vhdx_coarse __rcu *coarse;
	struct vhdx_coarse_host coarse_host;
	struct work_struct off_work;
	struct work_struct withdraw_work;
	int withdrawn;
	struct vhdx_checkpoint checkpoint;
	u64 recovered_bytes;
	struct vhdx_changemap *sealing;
	struct vhdx_open_sidecar *open;
	struct vhdx_open_sidecar *former;
	struct delayed_work walk_work;
};

/* tracker.c: life */
int vhdx_tracker_init(struct vhdx_tracker *tracker, int disk,
		      void (*changed)(struct vhdx_tracker *tracker));
void vhdx_tracker_use(struct vhdx_tracker *tracker, struct vhdx_open_sidecar *open, u32 state);
void vhdx_tracker_give_up(struct vhdx_tracker *tracker, struct vhdx_open_sidecar *open);
int vhdx_tracker_wait_for_former(struct vhdx_tracker *tracker);
void vhdx_tracker_stop_marking(struct vhdx_tracker *tracker);
void vhdx_tracker_stop(struct vhdx_tracker *tracker);
void vhdx_tracker_destroy(struct vhdx_tracker *tracker);

/* resume.c */
int vhdx_tracker_resume(struct vhdx_tracker *tracker, struct vhdx_diag *gap,
			struct vhdx_diag *diag);
int vhdx_tracker_announce_replay(struct vhdx_tracker *tracker, struct vhdx_open_layer *layer,
				 u64 sequence, struct vhdx_diag *diag);

/* session.c */
int vhdx_tracker_begin(struct vhdx_tracker *tracker, struct vhdx_open_sidecar *open);
int vhdx_tracker_activate(struct vhdx_tracker *tracker, const vhdx_guid *data_write_guid);
int vhdx_tracker_not_begun(struct vhdx_tracker *tracker, int err, struct vhdx_diag *diag);
int vhdx_tracker_save(struct vhdx_tracker *tracker, vhdx_guid *data_write_guid,
		      struct vhdx_diag *gap);
void vhdx_tracker_saved(struct vhdx_tracker *tracker);
void vhdx_tracker_check_kept(struct vhdx_tracker *tracker, struct vhdx_diag *gap);
void vhdx_tracker_lose(struct vhdx_tracker *tracker);

/* cover.c */
void vhdx_tracker_be_strict(struct vhdx_tracker *tracker);
int vhdx_tracker_cover(struct vhdx_tracker *tracker, struct vhdx_open_sidecar *open);
void vhdx_tracker_uncover(struct vhdx_tracker *tracker);
bool vhdx_tracker_wait(struct vhdx_tracker *tracker, struct list_head *link, u64 offset,
		       u64 length);
void vhdx_tracker_statistics(struct vhdx_tracker *tracker,
			     struct vhdx_tracker_statistics *statistics);

/* failure.c */
void vhdx_tracker_insist(struct vhdx_tracker *tracker);
bool vhdx_tracker_has_stopped(const struct vhdx_tracker *tracker);
void vhdx_tracker_sidecar_failed(struct vhdx_tracker *tracker, int err);
void vhdx_tracker_invalidate(struct vhdx_tracker *tracker, int err);
void vhdx_tracker_withdraw(struct vhdx_tracker *tracker, int err);

/* walk.c */
void vhdx_tracker_walk(struct vhdx_tracker *tracker);

/* face.c */
void vhdx_tracker_gap(struct vhdx_tracker *tracker, u32 reason);
void vhdx_tracker_changed(struct vhdx_tracker *tracker);
u32 vhdx_tracker_shown(struct vhdx_tracker *tracker, u32 *reason);
struct file *vhdx_tracker_shown_file(struct vhdx_tracker *tracker);
int vhdx_tracker_shown_former(struct vhdx_tracker *tracker, char *text, size_t size);
int vhdx_tracker_fail(struct vhdx_tracker *tracker, int err, struct vhdx_diag *diag);

/* question.c */
void vhdx_tracker_begin_question(struct vhdx_tracker *tracker, struct vhdx_question *question);
bool vhdx_tracker_look_again(struct vhdx_tracker *tracker, struct vhdx_question *question);
void vhdx_tracker_look_away(struct vhdx_question *question);
void vhdx_tracker_end_question(struct vhdx_question *question);
struct vhdx_changemap *vhdx_tracker_begin_seal(struct vhdx_tracker *tracker,
					       struct vhdx_changemap *new);
void vhdx_tracker_undo_seal(struct vhdx_tracker *tracker, struct vhdx_changemap *old);
void vhdx_tracker_end_seal(struct vhdx_tracker *tracker);

struct vhdx_changemap *vhdx_new_live_map(const struct vhdx_sidecar *sidecar);
void vhdx_free_live_map(struct vhdx_changemap *map);

/* A worker does for the holder of tracker->tree what needs it held; he waits for the worker. */
static inline void vhdx_tracker_borrow(struct vhdx_tracker *tracker)
{
	mutex_acquire(&tracker->tree.dep_map, 0, 1, _RET_IP_);
}

static inline void vhdx_tracker_return(struct vhdx_tracker *tracker)
{
	mutex_release(&tracker->tree.dep_map, _RET_IP_);
}

/* The live map, for who holds tracker->tree. */
static inline struct vhdx_changemap *vhdx_tracker_live(struct vhdx_tracker *tracker)
{
	return rcu_dereference_protected(tracker->inflight.live, lockdep_is_held(&tracker->tree));
}

/* The same of the coarse map. */
static inline struct vhdx_coarse *vhdx_tracker_coarse(struct vhdx_tracker *tracker)
{
	return rcu_dereference_protected(tracker->coarse, lockdep_is_held(&tracker->tree));
}

/* In the RCU read side of the first mark, after that: may the write go out at once (rule T3)? */
static inline bool vhdx_tracker_covers(struct vhdx_tracker *tracker, u64 offset, u64 length)
{
	const struct vhdx_coarse *coarse = rcu_dereference(tracker->coarse);

	return !coarse || vhdx_coarse_covers(coarse, offset, length);
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
