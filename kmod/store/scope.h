/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tasks that carry on the writes of others (rule K3): while memory is reclaimed through a disk,
 * a task that carries on its writes must not wait for that reclaim.
 *
 * No allocation starts I/O, and balance_dirty_pages() does not hold the writer up for
 * the pages that it is there to clean. Scopes begin where a task comes in: the worker's
 * function, the ioctl, attach and detach. Everything below takes it for granted.
 */
#ifndef VHDX_SCOPE_H
#define VHDX_SCOPE_H

#include <linux/sched.h>

#define VHDX_SCOPE_FLAGS	(PF_LOCAL_THROTTLE | PF_MEMALLOC_NOIO)

/* What vhdx_scope_leave() wants back. */
static inline unsigned int vhdx_scope_enter(void)
{
	unsigned int flags = current->flags;

	current->flags |= VHDX_SCOPE_FLAGS;
	return flags;
}

static inline void vhdx_scope_leave(unsigned int flags)
{
	current_restore_flags(flags, VHDX_SCOPE_FLAGS);
}

/*
 * Of what the kernel keeps below the low mark half is for tasks of real time, for bios and for
 * what must not fail as well; PF_MEMALLOC gives neither. A worker has that for as long as it
 * carries a write that memory waits for.
 */
static inline int vhdx_scope_begin_urgent(void)
{
	int nice = task_nice(current);

	sched_set_fifo_low(current);
	return nice;
}

/* @nice: from vhdx_scope_begin_urgent(); a queue's rescuer has another one than its workers */
static inline void vhdx_scope_end_urgent(int nice)
{
	sched_set_normal(current, nice);
}

/* A task that holds a lock that I/O waits for is in such a scope. */
static inline void vhdx_scope_assert(void)
{
	WARN_ON_ONCE((current->flags & VHDX_SCOPE_FLAGS) != VHDX_SCOPE_FLAGS);
}

#endif
