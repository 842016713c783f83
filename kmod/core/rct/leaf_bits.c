// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "leaf_bits.h"

static void or_swapped(struct vhdx_leaf_bits *bits, const __le64 *leaf, u32 group)
{
	u64 *to = bits->words + VHDX_GROUP_WORDS * group;
	u32 i;

	for (i = 0; i < VHDX_GROUP_WORDS; i++) {
		u64 word = le64_to_cpu(leaf[VHDX_GROUP_WORDS * group + i]);

		to[i] = vhdx_leaf_bits_has(bits, group) ? to[i] | word : word;
	}
	bits->groups |= 1ULL << group;
}

void vhdx_leaf_bits_or_le(struct vhdx_leaf_bits *bits, const void *from, u64 groups)
{
	u32 group;

	for (; groups; groups &= groups - 1) {
		group = (u32)__ffs64(groups);
		if (vhdx_is_little_endian())
			vhdx_leaf_bits_or_group(bits, from, group);
		else
			or_swapped(bits, from, group);
	}
}

u64 vhdx_leaf_bits_groups_of(const void *leaf)
{
	const u64 *words = leaf;
	u64 groups = 0;
	u32 group;

	for (group = 0; group < 64; group++, words += VHDX_GROUP_WORDS)
		if (!vhdx_are_all(words, 0) || !vhdx_are_all(words + VHDX_WORDS_AT_ONCE, 0))
			groups |= 1ULL << group;
	return groups;
}

/* What lies in groups that had nothing was never cleared. */
static void begin_groups(struct vhdx_leaf_bits *bits, u32 first, u32 last)
{
	u32 group;

	for (group = first; group <= last; group++)
		if (!vhdx_leaf_bits_has(bits, group))
			memset(bits->words + VHDX_GROUP_WORDS * group, 0,
			       VHDX_GROUP_WORDS * sizeof(u64));
	bits->groups |= (~0ULL << first) & (~0ULL >> (63 - last));
}

void vhdx_leaf_bits_set(struct vhdx_leaf_bits *bits, u32 from, u32 end)
{
	if (from >= end)
		return;
	begin_groups(bits, from >> VHDX_GROUP_BITS_SHIFT, (end - 1) >> VHDX_GROUP_BITS_SHIFT);
	vhdx_set_bits(bits->words, from, end);
}

void vhdx_leaf_bits_fill(struct vhdx_leaf_bits *bits)
{
	bits->groups = ~0ULL;
	memset(bits->words, 0xff, VHDX_PAGE);
}

/* From @index on, before @last, there are groups of which all is set. */
static u32 pass_full_groups(const struct vhdx_leaf_bits *bits, u32 index, u32 last)
{
	const u64 *words = bits->words;

	while (index + VHDX_GROUP_WORDS <= last &&
	       vhdx_leaf_bits_has(bits, index >> VHDX_GROUP_SHIFT) &&
	       vhdx_are_all(words + index, ~0ULL) &&
	       vhdx_are_all(words + index + VHDX_WORDS_AT_ONCE, ~0ULL))
		index += VHDX_GROUP_WORDS;
	return index;
}

u32 vhdx_leaf_run_end(const struct vhdx_leaf_bits *bits, u32 index, u32 last, u64 mask)
{
	u64 word = ~0ULL;

	while (!~word) {
		if (index == last)
			return (index + 1) << 6;
		index++;
		if (!(index & (VHDX_GROUP_WORDS - 1)))
			index = pass_full_groups(bits, index, last);
		word = vhdx_leaf_bits_word(bits, index);
		if (index == last)
			word &= mask;
	}
	return (index << 6) + (u32)__ffs64(~word);
}
