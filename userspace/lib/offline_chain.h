/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All files of a disk that is not attached, opened when somebody asks for what they have.
 */
#ifndef LIBVHDX_OFFLINE_CHAIN_H
#define LIBVHDX_OFFLINE_CHAIN_H

#include <core/offline/content.h>
#include "image_file.h"

/**
 * struct offline_chain - open, and locked against writers; or all zero
 * @parents:	of the leaf
 * @images:	of the parents
 * @content:	of leaf and parents
 */
struct offline_chain {
	struct parents parents;
	struct image_file *images;
	struct vhdx_content content;
};

/* Once more does no harm. 0 or -errno, noted; the message is in @diag as well. */
int open_offline_chain(struct offline_chain *chain, const struct container *leaf,
		       struct image_file *image, struct vhdx_diag *diag);
void close_offline_chain(struct offline_chain *chain);

/* VHDX_GET_ALLOCATED_RANGES, as the driver answers it. 0 or -errno. */
int offline_allocated(struct offline_chain *chain, struct vhdx_get_allocated_ranges *args,
		      struct vhdx_diag *diag);

/* Content, below the disk's size. @leaf is for messages. 0 or -errno, noted. */
int read_offline_chain(struct offline_chain *chain, const struct container *leaf, u64 offset,
		       char *buf, u64 length);

#endif
