// SPDX-License-Identifier: GPL-2.0-only
/* Region tables, and the extents that follow from them. */
#include "judge.h"

CASE(extents_ascend_and_hold_everything)
{
	static const struct vhdx_extent expected[] = {
		{ 0, 1 * MIB }, { IMAGE_LOG, 1 * MIB }, { IMAGE_METADATA, 1 * MIB },
		{ IMAGE_BAT, 1 * MIB },
	};
	size_t i;

	test_image_make(&file);
	ASSERT_EQ(judge(), 0);
	ASSERT_EQ(image.extent_count, ARRAY_SIZE(expected));
	for (i = 0; i < ARRAY_SIZE(expected); i++) {
		EXPECT_EQ(image.extents[i].offset, expected[i].offset);
		EXPECT_EQ(image.extents[i].length, expected[i].length);
	}
	release();
}

CASE(damaged_copy_gives_way_to_the_other)
{
	unsigned int copy;

	for (copy = 0; copy < 2; copy++) {
		test_image_make(&file);
		file.memory.bytes[TABLE_AT(copy) + 64 * KIB - 1] ^= 1;
		EXPECT_EQ(judge(), 0);
		release();

		test_image_make(&file);
		put_bytes(&file, TABLE_AT(copy), "rege", 4);
		seal_table(&file, copy);
		EXPECT_EQ(judge(), 0);
		release();

		test_image_make(&file);
		put32(&file, TABLE_AT(copy) + 8, 2048);
		seal_table(&file, copy);
		EXPECT_EQ(judge(), 0);
		release();
	}
}

CASE(two_damaged_copies)
{
	test_image_make(&file);
	file.memory.bytes[TABLE_AT(0) + 100] ^= 1;
	file.memory.bytes[TABLE_AT(1) + 100] ^= 1;
	expect_corrupt("no valid region table: neither the copy at 0x30000 nor the one at 0x40000");
	release();
}

CASE(no_signature_in_both)
{
	unsigned int copy;

	test_image_make(&file);
	for (copy = 0; copy < 2; copy++) {
		put_bytes(&file, TABLE_AT(copy), "rege", 4);
		seal_table(&file, copy);
	}
	expect_corrupt("no valid region table");
	release();
}

CASE(too_many_entries_in_both)
{
	unsigned int copy;

	test_image_make(&file);
	for (copy = 0; copy < 2; copy++) {
		put32(&file, TABLE_AT(copy) + 8, 2048);
		seal_table(&file, copy);
	}
	expect_corrupt("no valid region table");
	release();
}

CASE(required_mark_of_known_regions_is_not_asked)
{
	test_image_make(&file);
	put_region(&file, 0, GUID_BAT, IMAGE_BAT, 1 * MIB, 0);
	put_region(&file, 1, GUID_METADATA, IMAGE_METADATA, 1 * MIB, 0);
	EXPECT_EQ(judge(), 0);
	release();
}

CASE(unknown_required_region)
{
	test_image_make(&file);
	memory_store_resize(&file.memory, 5 * MIB);
	put_region(&file, 2, GUID_STRANGE, 4 * MIB, 1 * MIB, 1);
	expect_unsupported(GUID_STRANGE);
	EXPECT_HAS(diag.text, "region table 1 at 0x30000, entry 2");
	release();
}

CASE(unknown_optional_region_is_kept_out_of_the_way)
{
	test_image_make(&file);
	memory_store_resize(&file.memory, 6 * MIB);
	put_region(&file, 2, GUID_STRANGE, 5 * MIB, 1 * MIB, 0);
	ASSERT_EQ(judge(), 0);
	ASSERT_EQ(image.extent_count, 5);
	EXPECT_EQ(image.extents[4].offset, 5 * MIB);
	EXPECT_EQ(image.extents[4].length, 1 * MIB);
	release();
}

CASE(region_occurs_twice)
{
	test_image_make(&file);
	memory_store_resize(&file.memory, 6 * MIB);
	put_region(&file, 2, GUID_METADATA, 4 * MIB, 1 * MIB, 1);
	expect_corrupt("the metadata region occurs twice");
	put_region(&file, 2, GUID_STRANGE, 4 * MIB, 1 * MIB, 0);
	put_region(&file, 3, GUID_STRANGE, 5 * MIB, 1 * MIB, 0);
	expect_corrupt(GUID_STRANGE " occurs twice");
	release();
}

CASE(known_region_is_missing)
{
	test_image_make(&file);
	put_region(&file, 0, GUID_STRANGE, IMAGE_BAT, 1 * MIB, 0);
	expect_corrupt("the BAT region is missing");
	put_region(&file, 0, GUID_BAT, IMAGE_BAT, 1 * MIB, 0);
	put_region(&file, 1, GUID_STRANGE, IMAGE_METADATA, 1 * MIB, 0);
	expect_corrupt("the metadata region is missing");
	release();
}

