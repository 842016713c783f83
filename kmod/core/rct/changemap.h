/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Change map: which units of the disk were written. Two levels, leaves of 4 KiB
 * (32768 units) on demand.
 *
 * Marking is lock-free, may be done from any context, and never fails (rule T8):
 * where a leaf can't be allocated, its slot itself says "all of this changed".
 * Reading may run beside marking and sees every mark that happened before.
 * Creating, OR-ing into and destroying a map need the caller's exclusion against
 * destroying; OR-ing may run beside marking.
 */
#ifndef VHDX_CORE_CHANGEMAP_H
#define VHDX_CORE_CHANGEMAP_H

#include "lent_leaf.h"

#define VHDX_LEAF_WORDS		512U		/* u64 words of a leaf */
#define VHDX_LEAF_SHIFT		15
#define VHDX_LEAF_UNITS		(64 * VHDX_LEAF_WORDS)
#define VHDX_GROUP_SHIFT	3
#define VHDX_GROUP_WORDS	(1U << VHDX_GROUP_SHIFT)	/* a leaf has 64 groups */

struct vhdx_leaf_bits;

/* One slot: NULL = nothing changed, VHDX_LEAF_ALL, or VHDX_LEAF_WORDS words. */
typedef u64 *vhdx_leaf;
#define VHDX_LEAF_ALL	((vhdx_leaf)1)

/**
 * struct vhdx_changemap - the map of one delta
 * @unit_shift:	log2 of the unit in bytes
 * @units:	units of the disk, the last one possibly partial
 * @leaves:	leaf slots, changed with cmpxchg only; words lie in shared pages
 * @present:	a bit for each that is not NULL, or is just about to be published
 * @leaf_groups: of each leaf that has words, known before its bits are looked at: bit i: there
 *		may be any in the words from VHDX_GROUP_WORDS * i on
 * @leaf_units:	likewise: how many there are; more, while they are set
 */
struct vhdx_changemap {
	u32 unit_shift;
	u32 leaf_count;
	u64 units;
	vhdx_leaf *leaves;
	u64 *present;
	u64 *leaf_groups;
	u32 *leaf_units;
};

/* Returns 0 or -ENOMEM. */
int vhdx_changemap_init(struct vhdx_changemap *map, u64 disk_size, u32 unit_shift);
void vhdx_changemap_release(struct vhdx_changemap *map);

/* Mark the units that [offset, offset + length) touches. Lock-free, never fails. */
void vhdx_changemap_mark(struct vhdx_changemap *map, u64 offset, u64 length);

/* Mark everything. */
void vhdx_changemap_mark_all(struct vhdx_changemap *map);

/* dst |= src. Same geometry. Lock-free on dst, never fails. */
void vhdx_changemap_or(struct vhdx_changemap *dst, const struct vhdx_changemap *src);

/* words |= leaf number @leaf; @words has VHDX_LEAF_WORDS words. */
void vhdx_changemap_leaf_or(const struct vhdx_changemap *map, u32 leaf, u64 *words);

/* The same of a leaf that is put together for an answer. */
void vhdx_changemap_read_leaf(const struct vhdx_changemap *map, u32 leaf,
			      struct vhdx_leaf_bits *units);

/* Lend it as it is. Others may go on to set bits in it. */
enum vhdx_lending vhdx_changemap_lend_leaf(const struct vhdx_changemap *map, u32 leaf,
					   struct vhdx_lent_leaf *lent);

/* The first leaf in [@leaf, @end) in which anything changed; @end where there is none. */
u32 vhdx_changemap_find_leaf(const struct vhdx_changemap *map, u32 leaf, u32 end);

/* OR @words into leaf number @leaf: what loading a saved map does. 0 or -ENOMEM. */
int vhdx_changemap_leaf_load(struct vhdx_changemap *map, u32 leaf, const u64 *words);

/*
 * Is the one unit marked already in which [offset, offset + length) lies? Only looks, as what is
 * written is mostly marked: false may also mean that the range is in several units, which is up to
 * vhdx_changemap_mark(). Lock-free, and ordered like a mark that finds its bit set (changemap.c).
 * @length is not zero, and the range does not wrap around.
 */
static inline bool vhdx_changemap_is_marked(const struct vhdx_changemap *map, u64 offset,
					    u64 length)
{
	u64 unit = offset >> map->unit_shift;
	const u64 *words;

	if ((offset + length - 1) >> map->unit_shift != unit || unit >= map->units)
		return false;
	/* Pairs with the cmpxchg() in publish(). */
	words = smp_load_acquire(&map->leaves[unit >> VHDX_LEAF_SHIFT]);
	if (words <= VHDX_LEAF_ALL)
		return words == VHDX_LEAF_ALL;
	words += (unit & (VHDX_LEAF_UNITS - 1)) >> 6;
	return READ_ONCE(*words) >> (unit & 63) & 1;
}

bool vhdx_changemap_is_empty(const struct vhdx_changemap *map);

/* The unit to use: @wanted (0 = default) doubled until a full map is <= 128 MiB. */
u32 vhdx_unit_shift_for(u64 disk_size, u32 wanted_unit);

#endif
