// SPDX-License-Identifier: GPL-2.0-only
/* BAT arithmetic against counting, and the judging of entries. */
#include "ktap.h"
#include "core/vhdx/bat.h"
#include "test_image.h"

static struct vhdx_diag diag;

/* An image of known extents: header section, log, metadata, BAT, and one more far behind. */
static struct vhdx_extent extents[] = {
	{ 0, 1 * MIB }, { 1 * MIB, 1 * MIB }, { 2 * MIB, 1 * MIB }, { 3 * MIB, 1 * MIB },
	{ 100 * MIB, 4 * MIB },
};

static struct vhdx_image image = {
	.geo = {
		.disk_size = 64 * MIB, .block_size = 2 * MIB, .block_shift = 21,
		.logical_sector_size = 512, .chunk_ratio = 2048, .block_count = 32,
		.bat_entry_count = 32, .bat_offset = 3 * MIB,
	},
	.extents = extents,
	.extent_count = ARRAY_SIZE(extents),
};

#define SIZE	(1 * GIB)

static int check(u64 index, u64 raw)
{
	memset(&diag, 0, sizeof(diag));
	return vhdx_bat_check(&image, index, raw, SIZE, &diag);
}

static void expect_bad(u64 index, u64 raw, const char *part)
{
	EXPECT_EQ(check(index, raw), -EUCLEAN);
	EXPECT_EQ(diag.reason, VHDX_REASON_CORRUPT);
	EXPECT_HAS(diag.text, part);
	EXPECT(strlen(diag.text) < VHDX_DIAG_TEXT - 1);
}

/* The same disk with a parent: one chunk, 2048 payload entries and one bitmap entry. */
static void make_differencing(bool differencing)
{
	image.geo.has_parent = differencing;
	image.geo.bat_entry_count = differencing ? 2049 : 32;
}

/* What the metadata of @disk_size would give; the image is a real one. */
static int geometry_of(struct vhdx_geometry *geo, u64 disk_size, u32 block_size, u32 sector_size,
		       bool differencing)
{
	static const char *const linkage[] = { "parent_linkage", "{" GUID_DATA "}", NULL };
	struct test_image file;
	struct vhdx_image built;
	int err;

	test_image_make(&file);
	put_locator(&file, linkage);
	/* The BAT's content is not read at attach: its region may be a hole. */
	file.memory.store.size = 8 * GIB;
	put_region(&file, 0, GUID_BAT, 16 * MIB, GIB, 1);
	put32(&file, ITEM_AT(ITEM_PARAMETERS), block_size);
	put32(&file, ITEM_AT(ITEM_PARAMETERS) + 4, differencing ? 2 : 0);
	put64(&file, ITEM_AT(ITEM_SIZE), disk_size);
	put32(&file, ITEM_AT(ITEM_LOGICAL), sector_size);
	memset(&diag, 0, sizeof(diag));
	err = vhdx_image_open(&built, &file.memory.store, &diag);
	if (!err)
		err = vhdx_image_load(&built, &file.memory.store, &diag);
	*geo = built.geo;
	vhdx_image_release(&built);
	test_image_free(&file);
	return err;
}

/* Walk a BAT as the specification draws it, entry by entry, as far as @blocks. */
static void compare_by_counting(const struct vhdx_geometry *geo, u64 blocks)
{
	u64 block = 0;
	u64 index = 0;
	u32 in_chunk = 0;

	while (block < blocks) {
		if (in_chunk == geo->chunk_ratio) {
			if (!EXPECT(vhdx_bat_index_is_bitmap(geo, index)))
				return;
			in_chunk = 0;
		} else {
			if (!EXPECT(!vhdx_bat_index_is_bitmap(geo, index)) ||
			    !EXPECT_EQ(vhdx_bat_index(geo, block), index) ||
			    !EXPECT_EQ(vhdx_bat_entry_offset(geo, index), 16 * MIB + 8 * index))
				return;
			block++;
			in_chunk++;
		}
		index++;
	}
	if (blocks < geo->block_count)
		return;
	/* The last payload entry is the last one; a differencing disk fills the chunk. */
	if (geo->has_parent)
		index += geo->chunk_ratio - in_chunk + 1;
	EXPECT_EQ(geo->bat_entry_count, index);
}

static void compare_geometry(u64 disk_size, u32 block_size, u32 sector_size, bool differencing)
{
	struct vhdx_geometry geo;
	u64 blocks = 0;

	if (!EXPECT_EQ(geometry_of(&geo, disk_size, block_size, sector_size, differencing), 0)) {
		printf("# %llu %u %u: %s\n", disk_size, block_size, sector_size, diag.text);
		return;
	}
	/* One bit of a 1 MiB bitmap block for each sector of a chunk. */
	EXPECT_EQ((u64)geo.chunk_ratio * block_size, 8 * MIB * sector_size);
	while (blocks * block_size < disk_size && blocks < 300000)
		blocks++;
	if (blocks < 300000)
		EXPECT_EQ(geo.block_count, blocks);
	else
		EXPECT_EQ(geo.block_count, disk_size / block_size + !!(disk_size % block_size));
	compare_by_counting(&geo, blocks);
}

