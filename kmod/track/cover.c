// SPDX-License-Identifier: GPL-2.0-only
/*
 * The coarse map of a tracker: no write goes out before its regions are set.
 */
#include "layer/layer.h"
#include "store/scope.h"
#include "tracker_private.h"

/**
 * vhdx_tracker_be_strict() - a sidecar that went back in time is to be found (rule T6)
 * @tracker:	its disk is not started, and has no sidecar yet
 */
void vhdx_tracker_be_strict(struct vhdx_tracker *tracker)
{
	tracker->coarse_host.strict_layer = tracker->layer;
}

/**
 * vhdx_tracker_cover() - from now on no write goes out before its regions are set
 * @tracker:	tracker->tree is held
 * @open:	loaded or formatted
 *
 * Before the live map goes live. Returns as vhdx_open_sidecar_cover().
 */
int vhdx_tracker_cover(struct vhdx_tracker *tracker, struct vhdx_open_sidecar *open)
{
	int err;

	lockdep_assert_held(&tracker->tree);
	err = vhdx_open_sidecar_cover(open, &tracker->coarse_host);
	if (!err)
		rcu_assign_pointer(tracker->coarse, open->coarse);
	return err;
}

/**
 * vhdx_tracker_uncover() - writes need not be told any more; those that wait go on
 * @tracker:	tracker->tree is held
 *
 * Sleeps, for a grace period. A commit that hangs keeps the coarse map, and the sidecar.
 */
void vhdx_tracker_uncover(struct vhdx_tracker *tracker)
{
	struct vhdx_coarse *coarse = vhdx_tracker_coarse(tracker);

	if (!coarse)
		return;
	RCU_INIT_POINTER(tracker->coarse, NULL);
	synchronize_rcu();
	vhdx_coarse_leave(coarse);
}

/**
 * vhdx_tracker_wait() - a write goes on when its regions are set
 * @tracker:	of its disk
 * @link:	of the write, which is outside of the gate
 * @offset:	on the disk
 * @length:	in bytes; zero: it need not wait
 *
 * Any context. Returns false if it goes on at once.
 */
bool vhdx_tracker_wait(struct vhdx_tracker *tracker, struct list_head *link, u64 offset, u64 length)
{
	struct vhdx_coarse *coarse;
	bool waits;

	rcu_read_lock();
	coarse = rcu_dereference(tracker->coarse);
	waits = coarse && vhdx_coarse_wait(coarse, link, offset, length);
	rcu_read_unlock();
	return waits;
}

/* It may be long until tracker->tree can be had: tracking is turned off then. */
static void coarse_failed(struct vhdx_coarse_host *host, struct vhdx_coarse *coarse, int err)
{
	struct vhdx_tracker *t = container_of(host, struct vhdx_tracker, coarse_host);

	vhdx_tracker_disown(t, coarse->sidecar, err);
	queue_work(vhdx_tracker_wq, &t->off_work);
}

static void coarse_committed(struct vhdx_coarse_host *host, struct vhdx_coarse *coarse)
{
	vhdx_checkpoint_plan(container_of(host, struct vhdx_tracker, coarse_host), coarse);
}

static void off_work(struct work_struct *work)
{
	struct vhdx_tracker *t = container_of(work, struct vhdx_tracker, off_work);
	unsigned int flags = vhdx_scope_enter();
	struct vhdx_coarse *coarse;

	mutex_lock(&t->tree);
	coarse = vhdx_tracker_coarse(t);
	if (t->state == VHDX_TRACKING_ON && coarse && coarse->failed)
		vhdx_tracker_turn_off(t, VHDX_REASON_TRACKING_ERROR);
	mutex_unlock(&t->tree);
	vhdx_scope_leave(flags);
}

/**
 * vhdx_tracker_init_cover() - what a committer needs of the tracker
 * @tracker:	with the number of its disk
 */
void vhdx_tracker_init_cover(struct vhdx_tracker *tracker)
{
	INIT_WORK(&tracker->off_work, off_work);
	tracker->coarse_host.disk = tracker->disk;
	tracker->coarse_host.committed = coarse_committed;
	tracker->coarse_host.failed = coarse_failed;
}

/**
 * vhdx_tracker_statistics() - what the coarse map and checkpoints have done
 * @tracker:	of the disk
 * @statistics:	filled in
 *
 * Waits for nothing.
 */
void vhdx_tracker_statistics(struct vhdx_tracker *tracker,
			     struct vhdx_tracker_statistics *statistics)
{
	struct vhdx_coarse *coarse;

	rcu_read_lock();
	coarse = rcu_dereference(tracker->coarse);
	*statistics = (struct vhdx_tracker_statistics) {
		.coarse_commits = coarse ? READ_ONCE(coarse->commits) : 0,
		.coarse_regions = coarse ? READ_ONCE(coarse->regions.set) : 0,
		.checkpoints = READ_ONCE(tracker->checkpoint.count),
		.recovered_bytes = READ_ONCE(tracker->recovered_bytes),
	};
	rcu_read_unlock();
}
