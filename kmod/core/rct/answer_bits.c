// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * An answer in bits, one for each unit. Words are as they are in leaves: so leaves are told out of
 * their own pages where they can be, and nothing is put together, or counted. Whatever is neither
 * that nor nothing gets a page of its own.
 */
#include "answer_bits.h"
#include "core/bits.h"

/* A leaf makes no more: what lies before it, its words, and a last one. */
#define PARTS_OF_LEAF	3

static bool is_folded(const struct vhdx_answer *answer)
{
	return answer->form == &vhdx_answer_folded;
}

static void add_part(struct vhdx_answer *answer, void *page, u32 first, u32 count)
{
	struct vhdx_bits_part *last = answer->parts + answer->part_count - 1;

	if (!page && answer->part_count && !last->page)
		last->count += count;
	else
		answer->parts[answer->part_count++] = (struct vhdx_bits_part) {
			.page = page, .first = first, .count = count,
		};
}

static bool has_room(const struct vhdx_answer *answer)
{
	return answer->part_count + PARTS_OF_LEAF <= VHDX_ANSWER_PARTS;
}

/* @offset is a multiple of 64 units from @begin, as leaves are; it has no end but at a unit's. */
static u32 units_up_to(const struct vhdx_answer *answer, u64 to)
{
	return ((to - 1 - answer->offset) >> answer->unit_shift) + 1;
}

static u32 words_of(u32 units)
{
	return (units + 63) >> 6;
}

/* Of the leaf. */
static u32 first_word(const struct vhdx_answer *answer)
{
	return answer->offset >> answer->unit_shift >> 6 & (VHDX_LEAF_WORDS - 1);
}

/* The bits of the last word, of so many units. */
static u64 last_mask(u32 units)
{
	return ~0ULL >> (63 - ((units - 1) & 63));
}

/* All up to @to are told. The last unit may go beyond the end of what was asked for. */
static int go_on(struct vhdx_answer *answer, u64 to, u64 changed, bool is_last_changed)
{
	answer->changed += changed << answer->unit_shift;
	if (is_last_changed)
		answer->changed -= -to & ((1ULL << answer->unit_shift) - 1);
	answer->offset = to;
	return has_room(answer);
}

/* There is room for one part, and for what comes behind it. */
static int skip(struct vhdx_answer *answer, u64 to)
{
	const u64 words = ((to - 1 - answer->offset) >> answer->unit_shift >> 6) + 1;

	add_part(answer, NULL, 0, words);
	answer->offset = to;
	return 1;
}

static int fill(struct vhdx_answer *answer, u64 to)
{
	const u64 units = ((to - 1 - answer->offset) >> answer->unit_shift) + 1;
	u64 *page;

	if (units >> 6) {
		page = vhdx_shared_new();
		if (!page)
			return -ENOMEM;
		memset(page, 0xff, VHDX_PAGE);
		add_part(answer, page, 0, units >> 6);
	}
	if (units & 63) {
		page = vhdx_shared_new();
		if (!page)
			return -ENOMEM;
		*page = (__force u64)cpu_to_le64(last_mask(units & 63));
		add_part(answer, page, 0, 1);
	}
	return go_on(answer, to, units, true);
}

/* Words @from up to @end of a leaf, to the same place in a page that is zero. How many bits. */
static u32 take_words(u64 *to, const struct vhdx_leaf_bits *units, u32 from, u32 end)
{
	u64 groups = units->groups & vhdx_groups_between(from, end);
	u32 i, last, sum = 0;

	for (; groups; groups &= groups - 1) {
		i = (u32)__ffs64(groups) << VHDX_GROUP_SHIFT;
		last = min(end, i + VHDX_GROUP_WORDS);
		for (i = max(from, i); i < last; i++) {
			sum += hweight64(units->words[i]);
			to[i] = (__force u64)cpu_to_le64(units->words[i]);
		}
	}
	return sum;
}

