// SPDX-License-Identifier: GPL-2.0-only
/* The metadata table, its items, and the geometry. */
#include "judge.h"

/* A place for an item behind those of the builder, relative to the region. */
#define FREE_OFFSET	(128 * KIB)

CASE(geometry_of_a_sound_image)
{
	char guid[VHDX_GUID_TEXT];

	test_image_make(&file);
	ASSERT_EQ(judge(), 0);
	EXPECT_EQ(image.geo.disk_size, 64 * MIB);
	EXPECT_EQ(image.geo.block_size, MIB);
	EXPECT_EQ(image.geo.block_shift, 20);
	EXPECT_EQ(image.geo.logical_sector_size, 512);
	EXPECT_EQ(image.geo.physical_sector_size, 4096);
	EXPECT_EQ(image.geo.chunk_ratio, 4096);
	EXPECT_EQ(image.geo.block_count, 64);
	EXPECT_EQ(image.geo.bat_entry_count, 64);
	EXPECT_EQ(image.geo.bat_offset, IMAGE_BAT);
	EXPECT(!image.geo.fixed);
	EXPECT(!image.geo.has_parent);
	vhdx_guid_format(&image.geo.disk_id, guid);
	EXPECT_STREQ(guid, GUID_DISK);
	release();
}

CASE(table_signature)
{
	test_image_make(&file);
	put_bytes(&file, IMAGE_METADATA, "metadat4", 8);
	expect_corrupt("metadata table at 0x200000: no signature");
	release();
}

CASE(table_has_at_most_2047_entries)
{
	test_image_make(&file);
	put16(&file, IMAGE_METADATA + 10, 2048);
	expect_corrupt("2048 entries, at most 2047");
	release();
}

CASE(order_of_items_is_free)
{
	test_image_make(&file);
	put_item(&file, 0, GUID_PHYSICAL, ITEM_AT(ITEM_PHYSICAL) - IMAGE_METADATA, 4, 6);
	put_item(&file, 4, GUID_PARAMETERS, ITEM_AT(ITEM_PARAMETERS) - IMAGE_METADATA, 8, 4);
	EXPECT_EQ(judge(), 0);
	release();
}

CASE(each_known_item_must_be_there)
{
	static const char *const names[ITEM_COUNT] = {
		"file parameters", "virtual disk size", "virtual disk id", "logical sector size",
		"physical sector size",
	};
	unsigned int n;

	for (n = 0; n < ITEM_COUNT; n++) {
		test_image_make(&file);
		put_guid(&file, METADATA_ENTRY(n), GUID_STRANGE);
		put32(&file, METADATA_ENTRY(n) + 24, 0);
		expect_corrupt("is missing");
		EXPECT_HAS(diag.text, names[n]);
		release();
	}
}

CASE(user_item_is_never_a_known_one)
{
	test_image_make(&file);
	/* The same GUID once more, marked as the user's, is another item. */
	put_item(&file, 5, GUID_SIZE, FREE_OFFSET, 8, 1);
	EXPECT_EQ(judge(), 0);
	/* And it doesn't replace the real one. */
	put32(&file, METADATA_ENTRY(ITEM_SIZE) + 24, 1);
	put_guid(&file, METADATA_ENTRY(5), GUID_STRANGE);
	expect_corrupt("virtual disk size is missing");
	release();
}

CASE(known_items_have_their_length)
{
	unsigned int n;

	for (n = 0; n < ITEM_COUNT; n++) {
		test_image_make(&file);
		put32(&file, METADATA_ENTRY(n) + 20, 20);
		expect_corrupt("must have");
		put32(&file, METADATA_ENTRY(n) + 20, 3);
		expect_corrupt("must have");
		put32(&file, METADATA_ENTRY(n) + 20, 0);
		put32(&file, METADATA_ENTRY(n) + 16, 0);
		expect_corrupt("has 0 bytes");
		release();
	}
}

CASE(unknown_required_item)
{
	test_image_make(&file);
	put_item(&file, 5, GUID_STRANGE, FREE_OFFSET, 8, 4);
	expect_unsupported(GUID_STRANGE);
	put32(&file, METADATA_ENTRY(5) + 24, 5);	/* a user's */
	expect_unsupported(GUID_STRANGE);
	put32(&file, METADATA_ENTRY(5) + 24, 2);	/* not required */
	EXPECT_EQ(judge(), 0);
	release();
}

CASE(incomplete_file_is_told_as_such)
{
	test_image_make(&file);
	put_item(&file, 5, GUID_INCOMPLETE, 0, 0, 4);
	expect_unsupported("marked as incomplete");
	release();
}

