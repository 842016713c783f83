// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Sector bitmaps, MS-VHDX 2.4.
 */
#include "private.h"
#include "bitmap.h"

static u64 sector_of(const struct vhdx_geometry *geo, u64 offset)
{
	return offset >> ilog2(geo->logical_sector_size);
}

u64 vhdx_bitmap_index(const struct vhdx_geometry *geo, u64 block)
{
	u64 chunk = block >> ilog2(geo->chunk_ratio);

	return ((chunk + 1) << ilog2(geo->chunk_ratio)) + chunk;
}

u32 vhdx_bitmap_page(const struct vhdx_geometry *geo, u64 offset)
{
	u32 sector = sector_of(geo, offset) & ((1U << VHDX_BITMAP_BITS_SHIFT) - 1);

	return sector / VHDX_BITMAP_PAGE_BITS * VHDX_PAGE;
}

u32 vhdx_bitmap_bit(const struct vhdx_geometry *geo, u64 offset)
{
	return sector_of(geo, offset) & (VHDX_BITMAP_PAGE_BITS - 1);
}

u64 vhdx_bitmap_page_span(const struct vhdx_geometry *geo)
{
	return (u64)VHDX_BITMAP_PAGE_BITS * geo->logical_sector_size;
}

u32 vhdx_bitmap_find(const __le64 *page, bool set, u32 bit, u32 end)
{
	u64 flip = set ? 0 : ~0ULL;
	u32 index = bit / 64;
	u64 word;

	if (bit >= end)
		return end;
	word = (le64_to_cpu(READ_ONCE(page[index])) ^ flip) & (~0ULL << bit % 64);
	while (!word) {
		if (++index >= (end + 63) / 64)
			return end;
		word = le64_to_cpu(READ_ONCE(page[index])) ^ flip;
	}
	return min(end, index * 64 + (u32)__ffs64(word));
}

void vhdx_bitmap_fill(__le64 *page, bool set, u32 bit, u32 end)
{
	while (bit < end) {
		u32 count = min(64 - bit % 64, end - bit);
		u64 mask = (~0ULL >> (64 - count)) << bit % 64;
		u64 word = le64_to_cpu(page[bit / 64]);

		word = set ? word | mask : word & ~mask;
		WRITE_ONCE(page[bit / 64], cpu_to_le64(word));
		bit += count;
	}
}
