// SPDX-License-Identifier: GPL-2.0-only
#include "inflight.h"

/* How many slots are tried: slots are given up about in the order in which they were taken. */
#define TRIES		8

static void tell_range(u64 range, vhdx_inflight_fn *fn, void *context)
{
	u64 length = range & GENMASK_ULL(VHDX_INFLIGHT_LENGTH_BITS - 1, 0);

	if (range)
		fn(context, range >> VHDX_INFLIGHT_LENGTH_BITS << SECTOR_SHIFT,
		   length << SECTOR_SHIFT);
}

/**
 * vhdx_inflight_init() - nothing is in flight, and no map is live
 * @inflight:	zeroed
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_inflight_init(struct vhdx_inflight *inflight)
{
	struct vhdx_inflight_slots *slots;
	int cpu;

	inflight->slots = alloc_percpu(struct vhdx_inflight_slots);
	if (!inflight->slots)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		slots = per_cpu_ptr(inflight->slots, cpu);
		spin_lock_init(&slots->lock);
		INIT_LIST_HEAD(&slots->overflow);
	}
	return 0;
}

/**
 * vhdx_inflight_destroy() - free its memory; harmless where there is none
 * @inflight:	nothing is in flight. The live map is the caller's
 */
void vhdx_inflight_destroy(struct vhdx_inflight *inflight)
{
	free_percpu(inflight->slots);
	inflight->slots = NULL;
}

static bool take_slot(struct vhdx_inflight_slots *slots, struct vhdx_write *write, u64 range)
{
	unsigned int i = READ_ONCE(slots->next);
	unsigned int tries;

	for (tries = 0; tries < TRIES; tries++) {
		if (!atomic64_read(&slots->range[i]) &&
		    vhdx_inflight_try(slots, i, write, range))
			return true;
		i = vhdx_inflight_after(i);
	}
	return false;
}

static void add_to_list(struct vhdx_inflight_slots *slots, struct vhdx_write *write, u64 range)
{
	unsigned long flags;

	atomic64_set(&write->own, range);
	write->slot = &write->own;
	write->marked_in = VHDX_INFLIGHT_LISTED;
	write->admitted_on = slots;
	spin_lock_irqsave(&slots->lock, flags);
	list_add(&write->link, &slots->overflow);
	spin_unlock_irqrestore(&slots->lock, flags);
}

static void remove_from_list(struct vhdx_write *write)
{
	struct vhdx_inflight_slots *slots = write->admitted_on;
	unsigned long flags;

	spin_lock_irqsave(&slots->lock, flags);
	list_del(&write->link);
	spin_unlock_irqrestore(&slots->lock, flags);
}

/**
 * vhdx_inflight_search() - a slot for a write, though the first one is taken
 * @slots:	of a CPU
 * @write:	gets it
 * @range:	where it writes
 *
 * For vhdx_inflight_admit().
 */
void vhdx_inflight_search(struct vhdx_inflight_slots *slots, struct vhdx_write *write, u64 range)
{
	if (!take_slot(slots, write, range))
		add_to_list(slots, write, range);
}

/* Called within an RCU read side. */
static void mark_live(void *inflight, u64 offset, u64 length)
{
	vhdx_inflight_mark(inflight, offset, length);
}

/**
 * vhdx_inflight_forget() - second mark, and it is in flight no more. See vhdx_inflight_leave()
 * @inflight:	of its disk
 * @write:	in flight
 */
void vhdx_inflight_forget(struct vhdx_inflight *inflight, struct vhdx_write *write)
{
	rcu_read_lock();
	tell_range(atomic64_read(write->slot), mark_live, inflight);
	if (likely(write->slot != &write->own))
		atomic64_set_release(write->slot, 0);
	else
		remove_from_list(write);
	write->slot = NULL;
	rcu_read_unlock();
}

/**
 * vhdx_inflight_swap() - exchange the live map
 * @inflight:	of the disk; one swap at a time
 * @new:	empty map, or NULL to stop marking
 *
 * The old map may be marked until a grace period has passed.
 */
void vhdx_inflight_swap(struct vhdx_inflight *inflight, struct vhdx_changemap *new)
{
	rcu_assign_pointer(inflight->live, new);
	if (new)
		inflight->maps++;
	/* Who sees the number sees the map, or a later one: in admit and leave. */
	smp_store_release(&inflight->number, new ? inflight->maps : 0);
}

static void each_of_cpu(struct vhdx_inflight_slots *slots, vhdx_inflight_fn *fn, void *context)
{
	struct vhdx_write *write;
	int i;

	for (i = 0; i < VHDX_INFLIGHT_SLOTS; i++)
		tell_range(atomic64_read(&slots->range[i]), fn, context);
	spin_lock_irq(&slots->lock);
	list_for_each_entry(write, &slots->overflow, link)
		tell_range(atomic64_read(&write->own), fn, context);
	spin_unlock_irq(&slots->lock);
}

/**
 * vhdx_inflight_each() - what is being written
 * @inflight:	of the disk
 * @fn:		called for each write that is in flight, where it writes; must not sleep
 * @context:	of @fn
 *
 * A write that comes in meanwhile may be missed: it makes its first mark after that.
 */
void vhdx_inflight_each(struct vhdx_inflight *inflight, vhdx_inflight_fn *fn, void *context)
{
	int cpu;

	for_each_possible_cpu(cpu)
		each_of_cpu(per_cpu_ptr(inflight->slots, cpu), fn, context);
}

static void mark_range(void *new, u64 offset, u64 length)
{
	vhdx_changemap_mark(new, offset, length);
}

/**
 * vhdx_inflight_sample() - the writes in flight go into the new map
 * @inflight:	of the disk
 * @new:	went live before
 *
 * No first mark may be under way that went into the old map: since the swap a grace period has
 * passed, or else before it, with the gate closed. A slot may change hands meanwhile: it was given
 * up by a write that has made its second mark, and is taken by one that makes its first mark in
 * the new map.
 */
void vhdx_inflight_sample(struct vhdx_inflight *inflight, struct vhdx_changemap *new)
{
	vhdx_inflight_each(inflight, mark_range, new);
}

/**
 * vhdx_inflight_replace() - the whole exchange, for one disk: nothing marks the old map after it
 * @inflight:	of the disk; one exchange at a time
 * @new:	as for vhdx_inflight_swap()
 *
 * Sleeps, for a grace period.
 */
void vhdx_inflight_replace(struct vhdx_inflight *inflight, struct vhdx_changemap *new)
{
	vhdx_inflight_swap(inflight, new);
	synchronize_rcu();
	if (new)
		vhdx_inflight_sample(inflight, new);
}
