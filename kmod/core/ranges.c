// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "ranges.h"

bool vhdx_ranges_is_apart(const struct vhdx_ranges *ranges, u64 from, u32 flags)
{
	if (!ranges->any || ranges->flags != flags)
		return true;
	return from > ranges->end && from - ranges->end >= ranges->min_gap;
}

static void begin_range(struct vhdx_ranges *ranges, u64 from, u32 flags)
{
	struct vhdx_range *range;

	ranges->any = true;
	ranges->flags = flags;
	ranges->end = from;
	if (!ranges->array)
		return;
	range = vhdx_ranges_at(ranges, ranges->count++);
	memset(range, 0, ranges->size);
	range->byte_offset = from;
	if (ranges->size > offsetof(struct vhdx_range, flags))
		range->flags = flags;
}

bool vhdx_ranges_add(struct vhdx_ranges *ranges, u64 from, u64 to, u32 flags)
{
	if (vhdx_ranges_is_apart(ranges, from, flags)) {
		if (vhdx_ranges_is_full(ranges))
			return false;
		begin_range(ranges, from, flags);
	}
	if (to <= ranges->end)
		return true;
	if (ranges->array)
		vhdx_ranges_at(ranges, ranges->count - 1)->byte_length += to - ranges->end;
	if (!(flags & VHDX_RANGE_ZERO))
		ranges->sum += to - ranges->end;
	ranges->end = to;
	return true;
}

void vhdx_ranges_taken(struct vhdx_ranges *ranges, u32 keep)
{
	if (keep)
		memmove(ranges->array, vhdx_ranges_at(ranges, ranges->count - keep),
			(size_t)keep * ranges->size);
	ranges->count = keep;
}
