/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who writes for others (rule K3): while memory is reclaimed through a disk, whoever
 * carries its writes on must not wait for that reclaim.
 *
 * No allocation starts I/O, and balance_dirty_pages() does not hold the writer up for
 * the pages that it is there to clean. Scopes begin where a task comes in: the worker's
 * function, the ioctl, attach and detach. Everything below takes it for granted.
 */
#ifndef VHDX_WRITER_H
#define VHDX_WRITER_H

#include <linux/sched.h>

#define VHDX_WRITER_FLAGS	(PF_LOCAL_THROTTLE | PF_MEMALLOC_NOIO)

/* What vhdx_writer_leave() wants back. */
static inline unsigned int vhdx_writer_enter(void)
{
	unsigned int flags = current->flags;

	current->flags |= VHDX_WRITER_FLAGS;
	return flags;
}

static inline void vhdx_writer_leave(unsigned int flags)
{
	current_restore_flags(flags, VHDX_WRITER_FLAGS);
}

/*
 * Of what the kernel keeps below the low mark half is for tasks of real time, for bios and for
 * what must not fail as well; PF_MEMALLOC gives neither. A worker has that for as long as it
 * carries a write that memory waits for.
 */
static inline int vhdx_writer_begin_urgent(void)
{
	int nice = task_nice(current);

	sched_set_fifo_low(current);
	return nice;
}

/* @nice: from vhdx_writer_begin_urgent(); a queue's rescuer has another one than its workers */
static inline void vhdx_writer_end_urgent(int nice)
{
	sched_set_normal(current, nice);
}

/* Whoever holds a lock that I/O waits for is in such a scope. */
static inline void vhdx_writer_assert(void)
{
	WARN_ON_ONCE((current->flags & VHDX_WRITER_FLAGS) != VHDX_WRITER_FLAGS);
}

#endif
