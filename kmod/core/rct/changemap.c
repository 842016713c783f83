// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Memory ordering. A leaf is zeroed, then published with cmpxchg(), and read with
 * an acquire, so no reader sees its bits before they were zeroed. Bits are only ever
 * set, and a slot only ever goes from NULL to a leaf or to VHDX_LEAF_ALL, where it
 * stays. So a reader that comes after a mark in time - by any lock, completion or barrier
 * of the callers - sees the mark, also where the mark found its bit set by another
 * one and wrote nothing: two ordered reads of one word never go backwards.
 * Marking itself orders nothing else; a caller that marks and then looks at other
 * memory puts its own barrier between the two.
 *
 * What is known of a leaf besides its bits - that it is present, which of its groups have any, how
 * many there are - is said before a bit is set, with a full barrier in between: whoever sees a bit,
 * and tells others that the unit is marked, need not look at the rest.
 */
#include "changemap.h"
#include "core/bits.h"
#include "core/diag.h"
#include "leaf_bits.h"

#define FULL_MAP_MAX	(128 * VHDX_MIB)

static_assert(VHDX_LEAF_UNITS == 1 << VHDX_LEAF_SHIFT);

int vhdx_changemap_init(struct vhdx_changemap *map, u64 disk_size, u32 unit_shift)
{
	u64 units = disk_size >> unit_shift;
	u64 leaves;

	if (disk_size & ((1ULL << unit_shift) - 1))
		units++;
	leaves = (units + VHDX_LEAF_UNITS - 1) >> VHDX_LEAF_SHIFT;

	memset(map, 0, sizeof(*map));
	if (leaves > INT_MAX / sizeof(vhdx_leaf))
		return -ENOMEM;
	map->leaves = vhdx_alloc(leaves * sizeof(vhdx_leaf));
	map->present = vhdx_alloc(((leaves >> 6) + 1) * sizeof(u64));
	map->leaf_groups = vhdx_alloc(leaves * sizeof(*map->leaf_groups));
	map->leaf_units = vhdx_alloc(leaves * sizeof(*map->leaf_units));
	if (!map->leaves || !map->present || !map->leaf_groups || !map->leaf_units) {
		vhdx_changemap_release(map);
		return -ENOMEM;
	}
	map->unit_shift = unit_shift;
	map->units = units;
	map->leaf_count = leaves;
	return 0;
}

void vhdx_changemap_release(struct vhdx_changemap *map)
{
	u32 i;

	for (i = 0; i < map->leaf_count; i++)
		if (map->leaves[i] > VHDX_LEAF_ALL)
			vhdx_shared_put(map->leaves[i]);
	vhdx_free(map->leaf_units);
	vhdx_free(map->leaf_groups);
	vhdx_free(map->leaves);
	vhdx_free(map->present);
	memset(map, 0, sizeof(*map));
}

static vhdx_leaf get_leaf(const struct vhdx_changemap *map, u32 leaf)
{
	/* Pairs with the cmpxchg() in publish(): see above. */
	return smp_load_acquire(&map->leaves[leaf]);
}

/* Setting what is set already would only pull the cache line away from others. */
static void set_bits(u64 *word, u64 mask)
{
	if (~READ_ONCE(*word) & mask)
		vhdx_fetch_or64(word, mask);
}

/* Of a leaf. What two markers set at once was counted by both of them. */
static void mark_word(struct vhdx_changemap *map, u32 leaf, u64 *words, u32 index, u64 mask)
{
	u64 fresh = mask & ~READ_ONCE(words[index]);

	if (!fresh)
		return;
	set_bits(&map->leaf_groups[leaf], 1ULL << (index >> VHDX_GROUP_SHIFT));
	vhdx_add32(&map->leaf_units[leaf], (s32)hweight64(fresh));
	fresh &= vhdx_fetch_or64(&words[index], fresh);
	if (fresh)
		vhdx_add32(&map->leaf_units[leaf], -(s32)hweight64(fresh));
}

/*
 * Returns what the slot holds now: @fresh, or what another marker published first. Who finds a leaf
 * there and marks it does not look at @present: so that is set before, and the cmpxchg() orders it.
 */
static vhdx_leaf publish(struct vhdx_changemap *map, u32 leaf, vhdx_leaf fresh)
{
	set_bits(&map->present[leaf >> 6], 1ULL << (leaf & 63));
	if (!cmpxchg(&map->leaves[leaf], NULL, fresh))
		return fresh;
	if (fresh != VHDX_LEAF_ALL)
		vhdx_shared_put(fresh);
	/* A cmpxchg() that fails orders nothing: look again, properly. */
	return get_leaf(map, leaf);
}

/* The leaf to set bits in, or VHDX_LEAF_ALL, which has them all. */
static vhdx_leaf leaf_to_mark(struct vhdx_changemap *map, u32 leaf)
{
	vhdx_leaf words = get_leaf(map, leaf);

	if (words)
		return words;
	words = vhdx_shared_new_atomic();
	return publish(map, leaf, words ? words : VHDX_LEAF_ALL);
}

/* Bits @first to @last, both included. */
static void mark_bits(struct vhdx_changemap *map, u32 leaf, u64 *words, u32 first, u32 last)
{
	u64 head = ~0ULL << (first & 63);
	u64 tail = ~0ULL >> (63 - (last & 63));
	u32 word = first >> 6;

	if (word == last >> 6) {
		mark_word(map, leaf, words, word, head & tail);
		return;
	}
	mark_word(map, leaf, words, word, head);
	while (++word < last >> 6)
		mark_word(map, leaf, words, word, ~0ULL);
	mark_word(map, leaf, words, word, tail);
}

