// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "ranges.h"

void vhdx_ranges_taken(struct vhdx_ranges *ranges, u32 keep)
{
	if (keep)
		memmove(ranges->array, vhdx_ranges_at(ranges, ranges->count - keep),
			(size_t)keep * ranges->size);
	ranges->count = keep;
}
