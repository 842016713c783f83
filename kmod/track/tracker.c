// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a tracker: found at attach, active from the first write on, saved at
 * detach; or off, with a reason.
 */
#include "tracker.h"
#include "layer/layer.h"
#include "message.h"
#include "store/scope.h"
#include "trace.h"

#include <linux/file.h>
#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uuid.h>

/* What a disk waits for a sidecar that neither works nor fails (rule T7). */
static unsigned int sidecar_timeout_ms = 10000;
module_param(sidecar_timeout_ms, uint, 0644);
MODULE_PARM_DESC(sidecar_timeout_ms,
		 "how long the first write of a disk waits for its sidecar (default 10000)");

/**
 * vhdx_tracker_timeout() - how long a sidecar is waited for, in jiffies
 */
unsigned long vhdx_tracker_timeout(void)
{
	return msecs_to_jiffies(READ_ONCE(sidecar_timeout_ms));
}

/**
 * vhdx_tracker_new_map() - an empty map of the disk, in the sidecar's unit
 * @tracker:	with a sidecar
 *
 * NULL without memory.
 */
struct vhdx_changemap *vhdx_tracker_new_map(struct vhdx_tracker *tracker)
{
	struct vhdx_changemap *map = kzalloc(sizeof(*map), GFP_KERNEL);

	if (map && vhdx_changemap_init(map, tracker->sidecar.disk_size,
				       tracker->sidecar.unit_shift)) {
		kfree(map);
		map = NULL;
	}
	return map;
}

/**
 * vhdx_tracker_free_map() - free a map that nobody marks any more
 * @map:	or NULL
 */
void vhdx_tracker_free_map(struct vhdx_changemap *map)
{
	if (!map)
		return;
	vhdx_changemap_release(map);
	kfree(map);
}

/**
 * vhdx_tracker_commit() - make what is in memory of the sidecar durable
 * @tracker:	tracker->lock is held for writing, by the caller or by whoever waits for it
 *
 * Sleeps, as long as the sidecar takes. Returns 0 or -errno, as vhdx_sidecar_commit().
 */
int vhdx_tracker_commit(struct vhdx_tracker *tracker)
{
	u64 start = ktime_get_ns();
	int err = vhdx_sidecar_commit(&tracker->sidecar);

	trace_vhdx_sidecar_commit(tracker->file.claim.disk, ktime_get_ns() - start, err);
	return err;
}

static void commit_work(struct work_struct *work)
{
	struct vhdx_tracker *t = container_of(work, struct vhdx_tracker, commit_work);
	unsigned int flags = vhdx_scope_enter();

	t->commit_error = vhdx_tracker_commit(t);
	vhdx_scope_leave(flags);
	complete(&t->commit_done);
}

/*
 * Commit, with a deadline. Beyond it the commit owns the sidecar, and the tracker has
 * none: whatever it still writes, the header will not match it.
 */
static int commit_in_time(struct vhdx_tracker *t)
{
	reinit_completion(&t->commit_done);
	queue_work(t->file.queue.workqueue, &t->commit_work);
	if (wait_for_completion_timeout(&t->commit_done, vhdx_tracker_timeout()))
		return t->commit_error;
	t->abandoned = true;
	return -ETIMEDOUT;
}

/**
 * vhdx_tracker_is_stuck() - is an abandoned commit still under way?
 * @tracker:	tracker->lock is held for writing
 *
 * If it has ended, its sidecar is closed here.
 */
bool vhdx_tracker_is_stuck(struct vhdx_tracker *tracker)
{
	lockdep_assert_held_write(&tracker->lock);
	if (!tracker->abandoned)
		return false;
	if (!completion_done(&tracker->commit_done))
		return true;
	tracker->abandoned = false;
	vhdx_tracker_close_sidecar(tracker);
	return false;
}

static void show(struct vhdx_tracker *t, u32 state, u32 reason, struct file *file)
{
	struct vhdx_tracker_face *face = &t->face;

	spin_lock(&face->lock);
	face->state = state;
	face->reason = reason;
	face->file = file;
	spin_unlock(&face->lock);
}

/**
 * vhdx_tracker_shown() - state and reason as they were when they changed last
 * @tracker:	of the disk
 * @reason:	receives why changes since the newest point can't be told, or NULL
 *
 * Waits for nothing: not for whoever is about to change them. Returns VHDX_TRACKING_*.
 */
