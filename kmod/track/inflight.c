// SPDX-License-Identifier: GPL-2.0-only
#include "inflight.h"

#include <linux/blk_types.h>

/* How many slots are tried: those that are in use are so in the order that they were taken. */
#define TRIES		8

/* A range in a word, in sectors: 2^40 of them are more than a disk has, 2^24 more than a bio. */
#define LENGTH_BITS	24

static u64 range_of(u64 offset, u32 length)
{
	return offset >> SECTOR_SHIFT << LENGTH_BITS | length >> SECTOR_SHIFT;
}

static void mark_range(struct vhdx_changemap *map, u64 range)
{
	u64 length = range & GENMASK_ULL(LENGTH_BITS - 1, 0);

	vhdx_changemap_mark(map, range >> LENGTH_BITS << SECTOR_SHIFT, length << SECTOR_SHIFT);
}

/**
 * vhdx_inflight_init() - nothing is in flight, and no map is live
 * @inflight:	zeroed
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_inflight_init(struct vhdx_inflight *inflight)
{
	spin_lock_init(&inflight->lock);
	INIT_LIST_HEAD(&inflight->overflow);
	inflight->slots = alloc_percpu(struct vhdx_inflight_slots);
	return inflight->slots ? 0 : -ENOMEM;
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

/* The slots of this CPU, or of one that it was until a moment ago. */
static atomic64_t *take_slot(struct vhdx_inflight *inflight, u64 range)
{
	struct vhdx_inflight_slots *slots = raw_cpu_ptr(inflight->slots);
	unsigned int i = READ_ONCE(slots->next);
	unsigned int tries;

	for (tries = 0; tries < TRIES; tries++) {
		atomic64_t *slot = &slots->range[i];

		if (++i == VHDX_INFLIGHT_SLOTS)
			i = 0;
		if (!atomic64_read(slot) && !atomic64_cmpxchg(slot, 0, range)) {
			WRITE_ONCE(slots->next, i);
			return slot;
		}
	}
	return NULL;
}

static void add_to_list(struct vhdx_inflight *inflight, struct vhdx_write *write, u64 range)
{
	unsigned long flags;

	atomic64_set(&write->own, range);
	write->slot = &write->own;
	spin_lock_irqsave(&inflight->lock, flags);
	list_add(&write->link, &inflight->overflow);
	spin_unlock_irqrestore(&inflight->lock, flags);
}

static void remove_from_list(struct vhdx_inflight *inflight, struct vhdx_write *write)
{
	unsigned long flags;

	spin_lock_irqsave(&inflight->lock, flags);
	list_del(&write->link);
	spin_unlock_irqrestore(&inflight->lock, flags);
}

/* Under RCU. */
static void mark(struct vhdx_inflight *inflight, u64 offset, u32 length)
{
	struct vhdx_changemap *live = rcu_dereference(inflight->live);

	if (live)
		vhdx_changemap_mark(live, offset, length);
}

/**
 * vhdx_inflight_note() - a write is in flight; first mark. See vhdx_inflight_admit()
 * @inflight:	of its disk
 * @write:	not in flight
 * @offset:	on the disk
 * @length:	in bytes, not zero
 */
void vhdx_inflight_note(struct vhdx_inflight *inflight, struct vhdx_write *write, u64 offset,
			u32 length)
{
	u64 range = range_of(offset, length);

	write->slot = take_slot(inflight, range);
	if (unlikely(!write->slot))
		add_to_list(inflight, write, range);
	mark(inflight, offset, length);
}

/**
 * vhdx_inflight_forget() - it is not any more; second mark. See vhdx_inflight_leave()
 * @inflight:	of its disk
 * @write:	in flight
 * @offset:	on the disk
 * @length:	in bytes
 */
void vhdx_inflight_forget(struct vhdx_inflight *inflight, struct vhdx_write *write, u64 offset,
			  u32 length)
{
	rcu_read_lock();
	mark(inflight, offset, length);
	if (likely(write->slot != &write->own))
		atomic64_set_release(write->slot, 0);
	else
		remove_from_list(inflight, write);
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
	struct vhdx_write *write;
	int cpu, i;

	for_each_possible_cpu(cpu) {
		struct vhdx_inflight_slots *slots = per_cpu_ptr(inflight->slots, cpu);

		for (i = 0; i < VHDX_INFLIGHT_SLOTS; i++)
			mark_range(new, atomic64_read(&slots->range[i]));
	}
	spin_lock_irq(&inflight->lock);
	list_for_each_entry(write, &inflight->overflow, link)
		mark_range(new, atomic64_read(&write->own));
	spin_unlock_irq(&inflight->lock);
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
