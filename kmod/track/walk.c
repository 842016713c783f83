// SPDX-License-Identifier: GPL-2.0-only
/*
 * The walk in the background: which blocks of the sidecar are free?
 */
#include "store/scope.h"
#include "tracker_private.h"

static int walk(struct vhdx_open_sidecar *open)
{
	return vhdx_sidecar_walk(&open->sidecar, 1, NULL);
}

/*
 * One delta, and again. Who changes points gets the lock in between, for as long as the walk had
 * it. Where the sidecar can't be read the walk ends, and the file grows.
 */
static void walk_work(struct work_struct *work)
{
	struct vhdx_tracker *t = container_of(to_delayed_work(work), struct vhdx_tracker,
					      walk_work);
	unsigned int flags = vhdx_scope_enter();
	unsigned long start;
	int more = 0;

	vhdx_precedence_give_way(&t->precedence);
	mutex_lock(&t->tree);
	start = jiffies;
	/* After a shutdown the container is closed, and is not to be told anything any more. */
	if (t->state == VHDX_TRACKING_ON && !t->open->sidecar.closed)
		more = vhdx_open_sidecar_run(t->open, walk);
	if (more == -ETIMEDOUT)
		vhdx_tracker_sidecar_failed(t, more);
	mutex_unlock(&t->tree);
	vhdx_scope_leave(flags);
	if (more > 0)
		queue_delayed_work(vhdx_tracker_wq, &t->walk_work, jiffies - start + 1);
}

/**
 * vhdx_tracker_init_walk() - none is planned
 * @tracker:	of a disk
 */
void vhdx_tracker_init_walk(struct vhdx_tracker *tracker)
{
	INIT_DELAYED_WORK(&tracker->walk_work, walk_work);
}

/**
 * vhdx_tracker_walk() - find out, in the background, which blocks of the sidecar are free
 * @tracker:	whose sidecar is about to be written
 */
void vhdx_tracker_walk(struct vhdx_tracker *tracker)
{
	queue_delayed_work(vhdx_tracker_wq, &tracker->walk_work, 0);
}
