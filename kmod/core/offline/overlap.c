// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "core/vhdx/private.h"
#include "core/vhdx/space.h"
#include "census.h"
#include "overlap.h"

struct looking {
	const struct vhdx_image *image;
	struct vhdx_space space;
	struct vhdx_diag *diag;
};

static int look_at_entry(void *context, u64 index, u64 raw)
{
	struct looking *looking = context;
	struct vhdx_space *space = &looking->space;

	if (vhdx_bat_check(looking->image, index, raw, space->size, NULL))
		return 0;
	return vhdx_space_add_entry(space, looking->image, index, raw, space->size, looking->diag);
}

int vhdx_refuse_overlaps(struct vhdx_store *store, const struct vhdx_image *image,
			 struct vhdx_diag *diag)
{
	struct looking looking = { .image = image, .diag = diag };
	int err;

	err = vhdx_space_init(&looking.space, image, store->size, diag);
	if (!err)
		err = vhdx_bat_walk(store, image, image->geo.bat_entry_count, look_at_entry,
				    &looking, diag);
	vhdx_space_release(&looking.space);
	return err;
}
