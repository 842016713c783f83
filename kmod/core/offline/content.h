/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * The content of a disk that is not attached: which file of its chain has which of its bytes.
 */
#ifndef VHDX_CORE_CONTENT_H
#define VHDX_CORE_CONTENT_H

#include "core/vhdx/bat.h"

/**
 * struct vhdx_content_page - the newest page that was read of a layer's BAT, or of its bitmaps
 * @offset:	where it is in the container
 * @bytes:	NULL: none was read yet
 */
struct vhdx_content_page {
	u64 offset;
	void *bytes;
};

/**
 * struct vhdx_content_layer - one file of the chain
 * @image:	as vhdx_image_load() has judged it
 * @store:	its bytes, through its log if that is dirty
 */
struct vhdx_content_layer {
	const struct vhdx_image *image;
	struct vhdx_store *store;
	struct vhdx_content_page bat;
	struct vhdx_content_page bitmap;
};

/**
 * struct vhdx_content - of a chain
 * @layers:	leaf first, down to the one that has no parent
 */
struct vhdx_content {
	struct vhdx_content_layer *layers;
	u32 count;
};

#define VHDX_NO_LAYER	(~0U)

/**
 * struct vhdx_piece - where a range of the disk is
 * @length:	in bytes, a multiple of the disk's sectors
 * @layer:	which one has it; VHDX_NO_LAYER: it reads as zeroes
 * @at:		where in that layer's container
 */
struct vhdx_piece {
	u64 length;
	u32 layer;
	u64 at;
};

/* Room for @most layers. Release it whatever this returns. 0 or -ENOMEM. */
int vhdx_content_init(struct vhdx_content *content, u32 most, struct vhdx_diag *diag);
/* The leaf, or the parent of the one before. They stay the caller's, and where they are. */
void vhdx_content_add(struct vhdx_content *content, const struct vhdx_image *image,
		      struct vhdx_store *store);
void vhdx_content_release(struct vhdx_content *content);

/**
 * vhdx_content_find() - where the bytes from @offset on are
 * @offset:	below the disk's size, a multiple of its sectors
 * @piece:	as far as they are in one place; after a failure, @piece->layer is the one that
 *		is to blame
 *
 * Returns 0; -EUCLEAN where an entry of a BAT can't be used; -EIO, -ENOMEM.
 */
int vhdx_content_find(struct vhdx_content *content, u64 offset, struct vhdx_piece *piece,
		      struct vhdx_diag *diag);

/**
 * vhdx_content_has() - does one layer itself have the bytes from @offset on?
 * @layer:	which one, 0: the leaf; it has a parent
 * @offset:	below its disk's size, a multiple of its sectors
 * @to:		in: behind the last byte that is asked for; out: behind the last one of which that
 *		is true
 *
 * A block whose entry can't be used is there. Returns 1, 0, -EIO or -ENOMEM.
 */
int vhdx_content_has(struct vhdx_content *content, u32 layer, u64 offset, u64 *to,
		     struct vhdx_diag *diag);

#endif
