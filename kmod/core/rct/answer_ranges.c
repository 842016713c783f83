// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * An answer in ranges.
 */
#include "answer.h"
#include "core/bits.h"

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
static bool skip(struct vhdx_answer *answer, u64 to)
{
	answer->offset = to;
	return !vhdx_ranges_is_full(&answer->ranges) ||
	       !vhdx_ranges_is_apart(&answer->ranges, granule_of(answer, to), 0);
}

static bool fill(struct vhdx_answer *answer, u64 to)
{
	if (!tell(answer, answer->offset, to))
		return false;
	answer->offset = max(to, answer->ranges.end);
	return true;
}

static bool take(struct vhdx_answer *answer, u64 to)
{
	const u32 shift = answer->unit_shift;
	const u64 start = answer->offset >> shift >> VHDX_LEAF_SHIFT << VHDX_LEAF_SHIFT << shift;
	const u32 end = ((to - start - 1) >> shift) + 1;
	const bool granules = answer->granule_shift != shift;
	const u64 *words = answer->words;
	u64 behind, offset = answer->offset;
	u32 from, bit = (offset - start) >> shift;
	bool fits = true;

	while (offset < to) {
		from = vhdx_find_run(words, bit, end, &bit);
		if (from == end)
			return skip(answer, to);
		behind = min(to, start + ((u64)bit << shift));
		fits = tell(answer, max(offset, start + ((u64)from << shift)), behind);
		if (!fits)
			break;
		offset = behind;
		/* The rest of a granule is told, whatever lies in it. */
		if (granules && answer->ranges.end > behind) {
			offset = answer->ranges.end;
			bit = (offset - start) >> shift;
		}
	}
	answer->offset = offset;
	return fits;
}

const struct vhdx_answer_form vhdx_answer_ranges = {
	.take = take,
	.skip = skip,
	.fill = fill,
};
