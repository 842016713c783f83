/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A part of a question, answered by a worker for a task that can be killed meanwhile.
 *
 * A worker, since it may wait for a container or a sidecar that hangs, and is not killed while it
 * reads, which would cut an answer short; and since it may take locks of pages that I/O waits for,
 * in a scope (rule K3). Who asks waits for it, and no longer than he lives (invariant 9): all that
 * the worker uses is kept by the errand, and the errand by whoever is done with it last.
 */
#ifndef VHDX_ERRAND_H
#define VHDX_ERRAND_H

#include <linux/completion.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>

struct vhdx_cdev;

/**
 * struct vhdx_errand - see the file comment; one part after the other
 * @run:	answers the next part, in a scope; what it finds is in what the errand is part of
 * @free:	gives back the memory that the errand is part of
 * @refs:	of the task that asks, and of the worker
 * @killed:	nobody waits for it any more
 * @cdev:	held by the worker, and so the disk is
 * @work:	in a queue of the disk
 * @done:	@run has ended
 */
struct vhdx_errand {
	void (*run)(struct vhdx_errand *errand);
	void (*free)(struct vhdx_errand *errand);
	refcount_t refs;
	bool killed;
	struct vhdx_cdev *cdev;
	struct work_struct work;
	struct completion done;
};

void vhdx_errand_init(struct vhdx_errand *errand, struct vhdx_cdev *cdev,
		      void (*run)(struct vhdx_errand *errand),
		      void (*free)(struct vhdx_errand *errand));
int vhdx_errand_run(struct vhdx_errand *errand, struct workqueue_struct *queue);
void vhdx_errand_put(struct vhdx_errand *errand);

/* Is there no need to go on? By the worker, or by the task that asks. */
static inline bool vhdx_errand_is_killed(const struct vhdx_errand *errand)
{
	return READ_ONCE(errand->killed) || fatal_signal_pending(current);
}

#endif
