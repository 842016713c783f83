// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Learning which blocks are used: the indexes of all deltas are read, one after the other,
 * while the sidecar is in use. What is written meanwhile lies behind all that was there, and
 * is known. A delta is known as a whole or not at all.
 */
#include "sidecar_private.h"

bool vhdx_sidecar_is_walked(const struct vhdx_sidecar *sidecar)
{
	return sidecar->space.known_from == sidecar->space.fixed;
}

static int claim(struct vhdx_sidecar *sidecar, u64 block, struct vhdx_block_list *claimed,
		 struct vhdx_diag *diag)
{
	int err;

	if (block == VHDX_DELTA_ALL)
		return 0;
	err = vhdx_sidecar_claim_block(sidecar, block);
	if (err == -EEXIST)
		return vhdx_sidecar_damaged(diag, "block %llu is named twice", block);
	if (!err && vhdx_block_list_add(claimed, block)) {
		vhdx_sidecar_unclaim_block(sidecar, block);
		err = -ENOMEM;
	}
	return err ? vhdx_no_memory(diag) : 0;
}

/* The list is not needed any more; after a failure, neither are the claims. */
static int end_claims(struct vhdx_sidecar *sidecar, struct vhdx_block_list *claimed, int err)
{
	while (err && claimed->count)
		vhdx_sidecar_unclaim_block(sidecar, claimed->blocks[--claimed->count]);
	vhdx_block_list_release(claimed);
	return err;
}

static int claim_index(struct vhdx_sidecar *sidecar, struct vhdx_index_iter *iter,
		       struct vhdx_block_list *claimed, struct vhdx_diag *diag)
{
	const struct vhdx_delta_leaf *entry;
	u32 i;
	int err = 0;

	for (i = 0; !err && i < iter->table_count; i++)
		err = claim(sidecar, iter->tables[i].block, claimed, diag);
	while (!err) {
		err = vhdx_index_iter_peek(iter, &entry, diag);
		if (err || !entry)
			break;
		err = claim(sidecar, entry->block, claimed, diag);
		vhdx_index_iter_next(iter);
	}
	return err;
}

int vhdx_sidecar_learn_delta(struct vhdx_sidecar *sidecar, struct vhdx_delta *delta,
			     struct vhdx_diag *diag)
{
	struct vhdx_block_list claimed = {};
	struct vhdx_index_iter iter;
	int err;

	if (delta->known || !delta->leaf_count)
		return 0;
	err = vhdx_index_iter_init(&iter, sidecar, delta, diag);
	if (!err)
		err = claim(sidecar, delta->index_block, &claimed, diag);
	if (!err)
		err = claim_index(sidecar, &iter, &claimed, diag);
	vhdx_index_iter_release(&iter);
	err = end_claims(sidecar, &claimed, err);
	delta->known = !err;
	return err;
}

/* Those that were written since the sidecar was opened are known. */
static int claim_points(struct vhdx_sidecar *sidecar, struct vhdx_block_list *claimed,
			struct vhdx_diag *diag)
{
	const struct vhdx_sidecar_points *points = &sidecar->points;
	u64 known_from = sidecar->space.known_from;
	u32 i;
	int err = 0;

	if (points->block && points->block < known_from)
		err = claim(sidecar, points->block, claimed, diag);
	for (i = 0; !err && i < points->table_count; i++)
		if (points->tables[i].block && points->tables[i].block < known_from)
			err = claim(sidecar, points->tables[i].block, claimed, diag);
	return err;
}

static struct vhdx_delta *find_unknown(struct vhdx_sidecar *sidecar)
{
	struct vhdx_timeline *timeline = &sidecar->timeline;
	u32 i;

	for (i = 0; i < timeline->count; i++)
		if (timeline->points[i]->before.leaf_count && !timeline->points[i]->before.known)
			return &timeline->points[i]->before;
	return timeline->live.leaf_count && !timeline->live.known ? &timeline->live : NULL;
}

int vhdx_sidecar_end_walk(struct vhdx_sidecar *sidecar, struct vhdx_diag *diag)
{
	struct vhdx_sidecar_space *space = &sidecar->space;
	struct vhdx_block_list claimed = {};
	int err;

	if (vhdx_sidecar_is_walked(sidecar) || vhdx_sidecar_has_lost_track(sidecar) ||
	    find_unknown(sidecar))
		return 0;
	err = end_claims(sidecar, &claimed, claim_points(sidecar, &claimed, diag));
	if (!err) {
		space->known_from = space->fixed;
		space->lowest_free = space->fixed;
	}
	return err;
}

int vhdx_sidecar_walk(struct vhdx_sidecar *sidecar, u32 deltas, struct vhdx_diag *diag)
{
	struct vhdx_delta *delta;
	int err;

	while ((delta = find_unknown(sidecar))) {
		if (!deltas--)
			return 1;
		err = vhdx_sidecar_learn_delta(sidecar, delta, diag);
		if (err)
			return err;
		vhdx_breathe();
	}
	return vhdx_sidecar_end_walk(sidecar, diag);
}