CASE(arithmetic_agrees_with_counting)
{
	static const u32 block_sizes[] = { MIB, 2 * MIB, 32 * MIB, 256 * MIB };
	static const u32 sector_sizes[] = { 512, 4096 };
	size_t b, s;

	for (b = 0; b < ARRAY_SIZE(block_sizes); b++) {
		for (s = 0; s < ARRAY_SIZE(sector_sizes); s++) {
			u64 chunk = 8 * MIB * sector_sizes[s];
			const u64 sizes[] = {
				4096, block_sizes[b] - 4096, block_sizes[b], block_sizes[b] + 4096,
				chunk - 4096, chunk, chunk + 4096, chunk + block_sizes[b],
				2 * chunk, 2 * chunk + 4096, 3 * chunk - block_sizes[b],
				10 * GIB, 64 * TIB - 4096, 64 * TIB,
			};
			size_t i;

			for (i = 0; i < ARRAY_SIZE(sizes); i++) {
				compare_geometry(sizes[i], block_sizes[b], sector_sizes[s], false);
				compare_geometry(sizes[i], block_sizes[b], sector_sizes[s], true);
			}
		}
	}
}

CASE(figures_of_the_specification)
{
	struct vhdx_geometry geo;

	/* 512-byte sectors and 32 MiB blocks: a chunk has 128 blocks. */
	ASSERT_EQ(geometry_of(&geo, 10 * GIB, 32 * MIB, 512, false), 0);
	EXPECT_EQ(geo.chunk_ratio, 128);
	EXPECT_EQ(geo.block_count, 320);
	EXPECT_EQ(geo.bat_entry_count, 322);
	/* The smallest and the largest ratio. */
	ASSERT_EQ(geometry_of(&geo, 64 * TIB, 256 * MIB, 512, false), 0);
	EXPECT_EQ(geo.chunk_ratio, 16);
	ASSERT_EQ(geometry_of(&geo, 64 * TIB, 1 * MIB, 4096, true), 0);
	EXPECT_EQ(geo.chunk_ratio, 32768);
	EXPECT_EQ(geo.bat_entry_count, 2048 * 32769);
	/* Windows: a differencing disk of 4 MiB has 2049 entries. */
	ASSERT_EQ(geometry_of(&geo, 4 * MIB, 2 * MIB, 512, true), 0);
	EXPECT_EQ(geo.bat_entry_count, 2049);
}

CASE(entries_round_trip)
{
	struct vhdx_bat_entry entry = vhdx_bat_decode(0x12345600006);

	EXPECT_EQ(entry.state, VHDX_BLOCK_FULLY_PRESENT);
	EXPECT_EQ(entry.offset, 0x12345600000);
	EXPECT_EQ(vhdx_bat_encode(entry), 0x12345600006);
	EXPECT(vhdx_bat_is_allocated(entry));
	entry = vhdx_bat_decode(~0ULL);
	EXPECT_EQ(entry.state, VHDX_BLOCK_PARTIALLY_PRESENT);
	EXPECT_EQ(entry.offset, ~0ULL << 20);
	EXPECT(!vhdx_bat_is_allocated(entry));
}

CASE(states_without_data_are_not_asked_for_their_offset)
{
	u64 state;

	for (state = 0; state <= 3; state++) {
		EXPECT_EQ(check(0, state), 0);
		EXPECT_EQ(check(0, state | 1 * MIB), 0);	/* in the log */
		EXPECT_EQ(check(0, state | ~0ULL << 20), 0);
	}
}

CASE(reserved_states)
{
	expect_bad(5, 4 | 4 * MIB, "BAT entry 5 at 0x300028 (payload block 5): state 4 is reserved");
	expect_bad(5, 5 | 4 * MIB, "state 5 is reserved");
}

CASE(reserved_bits)
{
	int bit;

	for (bit = 3; bit < 20; bit++) {
		expect_bad(0, 1ULL << bit | 6 | 4 * MIB, "reserved bits");
		expect_bad(0, 1ULL << bit, "reserved bits");
	}
	EXPECT_EQ(check(0, 6 | 4 * MIB), 0);
}

CASE(present_block_has_an_offset)
{
	expect_bad(0, 6, "without an offset");
}

