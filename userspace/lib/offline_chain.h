/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All files of a disk that is not attached, opened when somebody asks for what they have.
 */
#ifndef LIBVHDX_OFFLINE_CHAIN_H
#define LIBVHDX_OFFLINE_CHAIN_H

#include <core/offline/content.h>
#include <core/rct/history.h>
#include "image_file.h"

/**
 * struct offline_parent - one of them
 * @sidecar_file: where its sidecar is kept, if it has one
 * @sidecar:	loaded from there
 */
struct offline_parent {
	struct image_file image;
	struct file_store sidecar_file;
	struct vhdx_sidecar sidecar;
};

/**
 * struct offline_chain - open, and locked against writers; or all zero
 * @parents:	of the leaf
 * @opened:	the same, as they are read
 * @frozen:	what each of them tells of the disk's history
 * @count:	how many of these
 * @content:	of leaf and parents
 */
struct offline_chain {
	struct parents parents;
	struct offline_parent *opened;
	struct vhdx_frozen_layer *frozen;
	u32 count;
	struct vhdx_content content;
};

/* Once more does no harm. 0 or -errno, noted. */
int open_offline_chain(struct offline_chain *chain, const struct container *leaf,
		       struct image_file *image);
void close_offline_chain(struct offline_chain *chain);

/*
 * What lies at @offset goes on up to @to: nothing that any layer has, and so reads as zeroes; or
 * else what some layer has, or what can't be told, since its entry can't be used. 0 or -errno.
 */
int offline_extent(struct offline_chain *chain, u64 offset, u64 *to, bool *zero,
		   struct vhdx_diag *diag);

/* VHDX_GET_ALLOCATED_RANGES, as the driver answers it. 0 or -errno. */
int offline_allocated(struct offline_chain *chain, struct vhdx_get_allocated_ranges *args,
		      struct vhdx_diag *diag);

/* Content, below the disk's size. @leaf is for messages. 0 or -errno, noted. */
int read_offline_chain(struct offline_chain *chain, const struct container *leaf, u64 offset,
		       char *buf, u64 length);

#endif