static int take(struct vhdx_answer *answer, u64 to)
{
	const u32 units = units_up_to(answer, to);
	const u32 first = first_word(answer);
	const u32 last = first + words_of(units) - 1;
	u64 *page = vhdx_shared_new();
	u64 word;
	u32 sum;

	if (!page)
		return -ENOMEM;
	sum = take_words(page, answer->units, first, last);
	word = vhdx_leaf_bits_word(answer->units, last) & last_mask(units);
	page[last] = (__force u64)cpu_to_le64(word);
	sum += hweight64(word);
	add_part(answer, page, first, last + 1 - first);
	return go_on(answer, to, sum, word >> ((units - 1) & 63) & 1);
}

/* Each takes one part. Of the last leaf of the answer nothing of its last word may be masked. */
static u32 can_borrow(const struct vhdx_answer *answer)
{
	const u32 shift = answer->unit_shift + VHDX_LEAF_SHIFT;
	const u64 whole = (answer->end >> shift) - (answer->offset >> shift);
	const u32 room = VHDX_ANSWER_PARTS - PARTS_OF_LEAF + 1 - answer->part_count;

	if (!whole)
		return !(answer->end & ((64ULL << answer->unit_shift) - 1));
	return min_t(u64, whole, room);
}

/* In a live one bits may be set between here and when it is told: they may be told, not counted. */
static int borrow(struct vhdx_answer *answer, const struct vhdx_lent_leaf *lent, u64 to)
{
	const u32 words = words_of(units_up_to(answer, to));
	const u32 first = first_word(answer);
	u32 sum = lent->units;

	if (words < VHDX_LEAF_WORDS)
		sum = vhdx_count_bits((const u64 *)lent->page + first, words);
	add_part(answer, lent->page, first, words);
	return go_on(answer, to, sum, false);
}

int vhdx_answer_bits_room(struct vhdx_answer *answer)
{
	if (is_folded(answer))
		answer->bits = vhdx_alloc(VHDX_ANSWER_WORDS * sizeof(*answer->bits));
	else
		answer->parts = vhdx_alloc(VHDX_ANSWER_PARTS * sizeof(*answer->parts));
	return answer->bits || answer->parts ? 0 : -ENOMEM;
}

static void drop_parts(struct vhdx_answer *answer)
{
	u32 i;

	for (i = 0; i < answer->part_count; i++)
		if (answer->parts[i].page)
			vhdx_shared_put(answer->parts[i].page);
	answer->part_count = 0;
}

void vhdx_answer_bits_release(struct vhdx_answer *answer)
{
	drop_parts(answer);
	vhdx_free(answer->parts);
	vhdx_free(answer->bits);
}

void vhdx_answer_bits_begin(struct vhdx_answer *answer, u64 limit)
{
	answer->begin = answer->offset;
	answer->end = limit;
	if (is_folded(answer) && answer->begin < limit)
		vhdx_folded_begin(answer, limit);
}

bool vhdx_answer_bits_are_full(const struct vhdx_answer *answer)
{
	return answer->offset == answer->end || (!is_folded(answer) && !has_room(answer));
}

/* Who is told looks now and then whether somebody was killed. */
#define ZERO_WORDS_AT_ONCE	8192U

/* What is longer than its page goes on with that from its beginning. */
static int tell_part(const struct vhdx_bits_part *part,
		     int (*put)(void *context, const void *words, u32 count), void *context)
{
	const u64 *words = part->page;
	u32 n, first = part->first, left = part->count;
	int err = 0;

	for (; left && !err; left -= n) {
		n = min(left, words ? VHDX_LEAF_WORDS - first : ZERO_WORDS_AT_ONCE);
		err = put(context, words ? words + first : NULL, n);
		first = 0;
	}
	return err;
}

int vhdx_answer_bits_tell(struct vhdx_answer *answer,
			  int (*put)(void *context, const void *words, u32 count), void *context)
{
	u32 i, words;
	int err = 0;

	for (i = 0; i < answer->part_count && !err; i++)
		err = tell_part(&answer->parts[i], put, context);
	drop_parts(answer);
	if (is_folded(answer)) {
		words = vhdx_folded_finish(answer);
		err = words ? put(context, answer->bits, words) : 0;
	}
	answer->begin = answer->offset;
	return err;
}

const struct vhdx_answer_form vhdx_answer_bits = {
	.take = take,
	.skip = skip,
	.fill = fill,
	.can_borrow = can_borrow,
	.borrow = borrow,
};
