// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * An answer in bits, one for each granule. There is room for all of them up to the answer's end.
 */
#include "answer.h"
#include "core/bits.h"

static bool is_unit(const struct vhdx_answer *answer)
{
	return answer->granule_shift == answer->unit_shift;
}

/* The word of a granule. */
static u64 *word_at(const struct vhdx_answer *answer, u64 at)
{
	return answer->bits + ((at - answer->begin) >> answer->granule_shift >> 6);
}

/* Of a group. How many bits they have. */
static u64 take_group(u64 *to, const u64 *from)
{
	u64 sum = 0;
	u32 i;

	for (i = 0; i < VHDX_GROUP_WORDS; i++) {
		u64 word = from[i];

		to[i] = (__force u64)cpu_to_le64(word);
		sum += hweight64(word);
	}
	return sum;
}

/* Words @index up to @end, one by one: at the ends of what is asked for. */
static u64 take_some(u64 *to, const struct vhdx_leaf_bits *units, u32 index, u32 end)
{
	u64 sum = 0;

	for (; index < end; index++) {
		u64 word = vhdx_leaf_bits_word(units, index);

		*to++ = (__force u64)cpu_to_le64(word);
		sum += hweight64(word);
	}
	return sum;
}

/*
 * A granule is a unit: words are taken as they are, a group at a time, and written once; nothing
 * was cleared before. @offset is where the answer or a leaf begins, and so is a multiple of 64
 * units from both, but not always of a group.
 */
static void take_words(struct vhdx_answer *answer, u32 bit, u32 end)
{
	const struct vhdx_leaf_bits *units = answer->units;
	const u32 last = end >> 6;
	u64 *to = word_at(answer, answer->offset);
	u32 index = bit >> 6;
	u32 next = min(last, (index + VHDX_GROUP_WORDS - 1) & ~(VHDX_GROUP_WORDS - 1));
	u64 word, sum = take_some(to, units, index, next);

	to += next - index;
	for (index = next; index + VHDX_GROUP_WORDS <= last; index += VHDX_GROUP_WORDS) {
		if (vhdx_leaf_bits_has(units, index >> VHDX_GROUP_SHIFT))
			sum += take_group(to, units->words + index);
		else
			memset(to, 0, VHDX_GROUP_WORDS * sizeof(*to));
		to += VHDX_GROUP_WORDS;
	}
	sum += take_some(to, units, index, last);
	to += last - index;
	if (end & 63) {
		word = vhdx_leaf_bits_word(units, last) & ((1ULL << (end & 63)) - 1);
		*to = (__force u64)cpu_to_le64(word);
		sum += hweight64(word);
	}
	answer->changed += sum << answer->unit_shift;
}

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

/* Where a granule is a unit, words are written as the answer comes by; a last one as a whole. */
static u64 words_up_to(const struct vhdx_answer *answer, u64 to)
{
	return vhdx_answer_bit_words(answer->begin, to, answer->granule_shift) -
	       vhdx_answer_bit_words(answer->begin, answer->offset, answer->granule_shift);
}

static bool skip(struct vhdx_answer *answer, u64 to)
{
	if (is_unit(answer))
		memset(word_at(answer, answer->offset), 0, 8 * words_up_to(answer, to));
	answer->offset = to;
	return true;
}

static u64 units_in(const struct vhdx_answer *answer, u64 to)
{
	return ((to - 1 - answer->offset) >> answer->unit_shift) + 1;
}

static bool fill(struct vhdx_answer *answer, u64 to)
{
	if (is_unit(answer)) {
		u64 units = units_in(answer, to);
		u64 *word = word_at(answer, answer->offset);

		memset(word, 0xff, units >> 6 << 3);
		if (units & 63)
			word[units >> 6] = (__force u64)cpu_to_le64((1ULL << (units & 63)) - 1);
		answer->changed += units << answer->unit_shift;
	} else {
		set_granules(answer, answer->offset, to);
	}
	answer->offset = to;
	return true;
}

static bool take(struct vhdx_answer *answer, u64 to)
{
	const u32 shift = answer->unit_shift;
	const u64 start = answer->offset >> shift >> VHDX_LEAF_SHIFT << VHDX_LEAF_SHIFT << shift;
	const u32 bit = (answer->offset - start) >> shift;
	const u32 end = ((to - start - 1) >> shift) + 1;

	if (is_unit(answer))
		take_words(answer, bit, end);
	else
		take_folded(answer, start, bit, end);
	answer->offset = to;
	return true;
}

/* Of a granule that goes beyond the end only what lies before it was asked for. */
static u64 overhang(const struct vhdx_answer *answer)
{
	const u32 shift = answer->granule_shift;
	const u32 last = (answer->offset - 1 - answer->begin) >> shift;
	u64 word = answer->bits[last >> 6];

	if (is_unit(answer))
		word = le64_to_cpu((__force __le64)word);
	return word >> (last & 63) & 1 ? -answer->offset & ((1ULL << shift) - 1) : 0;
}

/* Granules that were set one by one. */
static u64 finish_words(struct vhdx_answer *answer, u64 words)
{
	u64 granules = 0;
	u64 i;

	for (i = 0; i < words; i++) {
		granules += hweight64(answer->bits[i]);
		answer->bits[i] = (__force u64)cpu_to_le64(answer->bits[i]);
	}
	return granules << answer->granule_shift;
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
	if (!is_unit(answer))
		memset(answer->bits, 0,
		       8 * vhdx_answer_bit_words(answer->begin, answer->end, shift));
}

u64 vhdx_answer_bits_finish(struct vhdx_answer *answer)
{
	const u32 shift = answer->granule_shift;
	u64 count = (answer->offset - answer->begin) >> shift;
	u64 words;

	if (answer->offset < answer->end)
		answer->offset = answer->begin + (count >> 6 << 6 << shift);
	if (answer->offset == answer->begin)
		return 0;
	words = vhdx_answer_bit_words(answer->begin, answer->offset, shift);
	answer->changed -= overhang(answer);
	if (!is_unit(answer))
		answer->changed += finish_words(answer, words);
	return words;
}

const struct vhdx_answer_form vhdx_answer_bits = {
	.take = take,
	.skip = skip,
	.fill = fill,
};