static void mark_leaf(struct vhdx_changemap *map, u32 leaf)
{
	vhdx_leaf words = publish(map, leaf, VHDX_LEAF_ALL);

	if (words != VHDX_LEAF_ALL)
		mark_bits(map, leaf, words, 0, VHDX_LEAF_UNITS - 1);
}

void vhdx_changemap_mark(struct vhdx_changemap *map, u64 offset, u64 length)
{
	u64 unit, last;

	if (!length)
		return;
	if (length - 1 > ~0ULL - offset)
		length = ~0ULL - offset + 1;
	unit = offset >> map->unit_shift;
	last = (offset + length - 1) >> map->unit_shift;
	if (unit >= map->units)
		return;
	last = min(last, map->units - 1);

	while (unit <= last) {
		u32 leaf = unit >> VHDX_LEAF_SHIFT;
		u64 leaf_last = unit | (VHDX_LEAF_UNITS - 1);
		u64 until = min(last, leaf_last);
		vhdx_leaf words;

		if (until - unit == VHDX_LEAF_UNITS - 1) {
			mark_leaf(map, leaf);
		} else {
			words = leaf_to_mark(map, leaf);
			if (words != VHDX_LEAF_ALL)
				mark_bits(map, leaf, words, unit & (VHDX_LEAF_UNITS - 1),
					  until & (VHDX_LEAF_UNITS - 1));
		}
		unit = until + 1;
	}
}

void vhdx_changemap_mark_all(struct vhdx_changemap *map)
{
	u32 leaf;

	for (leaf = 0; leaf < map->leaf_count; leaf++)
		mark_leaf(map, leaf);
}

static void or_words(struct vhdx_changemap *map, u32 leaf, u64 *words, const u64 *more)
{
	u32 i;

	for (i = 0; i < VHDX_LEAF_WORDS; i++)
		mark_word(map, leaf, words, i, READ_ONCE(more[i]));
}

void vhdx_changemap_or(struct vhdx_changemap *dst, const struct vhdx_changemap *src)
{
	u32 leaf;

	for (leaf = 0; leaf < dst->leaf_count; leaf++) {
		const u64 *more = get_leaf(src, leaf);
		vhdx_leaf words;

		if (!more)
			continue;
		if (more == VHDX_LEAF_ALL) {
			mark_leaf(dst, leaf);
			continue;
		}
		words = leaf_to_mark(dst, leaf);
		if (words != VHDX_LEAF_ALL)
			or_words(dst, leaf, words, more);
	}
}

void vhdx_changemap_leaf_or(const struct vhdx_changemap *map, u32 leaf, u64 *words)
{
	const u64 *more = get_leaf(map, leaf);

	if (!more)
		return;
	if (more == VHDX_LEAF_ALL)
		memset(words, 0xff, VHDX_PAGE);
	else
		vhdx_or_words(words, more, VHDX_LEAF_WORDS);
}

/* A mark from before this is in the slot, and in the word: each is read once, and then told. */
void vhdx_changemap_read_leaf(const struct vhdx_changemap *map, u32 leaf,
			      struct vhdx_leaf_bits *units)
{
	const u64 *words = get_leaf(map, leaf);

	if (!words)
		return;
	if (words == VHDX_LEAF_ALL)
		vhdx_leaf_bits_fill(units);
	else
		vhdx_leaf_bits_or(units, words, READ_ONCE(map->leaf_groups[leaf]));
}

enum vhdx_lending vhdx_changemap_lend_leaf(const struct vhdx_changemap *map, u32 leaf,
					   struct vhdx_lent_leaf *lent)
{
	u64 *words = get_leaf(map, leaf);

	if (!words)
		return VHDX_LENT_NOTHING;
	if (words == VHDX_LEAF_ALL || !vhdx_is_little_endian())
		return VHDX_LENT_NOT;
	vhdx_shared_get(words);
	lent->page = words;
	lent->units = min_t(u32, READ_ONCE(map->leaf_units[leaf]), VHDX_LEAF_UNITS);
	return VHDX_LENT_PAGE;
}

u32 vhdx_changemap_find_leaf(const struct vhdx_changemap *map, u32 leaf, u32 end)
{
	u32 last = min(end, map->leaf_count);
	/* Bits are only ever set: what was set before this began is seen. */
	u32 found = vhdx_find_bit(map->present, 0, leaf, last);

	return leaf < last && found < last ? found : end;
}

int vhdx_changemap_leaf_load(struct vhdx_changemap *map, u32 leaf, const u64 *words)
{
	vhdx_leaf mine = get_leaf(map, leaf);

	if (!mine) {
		mine = vhdx_shared_new();
		if (!mine)
			return -ENOMEM;
		mine = publish(map, leaf, mine);
	}
	if (mine != VHDX_LEAF_ALL)
		or_words(map, leaf, mine, words);
	return 0;
}

/* A leaf is made only to be marked, so that there is one says enough. */
bool vhdx_changemap_is_empty(const struct vhdx_changemap *map)
{
	return vhdx_changemap_find_leaf(map, 0, map->leaf_count) == map->leaf_count;
}

u32 vhdx_unit_shift_for(u64 disk_size, u32 wanted_unit)
{
	u32 shift = ilog2(wanted_unit ? wanted_unit : VHDX_UNIT_DEFAULT);

	while (1ULL << shift < VHDX_UNIT_MAX && disk_size > (8 * FULL_MAP_MAX) << shift)
		shift++;
	return shift;
}
