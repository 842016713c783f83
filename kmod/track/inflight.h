/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Marking, and the writes in flight (rules T1, T2).
 *
 * A write is in flight from before its first mark until after its second, which is made when the
 * write has completed or failed, whatever it waited for. So if a point is sealed meanwhile, the
 * write is in the deltas on both sides of it; and the seal itself marks all writes in flight in the
 * new map, so that this does not depend on when a write completes.
 *
 * Mostly nothing is new in either mark, and then both only look. The first one finds its bits set
 * in the live map, within the read side in which it found that map: bits are only ever set, and
 * who reads the map waits for that read side, so sees them as if this write had set them. The
 * second one finds that the live map is the one that has the first mark still. Each exchange gives
 * the live map a new number, so that a map is not mistaken for an earlier one that had the same
 * memory. A write that reads the old number has completed before the exchange counted, so before
 * the grace period and all that the seal does next; it may keep its slot until any time later, and
 * then is marked in the new map as one that is in flight.
 *
 * While no map is live nothing is noted of a write. To enable tracking flips the gate of the disk
 * after the map went live: writes that came in before have ended then, or come in again.
 */
#ifndef VHDX_INFLIGHT_H
#define VHDX_INFLIGHT_H

#include "core/rct/changemap.h"

#include <linux/atomic.h>
#include <linux/blk_types.h>
#include <linux/list.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>

/* With what stands beside them half a KiB for each CPU and disk. What is more goes into a list. */
#define VHDX_INFLIGHT_SLOTS	60

/* A range in a word, in sectors: no disk has 2^40 sectors, and no bio 2^24. */
#define VHDX_INFLIGHT_LENGTH_BITS	24

/* The number of no map: a write in a list can't just give its slot up. */
#define VHDX_INFLIGHT_LISTED	(~0ULL)

/**
 * struct vhdx_inflight_slots - writes in flight that were admitted on one CPU
 * @range:	where the write in this slot writes, in one word; zero: the slot is free
 * @next:	where a free one may be
 * @lock:	@overflow; any context
 * @overflow:	writes for which there was no slot
 */
struct vhdx_inflight_slots {
	atomic64_t range[VHDX_INFLIGHT_SLOTS];
	unsigned int next;
	spinlock_t lock;
	struct list_head overflow;
};

/**
 * struct vhdx_write - a write, for as long as it is in flight
 * @slot:	holds its range; NULL: it is not in flight, as far as is known
 * @marked_in:	number of the map that has its first mark, or of an earlier one;
 *		VHDX_INFLIGHT_LISTED: @own is its slot
 * @own:	its slot where it is in a list
 * @link:	in slots->overflow of the CPU that it was admitted on, if @own is its slot
 * @admitted_on: that CPU's slots, then
 */
struct vhdx_write {
	atomic64_t *slot;
	u64 marked_in;
	atomic64_t own;
	struct list_head link;
	struct vhdx_inflight_slots *admitted_on;
};

/**
 * struct vhdx_inflight - the writes in flight of one disk
 * @live:	the map that writes are marked in, while tracking is on. Markers use it under RCU
 * @number:	of that map; follows @live. 0: there is none
 * @maps:	how many have been live
 * @slots:	of each CPU
 */
struct vhdx_inflight {
	struct vhdx_changemap __rcu *live;
	u64 number;
	u64 maps;
	struct vhdx_inflight_slots __percpu *slots;
};

typedef void vhdx_inflight_fn(void *context, u64 offset, u64 length);

int vhdx_inflight_init(struct vhdx_inflight *inflight);
void vhdx_inflight_destroy(struct vhdx_inflight *inflight);
void vhdx_inflight_search(struct vhdx_inflight_slots *slots, struct vhdx_write *write, u64 range);
void vhdx_inflight_forget(struct vhdx_inflight *inflight, struct vhdx_write *write);
void vhdx_inflight_swap(struct vhdx_inflight *inflight, struct vhdx_changemap *new);
void vhdx_inflight_each(struct vhdx_inflight *inflight, vhdx_inflight_fn *fn, void *context);
void vhdx_inflight_sample(struct vhdx_inflight *inflight, struct vhdx_changemap *new);
void vhdx_inflight_replace(struct vhdx_inflight *inflight, struct vhdx_changemap *new);

static inline unsigned int vhdx_inflight_after(unsigned int i)
{
	return i + 1 == VHDX_INFLIGHT_SLOTS ? 0 : i + 1;
}

/* Take slot number @i, if it is free; the one after it is tried next. */
static inline bool vhdx_inflight_try(struct vhdx_inflight_slots *slots, unsigned int i,
				     struct vhdx_write *write, u64 range)
{
	s64 none = 0;

	if (unlikely(!atomic64_try_cmpxchg(&slots->range[i], &none, range)))
		return false;
	WRITE_ONCE(slots->next, vhdx_inflight_after(i));
	write->slot = &slots->range[i];
	return true;
}

/* Called within an RCU read side, in which the map stays. */
static inline void vhdx_inflight_mark(struct vhdx_inflight *inflight, u64 offset, u32 length)
{
	struct vhdx_changemap *live = rcu_dereference(inflight->live);

	if (likely(live) && unlikely(!vhdx_changemap_is_marked(live, offset, length)))
		vhdx_changemap_mark(live, offset, length);
}

/**
 * vhdx_inflight_admit() - a write comes in, perhaps not for the first time: first mark
 * @inflight:	of its disk
 * @write:	@write->slot is NULL the first time
 * @offset:	on the disk
 * @length:	in bytes, not zero
 *
 * In the read side in which it came through the gate. Never waits.
 */
static inline void vhdx_inflight_admit(struct vhdx_inflight *inflight, struct vhdx_write *write,
				       u64 offset, u32 length)
{
	/* Before the map, which then is the one with this number, or a later one. */
	u64 number = smp_load_acquire(&inflight->number);
	struct vhdx_inflight_slots *slots;
	u64 range;

	if (!number || write->slot)
		return;
	/* Of this CPU, or of the one that the task ran on until a moment ago. */
	slots = raw_cpu_ptr(inflight->slots);
	range = offset << (VHDX_INFLIGHT_LENGTH_BITS - SECTOR_SHIFT) | length >> SECTOR_SHIFT;
	write->marked_in = number;
	if (unlikely(!vhdx_inflight_try(slots, READ_ONCE(slots->next), write, range)))
		vhdx_inflight_search(slots, write, range);
	vhdx_inflight_mark(inflight, offset, length);
}

/**
 * vhdx_inflight_leave() - a write has completed or failed: second mark
 * @inflight:	of its disk
 * @write:	harmless if it is not in flight
 *
 * Any context.
 */
static inline void vhdx_inflight_leave(struct vhdx_inflight *inflight, struct vhdx_write *write)
{
	if (!write->slot)
		return;
	/* Pairs with vhdx_inflight_swap(): once it is another number, another map is marked. */
	if (unlikely(smp_load_acquire(&inflight->number) != write->marked_in)) {
		vhdx_inflight_forget(inflight, write);
		return;
	}
	/* After that, and after the write: who finds the slot free need not mark it anywhere. */
	atomic64_set_release(write->slot, 0);
	write->slot = NULL;
}

#endif
