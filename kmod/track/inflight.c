// SPDX-License-Identifier: GPL-2.0-only
/*
 * Marking, and the writes in flight (rules T1, T2).
 *
 * A write is in flight from before its first mark until after its second. It marks the
 * live map when it is admitted and again when it has completed, so a seal in between
 * finds it in both deltas; and the seal itself marks all that are in flight in the new
 * map, so that this does not depend on when they complete.
 *
 * The live map is used under RCU. With the gate closed and a grace period over, nobody
 * is between looking at the gate and marking: the maps can be exchanged.
 */
#include "disk/disk.h"

#include <linux/delay.h>

static void mark(struct vhdx_tracker *t, const struct vhdx_io *io)
{
	struct vhdx_changemap *live = rcu_dereference(t->live);

	if (live)
		vhdx_changemap_mark(live, io->disk_offset, io->length);
}

static void enter(struct vhdx_tracker *t, struct vhdx_io *io)
{
	struct vhdx_inflight_shard *shard;
	unsigned long flags;

	io->shard = raw_smp_processor_id() % VHDX_INFLIGHT_SHARDS;
	shard = &t->shards[io->shard];
	spin_lock_irqsave(&shard->lock, flags);
	list_add(&io->inflight_link, &shard->writes);
	spin_unlock_irqrestore(&shard->lock, flags);
}

/* What the gate was like; if it was closed, the write is parked. */
static unsigned int stop_at_gate(struct vhdx_tracker *t, struct vhdx_io *io)
{
	unsigned int gate;
	unsigned long flags;

	spin_lock_irqsave(&t->gate_lock, flags);
	gate = t->gate;
	if (gate == VHDX_GATE_CLOSED)
		list_add_tail(&io->link, &t->parked);
	spin_unlock_irqrestore(&t->gate_lock, flags);
	return gate;
}

/**
 * vhdx_inflight_admit() - a write comes in: first mark
 * @tracker:	of its disk
 * @io:		the write
 *
 * Never waits. Returns false if it was parked: opening the gate goes on with it; or if it
 * has ended, because it would have been, or because the gate is shut.
 */
bool vhdx_inflight_admit(struct vhdx_tracker *tracker, struct vhdx_io *io)
{
	unsigned int gate = 0;

	if (unlikely(READ_ONCE(tracker->gate)) && io->orig->bi_opf & REQ_NOWAIT) {
		vhdx_io_end(io, BLK_STS_AGAIN);
		return false;
	}
	rcu_read_lock();
	if (unlikely(READ_ONCE(tracker->gate)))
		gate = stop_at_gate(tracker, io);
	if (!gate) {
		enter(tracker, io);
		mark(tracker, io);
	}
	rcu_read_unlock();
	if (unlikely(gate & VHDX_GATE_SHUT))
		vhdx_io_end(io, BLK_STS_IOERR);
	return !gate;
}

/**
 * vhdx_inflight_leave() - a write has completed or failed: second mark
 * @tracker:	of its disk
 * @io:		any piece; one that was never admitted is ignored
 *
 * Any context.
 */
void vhdx_inflight_leave(struct vhdx_tracker *tracker, struct vhdx_io *io)
{
	struct vhdx_inflight_shard *shard;
	unsigned long flags;

	if (list_empty(&io->inflight_link))
		return;
	rcu_read_lock();
	mark(tracker, io);
	shard = &tracker->shards[io->shard];
	spin_lock_irqsave(&shard->lock, flags);
	list_del_init(&io->inflight_link);
	spin_unlock_irqrestore(&shard->lock, flags);
	rcu_read_unlock();
}

/**
 * vhdx_inflight_close_gate() - from now on writes are parked
 * @tracker:	the tracker; tracker->lock is held for writing
 *
 * Those that saw it open may still be marking: synchronize_rcu() waits for them.
 */
