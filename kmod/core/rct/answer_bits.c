// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * An answer in bits, one for each granule. There is room for all of them up to the answer's end.
 */
#include "answer.h"
#include "core/bits.h"

/*
 * A granule is a unit: words are taken as they are. @offset is where the answer or a leaf begins,
 * and so is a multiple of 64 units from both.
 */
static void take_words(struct vhdx_answer *answer, u32 bit, u32 end)
{
	const u32 shift = answer->unit_shift;
	u64 *to = answer->bits + ((answer->offset - answer->begin) >> shift >> 6);
	const u64 *from = answer->words + bit / 64;
	u32 whole = (end - bit) / 64;

	memcpy(to, from, whole * sizeof(*to));
	if (end & 63)
		to[whole] = from[whole] & ((1ULL << (end & 63)) - 1);
}

/* Of a run of units. */
static void set_granules(struct vhdx_answer *answer, u64 from, u64 to)
{
	const u32 shift = answer->granule_shift;

	vhdx_set_bits(answer->bits, (from - answer->begin) >> shift,
		      ((to - 1 - answer->begin) >> shift) + 1);
}

static void take_runs(struct vhdx_answer *answer, u64 start, u32 bit, u32 end)
{
	const u32 shift = answer->unit_shift;
	u32 from;

	for (;;) {
		from = vhdx_find_bit(answer->words, 0, bit, end);
		if (from == end)
			return;
		bit = vhdx_find_bit(answer->words, ~0ULL, from, end);
		set_granules(answer, start + ((u64)from << shift), start + ((u64)bit << shift));
	}
}

static bool skip(struct vhdx_answer *answer, u64 to)
{
	answer->offset = to;
	return true;
}

static bool fill(struct vhdx_answer *answer, u64 to)
{
	set_granules(answer, answer->offset, to);
	return skip(answer, to);
}

static bool take(struct vhdx_answer *answer, u64 to)
{
	const u32 shift = answer->unit_shift;
	const u64 start = answer->offset >> shift >> VHDX_LEAF_SHIFT << VHDX_LEAF_SHIFT << shift;
	const u32 bit = (answer->offset - start) >> shift;
	const u32 end = ((to - start - 1) >> shift) + 1;

	if (answer->granule_shift == shift)
		take_words(answer, bit, end);
	else
		take_runs(answer, start, bit, end);
	answer->offset = to;
	return true;
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

void vhdx_answer_bits_begin(struct vhdx_answer *answer, u64 limit)
{
	const u32 shift = answer->granule_shift;
	const u64 most = 64ULL * VHDX_ANSWER_WORDS;

	answer->begin = answer->offset;
	answer->end = limit;
	if (answer->begin >= limit)
		return;
	if ((limit - 1 - answer->begin) >> shift >= most)
		answer->end = answer->begin + (most << shift);
	memset(answer->bits, 0, 8 * vhdx_answer_bit_words(answer->begin, answer->end, shift));
}

u64 vhdx_answer_bits_finish(struct vhdx_answer *answer)
{
	const u32 shift = answer->granule_shift;
	u64 count = (answer->offset - answer->begin) >> shift;
	u64 words, granules = 0;
	u64 i;

	if (answer->offset < answer->end)
		answer->offset = answer->begin + (count >> 6 << 6 << shift);
	if (answer->offset == answer->begin)
		return 0;
	words = vhdx_answer_bit_words(answer->begin, answer->offset, shift);
	answer->changed -= overhang(answer);
	for (i = 0; i < words; i++) {
		granules += hweight64(answer->bits[i]);
		answer->bits[i] = (__force u64)cpu_to_le64(answer->bits[i]);
	}
	answer->changed += granules << shift;
	return words;
}

const struct vhdx_answer_form vhdx_answer_bits = {
	.take = take,
	.skip = skip,
	.fill = fill,
};
