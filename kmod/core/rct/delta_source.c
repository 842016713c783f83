// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Several sources as one, and those of what was recorded.
 */
#include "delta_source.h"
#include "core/bits.h"
#include "history.h"

/* ---- all of them --------------------------------------------------------------------------- */

static int find_in_any(void *context, u32 leaf, u32 *end)
{
	const struct vhdx_delta_list *list = context;
	u32 i;
	int err = 0;

	for (i = 0; i < list->count && !err; i++)
		err = list->sources[i].ops->find(list->sources[i].context, leaf, end);
	return err;
}

static int fill_from_any(void *context, u32 leaf, u32 *end)
{
	const struct vhdx_delta_list *list = context;
	u32 longest = leaf;
	u32 i, until;
	int err = 0;

	for (i = 0; i < list->count && !err; i++) {
		if (!list->sources[i].ops->fill)
			continue;
		until = *end;
		err = list->sources[i].ops->fill(list->sources[i].context, leaf, &until);
		longest = max(longest, until);
	}
	*end = longest;
	return err;
}

static int read_all(void *context, u32 leaf, struct vhdx_leaf_bits *units)
{
	const struct vhdx_delta_list *list = context;
	u32 i;
	int err = 0;

	for (i = 0; i < list->count && !err; i++)
		err = list->sources[i].ops->read(list->sources[i].context, leaf, units);
	return err;
}

/* Of several, who else has the leaf is found out when it is read. */
static int lend_from_one(void *context, u32 leaf, struct vhdx_lent_leaf *lent, u32 count)
{
	const struct vhdx_delta_list *list = context;

	if (list->count != 1 || !list->sources->ops->lend)
		return 0;
	return list->sources->ops->lend(list->sources->context, leaf, lent, count);
}

const struct vhdx_leaf_source vhdx_delta_list_source = {
	.find = find_in_any,
	.lend = lend_from_one,
	.fill = fill_from_any,
	.read = read_all,
};

/* ---- at rest in a sidecar ------------------------------------------------------------------ */

static u32 region_count(const struct vhdx_sidecar *sidecar)
{
	return ((sidecar->disk_size - 1) >> sidecar->coarse.region_shift) + 1;
}

/* A region lies in one leaf. */
static u32 region_leaf_shift(const struct vhdx_sidecar *sidecar)
{
	return sidecar->unit_shift + VHDX_LEAF_SHIFT - sidecar->coarse.region_shift;
}

/* The first leaf with a region that is set. */
static void find_region(const struct vhdx_sidecar *sidecar, u32 leaf, u32 *end)
{
	const u32 shift = region_leaf_shift(sidecar);
	const u32 count = region_count(sidecar);
	u32 region;

	if (!sidecar->found || leaf > (count - 1) >> shift)
		return;
	region = vhdx_find_bit(sidecar->found, 0, leaf << shift, count);
	if (region < count)
		*end = min(*end, region >> shift);
}

static void read_regions(const struct vhdx_sidecar *sidecar, u32 leaf,
			 struct vhdx_leaf_bits *bits)
{
	const u32 shift = region_leaf_shift(sidecar);
	const u32 units = VHDX_LEAF_SHIFT - shift;
	const u32 count = region_count(sidecar);
	u32 region, first = leaf << shift;
	u32 end;

	if (!sidecar->found || leaf > (count - 1) >> shift)
		return;
	end = min(first + (1U << shift), count);
	for (region = vhdx_find_bit(sidecar->found, 0, first, end); region < end;
	     region = vhdx_find_bit(sidecar->found, 0, region + 1, end))
		vhdx_leaf_bits_set(bits, (region - first) << units, (region + 1 - first) << units);
}

/* The timeline stays what it is. */
static int list_deltas(struct vhdx_stored_deltas *stored)
{
	const struct vhdx_timeline *timeline = &stored->sidecar->timeline;
	struct vhdx_delta_merge *merge = stored->merge;
	u32 i;
	int err;

	if (stored->listed)
		return 0;
	err = vhdx_delta_merge_begin(merge, stored->end - stored->first + 1);
	if (err)
		return err;
	for (i = stored->first; i < stored->end; i++)
		vhdx_delta_merge_add(merge, &timeline->points[i]->before);
	if (stored->live)
		vhdx_delta_merge_add(merge, &timeline->live);
	err = vhdx_delta_merge_end(merge);
	stored->listed = !err;
	return err;
}

static int find_stored(void *context, u32 leaf, u32 *end)
{
	struct vhdx_stored_deltas *stored = context;
	int ret = list_deltas(stored);

	if (ret)
		return ret;
	if (stored->live)
		find_region(stored->sidecar, leaf, end);
	do {
		ret = vhdx_delta_merge_find(stored->merge, stored->sidecar, leaf, end,
					    stored->cache);
	} while (ret > 0);
	return ret;
}

static int read_stored(void *context, u32 leaf, struct vhdx_leaf_bits *units)
{
	struct vhdx_stored_deltas *stored = context;
	int ret = list_deltas(stored);

	if (ret)
		return ret;
	if (stored->live)
		read_regions(stored->sidecar, leaf, units);
	do {
		ret = vhdx_delta_merge_read(stored->merge, stored->sidecar, leaf, units,
					    stored->cache);
	} while (ret > 0);
	return ret;
}

const struct vhdx_leaf_source vhdx_stored_source = {
	.find = find_stored,
	.read = read_stored,
};

/* ---- in memory ----------------------------------------------------------------------------- */

static int find_live(void *context, u32 leaf, u32 *end)
{
	*end = vhdx_history_find_live_leaf(context, leaf, *end);
	return 0;
}

static int read_live(void *context, u32 leaf, struct vhdx_leaf_bits *units)
{
	vhdx_history_live_leaf(context, leaf, units);
	return 0;
}

const struct vhdx_leaf_source vhdx_live_source = {
	.find = find_live,
	.read = read_live,
};
