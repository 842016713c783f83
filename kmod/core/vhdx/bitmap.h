/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Sector bitmaps, MS-VHDX 2.4: one bit for each sector of a chunk, which is set where a block that
 * is partially present has the sector itself, and clear where its parent has it. They are read
 * and written in pages; a block's bits are within one page, or fill several.
 */
#ifndef VHDX_CORE_BITMAP_H
#define VHDX_CORE_BITMAP_H

#include "image.h"

#define VHDX_BITMAP_PAGE_BITS	(8 * VHDX_PAGE)

/* Index in the BAT of the sector bitmap block that has the bits of payload block @block. */
u64 vhdx_bitmap_index(const struct vhdx_geometry *geo, u64 block);

/* Within its sector bitmap block: where the page is that has the bit of the disk's byte @offset. */
u32 vhdx_bitmap_page(const struct vhdx_geometry *geo, u64 offset);

/* Which bit of that page it is. */
u32 vhdx_bitmap_bit(const struct vhdx_geometry *geo, u64 offset);

/* How many bytes of the disk one page has the bits of. */
u64 vhdx_bitmap_page_span(const struct vhdx_geometry *geo);

static inline bool vhdx_bitmap_test(const __le64 *page, u32 bit)
{
	return le64_to_cpu(READ_ONCE(page[bit / 64])) >> bit % 64 & 1;
}

/* The first bit from @bit on that is @set, or not; @end if there is none before it. */
u32 vhdx_bitmap_find(const __le64 *page, bool set, u32 bit, u32 end);

/* Make all bits from @bit up to @end @set, or not; readers take no lock. */
void vhdx_bitmap_fill(__le64 *page, bool set, u32 bit, u32 end);

#endif
