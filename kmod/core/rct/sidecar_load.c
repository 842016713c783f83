// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Reading a sidecar. Every byte of it may be hostile: all counts are bounded by the
 * disk's geometry or by the size of the file before memory is taken for them, and a
 * block may be named once only.
 */
#include "sidecar_private.h"

static int read_points(struct vhdx_sidecar *sidecar, struct vhdx_sidecar_chain *chain, u32 count,
		       struct vhdx_diag *diag)
{
	int err;

	if (!count)
		return 0;
	sidecar->timeline.points = vhdx_alloc(count * sizeof(*sidecar->timeline.points));
	if (!sidecar->timeline.points)
		return vhdx_no_memory(diag);
	err = vhdx_sidecar_read_chain(sidecar, &vhdx_sidecar_point_record, count, sidecar, chain,
				      diag);
	sidecar->root_blocks = chain->blocks;
	sidecar->root_block_count = chain->block_count;
	return err;
}

/* Only the last point can be in the middle of being sealed, and only in use. */
static int check_issued(const struct vhdx_sidecar *sidecar, struct vhdx_diag *diag)
{
	const struct vhdx_timeline *timeline = &sidecar->timeline;
	u32 i;

	for (i = 0; i < timeline->count; i++)
		if (!timeline->points[i]->issued &&
		    (i < timeline->count - 1 || sidecar->state != VHDX_SIDECAR_ACTIVE))
			return vhdx_sidecar_damaged(diag, "point %u of %u is not issued, state %u",
						    i, timeline->count, sidecar->state);
	return 0;
}

int vhdx_sidecar_read_tree(struct vhdx_sidecar *sidecar, u64 block_max, bool read_only,
			   struct vhdx_diag *diag)
{
	struct vhdx_timeline *timeline = &sidecar->timeline;
	struct vhdx_sidecar_chain points = {};
	u32 count, i;
	int err;

	err = vhdx_sidecar_read_header(sidecar, block_max, read_only, &points, &count, diag);
	if (err)
		return err;
	if (vhdx_sidecar_map_blocks(sidecar, sidecar->block_count))
		return vhdx_no_memory(diag);
	err = read_points(sidecar, &points, count, diag);
	if (!err)
		err = check_issued(sidecar, diag);
	for (i = 0; !err && i < timeline->count; i++)
		err = vhdx_sidecar_read_index(sidecar, &timeline->points[i]->before, diag);
	if (!err)
		err = vhdx_sidecar_read_index(sidecar, &timeline->live, diag);
	return err;
}

int vhdx_sidecar_load(struct vhdx_sidecar *sidecar, struct vhdx_store *store, bool can_grow,
		      bool read_only, struct vhdx_diag *diag)
{
	u64 blocks = store->size >> VHDX_SIDECAR_BLOCK_SHIFT;
	int err;

	memset(sidecar, 0, sizeof(*sidecar));
	sidecar->store = store;
	sidecar->block_limit = can_grow ? ~0ULL : blocks;
	if (!store->size)
		return vhdx_sidecar_empty(diag);
	err = vhdx_sidecar_read_tree(sidecar, blocks, read_only, diag);
	if (err || read_only)
		return err;

	/*
	 * What we read may not be durable: whoever wrote it may have died before the
	 * flush. Blocks that this header doesn't name are about to be reused; the one
	 * before it may still need them unless this one is there to stay.
	 */
	err = store->flush(store);
	if (err)
		return vhdx_io_failed(diag, err, "sidecar: flushing it failed (%d)", err);
	return 0;
}

void vhdx_sidecar_release(struct vhdx_sidecar *sidecar)
{
	struct vhdx_timeline *timeline = &sidecar->timeline;
	u32 i;

	for (i = 0; i < timeline->count; i++) {
		vhdx_sidecar_free_delta(&timeline->points[i]->before);
		vhdx_free(timeline->points[i]);
	}
	vhdx_free(timeline->points);
	vhdx_sidecar_free_delta(&timeline->live);
	vhdx_free(sidecar->used);
	vhdx_free(sidecar->doomed);
	vhdx_free(sidecar->root_blocks);
	memset(sidecar, 0, sizeof(*sidecar));
}
