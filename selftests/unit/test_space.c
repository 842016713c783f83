// SPDX-License-Identifier: GPL-2.0-only
/* The occupancy of a container. */
#include "ktap.h"
#include "core/vhdx/space.h"
#include "test_image.h"

static struct vhdx_diag diag;
static struct vhdx_space space;
static __le64 page[512];

static struct vhdx_extent extents[] = {
	{ 0, 1 * MIB }, { 1 * MIB, 1 * MIB }, { 2 * MIB, 1 * MIB }, { 3 * MIB, 1 * MIB },
};

static struct vhdx_image image = {
	.extents = extents,
	.extent_count = ARRAY_SIZE(extents),
};

#define SIZE	(4 * GIB)

static void setup(u32 block_size, u64 block_count, bool differencing)
{
	u32 ratio = 8 * MIB * 512 / block_size;
	u64 chunks = DIV_ROUND_UP(block_count, ratio);

	image.geo.block_size = block_size;
	image.geo.block_shift = ilog2(block_size);
	image.geo.chunk_ratio = ratio;
	image.geo.block_count = block_count;
	image.geo.disk_size = block_count * block_size;
	image.geo.bat_offset = 3 * MIB;
	image.geo.has_parent = differencing;
	image.geo.bat_entry_count = differencing ? chunks * (ratio + 1) : block_count + chunks - 1;
	memset(page, 0, sizeof(page));
	memset(&diag, 0, sizeof(diag));
	EXPECT_EQ(vhdx_space_init(&space, &image, SIZE, &diag), 0);
}

static int add(u64 index)
{
	memset(&diag, 0, sizeof(diag));
	return vhdx_space_add_page(&space, &image, index, page, SIZE, &diag);
}

static bool is_taken(u64 mib)
{
	return space.taken[mib / (8 * sizeof(long))] >> mib % (8 * sizeof(long)) & 1;
}

static u64 taken_count(void)
{
	u64 count = 0;
	u64 mib;

	for (mib = 0; mib < space.mib_count; mib++)
		count += is_taken(mib);
	return count;
}

CASE(structures_are_taken)
{
	setup(MIB, 64, false);
	EXPECT_EQ(space.mib_count, 4096);
	EXPECT_EQ(space.end, 4 * MIB);
	EXPECT_EQ(taken_count(), 4);
	EXPECT(is_taken(0) && is_taken(3));
	vhdx_space_release(&space);
}

CASE(blocks_are_taken)
{
	setup(2 * MIB, 64, false);
	page[0] = cpu_to_le64(6 | 4 * MIB);
	page[1] = cpu_to_le64(2);
	page[2] = cpu_to_le64(3 | 4 * MIB);	/* an anchor that isn't used */
	page[63] = cpu_to_le64(6 | 62 * MIB);
	ASSERT_EQ(add(0), 0);
	EXPECT_EQ(taken_count(), 8);
	EXPECT(is_taken(4) && is_taken(5) && is_taken(62) && is_taken(63));
	EXPECT_EQ(space.end, 64 * MIB);
	vhdx_space_release(&space);
}

/* Every pair of places of two blocks of 16 MiB, bits in one word and across two. */
CASE(overlap_at_every_distance)
{
	u64 first = 40;
	u64 second;

	for (second = 4; second < 140; second++) {
		bool overlaps = second + 16 > first && first + 16 > second;

		setup(16 * MIB, 64, false);
		page[0] = cpu_to_le64(6 | first * MIB);
		page[9] = cpu_to_le64(6 | second * MIB);
		EXPECT_EQ(add(0), overlaps ? -EUCLEAN : 0);
		if (!overlaps) {
			EXPECT_EQ(taken_count(), 4 + 32);
			EXPECT_EQ(space.end, (max(first, second) + 16) * MIB);
		}
		vhdx_space_release(&space);
	}
}

CASE(message_names_both_places)
{
	setup(32 * MIB, 64, false);
	page[0] = cpu_to_le64(6 | 60 * MIB);
	page[9] = cpu_to_le64(6 | 40 * MIB);
	EXPECT_EQ(add(0), -EUCLEAN);
	EXPECT_EQ(diag.reason, VHDX_REASON_CORRUPT);
	EXPECT_HAS(diag.text, "BAT entry 9 at 0x300048");
	EXPECT_HAS(diag.text, "block at 0x2800000, 0x2000000 bytes");
	EXPECT_HAS(diag.text, "overlaps another block at 0x3c00000");
	vhdx_space_release(&space);
}

CASE(overlap_across_pages)
{
	setup(MIB, 4000, false);
	page[511] = cpu_to_le64(6 | 100 * MIB);
	ASSERT_EQ(add(0), 0);
	page[511] = 0;
	page[0] = cpu_to_le64(6 | 101 * MIB);
	ASSERT_EQ(add(512), 0);
	page[0] = cpu_to_le64(6 | 100 * MIB);
	EXPECT_EQ(add(1024), -EUCLEAN);
	EXPECT_HAS(diag.text, "BAT entry 1024 at 0x302000");
	vhdx_space_release(&space);
}

