// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "answer.h"
#include "core/bits.h"

/* False if it doesn't fit. */
static bool append(struct vhdx_answer *answer, u64 from, u64 to)
{
	struct vhdx_range *last = NULL;

	if (answer->count)
		last = vhdx_answer_range(answer, answer->count - 1);
	if (last && last->byte_offset + last->byte_length == from) {
		last->byte_length += to - from;
	} else if (answer->ranges) {
		if (answer->count == answer->capacity)
			return false;
		last = vhdx_answer_range(answer, answer->count++);
		memset(last, 0, answer->range_size);
		last->byte_offset = from;
		last->byte_length = to - from;
	}
	answer->changed += to - from;
	return true;
}

static bool is_full(const struct vhdx_answer *answer)
{
	return answer->ranges && answer->count == answer->capacity;
}

int vhdx_answer_leaf(struct vhdx_answer *answer, vhdx_leaf_source source, void *context)
{
	const u32 shift = answer->unit_shift;
	const u64 leaf_bytes = (u64)VHDX_LEAF_UNITS << shift;
	const u64 leaf_start = answer->offset & ~(leaf_bytes - 1);
	u64 leaf_end = answer->end;
	u32 bit, end;
	int err;

	if (answer->offset >= answer->end)
		return 0;
	if (leaf_end - leaf_start > leaf_bytes)
		leaf_end = leaf_start + leaf_bytes;

	memset(answer->words, 0, VHDX_PAGE);
	err = source(context, leaf_start >> shift >> VHDX_LEAF_SHIFT, answer->words);
	if (err)
		return err;

	bit = (answer->offset - leaf_start) >> shift;
	end = ((leaf_end - leaf_start - 1) >> shift) + 1;
	for (;;) {
		u32 from = vhdx_find_bit(answer->words, 0, bit, end);
		u64 start;

		/*
		 * A full array takes only what continues its last range. Once that
		 * is known to have ended there is nothing left to do here.
		 */
		if (is_full(answer) && from != bit)
			return 0;
		if (from == end)
			break;
		bit = vhdx_find_bit(answer->words, ~0ULL, from, end);
		start = max(answer->offset, leaf_start + ((u64)from << shift));
		answer->offset = min(leaf_end, leaf_start + ((u64)bit << shift));
		if (!append(answer, start, answer->offset)) {
			answer->offset = start;
			return 0;
		}
	}
	answer->offset = leaf_end;
	return leaf_end < answer->end;
}
