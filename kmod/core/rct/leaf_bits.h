/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * What changed in one leaf, as it is put together out of several deltas.
 *
 * Of most leaves few units changed, and there may be very many leaves: so words come in groups,
 * and what a group has counts only where its bit in the summary is set. A leaf is empty once the
 * summary is zero; what was in its words is neither cleared nor looked at.
 */
#ifndef VHDX_CORE_LEAF_BITS_H
#define VHDX_CORE_LEAF_BITS_H

#include "changemap.h"
#include "core/bits.h"

/* Bits of a group. */
#define VHDX_GROUP_BITS_SHIFT	(VHDX_GROUP_SHIFT + 6)

/**
 * struct vhdx_leaf_bits - what is known of a leaf
 * @groups:	bit i: words from VHDX_GROUP_WORDS * i on may have bits; otherwise they mean nothing
 * @words:	the leaf
 */
struct vhdx_leaf_bits {
	u64 groups;
	u64 words[VHDX_LEAF_WORDS];
};

static_assert(VHDX_LEAF_WORDS == 64 * VHDX_GROUP_WORDS);

static inline void vhdx_leaf_bits_clear(struct vhdx_leaf_bits *bits)
{
	bits->groups = 0;
}

static inline bool vhdx_leaf_bits_has(const struct vhdx_leaf_bits *bits, u32 group)
{
	return bits->groups >> group & 1;
}

/* Those that words @from up to @end lie in. */
static inline u64 vhdx_groups_between(u32 from, u32 end)
{
	const u32 first = from >> VHDX_GROUP_SHIFT, last = (end - 1) >> VHDX_GROUP_SHIFT;

	return from < end ? (~0ULL << first) & (~0ULL >> (63 - last)) : 0;
}

static inline u64 vhdx_leaf_bits_word(const struct vhdx_leaf_bits *bits, u32 index)
{
	return vhdx_leaf_bits_has(bits, index >> VHDX_GROUP_SHIFT) ? bits->words[index] : 0;
}

/*
 * OR a group of @from, the words of a leaf. Others may set bits in it meanwhile: each word is read
 * once, after whatever the caller did before, so a bit that was set before is there.
 */
static inline void vhdx_leaf_bits_or_group(struct vhdx_leaf_bits *bits, const u64 *from, u32 group)
{
	u64 *to = bits->words + VHDX_GROUP_WORDS * group;
	u64 a, b, c, d, e, f, g, h;

	from += VHDX_GROUP_WORDS * group;
	a = READ_ONCE(from[0]);
	b = READ_ONCE(from[1]);
	c = READ_ONCE(from[2]);
	d = READ_ONCE(from[3]);
	e = READ_ONCE(from[4]);
	f = READ_ONCE(from[5]);
	g = READ_ONCE(from[6]);
	h = READ_ONCE(from[7]);
	if (!(a | b | c | d | e | f | g | h))
		return;
	if (vhdx_leaf_bits_has(bits, group)) {
		a |= to[0];
		b |= to[1];
		c |= to[2];
		d |= to[3];
		e |= to[4];
		f |= to[5];
		g |= to[6];
		h |= to[7];
	}
	to[0] = a;
	to[1] = b;
	to[2] = c;
	to[3] = d;
	to[4] = e;
	to[5] = f;
	to[6] = g;
	to[7] = h;
	bits->groups |= 1ULL << group;
}

/* OR a leaf that others may set bits in meanwhile, and that has bits in no other @groups. */
static inline void vhdx_leaf_bits_or(struct vhdx_leaf_bits *bits, const u64 *from, u64 groups)
{
	for (; groups; groups &= groups - 1)
		vhdx_leaf_bits_or_group(bits, from, (u32)__ffs64(groups));
}

/* OR a leaf as it is in files, which has bits in no other groups but @groups. */
void vhdx_leaf_bits_or_le(struct vhdx_leaf_bits *bits, const void *from, u64 groups);
/* In which groups does it have any? */
u64 vhdx_leaf_bits_groups_of(const void *leaf);
/* Set bits @from up to @end. */
void vhdx_leaf_bits_set(struct vhdx_leaf_bits *bits, u32 from, u32 end);
/* All of them. */
void vhdx_leaf_bits_fill(struct vhdx_leaf_bits *bits);