u32 vhdx_tracker_shown(struct vhdx_tracker *tracker, u32 *reason)
{
	struct vhdx_tracker_face *face = &tracker->face;
	u32 state;

	spin_lock(&face->lock);
	state = face->state;
	if (reason)
		*reason = face->reason;
	spin_unlock(&face->lock);
	return state;
}

/**
 * vhdx_tracker_shown_file() - the sidecar's file
 * @tracker:	of the disk
 *
 * Waits for nothing. Returns NULL where there is no sidecar; fput() it.
 */
struct file *vhdx_tracker_shown_file(struct vhdx_tracker *tracker)
{
	struct vhdx_tracker_face *face = &tracker->face;
	struct file *file;

	spin_lock(&face->lock);
	file = face->file;
	if (file)
		get_file(file);
	spin_unlock(&face->lock);
	return file;
}

/*
 * As long as a commit of a sidecar that works may take, and no longer. The lock is tried for, past
 * whoever waits for it: as long as those get on, the sidecar works.
 */
static int lock_in_time(struct vhdx_tracker *t, struct vhdx_diag *diag)
{
	unsigned long end = jiffies + vhdx_tracker_timeout();
	u64 now, generation = READ_ONCE(t->generation);

	while (!down_read_trylock(&t->lock)) {
		if (fatal_signal_pending(current))
			return -EINTR;
		now = READ_ONCE(t->generation);
		if (now != generation)
			end = jiffies + vhdx_tracker_timeout();
		generation = now;
		if (time_after(jiffies, end))
			return vhdx_fail(diag, -EBUSY, VHDX_REASON_IN_USE,
				"the sidecar does not answer somebody who seals, or changes points; ask again when it does");
		schedule_timeout_killable(1);
	}
	return 0;
}

/**
 * vhdx_tracker_begin_question() - take tracker->lock for reading, to tell what is known
 * @tracker:	of the disk
 * @question:	filled in, if this returns 0
 * @diag:	what is wrong
 *
 * The first write of a session waits for this lock (rule K3). Sleeps, for a bounded time: a
 * commit that hangs is not waited for. Returns 0; -EINTR: killed; -EBUSY.
 */
int vhdx_tracker_begin_question(struct vhdx_tracker *tracker, struct vhdx_question *question,
				struct vhdx_diag *diag)
{
	int err;

	question->scope = vhdx_scope_enter();
	err = lock_in_time(tracker, diag);
	if (err) {
		vhdx_scope_leave(question->scope);
		return err;
	}
	question->history = (struct vhdx_history) {
		.disk_size = tracker->layer->image.geo.disk_size,
		.state = tracker->state,
		.off_reason = tracker->off_reason,
		.sidecar = &tracker->sidecar,
		.live = vhdx_tracker_live(tracker),
	};
	return 0;
}

/**
 * vhdx_tracker_end_question() - everything was told
 * @tracker:	of the disk
 * @question:	from vhdx_tracker_begin_question()
 */
void vhdx_tracker_end_question(struct vhdx_tracker *tracker, struct vhdx_question *question)
{
	up_read(&tracker->lock);
	vhdx_scope_leave(question->scope);
}

/**
 * vhdx_tracker_changed() - points, gaps or the state are not what they were
 * @tracker:	tracker->lock is held for writing
 *
 * Wakes who polls for it.
 */
void vhdx_tracker_changed(struct vhdx_tracker *tracker)
{
	const struct vhdx_sidecar *sidecar = &tracker->sidecar;
	bool off = tracker->state == VHDX_TRACKING_OFF;
	u32 reason = off ? tracker->off_reason : sidecar->timeline.live.gap_reason;

	lockdep_assert_held_write(&tracker->lock);
	WRITE_ONCE(tracker->generation, tracker->generation + 1);
	WRITE_ONCE(tracker->unit, off ? 0 : 1U << sidecar->unit_shift);
	if (reason && reason != tracker->face.reason)
		trace_vhdx_gap(tracker->file.claim.disk, reason);
	show(tracker, tracker->state, reason, off ? NULL : tracker->file.file);
	tracker->changed(tracker);
}

/**
 * vhdx_tracker_fail() - why something could not be done with the points
 * @tracker:	tracker->lock is held, where @err may be of the sidecar: -ENOSPC, -EOPNOTSUPP
 * @err:	what it failed with
 * @diag:	gets reason and text
 *
 * Returns @err.
 */
