// SPDX-License-Identifier: GPL-2.0-only
#include "errand.h"
#include "disk/cdev.h"
#include "store/scope.h"

/* Detach waits for the worker as for any task that uses the disk: so that comes last. */
static void errand_work(struct work_struct *work)
{
	struct vhdx_errand *errand = container_of(work, struct vhdx_errand, work);
	struct vhdx_cdev *cdev = errand->cdev;
	unsigned int flags = vhdx_scope_enter();

	errand->run(errand);
	vhdx_scope_leave(flags);
	complete(&errand->done);
	vhdx_errand_put(errand);
	vhdx_cdev_drop(cdev);
}

/**
 * vhdx_errand_init() - of the task that calls it
 * @errand:	zeroed, and part of what was allocated for it; vhdx_errand_put() it
 * @cdev:	of the disk
 * @run:	see struct vhdx_errand
 * @free:	the same
 */
void vhdx_errand_init(struct vhdx_errand *errand, struct vhdx_cdev *cdev,
		      void (*run)(struct vhdx_errand *errand),
		      void (*free)(struct vhdx_errand *errand))
{
	errand->run = run;
	errand->free = free;
	errand->cdev = cdev;
	refcount_set(&errand->refs, 1);
	INIT_WORK(&errand->work, errand_work);
	init_completion(&errand->done);
}

/**
 * vhdx_errand_run() - have a worker answer the next part
 * @errand:	vhdx_errand_init(); its cdev is entered by the caller
 * @queue:	of the disk; nothing that the worker waits for is in it
 *
 * Returns 0: it has run; or -EINTR: the caller was killed, it may run still, and nothing that it is
 * part of is to be looked at any more. Sleeps.
 */
int vhdx_errand_run(struct vhdx_errand *errand, struct workqueue_struct *queue)
{
	reinit_completion(&errand->done);
	refcount_inc(&errand->refs);
	vhdx_cdev_hold(errand->cdev);
	queue_work(queue, &errand->work);
	if (!wait_for_completion_killable(&errand->done))
		return 0;
	WRITE_ONCE(errand->killed, true);
	return -EINTR;
}

/**
 * vhdx_errand_put() - done with it
 * @errand:	gone, unless the worker, or the task that asks, uses it still
 */
void vhdx_errand_put(struct vhdx_errand *errand)
{
	if (refcount_dec_and_test(&errand->refs))
		errand->free(errand);
}
