// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "sidecar_private.h"

/*
 * A point that was not issued yet only exists in the middle of a seal: it is the
 * last one and the disk is in use. Load insists on the same.
 */
static bool is_committable(const struct vhdx_sidecar *sidecar)
{
	const struct vhdx_timeline *timeline = &sidecar->timeline;
	u32 i;

	for (i = 0; i < timeline->count; i++)
		if (!timeline->points[i]->issued)
			return i == timeline->count - 1 && sidecar->state == VHDX_SIDECAR_ACTIVE;
	return true;
}

/*
 * Order: the new chain of points goes to free blocks; a flush makes it durable with
 * all leaves and indexes written before; the header goes into the slot that does not
 * count, and a flush decides that it counts from now on. Only then may anything be
 * overwritten that the header before referred to.
 *
 * Up to the first flush a failure leaves everything as it was. From there on it does
 * not: a flush that failed may have lost what later ones claim to have written, and a
 * header that failed may still arrive.
 */
int vhdx_sidecar_commit(struct vhdx_sidecar *sidecar)
{
	struct vhdx_store *store = sidecar->store;
	struct vhdx_sidecar_chain points;
	unsigned int slot = !sidecar->slot;
	u32 i;
	int err;

	if (!store->write)
		return -EROFS;
	if (sidecar->failed)
		return -EIO;
	if (!is_committable(sidecar))
		return -EINVAL;
	/* A header that a load would refuse must never be written. */
	if (sidecar->sequence >= VHDX_SIDECAR_SEQUENCE_MAX)
		return -ENOSPC;

	err = vhdx_sidecar_write_chain(sidecar, &vhdx_sidecar_point_record,
				       sidecar->timeline.count, &sidecar->timeline, &points);
	if (err)
		goto check_failure;
	for (i = 0; i < sidecar->root_block_count; i++)
		vhdx_sidecar_doom_block(sidecar, sidecar->root_blocks[i]);

	err = store->flush(store);
	if (!err)
		err = vhdx_sidecar_write_header(sidecar, slot, &points);
	if (err) {
		vhdx_free(points.blocks);
		goto fail;
	}

	sidecar->sequence++;
	sidecar->slot = slot;
	vhdx_free(sidecar->root_blocks);
	sidecar->root_blocks = points.blocks;
	sidecar->root_block_count = points.block_count;
	sidecar->block_count = vhdx_sidecar_end_of_blocks(sidecar);
	vhdx_sidecar_free_doomed(sidecar);
	return 0;

check_failure:
	if (err == -ENOSPC || err == -ENOMEM)
		return err;
fail:
	sidecar->failed = true;
	return err == -ENOSPC || err == -ENOMEM ? -EIO : err;
}