int vhdx_tracker_fail(struct vhdx_tracker *tracker, int err, struct vhdx_diag *diag)
{
	const struct vhdx_sidecar *sidecar = &tracker->sidecar;

	switch (err) {
	case -ENOSPC:
		if (vhdx_sidecar_is_out_of_points(sidecar) || sidecar->block_limit != ~0ULL)
			return vhdx_fail_plainly(diag, err, VHDX_REASON_NO_SPACE);
		return vhdx_fail_plainly(diag, err, VHDX_REASON_HOST_FULL);
	case -EROFS:
		/* It was attached for writing, and what it lives on was made read-only. */
		if (!tracker->layer->container.read_only)
			return vhdx_fail_plainly(diag, err, VHDX_REASON_IO);
		return vhdx_fail_plainly(diag, err, VHDX_REASON_READ_ONLY);
	case -EOPNOTSUPP:
		return vhdx_fail_plainly(diag, err, tracker->off_reason ?: VHDX_REASON_DISABLED);
	case -EUCLEAN:
		return vhdx_fail_plainly(diag, err, VHDX_REASON_INCONSISTENT);
	case -ESTALE:
		return vhdx_fail(diag, err, VHDX_REASON_TRACKING_ERROR,
			"the sidecar was removed, and tracking is off; `vhdxctl track enable` begins a new one");
	case -ENOMEM:
		return vhdx_no_memory(diag);
	case -EINTR:
		return err;
	default:
		return vhdx_fail_plainly(diag, err, VHDX_REASON_IO);
	}
}

/**
 * vhdx_tracker_init() - no sidecar yet
 * @tracker:	zeroed
 * @layer:	whose changes it keeps
 * @changed:	called when points, gaps or the state are not what they were, with tracker->lock
 *		held for writing
 */
int vhdx_tracker_init(struct vhdx_tracker *tracker, struct vhdx_open_layer *layer,
		      void (*changed)(struct vhdx_tracker *tracker))
{
	tracker->layer = layer;
	tracker->changed = changed;
	tracker->file.claim.disk = layer->container.claim.disk;
	tracker->generation = 1;
	init_rwsem(&tracker->lock);
	spin_lock_init(&tracker->face.lock);
	INIT_WORK(&tracker->commit_work, commit_work);
	init_completion(&tracker->commit_done);
	return vhdx_inflight_init(&tracker->inflight);
}

/**
 * vhdx_tracker_close_sidecar() - let go of it
 * @tracker:	tracker->lock is held for writing, or nobody else knows the tracker
 */
void vhdx_tracker_close_sidecar(struct vhdx_tracker *tracker)
{
	vhdx_sidecar_release(&tracker->sidecar);
	memset(&tracker->sidecar, 0, sizeof(tracker->sidecar));
	show(tracker, VHDX_TRACKING_OFF, tracker->face.reason, NULL);
	vhdx_container_close(&tracker->file);
}

static void turn_off(struct vhdx_tracker *t, u32 reason)
{
	struct vhdx_changemap *live = vhdx_tracker_live(t);

	if (live) {
		vhdx_inflight_replace(&t->inflight, NULL);
		vhdx_tracker_free_map(live);
	}
	if (!t->abandoned)
		vhdx_tracker_close_sidecar(t);
	t->state = VHDX_TRACKING_OFF;
	t->off_reason = reason;
	vhdx_tracker_changed(t);
}

/* The saved live delta becomes the live map. What can't be read is a gap. */
static int load_live(struct vhdx_tracker *t)
{
	struct vhdx_timeline *timeline = &t->sidecar.timeline;
	struct vhdx_changemap *map = vhdx_tracker_new_map(t);
	int err = 0;

	if (!map)
		return -ENOMEM;
	if (!timeline->live.gap_reason)
		err = vhdx_sidecar_load_map(&t->sidecar, &timeline->live, map);
	if (err == -ENOMEM) {
		vhdx_tracker_free_map(map);
		return err;
	}
	if (err)
		vhdx_timeline_gap(timeline, VHDX_REASON_INCONSISTENT);
	vhdx_inflight_swap(&t->inflight, map);
	return 0;
}

/**
 * vhdx_tracker_resume() - go on with the sidecar that came with the disk
 * @tracker:	without one
 * @sidecar_fd:	open descriptor
 * @gap:	on success: why it is not used, or begins with a gap
 * @diag:	on failure: what is wrong
 *
 * A sidecar that is no good never keeps the disk from being attached: tracking is off
 * then, with a reason. Returns 0, or -errno if the descriptor is unusable, the sidecar
 * in use, or memory short.
 */
int vhdx_tracker_resume(struct vhdx_tracker *tracker, int sidecar_fd, struct vhdx_diag *gap,
			struct vhdx_diag *diag)
{
	const struct vhdx_image *image = &tracker->layer->image;
	bool read_only = tracker->layer->container.read_only;
	struct vhdx_sidecar *sidecar = &tracker->sidecar;
	int err;