CASE(items_lie_behind_the_table_and_within_the_region)
{
	test_image_make(&file);
	put_item(&file, 5, GUID_STRANGE, 64 * KIB - 1, 8, 0);
	expect_corrupt("entry 5: 8 bytes at offset 0xffff");
	put_item(&file, 5, GUID_STRANGE, 1 * MIB - 7, 8, 0);
	expect_corrupt("the region's end at 0x100000");
	put_item(&file, 5, GUID_STRANGE, ~0U - 3, 8, 0);
	expect_corrupt("entry 5");
	put_item(&file, 5, GUID_STRANGE, 1 * MIB - 8, 8, 0);
	EXPECT_EQ(judge(), 0);
	release();
}

CASE(items_have_at_most_one_mib)
{
	test_image_make(&file);
	memory_store_resize(&file.memory, 8 * MIB);
	put_region(&file, 1, GUID_METADATA, 4 * MIB, 3 * MIB, 1);
	memcpy(file.memory.bytes + 4 * MIB, file.memory.bytes + IMAGE_METADATA, MIB);
	EXPECT_EQ(judge(), 0);
	/* Entry 5 of the table at its new place. */
	put16(&file, 4 * MIB + 10, 6);
	put_guid(&file, 4 * MIB + 32 * 6, GUID_STRANGE);
	put32(&file, 4 * MIB + 32 * 6 + 16, MIB);
	put32(&file, 4 * MIB + 32 * 6 + 20, MIB);
	EXPECT_EQ(judge(), 0);
	put32(&file, 4 * MIB + 32 * 6 + 20, MIB + 1);
	expect_corrupt("length 1048577, at most 1 MiB");
	release();
}

CASE(empty_items_have_no_offset)
{
	test_image_make(&file);
	put_item(&file, 5, GUID_STRANGE, 0, 0, 0);
	EXPECT_EQ(judge(), 0);
	put_item(&file, 5, GUID_STRANGE, FREE_OFFSET, 0, 0);
	expect_corrupt("an empty item with offset 0x20000");
	release();
}

CASE(item_occurs_twice)
{
	test_image_make(&file);
	put_item(&file, 5, GUID_SIZE, FREE_OFFSET, 8, 6);
	expect_corrupt("item " GUID_SIZE " occurs twice");
	put_item(&file, 5, GUID_STRANGE, FREE_OFFSET, 8, 1);
	put_item(&file, 6, GUID_STRANGE, FREE_OFFSET + 8, 8, 0);
	EXPECT_EQ(judge(), 0);
	put_item(&file, 6, GUID_STRANGE, FREE_OFFSET + 8, 8, 1);
	expect_corrupt("item " GUID_STRANGE " occurs twice");
	release();
}

CASE(items_must_not_overlap)
{
	test_image_make(&file);
	put_item(&file, 5, GUID_STRANGE, ITEM_AT(ITEM_ID) - IMAGE_METADATA + 15, 8, 0);
	expect_corrupt("the item at offset 0x1004f begins within another one that ends at 0x10050");
	put_item(&file, 5, GUID_STRANGE, ITEM_AT(ITEM_ID) - IMAGE_METADATA + 16, 8, 0);
	EXPECT_EQ(judge(), 0);
	release();
}

CASE(at_most_1024_user_items)
{
	char guid[VHDX_GUID_TEXT];
	vhdx_guid id = { { 0x55 } };
	unsigned int n;

	test_image_make(&file);
	for (n = 0; n < 1025; n++) {
		id.b[14] = n >> 8;
		id.b[15] = n;
		vhdx_guid_format(&id, guid);
		if (n == 1024)
			EXPECT_EQ(judge(), 0);
		put_item(&file, ITEM_COUNT + n, guid, 0, 0, 1);
	}
	expect_corrupt("1025 user items, at most 1024");
	release();
}

CASE(block_size)
{
	static const u32 bad[] = { 0, 512 * KIB, MIB + 1, 3 * MIB, 512 * MIB, 1U << 31, ~0U };
	u32 size;
	size_t i;

	test_image_make(&file);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		put32(&file, ITEM_AT(ITEM_PARAMETERS), bad[i]);
		expect_corrupt("must be a power of two between 1 MiB and 256 MiB");
	}
	for (size = MIB; size <= 256 * MIB; size *= 2) {
		put32(&file, ITEM_AT(ITEM_PARAMETERS), size);
		ASSERT_EQ(judge(), 0);
		EXPECT_EQ(1U << image.geo.block_shift, size);
	}
	release();
}

