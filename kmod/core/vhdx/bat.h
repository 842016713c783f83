/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Block Allocation Table, MS-VHDX 2.5: arithmetic and the meaning of entries.
 */
#ifndef VHDX_CORE_BAT_H
#define VHDX_CORE_BAT_H

#include "image.h"

/* Payload block states, MS-VHDX 2.5.1.1. */
enum vhdx_block_state {
	VHDX_BLOCK_NOT_PRESENT = 0,
	VHDX_BLOCK_UNDEFINED = 1,
	VHDX_BLOCK_ZERO = 2,
	VHDX_BLOCK_UNMAPPED = 3,
	VHDX_BLOCK_FULLY_PRESENT = 6,
	VHDX_BLOCK_PARTIALLY_PRESENT = 7,
};

struct vhdx_bat_entry {
	enum vhdx_block_state state;
	u64 offset;		/* in bytes; 0 = none */
};

/* Index in the BAT of payload block @block: sector bitmap entries lie between. */
u64 vhdx_bat_index(const struct vhdx_geometry *geo, u64 block);

/* Container offset of BAT entry @index. */
u64 vhdx_bat_entry_offset(const struct vhdx_geometry *geo, u64 index);

/* Is @index the entry of a sector bitmap block? */
bool vhdx_bat_index_is_bitmap(const struct vhdx_geometry *geo, u64 index);

struct vhdx_bat_entry vhdx_bat_decode(u64 raw);	/* host byte order, unchecked */
u64 vhdx_bat_encode(struct vhdx_bat_entry entry);

/* Do blocks of this state hold their data at entry.offset? */
static inline bool vhdx_bat_is_allocated(struct vhdx_bat_entry entry)
{
	return entry.state == VHDX_BLOCK_FULLY_PRESENT;
}

/**
 * vhdx_bat_check() - judge one entry on its own (rule V6, before the scan)
 * @image:	regions and geometry
 * @index:	its index in the BAT
 * @raw:	the entry in host byte order
 * @size:	container size at attach: nothing may end behind it
 * @diag:	names the entry, its offset and the collision
 *
 * Reserved bits and states, alignment, collision with regions, end. Offsets of
 * states that do not use them are not judged, nor sector bitmap entries of a disk
 * without a parent. 0 or -EUCLEAN.
 */
int vhdx_bat_check(const struct vhdx_image *image, u64 index, u64 raw, u64 size,
		   struct vhdx_diag *diag);

#endif
