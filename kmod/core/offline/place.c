// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "core/vhdx/private.h"
#include "place.h"

#define PART		VHDX_MIB	/* of the BAT, whose region is made of such */
#define PART_ENTRIES	(PART / VHDX_BAT_ENTRY_SIZE)

int vhdx_placing_init(struct vhdx_placing *placing, const struct vhdx_recipe *recipe,
		      struct vhdx_store *store, u64 limit, struct vhdx_diag *diag)
{
	*placing = (struct vhdx_placing) {
		.recipe = recipe,
		.store = store,
		.limit = limit,
		.end = recipe->blocks_offset,
		.entries = vhdx_alloc(PART),
	};
	return placing->entries ? 0 : vhdx_no_memory(diag);
}

void vhdx_placing_release(struct vhdx_placing *placing)
{
	vhdx_free(placing->entries);
	placing->entries = NULL;
}

/* Where no block was placed, the BAT is zero already. */
static int write_part(struct vhdx_placing *placing, struct vhdx_diag *diag)
{
	u64 offset = vhdx_bat_entry_offset(&placing->recipe->geo, placing->first);
	int err;

	if (!placing->any)
		return 0;
	err = placing->store->write(placing->store, offset, placing->entries, PART);
	if (err)
		return vhdx_io_failed(diag, err, "writing the BAT at 0x%llx failed (error %d)",
				      offset, -err);
	memset(placing->entries, 0, PART);
	placing->any = false;
	return 0;
}

int vhdx_place(struct vhdx_placing *placing, u64 block, u64 *offset, struct vhdx_diag *diag)
{
	const struct vhdx_geometry *geo = &placing->recipe->geo;
	u64 index = vhdx_bat_index(geo, block);
	struct vhdx_bat_entry entry = {
		.state = VHDX_BLOCK_FULLY_PRESENT,
		.offset = placing->end,
	};
	int err;

	if (placing->limit - placing->end < geo->block_size)
		return vhdx_fail(diag, -ENOSPC, VHDX_REASON_HOST_FULL,
				 "no room for another block behind its first %llu bytes",
				 placing->end);
	if (index - placing->first >= PART_ENTRIES) {
		err = write_part(placing, diag);
		if (err)
			return err;
		placing->first = index - index % PART_ENTRIES;
	}
	placing->entries[index - placing->first] = cpu_to_le64(vhdx_bat_encode(entry));
	placing->any = true;
	placing->end += geo->block_size;
	*offset = entry.offset;
	return 0;
}

int vhdx_placing_finish(struct vhdx_placing *placing, struct vhdx_diag *diag)
{
	return write_part(placing, diag);
}