CASE(block_ends_within_the_container)
{
	EXPECT_EQ(check(0, 6 | (SIZE - 2 * MIB)), 0);
	expect_bad(0, 6 | (SIZE - 1 * MIB), "end behind the container's end at 0x40000000");
	expect_bad(0, 6 | SIZE, "end behind");
	expect_bad(0, 6 | ~0ULL << 20, "end behind");
	expect_bad(0, 6 | 0xffffffffffe00000, "end behind");
	/* A container that is no multiple of 1 MiB counts to its last byte. */
	EXPECT_EQ(vhdx_bat_check(&image, 0, 6 | 4 * MIB, 6 * MIB + 512, NULL), 0);
	EXPECT_EQ(vhdx_bat_check(&image, 0, 6 | 4 * MIB, 6 * MIB - 512, NULL), -EUCLEAN);
}

CASE(block_keeps_clear_of_structures)
{
	expect_bad(0, 6 | 1 * MIB, "overlap the structure at 0x200000");
	expect_bad(0, 6 | 3 * MIB, "overlap the structure at 0x300000, 0x100000 bytes");
	EXPECT_EQ(check(0, 6 | 4 * MIB), 0);
	EXPECT_EQ(check(0, 6 | 98 * MIB), 0);
	expect_bad(0, 6 | 99 * MIB, "overlap the structure at 0x6400000, 0x400000 bytes");
	expect_bad(0, 6 | 101 * MIB, "overlap");
	expect_bad(0, 6 | 103 * MIB, "overlap");
	EXPECT_EQ(check(0, 6 | 104 * MIB), 0);
}

CASE(block_may_not_span_a_structure)
{
	struct vhdx_extent small[] = { { 0, 1 * MIB }, { 8 * MIB, 1 * MIB } };
	struct vhdx_image spanned = image;

	spanned.extents = small;
	spanned.extent_count = ARRAY_SIZE(small);
	spanned.geo.block_size = 32 * MIB;
	EXPECT_EQ(vhdx_bat_check(&spanned, 0, 6 | 1 * MIB, SIZE, NULL), -EUCLEAN);
	EXPECT_EQ(vhdx_bat_check(&spanned, 0, 6 | 9 * MIB, SIZE, NULL), 0);
}

CASE(image_without_extents)
{
	struct vhdx_image bare = image;

	bare.extents = NULL;
	bare.extent_count = 0;
	EXPECT_EQ(vhdx_bat_check(&bare, 0, 6 | 1 * MIB, SIZE, NULL), 0);
}

CASE(partially_present_needs_a_parent)
{
	expect_bad(3, 7 | 4 * MIB, "partially present, but the disk has no parent");
	make_differencing(true);
	EXPECT_EQ(check(3, 7 | 4 * MIB), 0);
	expect_bad(3, 7, "without an offset");
	expect_bad(3, 7 | 3 * MIB, "overlap");
	make_differencing(false);
}

CASE(sector_bitmap_blocks)
{
	int state;

	make_differencing(true);
	EXPECT_EQ(check(2048, 0), 0);
	EXPECT_EQ(check(2048, 6 | 4 * MIB), 0);
	/* 1 MiB, whatever the block size is. */
	EXPECT_EQ(check(2048, 6 | (SIZE - 1 * MIB)), 0);
	EXPECT_EQ(check(2048, 6 | 99 * MIB), 0);
	expect_bad(2048, 6 | 2 * MIB, "BAT entry 2048 at 0x304000 (sector bitmap block 0)");
	expect_bad(2048, 6, "without an offset");
	for (state = 1; state < 8; state++)
		if (state != 6)
			expect_bad(2048, state | 4 * MIB, "is reserved");
	make_differencing(false);

	/* Without a parent there is none; here the entry is in use, with a second chunk. */
	image.geo.block_count = 2100;
	image.geo.bat_entry_count = 2101;
	EXPECT_EQ(check(2048, 0), 0);
	for (state = 0; state < 8; state++)
		EXPECT_EQ(check(2048, state | 2 * MIB), 0);
	EXPECT_EQ(check(2048, ~0ULL), 0);
	EXPECT_EQ(check(2049, 6 | 4 * MIB), 0);
	expect_bad(2049, 6 | 2 * MIB, "BAT entry 2049");
	image.geo.block_count = 32;
	image.geo.bat_entry_count = 32;
}

CASE(padding_is_not_read)
{
	EXPECT_EQ(check(31, ~0ULL), -EUCLEAN);
	EXPECT_EQ(check(32, ~0ULL), 0);
	EXPECT_EQ(check(1ULL << 40, ~0ULL), 0);
	make_differencing(true);
	EXPECT_EQ(check(31, ~0ULL), -EUCLEAN);
	EXPECT_EQ(check(32, ~0ULL), 0);		/* the last chunk's rest */
	EXPECT_EQ(check(2047, ~0ULL), 0);
	EXPECT_EQ(check(2048, ~0ULL), -EUCLEAN);
	EXPECT_EQ(check(2049, ~0ULL), 0);
	make_differencing(false);
}

SUITE("bat")
