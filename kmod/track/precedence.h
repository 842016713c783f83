/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tasks that get their turn at the lock of a tracker, since others give way to them before they
 * wait for it, but for a bounded time. There are two kinds.
 *
 * A seal of several disks needs tracker->tree of each disk at the same time, and holds none
 * while it waits for another one (invariant 9). Where each lock is always held by some task, by one
 * forget after another, the seal would never find all of them free. So it claims precedence at
 * each of its trackers: a task that wants the lock of one tracker only gives way to it, until the
 * seal has all of its locks. The seal may wait for a disk whose sidecar hangs.
 *
 * A question begins to read again where points changed meanwhile: where one is sealed after the
 * other, on a sidecar that is read more slowly than written, it would never come to an end. So it
 * claims precedence once it is overdue, and tasks that seal, or change points, give way.
 */
#ifndef VHDX_PRECEDENCE_H
#define VHDX_PRECEDENCE_H

#include <linux/atomic.h>
#include <linux/jiffies.h>
#include <linux/typecheck.h>

/**
 * struct vhdx_precedence - of tasks of one kind, at one tracker
 * @claims:	how many of them wait for the lock of this tracker
 * @end:	until when other tasks give way to these, in jiffies
 */
struct vhdx_precedence {
	atomic_t claims;
	unsigned long end;
};

void vhdx_precedence_claim(struct vhdx_precedence *precedence);
void vhdx_precedence_renew(struct vhdx_precedence *precedence);
void vhdx_precedence_drop(struct vhdx_precedence *precedence);
int vhdx_precedence_give_way(const struct vhdx_precedence *precedence);

/* Is there a task to give way to? Any context. */
static inline bool vhdx_precedence_is_claimed(const struct vhdx_precedence *precedence)
{
	return atomic_read(&precedence->claims) &&
	       time_before(jiffies, READ_ONCE(precedence->end));
}

#endif
