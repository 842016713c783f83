/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Ranges of a disk on their way to a caller: ascending, joined where they touch.
 */
#ifndef VHDX_CORE_RANGES_H
#define VHDX_CORE_RANGES_H

#include "platform.h"

#ifdef __KERNEL__
#include <uapi/linux/vhdx.h>
#else
#include <linux/vhdx.h>
#endif

/**
 * struct vhdx_ranges - a list that is filled
 * @array:	where they go; NULL: only their sum is wanted
 * @size:	from one range to the next: VHDX_RANGE_SIZE_VER0, or that of the whole struct
 *		vhdx_range
 * @capacity:	of @array
 * @count:	in it
 * @min_gap:	what lies closer to each other than so many bytes is one range
 * @any:	there is a last range, in the array or taken out of it
 * @flags:	of that: VHDX_RANGE_*
 * @end:	behind that
 * @sum:	of all that do not read as zeroes, in bytes
 */
struct vhdx_ranges {
	void *array;
	u32 size;
	u32 capacity;
	u32 count;
	u64 min_gap;
	bool any;
	u32 flags;
	u64 end;
	u64 sum;
};

/* One that is in the array; of a short one only the first two fields are there. */
static inline struct vhdx_range *vhdx_ranges_at(const struct vhdx_ranges *ranges, u32 index)
{
	return ranges->array + (size_t)index * ranges->size;
}

static inline bool vhdx_ranges_is_full(const struct vhdx_ranges *ranges)
{
	return ranges->array && ranges->count == ranges->capacity;
}

/* A range with these flags that begins at @from, or behind, has nothing to do with the last one. */
static inline bool vhdx_ranges_is_apart(const struct vhdx_ranges *ranges, u64 from, u32 flags)
{
	if (!ranges->any || ranges->flags != flags)
		return true;
	return from > ranges->end && from - ranges->end >= ranges->min_gap;
}

/* The next one in the array, for which there is room. Inline, as all that an answer does often. */
static inline void vhdx_ranges_begin(struct vhdx_ranges *ranges, u64 from, u64 to, u32 flags)
{
	struct vhdx_range *range;

	ranges->any = true;
	ranges->flags = flags;
	if (!ranges->array)
		return;
	range = vhdx_ranges_at(ranges, ranges->count++);
	range->byte_offset = from;
	range->byte_length = to - from;
	if (ranges->size > offsetof(struct vhdx_range, flags)) {
		range->flags = flags;
		range->reserved = 0;
	}
}

/**
 * vhdx_ranges_add() - the next range
 * @ranges:	the list
 * @from:	in bytes; what the last range has already is not told twice
 * @to:		behind it, not before @from
 * @flags:	VHDX_RANGE_*
 *
 * False if it doesn't fit.
 */
static inline bool vhdx_ranges_add(struct vhdx_ranges *ranges, u64 from, u64 to, u32 flags)
{
	if (vhdx_ranges_is_apart(ranges, from, flags)) {
		if (vhdx_ranges_is_full(ranges))
			return false;
		vhdx_ranges_begin(ranges, from, to, flags);
	} else {
		from = ranges->end;
		if (to <= from)
			return true;
		if (ranges->array)
			vhdx_ranges_at(ranges, ranges->count - 1)->byte_length += to - from;
	}
	if (!(flags & VHDX_RANGE_ZERO))
		ranges->sum += to - from;
	ranges->end = to;
	return true;
}

/* All but @keep ranges were taken out of the array. */
void vhdx_ranges_taken(struct vhdx_ranges *ranges, u32 keep);

#endif
