// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * The live delta of a sidecar that was not in use: the checkpoint, and all of the regions that
 * were set, since nobody knows what was written in those (rule T4).
 *
 * Nothing is written here, so whoever dies after this finds the same again. The regions stay set
 * in the file until a checkpoint holds their units, and is durable.
 */
#include "sidecar_private.h"
#include "core/bits.h"

/* Every unit of the regions that were set, as far as @leaf goes. Any at all? */
static bool expand(const struct vhdx_sidecar *sidecar, u32 leaf, u64 *words)
{
	const u32 shift = sidecar->coarse.region_shift - sidecar->unit_shift;
	const u32 units = vhdx_sidecar_leaf_units(sidecar, leaf);
	const u32 first = leaf << (VHDX_LEAF_SHIFT - shift);
	const u32 last = first + ((units - 1) >> shift);
	u32 region = vhdx_find_bit(sidecar->found, 0, first, last + 1);

	if (region > last)
		return false;
	memset(words, 0, VHDX_PAGE);
	for (; region <= last; region = vhdx_find_bit(sidecar->found, 0, region + 1, last + 1)) {
		u32 unit = (region - first) << shift;

		vhdx_set_bits(words, unit, min(unit + (1U << shift), units));
	}
	return true;
}

/* A leaf all of whose units are set takes no memory. */
static int add_leaf(struct vhdx_changemap *map, u32 leaf, const u64 *words)
{
	const u64 leaf_bytes = (u64)VHDX_LEAF_UNITS << map->unit_shift;

	if (vhdx_find_bit(words, ~0ULL, 0, VHDX_LEAF_UNITS) < VHDX_LEAF_UNITS)
		return vhdx_changemap_leaf_load(map, leaf, words);
	vhdx_changemap_mark(map, leaf * leaf_bytes, leaf_bytes);
	return 0;
}

static int recover_leaf(struct vhdx_sidecar *sidecar, struct vhdx_changemap *map, u32 leaf,
			u64 *words, u64 *saved)
{
	u32 i, added = 0;

	if (!expand(sidecar, leaf, words))
		return 0;
	memset(saved, 0, VHDX_PAGE);
	vhdx_changemap_leaf_or(map, leaf, saved);
	for (i = 0; i < VHDX_LEAF_WORDS; i++)
		added += hweight64(words[i] & ~saved[i]);
	sidecar->recovered_units += added;
	return added ? add_leaf(map, leaf, words) : 0;
}

static int recover(struct vhdx_sidecar *sidecar, struct vhdx_changemap *map,
		   struct vhdx_diag *diag)
{
	u64 *words = vhdx_alloc(VHDX_PAGE);
	u64 *saved = vhdx_alloc(VHDX_PAGE);
	int err = words && saved ? 0 : -ENOMEM;
	u32 leaf;

	for (leaf = 0; !err && leaf < map->leaf_count; leaf++) {
		err = recover_leaf(sidecar, map, leaf, words, saved);
		vhdx_breathe();
	}
	vhdx_free(saved);
	vhdx_free(words);
	return err ? vhdx_no_memory(diag) : 0;
}

int vhdx_sidecar_load_live(struct vhdx_sidecar *sidecar, struct vhdx_changemap *map,
			   struct vhdx_diag *diag)
{
	struct vhdx_delta *live = &sidecar->timeline.live;
	int err;

	sidecar->recovered_units = 0;
	if (live->gap_reason)
		return 0;
	err = vhdx_sidecar_load_map(sidecar, live, map, diag);
	if (!err && sidecar->found)
		err = recover(sidecar, map, diag);
	if (!err && sidecar->recovered_units)
		live->flags |= VHDX_DELTA_COARSE;
	return err;
}
