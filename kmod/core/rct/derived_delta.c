// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * The delta that a differencing layer is: whatever it has itself is what changed since its parent
 * was frozen (rule V7). Every state of a block but NOT_PRESENT, and the one bits of a block that is
 * partially present, to the sector; and all that lies behind the parent's end.
 */
#include "delta_source.h"

/* So many looks at a layer are taken before something is told: it may be a long way. */
#define LOOKS	256U

/* As vhdx_presence_fn. */
static int look(const struct vhdx_derived_delta *delta, u64 offset, u64 *to)
{
	if (offset >= delta->size)
		return 0;
	*to = min(*to, delta->size);
	if (offset >= delta->parent_size)
		return 1;
	*to = min(*to, delta->parent_size);
	return delta->look(delta->context, delta->layer, offset, to);
}

static u64 start_of(const struct vhdx_derived_delta *delta, u32 leaf)
{
	return (u64)leaf << VHDX_LEAF_SHIFT << delta->unit_shift;
}

static u32 leaf_of(const struct vhdx_derived_delta *delta, u64 offset)
{
	return offset >> delta->unit_shift >> VHDX_LEAF_SHIFT;
}

/* If it is still not known after many looks there may be something in the next leaf. */
static int find(void *context, u32 leaf, u32 *end)
{
	const struct vhdx_derived_delta *delta = context;
	const u64 behind = start_of(delta, *end);
	u64 at = start_of(delta, leaf);
	u64 to;
	u32 i;
	int ret;

	for (i = 0; at < behind && at < delta->size; at = to) {
		to = behind;
		ret = look(delta, at, &to);
		if (ret < 0)
			return ret;
		if (ret || ++i == LOOKS) {
			*end = leaf_of(delta, at);
			return 0;
		}
	}
	return 0;
}

static int fill(void *context, u32 leaf, u32 *end)
{
	const struct vhdx_derived_delta *delta = context;
	const u64 behind = start_of(delta, *end);
	u64 at = start_of(delta, leaf);
	u64 to;
	u32 i;
	int ret = 1;

	for (i = 0; i < LOOKS && at < behind; i++) {
		to = behind;
		ret = look(delta, at, &to);
		if (ret < 0)
			return ret;
		if (!ret)
			break;
		at = to;
	}
	*end = leaf_of(delta, at);
	return 0;
}

static int read(void *context, u32 leaf, struct vhdx_leaf_bits *units)
{
	const struct vhdx_derived_delta *delta = context;
	const u32 shift = delta->unit_shift;
	const u64 start = start_of(delta, leaf);
	const u64 end = min(start_of(delta, leaf + 1), delta->size);
	u64 at, to;
	u32 behind;
	int ret;

	for (at = start; at < end; at = to) {
		to = end;
		ret = look(delta, at, &to);
		if (ret < 0)
			return ret;
		if (!ret)
			continue;
		behind = ((to - 1 - start) >> shift) + 1;
		vhdx_leaf_bits_set(units, (at - start) >> shift, behind);
		/* The rest of the last unit is told, too: a bitmap may have thousands of runs. */
		to = start + ((u64)behind << shift);
	}
	return 0;
}

const struct vhdx_leaf_source vhdx_derived_source = {
	.find = find,
	.fill = fill,
	.read = read,
};
