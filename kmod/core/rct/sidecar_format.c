// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "sidecar_private.h"

/* Both slots, and a point or two with what a commit needs. */
#define BLOCKS_MIN	16U

/*
 * Whatever was there before must not become the header that counts. But it stays a sidecar, if a
 * damaged one: what else is in the file would be anybody's without the signature, and not be
 * written over the next time (vhdx_sidecar_look()).
 */
static int wipe_slots(struct vhdx_sidecar *sidecar)
{
	u8 *slots = vhdx_alloc(VHDX_SIDECAR_SLOTS * VHDX_SIDECAR_BLOCK);
	unsigned int i;
	int err;

	if (!slots)
		return -ENOMEM;
	for (i = 0; i < VHDX_SIDECAR_SLOTS; i++)
		memcpy(slots + i * VHDX_SIDECAR_BLOCK, VHDX_SIDECAR_MAGIC,
		       strlen(VHDX_SIDECAR_MAGIC));
	err = vhdx_sidecar_write_blocks(sidecar, 0, slots, VHDX_SIDECAR_SLOTS);
	if (!err)
		err = sidecar->store->flush(sidecar->store);
	vhdx_free(slots);
	return err;
}

int vhdx_sidecar_format(struct vhdx_sidecar *sidecar, struct vhdx_store *store, bool can_grow,
			struct vhdx_diag *diag)
{
	struct vhdx_sidecar fresh = {
		.store = store,
		.state = sidecar->state,
		.disk_id = sidecar->disk_id,
		.disk_size = sidecar->disk_size,
		.unit_shift = sidecar->unit_shift,
		.current_guid = sidecar->current_guid,
		.next_guid = sidecar->next_guid,
		.timeline.next_sequence = 1,
		.block_limit = can_grow ? ~0ULL : store->size >> VHDX_SIDECAR_BLOCK_SHIFT,
		.block_count = VHDX_SIDECAR_SLOTS,
	};
	const struct vhdx_sidecar_chain no_points = {};
	int err;

	*sidecar = fresh;
	if (sidecar->block_limit < BLOCKS_MIN)
		return vhdx_fail(diag, -ENOSPC, VHDX_REASON_NO_SPACE,
				 "sidecar: the device has %llu bytes, at least %u are needed",
				 store->size, BLOCKS_MIN * VHDX_SIDECAR_BLOCK);
	err = vhdx_sidecar_map_blocks(sidecar, 0);
	if (err)
		return vhdx_no_memory(diag);
	err = wipe_slots(sidecar);
	if (!err)
		err = vhdx_sidecar_write_header(sidecar, 0, &no_points);
	if (err)
		return vhdx_fail(diag, err,
				 err == -ENOSPC ? VHDX_REASON_NO_SPACE : VHDX_REASON_IO,
				 "sidecar: writing the header failed (%d)", err);
	sidecar->sequence++;
	return 0;
}
