// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a task looks at the history of a disk while others change it: at what is in memory, in one
 * moment, and for no longer than that takes.
 */
#include "tracker.h"
#include "layer/layer.h"
#include "store/scope.h"

static struct vhdx_open_sidecar *get_open(struct vhdx_tracker *t)
{
	struct vhdx_open_sidecar *open;

	spin_lock(&t->face.lock);
	open = t->open;
	if (open)
		vhdx_open_sidecar_get(open);
	spin_unlock(&t->face.lock);
	return open;
}

/*
 * Together they have all that changed since the newest point that a question can name, besides
 * deltas behind that point in the timeline.
 *
 * A seal says which map it is about to take away before it does: whoever finds the new one live
 * finds the old one here. It stays until the moment, for which the timeline is locked, in which
 * the new point can be named, or until the old map is live again and has what was marked in the
 * new one: then it is the new one that is kept here meanwhile.
 */
static void look_at_maps(struct vhdx_tracker *t, struct vhdx_question *question)
{
	const struct rw_semaphore *lock = &question->open->timeline_lock;

	question->history.live = rcu_dereference_check(t->inflight.live, lockdep_is_held(lock));
	/* Pairs with the barrier in vhdx_tracker_begin_seal(). */
	smp_rmb();
	question->history.sealing = READ_ONCE(t->sealing);
}

static void look(struct vhdx_tracker *t, struct vhdx_question *question)
{
	struct vhdx_open_sidecar *open = question->open;

	question->history = (struct vhdx_history) {
		.disk_size = t->layer->image.geo.disk_size,
		.sector_shift = ilog2(t->layer->image.geo.logical_sector_size),
		.parents = t->past.layers,
		.parent_count = t->past.count,
		.state = VHDX_TRACKING_OFF,
		.off_reason = READ_ONCE(t->off_reason),
	};
	if (vhdx_tracker_has_stopped(t)) {
		question->history.off_error = -EIO;
		question->history.off_text = VHDX_STOPPED_TEXT;
	}
	if (!open)
		return;
	if (READ_ONCE(t->condemned)) {
		question->history.off_reason = VHDX_REASON_TRACKING_ERROR;
		return;
	}
	question->version = open->version;
	question->history.state = READ_ONCE(t->state);
	question->history.sidecar = &open->sidecar;
	look_at_maps(t, question);
}

/**
 * vhdx_tracker_begin_question() - look at what is known, to tell it
 * @tracker:	of the disk
 * @question:	filled in
 *
 * Waits for no I/O: open->timeline_lock is held from here on, until vhdx_tracker_look_away(). The
 * first write of a session waits for it, so this begins a scope (rule K3).
 */
void vhdx_tracker_begin_question(struct vhdx_tracker *tracker, struct vhdx_question *question)
{
	question->scope = vhdx_scope_enter();
	for (;;) {
		question->open = get_open(tracker);
		if (!question->open)
			break;
		down_read(&question->open->timeline_lock);
		if (tracker->open == question->open)
			break;
		up_read(&question->open->timeline_lock);
		vhdx_open_sidecar_put(question->open);
	}
	look(tracker, question);
}

/**
 * vhdx_tracker_look_away() - what was copied stays, the rest may change
 * @question:	vhdx_tracker_begin_question(), or vhdx_tracker_look_again() that returned true
 *
 * The sidecar stays open.
 */
void vhdx_tracker_look_away(struct vhdx_question *question)
{
	if (question->open)
		up_read(&question->open->timeline_lock);
}

/**
 * vhdx_tracker_look_again() - is all as it was?
 * @tracker:	of the disk
 * @question:	vhdx_tracker_look_away()
 *
 * True if neither points nor gaps have changed, and the sidecar is still believed: then
 * open->timeline_lock is held again, and the maps are those of now.
 */
bool vhdx_tracker_look_again(struct vhdx_tracker *tracker, struct vhdx_question *question)
{
	struct vhdx_open_sidecar *open = question->open;

	down_read(&open->timeline_lock);
	/* A tracker that is condemned has no maps, long before it lets the sidecar go. */
	if (tracker->open == open && open->version == question->version &&
	    !READ_ONCE(tracker->condemned)) {
		question->history.state = READ_ONCE(tracker->state);
		look_at_maps(tracker, question);
		return true;
	}
	up_read(&open->timeline_lock);
	return false;
}

/**
 * vhdx_tracker_end_question() - everything was told
 * @question:	vhdx_tracker_look_away()
 */
void vhdx_tracker_end_question(struct vhdx_question *question)
{
	if (question->open)
		vhdx_open_sidecar_put(question->open);
	vhdx_scope_leave(question->scope);
}

/**
 * vhdx_tracker_begin_seal() - an empty map becomes the live one
 * @tracker:	tracker->tree is held
 * @new:	empty
 *
 * The old one, which it returns, counts as live until vhdx_tracker_end_seal(). Waits for nobody:
 * the gates of several disks may be closed.
 */
struct vhdx_changemap *vhdx_tracker_begin_seal(struct vhdx_tracker *tracker,
					       struct vhdx_changemap *new)
{
	struct vhdx_changemap *old = vhdx_tracker_live(tracker);

	WRITE_ONCE(tracker->sealing, old);
	/* Who sees @new sees this: look_at_maps(). */
	smp_wmb();
	vhdx_inflight_swap(&tracker->inflight, new);
	return old;
}

/**
 * vhdx_tracker_undo_seal() - the old map is live again, with what was marked in the new one
 * @tracker:	tracker->tree is held
 * @old:	from vhdx_tracker_begin_seal()
 *
 * Sleeps, for a grace period. Frees the new map.
 */
void vhdx_tracker_undo_seal(struct vhdx_tracker *tracker, struct vhdx_changemap *old)
{
	struct vhdx_changemap *new = vhdx_tracker_live(tracker);
	struct vhdx_open_sidecar *open = tracker->open;

	/* Not one before the other: a question has to find both. */
	down_write(&open->timeline_lock);
	WRITE_ONCE(tracker->sealing, new);
	vhdx_inflight_swap(&tracker->inflight, old);
	up_write(&open->timeline_lock);
	synchronize_rcu();
	vhdx_inflight_sample(&tracker->inflight, old);
	vhdx_changemap_or(old, new);
	down_write(&open->timeline_lock);
	WRITE_ONCE(tracker->sealing, NULL);
	up_write(&open->timeline_lock);
	vhdx_free_live_map(new);
}

/**
 * vhdx_tracker_end_seal() - the new point can be named
 * @tracker:	tracker->tree is held; the point is durable
 *
 * Frees the old map.
 */
void vhdx_tracker_end_seal(struct vhdx_tracker *tracker)
{
	struct vhdx_open_sidecar *open = tracker->open;
	struct vhdx_changemap *old = tracker->sealing;

	vhdx_open_sidecar_begin_change(open);
	vhdx_sidecar_issue_point(&open->sidecar);
	WRITE_ONCE(tracker->sealing, NULL);
	vhdx_open_sidecar_end_change(open);
	vhdx_free_live_map(old);
}
