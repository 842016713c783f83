// SPDX-License-Identifier: GPL-2.0-only
#include "precedence.h"

#include <linux/sched.h>
#include <linux/sched/signal.h>

/* How long a claim holds, and how long a task gives way, to however many claims. */
#define PATIENCE	HZ

/**
 * vhdx_precedence_claim() - a task is about to wait for the lock of this tracker
 * @precedence:	of the tracker; vhdx_precedence_drop() it
 *
 * Any context.
 */
void vhdx_precedence_claim(struct vhdx_precedence *precedence)
{
	vhdx_precedence_renew(precedence);
	atomic_inc(&precedence->claims);
}

/**
 * vhdx_precedence_renew() - the task gets on: its claim holds for as long again
 * @precedence:	claimed
 *
 * Any context.
 */
void vhdx_precedence_renew(struct vhdx_precedence *precedence)
{
	WRITE_ONCE(precedence->end, jiffies + PATIENCE);
}

/**
 * vhdx_precedence_drop() - the task has what it waited for, or gives up
 * @precedence:	claimed
 *
 * Any context.
 */
void vhdx_precedence_drop(struct vhdx_precedence *precedence)
{
	atomic_dec(&precedence->claims);
}

/**
 * vhdx_precedence_give_way() - before a task of another kind waits for the lock of this tracker
 * @precedence:	of the tracker, whose lock the caller does not hold
 *
 * Sleeps while a claim holds, but for a second at most. Returns 0, or -EINTR: killed.
 */
int vhdx_precedence_give_way(const struct vhdx_precedence *precedence)
{
	unsigned long end = jiffies + PATIENCE;

	while (vhdx_precedence_is_claimed(precedence) && time_before(jiffies, end)) {
		if (fatal_signal_pending(current))
			return -EINTR;
		schedule_timeout_killable(1);
	}
	return 0;
}
