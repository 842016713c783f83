// SPDX-License-Identifier: GPL-2.0-only
/*
 * A sidecar that failed, and what becomes of its disk: writes go on without it, once the container
 * says so, or they fail (rule T7).
 */
#include "layer/layer.h"
#include "message.h"
#include "store/scope.h"
#include "tracker_private.h"

#include <linux/wait_bit.h>

/**
 * vhdx_tracker_insist() - where changes can't be recorded, writes are to fail
 * @tracker:	its disk is not started, and has no sidecar yet
 */
void vhdx_tracker_insist(struct vhdx_tracker *tracker)
{
	tracker->insists = true;
	tracker->coarse_host.insists = true;
}

/**
 * vhdx_tracker_has_stopped() - do writes fail, since the sidecar did?
 * @tracker:	of the disk
 *
 * Any context.
 */
bool vhdx_tracker_has_stopped(const struct vhdx_tracker *tracker)
{
	return READ_ONCE(tracker->stopped);
}

/*
 * Writes fail from now on, and the sidecar is not written any more: what went out before is
 * recorded in it, as after a crash, and the container keeps the DataWriteGuid that it knows; its
 * header keeps its number as well, if a strict sidecar knows that. A write that is let go on
 * afterwards, for its regions count as armed or there is no coarse map any more, sees that the
 * disk is poisoned: it finds that out in a read side that has begun after this grace period.
 */
static void stop(struct vhdx_tracker *t, int err)
{
	bool stopped;

	spin_lock(&t->face.lock);
	stopped = t->stopped;
	WRITE_ONCE(t->stopped, true);
	spin_unlock(&t->face.lock);
	if (!stopped)
		vhdx_say_err(t->disk,
			     "the sidecar failed (error %d), and writes are to be recorded or to fail: its points are kept; mend what it lies on, detach the disk and attach it again, naming the sidecar if it lies elsewhere (--sidecar)",
			     err);
	vhdx_layer_failed(t->layer, "writing the sidecar", err);
	if (t->coarse_host.strict_layer)
		t->layer->mapping->keep(t->layer);
	synchronize_rcu();
	WRITE_ONCE(t->condemned, true);
	vhdx_tracker_show(t, VHDX_REASON_TRACKING_ERROR);
}

/* Of a file that was removed there is nothing to keep. */
static bool is_to_stop(const struct vhdx_tracker *t, const struct vhdx_sidecar *sidecar)
{
	return t->insists && !vhdx_open_sidecar_is_removed(sidecar);
}

/*
 * First the container gets a DataWriteGuid that the sidecar does not know, durably; if that fails,
 * the disk is poisoned and no write goes out. Nothing that waits goes on before (rule T7).
 */
static void condemn(struct vhdx_tracker *t, int err)
{
	vhdx_guid guid;

	if (t->layer->mapping->guid(t->layer, &guid))
		vhdx_say_err(t->disk,
			     "the sidecar failed (error %d): tracking is off, the next backup must be a full one",
			     err);
	t->layer->mapping->invalidate(t->layer);
	WRITE_ONCE(t->condemned, true);
	vhdx_tracker_show(t, VHDX_REASON_TRACKING_ERROR);
}

/**
 * vhdx_tracker_disown() - a sidecar failed, and what waits for it is about to go on
 * @t:		its tracker; t->tree need not be held
 * @sidecar:	the sidecar
 * @err:	how
 *
 * Writes fail from now on, or the container says that the sidecar is not to be believed. Sleeps.
 */
void vhdx_tracker_disown(struct vhdx_tracker *t, const struct vhdx_sidecar *sidecar, int err)
{
	if (is_to_stop(t, sidecar))
		stop(t, err);
	else
		condemn(t, err);
}

/**
 * vhdx_tracker_turn_off() - tracking ends here, and the sidecar is given up
 * @t:		t->tree is held; with a sidecar
 * @reason:	VHDX_REASON_*
 *
 * Sleeps, for grace periods.
 */
void vhdx_tracker_turn_off(struct vhdx_tracker *t, u32 reason)
{
	struct vhdx_open_sidecar *open = t->open;

	/* Before marking stops: no question may see the one without the other. */
	vhdx_open_sidecar_begin_change(open);
	WRITE_ONCE(t->state, VHDX_TRACKING_OFF);
	WRITE_ONCE(t->off_reason, reason);
	vhdx_open_sidecar_end_change(open);
	vhdx_tracker_stop_marking(t);

	vhdx_open_sidecar_begin_change(open);
	spin_lock(&t->face.lock);
	t->open = NULL;
	vhdx_tracker_remember(t, open);
	spin_unlock(&t->face.lock);
	vhdx_open_sidecar_end_change(open);
	vhdx_tracker_give_up(t, open);
	vhdx_tracker_changed(t);
}

/**
 * vhdx_tracker_invalidate() - the sidecar is no longer to be trusted (rule T7)
 * @tracker:	tracker->tree is held
 * @err:	what happened
 *
 * First the container gets a DataWriteGuid that the sidecar does not know, durably;
 * if that fails, the disk is poisoned and no write goes out. Then tracking is off.
 */
void vhdx_tracker_invalidate(struct vhdx_tracker *tracker, int err)
{
	lockdep_assert_held(&tracker->tree);
	condemn(tracker, err);
	vhdx_tracker_turn_off(tracker, VHDX_REASON_TRACKING_ERROR);
}

static void withdraw_work(struct work_struct *work)
{
	struct vhdx_tracker *t = container_of(work, struct vhdx_tracker, withdraw_work);
	unsigned int flags = vhdx_scope_enter();

	mutex_lock(&t->tree);
	if (t->state == VHDX_TRACKING_ON && !t->open->sidecar.timeline.count &&
	    vhdx_session_has_begun(&t->layer->writer.session))
		vhdx_tracker_invalidate(t, READ_ONCE(t->withdrawn));
	WRITE_ONCE(t->withdrawn, 0);
	mutex_unlock(&t->tree);
	wake_up_var(&t->withdrawn);
	vhdx_scope_leave(flags);
}

/**
 * vhdx_tracker_init_failure() - nothing has failed yet
 * @tracker:	zeroed
 */
void vhdx_tracker_init_failure(struct vhdx_tracker *tracker)
{
	INIT_WORK(&tracker->withdraw_work, withdraw_work);
}

/**
 * vhdx_tracker_withdraw() - tracking was enabled, and the first point could not be sealed
 * @tracker:	tracker->tree is not held; its disk is kept from being detached
 * @err:	why
 *
 * It is invalidated, unless there is a point after all. Who waits can be killed, also while the
 * container hangs: a work item holds tracker->tree, and writes the header. Sleeps.
 */
void vhdx_tracker_withdraw(struct vhdx_tracker *tracker, int err)
{
	WRITE_ONCE(tracker->withdrawn, err);
	queue_work(vhdx_tracker_wq, &tracker->withdraw_work);
	wait_var_event_killable(&tracker->withdrawn, !READ_ONCE(tracker->withdrawn));
}

/**
 * vhdx_tracker_sidecar_failed() - as the disk is to behave then: its writes fail, or its sidecar is
 *	invalidated
 * @tracker:	tracker->tree is held; with a sidecar
 * @err:	what happened, neither -ENOSPC nor -ENOMEM
 *
 * Sleeps.
 */
void vhdx_tracker_sidecar_failed(struct vhdx_tracker *tracker, int err)
{
	lockdep_assert_held(&tracker->tree);
	vhdx_tracker_disown(tracker, &tracker->open->sidecar, err);
	vhdx_tracker_turn_off(tracker, VHDX_REASON_TRACKING_ERROR);
}
