// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "sidecar_private.h"

/* Beside the fixed area: a point or two with what a commit needs. */
#define BLOCKS_MIN	26U

/*
 * A header that was there before must not become the one that counts, and least of all with a
 * coarse area that is clear. But its signature stays, so that the file remains a sidecar, if a
 * damaged one: without it the rest of the file would pass for another program's data, and be
 * refused the next time (vhdx_sidecar_look()).
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
	vhdx_free(slots);
	return err ?: sidecar->store->flush(sidecar->store);
}

/* No tokens, no region set. A bit is set later where there is a block already (rule T7). */
static int write_rest(struct vhdx_sidecar *sidecar)
{
	struct vhdx_sidecar_space *space = &sidecar->space;
	static const u64 clear[VHDX_COARSE_SECTOR_WORDS];
	u32 blocks = space->fixed - VHDX_SIDECAR_SLOTS;
	u32 tokens = VHDX_SIDECAR_COARSE_BLOCK - VHDX_SIDECAR_SLOTS;
	u8 *buf = vhdx_alloc(blocks * VHDX_SIDECAR_BLOCK);
	u32 i;
	int err;

	if (!buf)
		return -ENOMEM;
	for (i = 0; i < sidecar->coarse.sectors; i++)
		vhdx_coarse_encode(i, 0, 0, clear, buf + tokens * VHDX_SIDECAR_BLOCK +
				   i * VHDX_COARSE_SECTOR);
	err = vhdx_sidecar_write_blocks(sidecar, VHDX_SIDECAR_SLOTS, buf, blocks);
	vhdx_free(buf);
	if (!err)
		err = vhdx_sidecar_make_room(sidecar, VHDX_SIDECAR_SPARE_FOR_DELTAS);
	return err ?: sidecar->store->flush(sidecar->store);
}

static int write_first_header(struct vhdx_sidecar *sidecar)
{
	void *header = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	int err;

	sidecar->points.tables = vhdx_alloc(VHDX_SIDECAR_TABLES * sizeof(struct vhdx_table_ref));
	if (header && sidecar->points.tables)
		err = vhdx_sidecar_write_header(sidecar, 0, header);
	else
		err = -ENOMEM;
	vhdx_free(header);
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
		.incompat_features = VHDX_SIDECAR_FEATURE_COARSE,
		.timeline.next_sequence = 1,
	};
	u64 blocks = can_grow ? ~0ULL : store->size >> VHDX_SIDECAR_BLOCK_SHIFT;
	int err;

	*sidecar = fresh;
	vhdx_coarse_layout(sidecar->disk_size, sidecar->unit_shift, &sidecar->coarse);
	vhdx_sidecar_init_space(sidecar, blocks, 0);
	if (blocks < sidecar->space.fixed + BLOCKS_MIN)
		return vhdx_fail(diag, -ENOSPC, VHDX_REASON_NO_SPACE,
				 "sidecar: the device has %llu bytes, at least %llu are needed",
				 store->size, (sidecar->space.fixed + BLOCKS_MIN) *
				 VHDX_SIDECAR_BLOCK);
	err = wipe_slots(sidecar);
	if (!err)
		err = write_rest(sidecar);
	if (!err)
		err = write_first_header(sidecar);
	if (err == -ENOMEM)
		return vhdx_no_memory(diag);
	/* There is room in the sidecar: it is what lies below it that is full. */
	if (err == -ENOSPC)
		return vhdx_host_full(diag, "sidecar");
	if (err)
		return vhdx_io_failed(diag, err, "sidecar: writing the header failed (%d)", err);
	WRITE_ONCE(sidecar->sequence, sidecar->sequence + 1);
	sidecar->block_count = sidecar->space.end;
	return 0;
}