/**
 * struct vhdx_leaf_walk - goes through the runs of a leaf, in their order
 * @bits:	the leaf
 * @rest:	of the word that is looked at: what was not told yet
 * @index:	of that
 * @last:	the last word that is looked at
 * @mask:	what counts of that
 */
struct vhdx_leaf_walk {
	const struct vhdx_leaf_bits *bits;
	u64 rest;
	u32 index;
	u32 last;
	u64 mask;
};

static inline u64 vhdx_leaf_walk_word(const struct vhdx_leaf_walk *walk, u32 index)
{
	u64 word = walk->bits->words[index];

	return index == walk->last ? word & walk->mask : word;
}

/* Bits @bit up to @end, which is behind it. */
static inline void vhdx_leaf_walk_begin(struct vhdx_leaf_walk *walk,
					const struct vhdx_leaf_bits *bits, u32 bit, u32 end)
{
	walk->bits = bits;
	walk->index = bit >> 6;
	walk->last = (end - 1) >> 6;
	walk->mask = ~0ULL >> (63 - ((end - 1) & 63));
	walk->rest = 0;
	if (vhdx_leaf_bits_has(bits, walk->index >> VHDX_GROUP_SHIFT))
		walk->rest = vhdx_leaf_walk_word(walk, walk->index) & (~0ULL << (bit & 63));
}

/* The first word with bits from @index on; false: there is none. */
static inline bool vhdx_leaf_walk_on(struct vhdx_leaf_walk *walk, u32 index)
{
	const u64 *words = walk->bits->words;
	u64 groups;
	u32 group;

	while (index <= walk->last) {
		group = index >> VHDX_GROUP_SHIFT;
		groups = walk->bits->groups >> group;
		if (!groups)
			return false;
		if (!(groups & 1))
			index = (group + (u32)__ffs64(groups)) << VHDX_GROUP_SHIFT;
		/* Of the last word not all counts: but behind it nothing is looked for. */
		do {
			walk->rest = words[index];
		} while (!walk->rest && ++index & (VHDX_GROUP_WORDS - 1));
		if (!walk->rest)
			continue;
		walk->index = index;
		if (index < walk->last)
			return true;
		walk->rest = index == walk->last ? walk->rest & walk->mask : 0;
		return walk->rest;
	}
	return false;
}

/*
 * Where a run ends that goes to the end of word @index. The last word that is looked at is @last,
 * and of that counts what @mask has.
 */
u32 vhdx_leaf_run_end(const struct vhdx_leaf_bits *bits, u32 index, u32 last, u64 mask);

/* The run before @bit went to the end of a word. */
static inline void vhdx_leaf_walk_from(struct vhdx_leaf_walk *walk, u32 bit)
{
	walk->index = bit >> 6;
	walk->rest = 0;
	if (walk->index <= walk->last &&
	    vhdx_leaf_bits_has(walk->bits, walk->index >> VHDX_GROUP_SHIFT))
		walk->rest = vhdx_leaf_walk_word(walk, walk->index) & (~0ULL << (bit & 63));
}

/* The next run, if there is one. What of its word was told already is not in @rest. */
static __always_inline bool vhdx_leaf_walk_next(struct vhdx_leaf_walk *walk, u32 *from, u32 *to)
{
	u64 rest, carried;

	if (!walk->rest && !vhdx_leaf_walk_on(walk, walk->index + 1))
		return false;
	rest = walk->rest;
	*from = (walk->index << 6) + (u32)__ffs64(rest);
	/* The lowest bit, added, is carried to behind its run. */
	carried = rest + (rest & -rest);
	if (likely(carried)) {
		*to = (walk->index << 6) + (u32)__ffs64(carried);
		walk->rest = rest & carried;
	} else {
		*to = vhdx_leaf_run_end(walk->bits, walk->index, walk->last, walk->mask);
		vhdx_leaf_walk_from(walk, *to);
	}
	return true;
}

#endif
