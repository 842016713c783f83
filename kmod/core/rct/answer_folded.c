// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * An answer in bits, one for each granule of several units. They are put together in one array.
 */
#include "answer_bits.h"
#include "core/bits.h"

/* Of a run of units. */
static void set_granules(struct vhdx_answer *answer, u64 from, u64 to)
{
	const u32 shift = answer->granule_shift;

	vhdx_set_bits(answer->bits, (from - answer->begin) >> shift,
		      ((to - 1 - answer->begin) >> shift) + 1);
}

/* Two neighbouring bits become one: what either of them says. The upper half is zero. */
static u64 halve(u64 word)
{
	word = (word | word >> 1) & 0x5555555555555555ULL;
	word = (word | word >> 1) & 0x3333333333333333ULL;
	word = (word | word >> 2) & 0x0f0f0f0f0f0f0f0fULL;
	word = (word | word >> 4) & 0x00ff00ff00ff00ffULL;
	word = (word | word >> 8) & 0x0000ffff0000ffffULL;
	return (word | word >> 16) & 0x00000000ffffffffULL;
}

/* What a word of units is in granules, of 1 << @shift units. */
static u64 fold(u64 word, u32 shift)
{
	if (shift >= 6)
		return !!word;
	while (shift--)
		word = halve(word);
	return word;
}

/*
 * A granule is several units: words are folded. One of them, or what is made of it, lies in one
 * word of the bitmap: it begins at a multiple of 64 units from where that does.
 */
static void take_folded(struct vhdx_answer *answer, u64 start, u32 bit, u32 end)
{
	const u32 shift = answer->granule_shift - answer->unit_shift;
	const u32 last = (end - 1) >> 6;
	const u64 mask = ~0ULL >> (63 - ((end - 1) & 63));
	const u64 first = (start >> answer->unit_shift) - (answer->begin >> answer->unit_shift);
	u32 index;
	u64 word, granule;

	for (index = bit >> 6; index <= last; index++) {
		if (!vhdx_leaf_bits_has(answer->units, index >> VHDX_GROUP_SHIFT)) {
			index |= VHDX_GROUP_WORDS - 1;
			continue;
		}
		word = answer->units->words[index] & (index == last ? mask : ~0ULL);
		if (!word)
			continue;
		granule = (first + ((u64)index << 6)) >> shift;
		answer->bits[granule >> 6] |= fold(word, shift) << (granule & 63);
	}
}

static int skip(struct vhdx_answer *answer, u64 to)
{
	answer->offset = to;
	return 1;
}

static int fill(struct vhdx_answer *answer, u64 to)
{
	set_granules(answer, answer->offset, to);
	answer->offset = to;
	return 1;
}

static int take(struct vhdx_answer *answer, u64 to)
{
	const u32 shift = answer->unit_shift;
	const u64 start = answer->offset >> shift >> VHDX_LEAF_SHIFT << VHDX_LEAF_SHIFT << shift;

	take_folded(answer, start, (answer->offset - start) >> shift,
		    ((to - start - 1) >> shift) + 1);
	answer->offset = to;
	return 1;
}

/* Of a granule that goes beyond the end only what lies before it was asked for. */
static u64 overhang(const struct vhdx_answer *answer)
{
	const u32 shift = answer->granule_shift;
	const u32 last = (answer->offset - 1 - answer->begin) >> shift;

	if (!(answer->bits[last >> 6] >> (last & 63) & 1))
		return 0;
	return -answer->offset & ((1ULL << shift) - 1);
}

static u32 word_count(const struct vhdx_answer *answer, u64 end)
{
	return ((end - 1 - answer->begin) >> answer->granule_shift >> 6) + 1;
}

void vhdx_folded_begin(struct vhdx_answer *answer, u64 limit)
{
	const u32 shift = answer->granule_shift;
	const u64 most = 64ULL * VHDX_ANSWER_WORDS;

	answer->end = limit;
	if ((limit - 1 - answer->begin) >> shift >= most)
		answer->end = answer->begin + (most << shift);
	memset(answer->bits, 0, sizeof(u64) * word_count(answer, answer->end));
}

u32 vhdx_folded_finish(struct vhdx_answer *answer)
{
	const u32 shift = answer->granule_shift;
	u64 granules;
	u32 i, words;

	if (answer->offset < answer->end) {
		granules = (answer->offset - answer->begin) >> shift;
		answer->offset = answer->begin + (granules >> 6 << 6 << shift);
	}
	if (answer->offset == answer->begin)
		return 0;
	words = word_count(answer, answer->offset);
	answer->changed -= overhang(answer);
	answer->changed += (u64)vhdx_count_bits(answer->bits, words) << shift;
	for (i = 0; i < words; i++)
		answer->bits[i] = (__force u64)cpu_to_le64(answer->bits[i]);
	return words;
}

const struct vhdx_answer_form vhdx_answer_folded = {
	.take = take,
	.skip = skip,
	.fill = fill,
};