	err = vhdx_container_open(&tracker->file, sidecar_fd, read_only, "sidecar", diag);
	if (err)
		return err;
	down_write(&tracker->lock);
	err = vhdx_sidecar_load(sidecar, &tracker->file.store, tracker->file.ops->can_grow,
				read_only, gap);
	if (!err)
		err = vhdx_sidecar_bind(sidecar, &image->geo.disk_id,
					image->geo.disk_size,
					&image->header.data_write_guid, gap);
	if (!err && sidecar->state != VHDX_SIDECAR_DISABLED)
		err = load_live(tracker);
	if (err == -ENOMEM) {
		vhdx_tracker_close_sidecar(tracker);
		vhdx_no_memory(diag);
	} else if (err) {
		turn_off(tracker, gap->reason ?: VHDX_REASON_INCONSISTENT);
		err = 0;
	} else if (sidecar->state == VHDX_SIDECAR_DISABLED) {
		tracker->state = VHDX_TRACKING_DISABLED;
		vhdx_tracker_changed(tracker);
	} else {
		tracker->state = VHDX_TRACKING_ON;
		vhdx_tracker_changed(tracker);
	}
	up_write(&tracker->lock);
	return err;
}

/**
 * vhdx_tracker_activate() - the first write of a session is about to go out (rule T5)
 * @tracker:		of its disk
 * @data_write_guid:	what the header will get next; replaced if the sidecar failed
 *
 * A sidecar that can't say in time that it is in use must not be believed later: it is
 * given up, and the header gets a GUID that it has never heard of (rule T7).
 */
void vhdx_tracker_activate(struct vhdx_tracker *tracker, vhdx_guid *data_write_guid)
{
	struct vhdx_sidecar *sidecar = &tracker->sidecar;
	int err;

	down_write(&tracker->lock);
	if (tracker->state == VHDX_TRACKING_ON) {
		sidecar->state = VHDX_SIDECAR_ACTIVATING;
		vhdx_layer_data_write_guid(tracker->layer, &sidecar->current_guid);
		sidecar->next_guid = *data_write_guid;
		err = commit_in_time(tracker);
		if (err) {
			vhdx_say_err(tracker->file.claim.disk,
				     "the sidecar can't be written (error %d): tracking is off",
				     err);
			turn_off(tracker, VHDX_REASON_TRACKING_ERROR);
			generate_random_guid(data_write_guid->b);
		}
	}
	up_write(&tracker->lock);
}

/**
 * vhdx_tracker_save() - before the clean close: the live delta, durably
 * @tracker:		no write is under way
 * @data_write_guid:	what the header will get; replaced if the sidecar failed
 * @gap:		that it failed; or NULL
 */
void vhdx_tracker_save(struct vhdx_tracker *tracker, vhdx_guid *data_write_guid,
		       struct vhdx_diag *gap)
{
	struct vhdx_sidecar *sidecar = &tracker->sidecar;
	int err;

	down_write(&tracker->lock);
	if (tracker->state == VHDX_TRACKING_ON) {
		err = vhdx_sidecar_save_live(sidecar, vhdx_tracker_live(tracker));
		if (!err) {
			sidecar->state = VHDX_SIDECAR_CLEAN;
			vhdx_layer_data_write_guid(tracker->layer, &sidecar->current_guid);
			sidecar->next_guid = *data_write_guid;
			err = vhdx_tracker_commit(tracker);
		}
		if (err) {
			vhdx_say_err(tracker->file.claim.disk,
				     "the changes can't be saved in the sidecar (error %d): the next backup must be a full one",
				     err);
			vhdx_fail(gap, err, VHDX_REASON_TRACKING_ERROR,
				  "detached, but what changed since the newest point could not be saved (error %d): make a full backup; the sidecar was %pD",
				  err, tracker->file.file);
			turn_off(tracker, VHDX_REASON_TRACKING_ERROR);
			generate_random_guid(data_write_guid->b);
		}
	}
	up_write(&tracker->lock);
}

/**
 * vhdx_tracker_saved() - the header has the GUID that vhdx_tracker_save() announced
 * @tracker:	the tracker
 *
 * Confirming it makes a copy of the container that was taken during the session a
 * stranger. Failing to is harmless: the next attach finds the announced GUID.
 */
