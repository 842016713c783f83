// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * An answer in ranges.
 */
#include "answer.h"

static u64 granule_of(const struct vhdx_answer *answer, u64 at)
{
	return max(answer->begin, at >> answer->granule_shift << answer->granule_shift);
}

/* Behind the granule of the byte before @at. */
static u64 granule_end(const struct vhdx_answer *answer, u64 at)
{
	return min(answer->end, (((at - 1) >> answer->granule_shift) + 1) << answer->granule_shift);
}

/* False if it doesn't fit. */
static bool tell(struct vhdx_answer *answer, u64 from, u64 to)
{
	if (answer->granule_shift != answer->unit_shift) {
		from = granule_of(answer, from);
		to = granule_end(answer, to);
	}
	return vhdx_ranges_add(&answer->ranges, from, to, 0);
}

/*
 * A full array takes only what continues its last range. Once nothing can that lies at @to or
 * behind it, there is nothing left to do.
 */
static int skip(struct vhdx_answer *answer, u64 to)
{
	answer->offset = to;
	return !vhdx_ranges_is_full(&answer->ranges) ||
	       !vhdx_ranges_is_apart(&answer->ranges, granule_of(answer, to), 0);
}

static int fill(struct vhdx_answer *answer, u64 to)
{
	if (!tell(answer, answer->offset, to))
		return 0;
	answer->offset = max(to, answer->ranges.end);
	return 1;
}

/**
 * struct place - where the words of a leaf are
 * @start:	of the leaf
 * @bit:	of the first unit that is asked about
 * @end:	behind that of the last one
 */
struct place {
	u64 start;
	u32 bit;
	u32 end;
};

/*
 * Whatever lies in a granule, all of it is told. @offset is where the answer goes on, and does not
 * advance where a run does not fit.
 */
static bool take_granules(struct vhdx_answer *answer, const struct place *at, u64 to)
{
	const u32 shift = answer->unit_shift;
	struct vhdx_leaf_walk walk;
	u64 behind, offset = answer->offset;
	u32 from, bit;

	vhdx_leaf_walk_begin(&walk, answer->units, at->bit, at->end);
	while (vhdx_leaf_walk_next(&walk, &from, &bit)) {
		behind = min(to, at->start + ((u64)bit << shift));
		if (behind <= offset)
			continue;
		if (!tell(answer, max(offset, at->start + ((u64)from << shift)), behind)) {
			answer->offset = offset;
			return false;
		}
		offset = max(behind, answer->ranges.end);
		if (offset >= to)
			break;
		if (offset > behind)
			vhdx_leaf_walk_begin(&walk, answer->units,
					     (offset - at->start) >> shift, at->end);
	}
	answer->offset = offset;
	return offset >= to || skip(answer, to);
}

/**
 * struct tail - the end of the ranges, while many are added
 * @range:	the last one
 * @end:	behind it
 * @sum:	of all
 * @room:	for more of them
 */
struct tail {
	struct vhdx_range *range;
	u64 end;
	u64 sum;
	u32 room;
};

static struct tail begin_tail(struct vhdx_ranges *ranges)
{
	return (struct tail) {
		.range = vhdx_ranges_at(ranges, ranges->count - 1),
		.end = ranges->end,
		.sum = ranges->sum,
		.room = ranges->capacity - ranges->count,
	};
}

static void end_tail(struct vhdx_ranges *ranges, const struct tail *tail)
{
	ranges->count = ranges->capacity - tail->room;
	ranges->end = tail->end;
	ranges->sum = tail->sum;
}

/*
 * vhdx_ranges_add() of all runs that are left in a leaf, by far the most that there are: the last
 * range is in the array, and the next one lies behind it. False: one does not fit; @offset is where
 * it begins.
 */
static bool add_runs(struct vhdx_answer *answer, const struct place *at, u64 to,
		     const struct vhdx_leaf_walk *begun)
{
	struct vhdx_ranges *ranges = &answer->ranges;
	/* Its own, which stays in registers. */
	struct vhdx_leaf_walk walk = *begun;
	const bool has_flags = ranges->size > offsetof(struct vhdx_range, flags);
	const u64 min_gap = ranges->min_gap;
	const u32 size = ranges->size;
	const u32 shift = answer->unit_shift;
	struct tail tail = begin_tail(ranges);
	u64 begin, behind;
	u32 from, bit;
	bool fits = true;

	while (vhdx_leaf_walk_next(&walk, &from, &bit)) {
		begin = at->start + ((u64)from << shift);
		behind = min(to, at->start + ((u64)bit << shift));
		if (begin - tail.end < min_gap) {
			begin = tail.end;
			tail.range->byte_length += behind - begin;
		} else if (tail.room) {
			tail.room--;
			tail.range = (void *)tail.range + size;
			tail.range->byte_offset = begin;
			tail.range->byte_length = behind - begin;
			if (has_flags) {
				tail.range->flags = 0;
				tail.range->reserved = 0;
			}
		} else {
			fits = false;
			break;
		}
		tail.sum += behind - begin;
		tail.end = behind;
	}
	end_tail(ranges, &tail);
	answer->offset = tail.end;
	return fits;
}

/* Of ranges that are not put anywhere, but added up. */
static bool sum_runs(struct vhdx_answer *answer, const struct place *at, u64 to,
		     struct vhdx_leaf_walk *walk)
{
	const u32 shift = answer->unit_shift;
	u32 from, bit;

	while (vhdx_leaf_walk_next(walk, &from, &bit))
		tell(answer, at->start + ((u64)from << shift),
		     min(to, at->start + ((u64)bit << shift)));
	return true;
}

/* Runs are apart from each other; the first one may go on with what was told before. */
static bool take_runs(struct vhdx_answer *answer, const struct place *at, u64 to)
{
	const u32 shift = answer->unit_shift;
	struct vhdx_leaf_walk walk;
	u64 behind;
	u32 from, bit;
	bool fits;

	vhdx_leaf_walk_begin(&walk, answer->units, at->bit, at->end);
	if (!vhdx_leaf_walk_next(&walk, &from, &bit))
		return skip(answer, to);
	behind = min(to, at->start + ((u64)bit << shift));
	if (!tell(answer, max(answer->offset, at->start + ((u64)from << shift)), behind))
		return false;
	answer->offset = behind;
	if (answer->ranges.count)
		fits = add_runs(answer, at, to, &walk);
	else
		fits = sum_runs(answer, at, to, &walk);
	if (!fits)
		return false;
	return answer->offset >= to || skip(answer, to);
}

static int take(struct vhdx_answer *answer, u64 to)
{
	const u32 shift = answer->unit_shift;
	const u64 start = answer->offset >> shift >> VHDX_LEAF_SHIFT << VHDX_LEAF_SHIFT << shift;
	const struct place at = {
		.start = start,
		.bit = (answer->offset - start) >> shift,
		.end = ((to - start - 1) >> shift) + 1,
	};

	return answer->granule_shift == shift ? take_runs(answer, &at, to) :
						take_granules(answer, &at, to);
}

const struct vhdx_answer_form vhdx_answer_ranges = {
	.take = take,
	.skip = skip,
	.fill = fill,
};