void vhdx_inflight_close_gate(struct vhdx_tracker *tracker)
{
	unsigned long flags;

	spin_lock_irqsave(&tracker->gate_lock, flags);
	WRITE_ONCE(tracker->gate, tracker->gate | VHDX_GATE_CLOSED);
	spin_unlock_irqrestore(&tracker->gate_lock, flags);
}

/**
 * vhdx_inflight_open_gate() - let the parked writes go on, in order
 * @tracker:	the tracker
 */
void vhdx_inflight_open_gate(struct vhdx_tracker *tracker)
{
	struct vhdx_io *io, *next;
	unsigned long flags;
	LIST_HEAD(parked);

	spin_lock_irqsave(&tracker->gate_lock, flags);
	WRITE_ONCE(tracker->gate, tracker->gate & ~VHDX_GATE_CLOSED);
	list_splice_init(&tracker->parked, &parked);
	spin_unlock_irqrestore(&tracker->gate_lock, flags);

	list_for_each_entry_safe(io, next, &parked, link) {
		list_del_init(&io->link);
		rcu_read_lock();
		enter(tracker, io);
		mark(tracker, io);
		rcu_read_unlock();
		vhdx_io_map(io);
	}
}

static bool is_idle(struct vhdx_tracker *t)
{
	bool idle = true;
	int i;

	for (i = 0; i < VHDX_INFLIGHT_SHARDS && idle; i++) {
		spin_lock_irq(&t->shards[i].lock);
		idle = list_empty(&t->shards[i].writes);
		spin_unlock_irq(&t->shards[i].lock);
	}
	return idle;
}

/**
 * vhdx_inflight_shut() - writes that come from now on fail; those under way end as they do
 * @tracker:	the caller holds no lock
 * @deadline:	in jiffies
 *
 * Sleeps. Returns false if some were still under way at the deadline.
 */
bool vhdx_inflight_shut(struct vhdx_tracker *tracker, unsigned long deadline)
{
	spin_lock_irq(&tracker->gate_lock);
	WRITE_ONCE(tracker->gate, tracker->gate | VHDX_GATE_SHUT);
	spin_unlock_irq(&tracker->gate_lock);
	/* What was parked has been let in. */
	down_write(&tracker->lock);
	up_write(&tracker->lock);
	/* Who saw an open gate is on a list. */
	synchronize_rcu();
	while (!is_idle(tracker)) {
		if (time_after(jiffies, deadline))
			return false;
		usleep_range(500, 1000);
	}
	return true;
}

/**
 * vhdx_inflight_swap() - exchange the live map; the writes in flight go into the new one
 * @tracker:	gate closed, and a grace period since; tracker->lock is held for writing
 * @new:	empty map, or NULL to stop marking
 *
 * The old map may be marked by completions until another grace period has passed.
 */
void vhdx_inflight_swap(struct vhdx_tracker *tracker, struct vhdx_changemap *new)
{
	struct vhdx_io *io;
	int i;

	rcu_assign_pointer(tracker->live, new);
	if (!new)
		return;
	for (i = 0; i < VHDX_INFLIGHT_SHARDS; i++) {
		struct vhdx_inflight_shard *shard = &tracker->shards[i];

		spin_lock_irq(&shard->lock);
		list_for_each_entry(io, &shard->writes, inflight_link)
			vhdx_changemap_mark(new, io->disk_offset, io->length);
		spin_unlock_irq(&shard->lock);
	}
}

/**
 * vhdx_inflight_replace() - the whole window, for one disk: nothing marks the old map after it
 * @tracker:	tracker->lock is held for writing
 * @new:	as for vhdx_inflight_swap()
 *
 * Sleeps.
 */
void vhdx_inflight_replace(struct vhdx_tracker *tracker, struct vhdx_changemap *new)
{
	vhdx_inflight_close_gate(tracker);
	synchronize_rcu();
	vhdx_inflight_swap(tracker, new);
	vhdx_inflight_open_gate(tracker);
	synchronize_rcu();
}
