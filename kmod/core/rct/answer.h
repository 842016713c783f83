/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * From leaves to ranges: the part of GET_VIRTUAL_DISK_CHANGES that knows nothing of
 * disks. Used by the driver and by the offline command.
 */
#ifndef VHDX_CORE_ANSWER_H
#define VHDX_CORE_ANSWER_H

#include "timeline.h"

/**
 * typedef vhdx_leaf_source - OR one leaf of every delta of the span into @words
 *
 * Returns 0 or -errno.
 */
typedef int (*vhdx_leaf_source)(void *context, u32 leaf, u64 *words);

/**
 * struct vhdx_answer - a query under way
 * @offset:	next byte to look at; advances
 * @end:	behind the last byte of the request (not beyond the disk)
 * @unit_shift:	log2 of the tracking unit
 * @ranges:	where ranges go; NULL: only @changed is wanted
 * @range_size:	from one range to the next: VHDX_RANGE_SIZE_VER0, or that of the whole
 *		struct vhdx_range
 * @capacity:	of @ranges
 * @count:	ranges so far; ascending, coalesced, clipped to the request
 * @changed:	their sum in bytes, those that the caller took out included
 * @words:	scratch, VHDX_LEAF_WORDS words
 */
struct vhdx_answer {
	u64 offset;
	u64 end;
	u32 unit_shift;
	void *ranges;
	u32 range_size;
	u32 capacity;
	u32 count;
	u64 changed;
	u64 *words;
};

/* One that is in the buffer; of a short one only the first two fields are there. */
static inline struct vhdx_range *vhdx_answer_range(const struct vhdx_answer *answer, u32 index)
{
	return answer->ranges + (size_t)index * answer->range_size;
}

/**
 * vhdx_answer_leaf() - consume the leaf that answer->offset lies in
 *
 * Advances @offset to the end of the leaf or of the request, or, when @ranges is
 * full, to just behind the last range that fitted: everything before @offset is told.
 * A range that goes on in the next leaf is joined with it. Progress is at least one
 * unit (or the rest of the request) whenever count < capacity on entry.
 * Returns 1: go on; 0: done (end reached or full); -errno from the source.
 */
int vhdx_answer_leaf(struct vhdx_answer *answer, vhdx_leaf_source source, void *context);

#endif
