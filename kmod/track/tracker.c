// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a tracker, of its live map, and of the sidecars that it uses one after the other.
 */
#include "message.h"
#include "tracker_private.h"

#include <linux/slab.h>

/**
 * vhdx_new_live_map() - an empty map of the disk, in the sidecar's unit
 * @sidecar:	loaded
 *
 * NULL without memory.
 */
struct vhdx_changemap *vhdx_new_live_map(const struct vhdx_sidecar *sidecar)
{
	struct vhdx_changemap *map = kzalloc(sizeof(*map), GFP_KERNEL);

	if (map && vhdx_changemap_init(map, sidecar->disk_size, sidecar->unit_shift)) {
		kfree(map);
		map = NULL;
	}
	return map;
}

/**
 * vhdx_free_live_map() - free a map that no task marks or reads any more
 * @map:	or NULL
 */
void vhdx_free_live_map(struct vhdx_changemap *map)
{
	if (!map)
		return;
	vhdx_changemap_release(map);
	kfree(map);
}

/**
 * vhdx_tracker_init() - no sidecar yet
 * @tracker:	zeroed
 * @disk:	number of the disk, for messages, and for claims of its sidecar
 * @changed:	called when points, gaps or the state are not what they were, with tracker->tree
 *		held
 */
int vhdx_tracker_init(struct vhdx_tracker *tracker, int disk,
		      void (*changed)(struct vhdx_tracker *tracker))
{
	tracker->disk = disk;
	tracker->changed = changed;
	mutex_init(&tracker->tree);
	spin_lock_init(&tracker->face.lock);
	tracker->state = VHDX_TRACKING_OFF;
	vhdx_tracker_show(tracker, VHDX_REASON_NONE);
	vhdx_tracker_init_cover(tracker);
	vhdx_tracker_init_failure(tracker);
	vhdx_checkpoint_init(&tracker->checkpoint);
	vhdx_tracker_init_walk(tracker);
	return vhdx_inflight_init(&tracker->inflight);
}

/**
 * vhdx_tracker_give_up() - a sidecar is not used any more, whatever becomes of its errand
 * @tracker:	tracker->tree is held, or no other task knows the tracker; no question finds @open
 * @open:	was opened for it
 *
 * It is closed some time later: vhdx_tracker_wait_for_former().
 */
void vhdx_tracker_give_up(struct vhdx_tracker *tracker, struct vhdx_open_sidecar *open)
{
	WRITE_ONCE(open->given_up, true);
	vhdx_claim_leave(&open->file.claim);
	if (tracker->former)
		vhdx_open_sidecar_put_memory(tracker->former);
	kref_get(&open->refs);
	tracker->former = open;
	vhdx_open_sidecar_put(open);
}

/**
 * vhdx_tracker_wait_for_former() - the last sidecar that was given up is closed
 * @tracker:	tracker->tree is held, or no other task knows the tracker
 *
 * Its file has no claim and no lock of ours then. Sleeps, as long as a sidecar is waited for; for a
 * moment where its deadline has passed: its device may work again by now. Returns 0, or -EBUSY: it
 * is not.
 */
int vhdx_tracker_wait_for_former(struct vhdx_tracker *tracker)
{
	unsigned long timeout = vhdx_sidecar_timeout();
	unsigned long left = 1;

	if (tracker->former)
		left = wait_for_completion_timeout(&tracker->former->closed,
						   tracker->former->abandoned ? HZ / 5 : timeout);
	return left ? 0 : -EBUSY;
}

/**
 * vhdx_tracker_use() - from here on there are questions about it
 * @tracker:	tracker->tree is held, and tracking is off
 * @open:	loaded or formatted; the tracker's from now on
 * @state:	VHDX_TRACKING_*, not OFF; the caller says vhdx_tracker_changed()
 */
void vhdx_tracker_use(struct vhdx_tracker *tracker, struct vhdx_open_sidecar *open, u32 state)
{
	char *former_path;

	vhdx_open_sidecar_arm(open);
	WRITE_ONCE(tracker->condemned, false);
	WRITE_ONCE(tracker->state, state);
	tracker->off_reason = VHDX_REASON_NONE;
	spin_lock(&tracker->face.lock);
	tracker->open = open;
	former_path = tracker->face.former_path;
	tracker->face.former_path = NULL;
	tracker->face.former_removed = false;
	spin_unlock(&tracker->face.lock);
	kfree(former_path);
}

/**
 * vhdx_tracker_stop_marking() - there is no live map any more
 * @tracker:	tracker->tree is held
 *
 * Sleeps, for a grace period. Where an errand hangs it may still look at the map, and keeps it.
 */
void vhdx_tracker_stop_marking(struct vhdx_tracker *tracker)
{
	struct vhdx_changemap *live = vhdx_tracker_live(tracker);
	struct vhdx_open_sidecar *open = tracker->open;

	if (!live)
		return;
	if (open)
		vhdx_open_sidecar_begin_change(open);
	vhdx_inflight_swap(&tracker->inflight, NULL);
	if (open)
		vhdx_open_sidecar_end_change(open);
	synchronize_rcu();
	if (open && open->abandoned)
		open->orphan = live;
	else
		vhdx_free_live_map(live);
	vhdx_tracker_uncover(tracker);
}

/**
 * vhdx_tracker_stop() - from here on it does nothing by itself; harmless where there is nothing
 * @tracker:	no other task uses it
 *
 * Its timers, its checkpoints and the committer of the coarse map use queues of the disk, and write
 * the container where the sidecar fails: they end before those go, however the session ended.
 * Sleeps, as long as a sidecar is waited for.
 */
void vhdx_tracker_stop(struct vhdx_tracker *tracker)
{
	cancel_delayed_work_sync(&tracker->walk_work);
	mutex_lock(&tracker->tree);
	vhdx_tracker_uncover(tracker);
	mutex_unlock(&tracker->tree);
	/* Without a coarse map the committer plans none, and neither does one that is under way. */
	vhdx_checkpoint_stop(&tracker->checkpoint);
	cancel_work_sync(&tracker->off_work);
	cancel_work_sync(&tracker->withdraw_work);
}

/**
 * vhdx_tracker_destroy() - free everything; harmless where there is nothing
 * @tracker:	no other task uses it
 *
 * The sidecar is closed then (rule K5), but one that hangs is not waited for.
 */
void vhdx_tracker_destroy(struct vhdx_tracker *tracker)
{
	if (!tracker->inflight.slots)
		return;
	vhdx_tracker_stop(tracker);
	vhdx_free_live_map(rcu_dereference_protected(tracker->inflight.live, true));
	RCU_INIT_POINTER(tracker->inflight.live, NULL);
	if (tracker->open)
		vhdx_tracker_give_up(tracker, tracker->open);
	if (vhdx_tracker_wait_for_former(tracker))
		vhdx_say_warn(tracker->disk, "the sidecar does not end a write: it is left open");
	if (tracker->former)
		vhdx_open_sidecar_put_memory(tracker->former);
	kfree(tracker->face.former_path);
	vhdx_past_destroy(&tracker->past);
	vhdx_inflight_destroy(&tracker->inflight);
}