CASE(regions_must_be_aligned)
{
	test_image_make(&file);
	memory_store_resize(&file.memory, 8 * MIB);
	put_region(&file, 0, GUID_BAT, IMAGE_BAT + 4096, 1 * MIB, 1);
	expect_corrupt("the BAT region at 0x301000");
	put_region(&file, 0, GUID_BAT, IMAGE_BAT, 1 * MIB + 4096, 1);
	expect_corrupt("the BAT region has 0x101000 bytes");
	put_region(&file, 0, GUID_BAT, 0, 1 * MIB, 1);
	expect_corrupt("the BAT region at 0x0, not at a multiple");
	release();
}

CASE(regions_must_not_be_empty)
{
	test_image_make(&file);
	put_region(&file, 0, GUID_BAT, IMAGE_BAT, 0, 1);
	expect_corrupt("the BAT region has 0x0 bytes");
	put_region(&file, 0, GUID_BAT, IMAGE_BAT, 1 * MIB, 1);
	put_region(&file, 2, GUID_STRANGE, IMAGE_BLOCKS, 0, 0);
	expect_corrupt("region " GUID_STRANGE " has 0x0 bytes");
	release();
}

CASE(regions_must_not_overlap)
{
	test_image_make(&file);
	memory_store_resize(&file.memory, 8 * MIB);
	put_region(&file, 1, GUID_METADATA, IMAGE_METADATA, 2 * MIB, 1);
	expect_corrupt("the metadata region at 0x200000, 0x200000 bytes, overlaps the BAT region at 0x300000");
	put_region(&file, 1, GUID_METADATA, IMAGE_BAT, 1 * MIB, 1);
	expect_corrupt("overlaps");
	put_region(&file, 1, GUID_METADATA, IMAGE_LOG, 1 * MIB, 1);
	expect_corrupt("the log");
	put_region(&file, 1, GUID_METADATA, IMAGE_METADATA, 1 * MIB, 1);
	put_region(&file, 2, GUID_STRANGE, IMAGE_BAT, 1 * MIB, 0);
	expect_corrupt("region " GUID_STRANGE);
	release();
}

CASE(regions_must_end_within_the_container)
{
	test_image_make(&file);
	put_region(&file, 0, GUID_BAT, IMAGE_BAT, 2 * MIB, 1);
	expect_corrupt("ends behind the container's end at 0x400000: truncated");
	put_region(&file, 0, GUID_BAT, ~0ULL << 20, 1 * MIB, 1);
	expect_corrupt("ends behind");
	put_region(&file, 0, GUID_BAT, 64 * TIB, 0xfff00000, 1);
	expect_corrupt("ends behind");
	release();
}

CASE(container_of_any_length_will_do)
{
	test_image_make(&file);
	memory_store_resize(&file.memory, IMAGE_BLOCKS + 512);
	EXPECT_EQ(judge(), 0);
	memory_store_resize(&file.memory, IMAGE_BLOCKS - 512);
	expect_corrupt("the BAT region at 0x300000");
	release();
}

CASE(table_full_to_the_last_entry)
{
	char guid[VHDX_GUID_TEXT];
	unsigned int n;
	vhdx_guid id = { { 0x55 } };

	test_image_make(&file);
	memory_store_resize(&file.memory, (4 + 2045) * MIB);
	for (n = 2; n < 2047; n++) {
		unsigned int copy;

		id.b[14] = n >> 8;
		id.b[15] = n;
		vhdx_guid_format(&id, guid);
		for (copy = 0; copy < 2; copy++) {
			put32(&file, TABLE_AT(copy) + 8, n + 1);
			put_guid(&file, REGION_ENTRY(copy, n), guid);
			/* Descending: the extents have to be sorted. */
			put64(&file, REGION_ENTRY(copy, n) + 16, (4 + 2046 - n) * MIB);
			put32(&file, REGION_ENTRY(copy, n) + 24, 1 * MIB);
		}
	}
	seal_table(&file, 0);
	seal_table(&file, 1);
	ASSERT_EQ(judge(), 0);
	ASSERT_EQ(image.extent_count, 2049);
	for (n = 1; n < image.extent_count; n++)
		EXPECT_EQ(image.extents[n].offset, n * MIB);
	release();
}

CASE(read_error_is_told)
{
	test_image_make(&file);
	file.memory.fail_at = TABLE_AT(0);
	expect_refusal(-EIO, VHDX_REASON_IO, "reading the region table at 0x30000 failed");
	release();
}

SUITE("region")