void vhdx_tracker_saved(struct vhdx_tracker *tracker)
{
	struct vhdx_sidecar *sidecar = &tracker->sidecar;

	down_write(&tracker->lock);
	if (tracker->state == VHDX_TRACKING_ON) {
		sidecar->current_guid = sidecar->next_guid;
		memset(&sidecar->next_guid, 0, sizeof(sidecar->next_guid));
		if (vhdx_tracker_commit(tracker))
			vhdx_say_warn(tracker->file.claim.disk,
				      "the close could not be confirmed in the sidecar");
	}
	up_write(&tracker->lock);
}

/**
 * vhdx_tracker_check_kept() - will the next attach find the sidecar?
 * @tracker:	of a disk that is closed, cleanly
 * @gap:	that it won't, where nothing else is wrong; or NULL
 */
void vhdx_tracker_check_kept(struct vhdx_tracker *tracker, struct vhdx_diag *gap)
{
	down_read(&tracker->lock);
	if (tracker->state != VHDX_TRACKING_OFF && vhdx_container_is_unlinked(&tracker->file)) {
		vhdx_say_err(tracker->file.claim.disk,
			     "the sidecar was removed: the points are gone, the next backup must be a full one");
		vhdx_fail(gap, -ESTALE, VHDX_REASON_TRACKING_ERROR,
			  "detached, but the sidecar had been removed, and its points are gone with what changed since: make a full backup; it was %pD",
			  tracker->file.file);
	}
	up_read(&tracker->lock);
}

/**
 * vhdx_tracker_invalidate() - the sidecar is no longer to be trusted (rule T7)
 * @tracker:	tracker->lock is held for writing
 * @err:	what happened
 *
 * First the container gets a DataWriteGuid that the sidecar does not know, durably;
 * if that fails, the disk is poisoned and no write goes out. Then tracking is off.
 */
void vhdx_tracker_invalidate(struct vhdx_tracker *tracker, int err)
{
	lockdep_assert_held_write(&tracker->lock);
	vhdx_say_err(tracker->file.claim.disk,
		     "the sidecar failed (error %d): tracking is off, the next backup must be a full one",
		     err);
	vhdx_layer_renew_data_write_guid(tracker->layer);
	turn_off(tracker, VHDX_REASON_TRACKING_ERROR);
}

/**
 * vhdx_tracker_lose() - the container is not what the points tell of any more
 * @tracker:	of a disk whose container is lost (loss.h)
 *
 * The container can't be given a GUID that the sidecar does not know: it is never written
 * again. So the sidecar has to say it, in a state that keeps it: whatever the next attach
 * finds in the header, the live delta has a gap. Sleeps, for a bounded time.
 */
void vhdx_tracker_lose(struct vhdx_tracker *tracker)
{
	struct vhdx_sidecar *sidecar = &tracker->sidecar;
	struct vhdx_timeline *timeline = &sidecar->timeline;
	int err = 0;

	down_write(&tracker->lock);
	if (tracker->state == VHDX_TRACKING_ON) {
		if (!tracker->layer->container.read_only) {
			vhdx_sidecar_drop_delta(sidecar, &timeline->live);
			sidecar->state = VHDX_SIDECAR_CLEAN;
			vhdx_layer_data_write_guid(tracker->layer, &sidecar->current_guid);
			memset(&sidecar->next_guid, 0, sizeof(sidecar->next_guid));
		}
		vhdx_timeline_gap(timeline, VHDX_REASON_CHANGED_OFFLINE);
		if (!tracker->layer->container.read_only)
			err = commit_in_time(tracker);
		if (err) {
			vhdx_say_err(tracker->file.claim.disk,
				     "the sidecar can't be told that the container is lost (error %d): the next backup must be a full one",
				     err);
			turn_off(tracker, VHDX_REASON_CHANGED_OFFLINE);
		}
		/* Only now it is durable, or as durable as it gets. */
		vhdx_tracker_changed(tracker);
	}
	up_write(&tracker->lock);
}

/**
 * vhdx_tracker_destroy() - free everything; harmless where there is nothing
 * @tracker:	nobody uses it
 */
void vhdx_tracker_destroy(struct vhdx_tracker *tracker)
{
	if (!tracker->inflight.slots)
		return;
	if (tracker->abandoned)
		wait_for_completion(&tracker->commit_done);
	vhdx_tracker_free_map(rcu_dereference_protected(tracker->inflight.live, true));
	RCU_INIT_POINTER(tracker->inflight.live, NULL);
	vhdx_sidecar_release(&tracker->sidecar);
	vhdx_container_close_now(&tracker->file);
	vhdx_inflight_destroy(&tracker->inflight);
}
