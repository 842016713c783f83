/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Making a container: what it must be like, where everything is, and writing it.
 *
 * Order, so that nothing looks like a VHDX before it is a whole one:
 *	vhdx_recipe_check()	what is asked for is judged, and laid out
 *	vhdx_recipe_write()	all structures but the file identifier
 *	place.h			blocks of a dynamic disk, if it has any from the beginning
 *	flush
 *	vhdx_recipe_sign()	the identifier
 *	flush
 */
#ifndef VHDX_CORE_CREATE_H
#define VHDX_CORE_CREATE_H

#include "core/vhdx/image.h"

/**
 * struct vhdx_recipe - a container that is to be made
 * @geo:		disk_size, disk_id, block_size, both sector sizes, fixed and
 *			has_parent are the caller's; the rest follows from them
 * @header:		file_write_guid, data_write_guid and log_length are the caller's
 * @creator:		ASCII
 * @locator:		the parent locator of a differencing disk
 * @locator_length:	in bytes; at most VHDX_RECIPE_LOCATOR_MAX
 * @is_zero:		what is never written reads as zeroes
 * @metadata_offset:	container offset of the metadata region; it has 1 MiB
 * @bat_length:		in bytes; where it is, @geo says
 * @blocks_offset:	container offset of the first payload block
 * @size:		of the container in bytes: of a fixed disk, with its blocks
 */
struct vhdx_recipe {
	struct vhdx_geometry geo;
	struct vhdx_header header;
	const char *creator;
	const void *locator;
	u32 locator_length;
	bool is_zero;
	u64 metadata_offset;
	u64 bat_length;
	u64 blocks_offset;
	u64 size;
};

/* What is left of the metadata region behind its table and the other items. */
#define VHDX_RECIPE_LOCATOR_MAX	(1U << 16)

/* 0, or -EINVAL: @diag says what is wrong with what was asked for. */
int vhdx_recipe_check(struct vhdx_recipe *recipe, struct vhdx_diag *diag);

/* Payload blocks are the caller's: those of a fixed disk have to be zero. 0 or -errno. */
int vhdx_recipe_write(const struct vhdx_recipe *recipe, struct vhdx_store *store,
		      struct vhdx_diag *diag);

/* What was written before is durable. 0 or -errno. */
int vhdx_recipe_sign(const struct vhdx_recipe *recipe, struct vhdx_store *store,
		     struct vhdx_diag *diag);

#endif
