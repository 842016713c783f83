/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Where the blocks of a container that is being made go. Those of a dynamic disk follow each other
 * as they are placed, in the disk's order; so its BAT is written once, from its beginning to its
 * end, and a part of it is enough to have in memory.
 */
#ifndef VHDX_CORE_PLACE_H
#define VHDX_CORE_PLACE_H

#include "create.h"

/**
 * struct vhdx_placing - blocks of a dynamic disk being placed
 * @limit:	the container can't become longer, as on a device; ~0: it can
 * @end:	of the container, as far as blocks were placed
 * @entries:	a part of the BAT
 * @first:	BAT index of the first of them
 * @any:	one of them is not zero
 */
struct vhdx_placing {
	const struct vhdx_recipe *recipe;
	struct vhdx_store *store;
	u64 limit;
	u64 end;
	__le64 *entries;
	u64 first;
	bool any;
};

/*
 * The container is to be written to @store; vhdx_recipe_write() came before. Release it whatever
 * this returns. 0 or -ENOMEM.
 */
int vhdx_placing_init(struct vhdx_placing *placing, const struct vhdx_recipe *recipe,
		      struct vhdx_store *store, u64 limit, struct vhdx_diag *diag);
void vhdx_placing_release(struct vhdx_placing *placing);

/**
 * vhdx_place() - give a block its place
 * @block:	behind all that were placed before
 * @offset:	out: where it is in the container; what it holds is for the caller to write
 *
 * Returns 0; -ENOSPC: it would end behind the limit; -EIO and others.
 */
int vhdx_place(struct vhdx_placing *placing, u64 block, u64 *offset, struct vhdx_diag *diag);

/* All were placed: the rest of the BAT is written. 0 or -errno. */
int vhdx_placing_finish(struct vhdx_placing *placing, struct vhdx_diag *diag);

/* Of a fixed disk, where blocks lie in their order. */
static inline u64 vhdx_place_of_fixed(const struct vhdx_recipe *recipe, u64 block)
{
	return recipe->blocks_offset + (block << recipe->geo.block_shift);
}

#endif