CASE(sector_sizes)
{
	static const u32 bad[] = { 0, 256, 520, 1024, 2048, 8192, ~0U };
	size_t i;

	test_image_make(&file);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		put32(&file, ITEM_AT(ITEM_LOGICAL), bad[i]);
		expect_corrupt("logical sector size at 0x210060 is");
		put32(&file, ITEM_AT(ITEM_LOGICAL), 512);
		put32(&file, ITEM_AT(ITEM_PHYSICAL), bad[i]);
		expect_corrupt("physical sector size at 0x210080 is");
		put32(&file, ITEM_AT(ITEM_PHYSICAL), 512);
	}
	put32(&file, ITEM_AT(ITEM_LOGICAL), 4096);
	EXPECT_EQ(judge(), 0);
	release();
}

CASE(disk_size)
{
	test_image_make(&file);
	memory_store_resize(&file.memory, 8 * MIB);
	put_region(&file, 0, GUID_BAT, IMAGE_BAT, 5 * MIB, 1);
	put32(&file, ITEM_AT(ITEM_PARAMETERS), 256 * MIB);
	put64(&file, ITEM_AT(ITEM_SIZE), 64 * TIB);
	EXPECT_EQ(judge(), 0);
	put64(&file, ITEM_AT(ITEM_SIZE), 64 * TIB + 512);
	expect_corrupt("at most 64 TiB");
	put64(&file, ITEM_AT(ITEM_SIZE), ~511ULL);
	expect_corrupt("at most 64 TiB");
	put64(&file, ITEM_AT(ITEM_SIZE), 5 * MIB + 256);
	expect_corrupt("not a multiple of the logical sector size 512");
	put64(&file, ITEM_AT(ITEM_SIZE), 5 * MIB + 512);
	EXPECT_EQ(judge(), 0);
	EXPECT_EQ(image.geo.block_count, 1);
	put32(&file, ITEM_AT(ITEM_LOGICAL), 4096);
	expect_corrupt("not a multiple of the logical sector size 4096");
	put64(&file, ITEM_AT(ITEM_SIZE), 0);
	expect_unsupported("nothing to attach");
	release();
}

CASE(fixed_and_differencing)
{
	static const char *const pairs[] = { "parent_linkage", "{" GUID_STRANGE "}", NULL };

	test_image_make(&file);
	put32(&file, ITEM_AT(ITEM_PARAMETERS) + 4, 1);
	ASSERT_EQ(judge(), 0);
	EXPECT(image.geo.fixed);
	EXPECT(!image.geo.has_parent);

	put32(&file, ITEM_AT(ITEM_PARAMETERS) + 4, 3);
	expect_corrupt("a differencing disk without a parent locator");
	put_locator(&file, pairs);
	put32(&file, ITEM_AT(ITEM_PARAMETERS) + 4, 3);
	ASSERT_EQ(judge(), 0);
	EXPECT(image.geo.has_parent);
	EXPECT(!image.geo.fixed);	/* ignored with a parent */
	EXPECT_EQ(image.geo.bat_entry_count, 4097);
	release();
}

CASE(bat_must_hold_every_entry)
{
	test_image_make(&file);
	/* 128 Ki entries of 8 bytes fit: with the 31 bitmap entries between them. */
	put64(&file, ITEM_AT(ITEM_SIZE), (131072 - 31) * MIB);
	ASSERT_EQ(judge(), 0);
	EXPECT_EQ(image.geo.bat_entry_count, 131072);
	put64(&file, ITEM_AT(ITEM_SIZE), (131072 - 31) * MIB + 512);
	expect_corrupt("BAT region at 0x300000 has 0x100000 bytes");
	EXPECT_HAS(diag.text, "needs 0x100008");
	release();
}

CASE(item_that_straddles_sectors)
{
	u32 place = FREE_OFFSET + 512 - 5;

	test_image_make(&file);
	put32(&file, METADATA_ENTRY(ITEM_ID) + 16, place);
	put_guid(&file, IMAGE_METADATA + place, GUID_STRANGE);
	ASSERT_EQ(judge(), 0);
	EXPECT(!memcmp(&image.geo.disk_id, file.memory.bytes + IMAGE_METADATA + place, 16));
	release();
}

CASE(read_errors_are_told)
{
	test_image_make(&file);
	file.memory.fail_at = IMAGE_METADATA;
	expect_refusal(-EIO, VHDX_REASON_IO, "reading the metadata table at 0x200000 failed");
	file.memory.fail_at = ITEM_AT(0);
	expect_refusal(-EIO, VHDX_REASON_IO, "reading the file parameters at 0x210000 failed");
	release();
}

SUITE("metadata")
