// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Blocks that are about to be free. The header that is durable names them until the next one is;
 * from then on nobody comes by them any more, but somebody who began before may still read them.
 */
#include "sidecar_private.h"

/*
 * One that the walk has not come by yet is claimed first: it must not be taken for free before
 * the header that names it is gone. Without memory it stays used.
 */
void vhdx_sidecar_doom_block(struct vhdx_sidecar *sidecar, u64 block)
{
	struct vhdx_sidecar_space *space = &sidecar->space;

	if (!block || block == VHDX_DELTA_ALL)
		return;
	if (vhdx_sidecar_claim_block(sidecar, block) == -ENOMEM)
		space->lost_track = true;
	else
		vhdx_block_list_add(&space->doomed, block);
}

/* @space->doomed keeps its order and its length: what is under way may be undone. */
void vhdx_sidecar_release_retired(struct vhdx_sidecar *sidecar)
{
	struct vhdx_sidecar_space *space = &sidecar->space;
	const u64 *blocks = space->doomed.blocks;

	while (space->retired_count &&
	       (!sidecar->retired || sidecar->retired(sidecar, space->retired[0].cookie))) {
		while (space->released < space->retired[0].end)
			vhdx_sidecar_unclaim_block(sidecar, blocks[space->released++]);
		space->retired_count--;
		memmove(&space->retired[0], &space->retired[1],
			space->retired_count * sizeof(space->retired[0]));
	}
}

/* Nothing is under way. */
static void shorten_doomed(struct vhdx_sidecar_space *space)
{
	struct vhdx_block_list *doomed = &space->doomed;
	u32 i;

	doomed->count -= space->released;
	if (doomed->count)
		memmove(doomed->blocks, doomed->blocks + space->released,
			doomed->count * sizeof(*doomed->blocks));
	else
		vhdx_block_list_release(doomed);
	for (i = 0; i < space->retired_count; i++)
		space->retired[i].end -= space->released;
	space->released = 0;
}

void vhdx_sidecar_retire_doomed(struct vhdx_sidecar *sidecar)
{
	struct vhdx_sidecar_space *space = &sidecar->space;
	struct vhdx_retired_blocks *last;

	/* The last one waits longer instead, together with these. */
	if (space->retired_count < VHDX_SIDECAR_BATCHES)
		space->retired[space->retired_count++].lost_track = false;
	last = &space->retired[space->retired_count - 1];
	last->cookie = sidecar->retire ? sidecar->retire(sidecar) : 0;
	last->end = space->doomed.count;
	last->lost_track |= space->lost_track;
	space->lost_track = false;
	vhdx_sidecar_release_retired(sidecar);
	shorten_doomed(space);
}

bool vhdx_sidecar_has_lost_track(const struct vhdx_sidecar *sidecar)
{
	const struct vhdx_sidecar_space *space = &sidecar->space;
	bool lost = space->lost_track;
	u32 i;

	for (i = 0; i < space->retired_count; i++)
		lost |= space->retired[i].lost_track;
	return lost;
}
