// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "core/vhdx/private.h"
#include "census.h"

#define WINDOW	(256U * 1024)

int vhdx_bat_walk(struct vhdx_store *store, const struct vhdx_image *image, u64 count,
		  vhdx_bat_fn fn, void *context, struct vhdx_diag *diag)
{
	const u32 most = WINDOW / VHDX_BAT_ENTRY_SIZE;
	__le64 *entries = vhdx_alloc(WINDOW);
	int err = 0;
	u64 index;
	u32 i;

	if (!entries)
		return vhdx_no_memory(diag);
	for (index = 0; index < count && !err; index += most) {
		vhdx_breathe();
		err = vhdx_interrupted() ? -EINTR :
		      vhdx_read(store, vhdx_bat_entry_offset(&image->geo, index), entries, WINDOW,
				"BAT", diag);
		for (i = 0; !err && i < min_t(u64, most, count - index); i++)
			err = fn(context, index + i, le64_to_cpu(entries[i]));
	}
	vhdx_free(entries);
	return err;
}

struct taking {
	struct vhdx_census *census;
	const struct vhdx_image *image;
	u64 size;
};

static int count_entry(void *context, u64 index, u64 raw)
{
	struct taking *taking = context;
	struct vhdx_census *census = taking->census;
	struct vhdx_bat_slot slot = vhdx_bat_slot(&taking->image->geo, index);
	struct vhdx_bat_entry entry = vhdx_bat_decode(raw);

	if (!slot.used)
		return 0;
	if (vhdx_bat_check(taking->image, index, raw, taking->size, NULL)) {
		census->bad++;
	} else if (slot.bitmap) {
		census->bitmaps += entry.state == VHDX_BLOCK_FULLY_PRESENT;
	} else {
		census->blocks[entry.state]++;
		if (entry.state == VHDX_BLOCK_FULLY_PRESENT ||
		    entry.state == VHDX_BLOCK_PARTIALLY_PRESENT)
			census->payload += slot.length;
	}
	return 0;
}

int vhdx_census_take(struct vhdx_census *census, struct vhdx_store *store,
		     const struct vhdx_image *image, struct vhdx_diag *diag)
{
	struct taking taking = { .census = census, .image = image, .size = store->size };

	memset(census, 0, sizeof(*census));
	return vhdx_bat_walk(store, image, image->geo.bat_entry_count, count_entry, &taking, diag);
}
