// SPDX-License-Identifier: GPL-2.0-only
/* Sector bitmaps: where a bit is, and runs of them. */
#include "ktap.h"
#include "core/vhdx/bat.h"
#include "core/vhdx/bitmap.h"
#include "random.h"
#include "test_image.h"

static __le64 page[VHDX_PAGE / 8];
static bool bits[VHDX_BITMAP_PAGE_BITS];

static struct vhdx_geometry geometry(u32 block_size, u32 sector_size)
{
	struct vhdx_geometry geo = {
		.block_size = block_size,
		.block_shift = ilog2(block_size),
		.logical_sector_size = sector_size,
		.chunk_ratio = (8ULL * MIB * sector_size) / block_size,
		.has_parent = true,
	};

	return geo;
}

/* The bit of each sector is one behind that of the sector before it, within its chunk. */
CASE(each_sector_has_its_bit)
{
	static const u32 sector_sizes[] = { 512, 4096 };
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(sector_sizes); i++) {
		struct vhdx_geometry geo = geometry(2 * MIB, sector_sizes[i]);
		u64 chunk = 8ULL * MIB * geo.logical_sector_size;

		for (k = 0; k < 100000; k++) {
			u64 offset = random_below(8 * chunk);
			u64 bit = offset % chunk / geo.logical_sector_size;
			u64 block = offset / geo.block_size;

			ASSERT_EQ(vhdx_bitmap_page(&geo, offset) * 8ULL +
				  vhdx_bitmap_bit(&geo, offset), bit);
			ASSERT_EQ(vhdx_bitmap_index(&geo, block),
				  (offset / chunk + 1) * geo.chunk_ratio + offset / chunk);
			ASSERT(vhdx_bat_index_is_bitmap(&geo, vhdx_bitmap_index(&geo, block)));
		}
		EXPECT_EQ(vhdx_bitmap_page_span(&geo), 32768ULL * geo.logical_sector_size);
	}
}

static u32 find_slowly(bool set, u32 bit, u32 end)
{
	while (bit < end && bits[bit] != set)
		bit++;
	return bit;
}

/* Runs of random lengths, set and cleared, found from everywhere; the lowest bit comes first. */
CASE(runs)
{
	unsigned int k;
	u32 i;

	for (k = 0; k < 20000; k++) {
		u32 bit = random_below(VHDX_BITMAP_PAGE_BITS);
		u32 end = bit + random_below(random_below(8) ? 200 : VHDX_BITMAP_PAGE_BITS);
		bool set = random_below(2);

		end = min(end, VHDX_BITMAP_PAGE_BITS);
		vhdx_bitmap_fill(page, set, bit, end);
		for (i = bit; i < end; i++)
			bits[i] = set;
		bit = random_below(VHDX_BITMAP_PAGE_BITS);
		end = bit + random_below(VHDX_BITMAP_PAGE_BITS - bit + 1);
		ASSERT_EQ(vhdx_bitmap_find(page, set, bit, end), find_slowly(set, bit, end));
		ASSERT_EQ(vhdx_bitmap_test(page, bit), bits[bit]);
	}
	for (i = 0; i < VHDX_BITMAP_PAGE_BITS; i++)
		ASSERT_EQ(((u8 *)page)[i / 8] >> i % 8 & 1, bits[i]);
}

SUITE("bitmap")
