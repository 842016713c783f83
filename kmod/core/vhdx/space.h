/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Which parts of the container are taken: the one scan of the BAT that rule V6
 * wants before the first allocation. One bit per MiB of container.
 */
#ifndef VHDX_CORE_SPACE_H
#define VHDX_CORE_SPACE_H

#include "bat.h"

/* A container beyond this is refused for allocation: bounds the bitmap. */
#define VHDX_SPACE_MAX	(128ULL << 40)

/**
 * struct vhdx_space - occupancy of a container
 * @end:	behind the last structure or payload block, in bytes: where the
 *		next block may go
 * @size:	of the container when the bitmap was made: nothing ends behind it but
 *		what the disk's last block does not need
 * @partial:	behind the newest partially present block whose sector bitmap's entry is
 *		still to come, as a BAT index; 0: there is none
 */
struct vhdx_space {
	u64 end;
	u64 size;
	u64 mib_count;
	u64 partial;
	unsigned long *taken;
};

/* Takes the image's extents. @size: container size now. 0, -EOPNOTSUPP, -ENOMEM. */
int vhdx_space_init(struct vhdx_space *space, const struct vhdx_image *image, u64 size,
		    struct vhdx_diag *diag);

/**
 * vhdx_space_add_entry() - take the block that one entry of the BAT names
 * @index:	entries come in their order
 * @raw:	in host byte order
 * @size:	container size: nothing may end behind it
 *
 * 0 or -EUCLEAN: the entry is bad, overlaps another, or a block lacks its sector bitmap. The next
 * one may be added all the same.
 */
int vhdx_space_add_entry(struct vhdx_space *space, const struct vhdx_image *image, u64 index,
			 u64 raw, u64 size, struct vhdx_diag *diag);

/**
 * vhdx_space_add_page() - take the blocks that one page of the BAT names
 * @index:	index of its first entry; pages come in their order
 * @entries:	the page as it is on disk (little endian), 512 entries
 * @size:	container size: nothing may end behind it
 *
 * 0 or -EUCLEAN: an entry is bad, two overlap, or a block lacks its sector bitmap.
 */
int vhdx_space_add_page(struct vhdx_space *space, const struct vhdx_image *image, u64 index,
			const void *entries, u64 size, struct vhdx_diag *diag);

void vhdx_space_release(struct vhdx_space *space);

#endif