CASE(bad_entries_are_found_too)
{
	setup(MIB, 64, false);
	page[1] = cpu_to_le64(6 | 2 * MIB);
	EXPECT_EQ(add(0), -EUCLEAN);
	EXPECT_HAS(diag.text, "overlap the structure at 0x200000");
	page[1] = cpu_to_le64(5);
	EXPECT_EQ(add(0), -EUCLEAN);
	vhdx_space_release(&space);
}

CASE(padding_takes_nothing)
{
	setup(MIB, 10, false);
	page[10] = cpu_to_le64(6 | 100 * MIB);
	page[11] = cpu_to_le64(6 | 1 * MIB);
	EXPECT_EQ(add(0), 0);
	EXPECT_EQ(taken_count(), 4);
	vhdx_space_release(&space);

	setup(256 * MIB, 10, true);	/* chunks of 16 blocks */
	page[9] = cpu_to_le64(6 | 256 * MIB);
	page[10] = cpu_to_le64(6 | 256 * MIB);
	EXPECT_EQ(add(0), 0);
	EXPECT_EQ(taken_count(), 4 + 256);
	vhdx_space_release(&space);
}

CASE(sector_bitmaps_and_partial_blocks_count)
{
	setup(256 * MIB, 20, true);
	page[0] = cpu_to_le64(7 | 256 * MIB);
	page[16] = cpu_to_le64(6 | 5 * MIB);
	ASSERT_EQ(add(0), 0);
	EXPECT_EQ(taken_count(), 4 + 256 + 1);
	EXPECT(is_taken(5) && is_taken(256) && is_taken(511) && !is_taken(512));
	vhdx_space_release(&space);

	setup(256 * MIB, 20, true);
	page[0] = cpu_to_le64(7 | 256 * MIB);
	page[16] = cpu_to_le64(6 | 300 * MIB);
	EXPECT_EQ(add(0), -EUCLEAN);
	EXPECT_HAS(diag.text, "the sector bitmap block at 0x12c00000, 0x100000 bytes");
	vhdx_space_release(&space);
}

CASE(partial_blocks_have_a_sector_bitmap)
{
	setup(256 * MIB, 40, true);
	page[0] = cpu_to_le64(6 | 256 * MIB);		/* needs none */
	page[16 + 1] = cpu_to_le64(7 | 512 * MIB);	/* the second chunk's */
	page[33] = cpu_to_le64(6 | 5 * MIB);
	ASSERT_EQ(add(0), 0);
	vhdx_space_release(&space);

	setup(256 * MIB, 40, true);
	page[16] = cpu_to_le64(6 | 5 * MIB);		/* the first chunk's is not its */
	page[16 + 3] = cpu_to_le64(7 | 512 * MIB);
	EXPECT_EQ(add(0), -EUCLEAN);
	EXPECT_HAS(diag.text, "BAT entry 19 at 0x300098: the block is partially present, but entry 33 has no");
	vhdx_space_release(&space);

	setup(MIB, 5000, true);				/* its entry is pages away */
	page[0] = cpu_to_le64(7 | 512 * MIB);
	ASSERT_EQ(add(0), 0);
	page[0] = 0;
	ASSERT_EQ(add(512), 0);
	EXPECT_EQ(add(4096), -EUCLEAN);
	EXPECT_HAS(diag.text, "BAT entry 0 at 0x300000: the block is partially present, but entry 4096");
	vhdx_space_release(&space);
}

/* As QEMU makes fixed images: they end with the disk, not with the block. */
CASE(last_block_may_go_on_behind_the_container)
{
	setup(256 * MIB, 10, false);
	image.geo.disk_size -= 255 * MIB;
	page[9] = cpu_to_le64(6 | (SIZE - MIB));
	EXPECT_EQ(add(0), 0);
	EXPECT_EQ(space.end, SIZE + 255 * MIB);
	vhdx_space_release(&space);

	setup(256 * MIB, 10, false);
	image.geo.disk_size -= 255 * MIB;
	page[8] = cpu_to_le64(6 | (SIZE - MIB));
	EXPECT_EQ(add(0), -EUCLEAN);
	vhdx_space_release(&space);
}

CASE(last_mib_of_the_container)
{
	setup(2 * MIB, 64, false);
	page[0] = cpu_to_le64(6 | (SIZE - 2 * MIB));
	EXPECT_EQ(add(0), 0);
	EXPECT(is_taken(4095));
	EXPECT_EQ(space.end, SIZE);
	/* A container that grew in between is judged as it was. */
	page[0] = cpu_to_le64(6 | SIZE);
	EXPECT_EQ(vhdx_space_add_page(&space, &image, 0, page, 2 * SIZE, &diag), -EUCLEAN);
	vhdx_space_release(&space);
}

CASE(enormous_container_is_refused)
{
	memset(&diag, 0, sizeof(diag));
	ASSERT_EQ(vhdx_space_init(&space, &image, VHDX_SPACE_MAX, &diag), 0);
	vhdx_space_release(&space);
	EXPECT_EQ(vhdx_space_init(&space, &image, VHDX_SPACE_MAX + 512, &diag), -EOPNOTSUPP);
	EXPECT_EQ(diag.reason, VHDX_REASON_UNSUPPORTED);
	vhdx_space_release(&space);
}

SUITE("space")
