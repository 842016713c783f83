// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdlib.h>
#include <core/rct/zeroes.h>
#include "internal.h"
#include "offline_zeroes.h"

/* Ranges between two looks at where they are. */
#define RANGES	512U

/**
 * struct splitting - an answer under way
 * @chain:	what its ranges are looked up in
 * @parts:	what is told
 * @begin:	where the answer begins
 * @deadline:	when the caller wants it
 */
struct splitting {
	struct offline_chain *chain;
	struct vhdx_zeroes parts;
	u64 begin;
	uint64_t deadline;
};

/* 0: go on; 1: there is no more room; -errno. What can't be looked up is told as it is. */
static int look(struct splitting *splitting)
{
	struct vhdx_zeroes *parts = &splitting->parts;
	struct vhdx_diag wrong = { };
	bool zero;
	u64 to;
	int err;

	err = offline_extent(splitting->chain, parts->at, &to, &zero, &wrong);
	if (err == -ENOMEM)
		return err;
	if (err) {
		to = parts->to;
		zero = false;
	}
	return vhdx_zeroes_add(parts, to - parts->at, zero) ? 0 : 1;
}

static int split(struct splitting *splitting, const struct vhdx_range *range)
{
	struct vhdx_zeroes *parts = &splitting->parts;
	int ret = 0;

	if (now_ms() >= splitting->deadline && parts->done > splitting->begin)
		return 1;
	vhdx_zeroes_begin(parts, range->byte_offset, range->byte_offset + range->byte_length);
	while (!ret && parts->at < parts->to) {
		ret = look(splitting);
		if (ret || now_ms() < splitting->deadline)
			continue;
		if (!vhdx_zeroes_cut(parts) || parts->done > splitting->begin)
			return parts->done < parts->to;
	}
	return ret;
}

static int split_all(struct splitting *splitting, struct vhdx_ranges *ranges, u32 keep)
{
	u32 i;
	int ret = 0;

	keep = min(keep, ranges->count);
	for (i = 0; i + keep < ranges->count && !ret; i++)
		ret = split(splitting, vhdx_ranges_at(ranges, i));
	vhdx_ranges_taken(ranges, keep);
	return ret;
}

/* The last range stays back while it may still grow. */
static int run(struct splitting *splitting, struct vhdx_answer *answer,
	       struct vhdx_delta_list *list)
{
	bool last;
	int ret;

	do {
		ret = vhdx_answer_leaf(answer, &vhdx_delta_list_source, list);
		if (ret < 0)
			return ret;
		last = answer->offset == answer->end || now_ms() >= splitting->deadline;
		ret = split_all(splitting, &answer->ranges, last ? 0 : 1);
	} while (!ret && !last);
	if (ret == 1) {
		answer->offset = splitting->parts.done;
		answer->ranges.sum = splitting->parts.sum;
	}
	return ret ? ret : answer->offset < answer->end;
}

int offline_flagged(struct offline_chain *chain, struct vhdx_answer *answer,
		    struct vhdx_delta_list *list, struct vhdx_get_virtual_disk_changes *query,
		    uint64_t deadline)
{
	struct splitting splitting = {
		.chain = chain,
		.parts = {
			.told = {
				.array = (void *)(uintptr_t)query->output,
				.size = query->range_size,
				.capacity = query->output_capacity,
			},
			.granule_shift = answer->granule_shift,
			.min_gap = query->min_gap,
			.done = query->byte_offset,
		},
		.begin = query->byte_offset,
		.deadline = deadline,
	};
	int ret;

	answer->ranges.array = malloc(RANGES * sizeof(struct vhdx_range));
	if (!answer->ranges.array)
		return -ENOMEM;
	answer->ranges.capacity = RANGES;
	ret = run(&splitting, answer, list);
	free(answer->ranges.array);
	answer->ranges.array = NULL;
	query->output_count = splitting.parts.told.count;
	return ret;
}
