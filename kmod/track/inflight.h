/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Marking, and the writes in flight (rules T1, T2).
 *
 * A write is in flight from before its first mark until after its second, which is made when it
 * has completed or failed; whatever it waits for meanwhile. So a seal in between finds it in both
 * deltas; and the seal itself marks all that are in flight in the new map, so that this does not
 * depend on when they complete.
 *
 * Where no map is live nothing is noted of a write. Whoever begins to track flips the gate of the
 * disk after the map went live: what came in before has ended then, or comes in again.
 */
#ifndef VHDX_INFLIGHT_H
#define VHDX_INFLIGHT_H

#include "core/rct/changemap.h"

#include <linux/atomic.h>
#include <linux/list.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>

/* With the hint half a KiB for each CPU and disk. What is more goes into a list. */
#define VHDX_INFLIGHT_SLOTS	63

/**
 * struct vhdx_inflight_slots - writes in flight that were admitted on one CPU
 * @range:	where each of them writes, in one word; zero: the slot is free
 * @next:	where a free one may be
 */
struct vhdx_inflight_slots {
	atomic64_t range[VHDX_INFLIGHT_SLOTS];
	unsigned int next;
};

/**
 * struct vhdx_write - a write, for as long as it is in flight
 * @slot:	holds its range; NULL: it is not in flight, as far as is known
 * @own:	its slot where it is in the list
 * @link:	in inflight->overflow, if @own is its slot
 */
struct vhdx_write {
	atomic64_t *slot;
	atomic64_t own;
	struct list_head link;
};

/**
 * struct vhdx_inflight - the writes in flight of one disk
 * @live:	the map that they are marked in, while tracking is on. Markers use it under RCU
 * @slots:	of each CPU
 * @lock:	@overflow; any context
 * @overflow:	writes for which there was no slot
 */
struct vhdx_inflight {
	struct vhdx_changemap __rcu *live;
	struct vhdx_inflight_slots __percpu *slots;
	spinlock_t lock;
	struct list_head overflow;
};

int vhdx_inflight_init(struct vhdx_inflight *inflight);
void vhdx_inflight_destroy(struct vhdx_inflight *inflight);
void vhdx_inflight_note(struct vhdx_inflight *inflight, struct vhdx_write *write, u64 offset,
			u32 length);
void vhdx_inflight_forget(struct vhdx_inflight *inflight, struct vhdx_write *write, u64 offset,
			  u32 length);
void vhdx_inflight_swap(struct vhdx_inflight *inflight, struct vhdx_changemap *new);
void vhdx_inflight_sample(struct vhdx_inflight *inflight, struct vhdx_changemap *new);
void vhdx_inflight_replace(struct vhdx_inflight *inflight, struct vhdx_changemap *new);

/**
 * vhdx_inflight_admit() - a write comes in, perhaps not for the first time: first mark
 * @inflight:	of its disk
 * @write:	@write->slot is NULL the first time
 * @offset:	on the disk
 * @length:	in bytes
 *
 * In the read side in which it came through the gate. Never waits.
 */
static inline void vhdx_inflight_admit(struct vhdx_inflight *inflight, struct vhdx_write *write,
				       u64 offset, u32 length)
{
	if (rcu_access_pointer(inflight->live) && !write->slot)
		vhdx_inflight_note(inflight, write, offset, length);
}

/**
 * vhdx_inflight_leave() - a write has completed or failed: second mark
 * @inflight:	of its disk
 * @write:	harmless if it is not in flight
 * @offset:	on the disk
 * @length:	in bytes
 *
 * Any context.
 */
static inline void vhdx_inflight_leave(struct vhdx_inflight *inflight, struct vhdx_write *write,
				       u64 offset, u32 length)
{
	if (write->slot)
		vhdx_inflight_forget(inflight, write, offset, length);
}

#endif
