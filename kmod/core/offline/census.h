/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * All of a BAT: walking it, and counting what is in it.
 */
#ifndef VHDX_CORE_CENSUS_H
#define VHDX_CORE_CENSUS_H

#include "core/vhdx/bat.h"

/**
 * typedef vhdx_bat_fn - told of one entry
 * @index:	its index in the BAT
 * @raw:	the entry in host byte order
 *
 * Returns 0 to go on.
 */
typedef int (*vhdx_bat_fn)(void *context, u64 index, u64 raw);

/**
 * vhdx_bat_walk() - tell of all entries below @count, ascending
 * @store:	what vhdx_image_load() has judged
 *
 * Returns 0, what @fn returned, or -EIO/-ENOMEM/-EINTR.
 */
int vhdx_bat_walk(struct vhdx_store *store, const struct vhdx_image *image, u64 count,
		  vhdx_bat_fn fn, void *context, struct vhdx_diag *diag);

#define VHDX_BLOCK_STATES	8

/**
 * struct vhdx_census - what the entries of a BAT come to
 * @blocks:	payload blocks in each state; bad ones are not in it
 * @bad:	entries that vhdx_bat_check() refuses
 * @bitmaps:	sector bitmap blocks that are present
 * @payload:	bytes that blocks with data have in the container
 */
struct vhdx_census {
	u64 blocks[VHDX_BLOCK_STATES];
	u64 bad;
	u64 bitmaps;
	u64 payload;
};

/* Returns 0, or -EIO/-ENOMEM/-EINTR. */
int vhdx_census_take(struct vhdx_census *census, struct vhdx_store *store,
		     const struct vhdx_image *image, struct vhdx_diag *diag);

#endif
