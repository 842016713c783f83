// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "sidecar_private.h"

int vhdx_sidecar_write_token(struct vhdx_sidecar *sidecar, const struct vhdx_token *token,
			     void *block)
{
	struct vhdx_store *store = sidecar->store;
	struct vhdx_token_state *state = &sidecar->token;
	unsigned int slot = !state->slot;
	int err;

	vhdx_token_encode(token, block);
	err = vhdx_sidecar_write_blocks(sidecar, VHDX_SIDECAR_TOKEN_BLOCK + slot, block, 1);
	err = err ?: store->flush(store);
	if (err)
		return err;
	state->commit = token->commit;
	state->sequence = token->sequence;
	state->slot = slot;
	return 0;
}

/* A flush that failed may have lost what later ones claim to have written. */
static int switch_header(struct vhdx_sidecar *sidecar, void *header)
{
	struct vhdx_store *store = sidecar->store;
	unsigned int slot = !sidecar->slot;
	int err;

	err = store->flush(store);
	if (!err)
		err = vhdx_sidecar_write_header(sidecar, slot, header);
	if (err)
		return err == -ENOSPC || err == -ENOMEM ? -EIO : err;
	/* The generation of what is written into the coarse area from now on. */
	WRITE_ONCE(sidecar->sequence, sidecar->sequence + 1);
	sidecar->slot = slot;
	sidecar->block_count = sidecar->space.end;
	return 0;
}

/* A file that can't grow any more has free blocks, once one knows where. */
static int write_points(struct vhdx_sidecar *sidecar)
{
	int err = vhdx_sidecar_write_points(sidecar);

	if (err != -ENOSPC || vhdx_sidecar_is_walked(sidecar))
		return err;
	vhdx_sidecar_walk(sidecar, ~0U, NULL);
	return vhdx_sidecar_is_walked(sidecar) ? vhdx_sidecar_write_points(sidecar) : err;
}

/*
 * Order: the tables of points that changed, and their root, go to free blocks; a flush
 * makes them durable with all leaves and indexes written before; the header goes into the
 * slot that does not count, and a flush decides that it counts from now on. Only then may
 * anything be overwritten that the header before referred to.
 *
 * Up to the first flush a failure for lack of room leaves everything as it was. From there
 * on it does not, and a header that failed may still arrive.
 */
int vhdx_sidecar_commit(struct vhdx_sidecar *sidecar)
{
	void *header;
	int err;

	if (!sidecar->store->write)
		return -EROFS;
	if (sidecar->failed)
		return -EIO;
	if (vhdx_sidecar_find_misplaced(sidecar) >= 0)
		return -EINVAL;
	/* A header that a load would refuse must never be written. */
	if (sidecar->sequence >= VHDX_SIDECAR_SEQUENCE_MAX)
		return -ENOSPC;
	header = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	if (!header)
		return -ENOMEM;

	err = write_points(sidecar);
	if (err && err != -ENOSPC && err != -ENOMEM)
		sidecar->failed = true;
	if (!err) {
		err = switch_header(sidecar, header);
		sidecar->failed = err;
	}
	vhdx_free(header);
	if (err)
		return err;
	vhdx_sidecar_retire_doomed(sidecar);
	/* If it can't end the file goes on to grow: what was committed is durable. */
	vhdx_sidecar_end_walk(sidecar, NULL);
	return 0;
}
