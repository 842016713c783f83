// SPDX-License-Identifier: GPL-2.0-only
/* File identifier, headers, and the place of the log. */
#include "judge.h"

/* Change a header field in both copies. */
static void put_both32(unsigned int at, u32 value)
{
	unsigned int slot;

	for (slot = 0; slot < 2; slot++) {
		put32(&file, HEADER_AT(slot) + at, value);
		seal_header(&file, slot);
	}
}

static void put_both64(unsigned int at, u64 value)
{
	unsigned int slot;

	for (slot = 0; slot < 2; slot++) {
		put64(&file, HEADER_AT(slot) + at, value);
		seal_header(&file, slot);
	}
}

CASE(sound_image_opens)
{
	test_image_make(&file);
	EXPECT_EQ(judge(), 0);
	EXPECT_EQ(image.header.slot, 1);
	EXPECT_EQ(image.header.sequence, 2);
	EXPECT_EQ(image.header.log_offset, IMAGE_LOG);
	EXPECT_EQ(image.header.log_length, 1 * MIB);
	EXPECT_EQ(image.header.file_write_guid.b[3], 0xf1);
	EXPECT_EQ(image.header.data_write_guid.b[3], 0xda);
	EXPECT(vhdx_guid_is_zero(&image.header.log_guid));
	EXPECT(!image.log.dirty);
	EXPECT_STREQ(diag.text, "");
	release();
}

CASE(other_files_are_not_a_vhdx)
{
	test_image_make(&file);
	put_bytes(&file, 0, "vhdxfilf", 8);
	expect_refusal(-EMEDIUMTYPE, VHDX_REASON_BAD_TYPE, "vhdxfile");
	memory_store_resize(&file.memory, 0);
	expect_refusal(-EMEDIUMTYPE, VHDX_REASON_BAD_TYPE, "not a VHDX");
	release();
}

CASE(cut_within_the_header_section)
{
	test_image_make(&file);
	memory_store_resize(&file.memory, MIB - 512);
	expect_corrupt("1048064 bytes");
	memory_store_resize(&file.memory, 8 * KIB);
	expect_corrupt("truncated");
	release();
}

CASE(larger_sequence_number_wins_in_either_slot)
{
	test_image_make(&file);
	put64(&file, HEADER_AT(0) + 8, 3);
	seal_header(&file, 0);
	ASSERT_EQ(judge(), 0);
	EXPECT_EQ(image.header.slot, 0);
	put64(&file, HEADER_AT(1) + 8, 1ULL << 63);
	seal_header(&file, 1);
	ASSERT_EQ(judge(), 0);
	EXPECT_EQ(image.header.slot, 1);
	release();
}

CASE(equal_sequence_numbers_mean_the_first)
{
	test_image_make(&file);
	put64(&file, HEADER_AT(1) + 8, 1);
	seal_header(&file, 1);
	ASSERT_EQ(judge(), 0);
	EXPECT_EQ(image.header.slot, 0);
	put_guid(&file, HEADER_AT(1) + 32, GUID_STRANGE);
	seal_header(&file, 1);
	ASSERT_EQ(judge(), 0);
	EXPECT_EQ(image.header.slot, 0);
	EXPECT_EQ(image.header.data_write_guid.b[3], 0xda);
	release();
}

CASE(damaged_copy_gives_way_to_the_other)
{
	test_image_make(&file);
	put64(&file, HEADER_AT(1) + 200, 1);	/* anywhere under the checksum */
	ASSERT_EQ(judge(), 0);
	EXPECT_EQ(image.header.slot, 0);

	put_headers(&file, NULL);
	put_bytes(&file, HEADER_AT(1), "Head", 4);
	seal_header(&file, 1);
	ASSERT_EQ(judge(), 0);
	EXPECT_EQ(image.header.slot, 0);

	put_headers(&file, NULL);
	put64(&file, HEADER_AT(0) + 8, 9);	/* the larger number doesn't help it */
	ASSERT_EQ(judge(), 0);
	EXPECT_EQ(image.header.slot, 1);
	release();
}

CASE(last_byte_is_under_the_checksum)
{
	test_image_make(&file);
	file.memory.bytes[HEADER_AT(1) + 4095] ^= 1;
	ASSERT_EQ(judge(), 0);
	EXPECT_EQ(image.header.slot, 0);
	release();
}

CASE(two_damaged_copies)
{
	test_image_make(&file);
	put_bytes(&file, HEADER_AT(0), "none", 4);
	put64(&file, HEADER_AT(1) + 200, 1);
	expect_corrupt("header 1 at 0x10000 has no signature");
	EXPECT_HAS(diag.text, "header 2 at 0x20000 has checksum 0x");
	EXPECT_HAS(diag.text, "restore from a copy");
	release();
}

CASE(unknown_version_of_the_current_header_is_final)
{
	test_image_make(&file);
	put16(&file, HEADER_AT(1) + 66, 2);
	seal_header(&file, 1);
	expect_unsupported("header 2 at 0x20000: format version 2");
	release();
}

CASE(unknown_version_of_the_other_header_is_ignored)
{
	test_image_make(&file);
	put16(&file, HEADER_AT(0) + 66, 2);
	seal_header(&file, 0);
	EXPECT_EQ(judge(), 0);
	release();
}

CASE(unknown_log_version_matters_with_a_log)
{
	static const vhdx_guid log_guid = { { 1 } };

	test_image_make(&file);
	put_both32(64, 1 << 16 | 1);
	EXPECT_EQ(judge(), 0);
	put_headers(&file, &log_guid);
	put_both32(64, 1 << 16 | 1);
	expect_unsupported("version 1 and only version 0");
	release();
}

CASE(log_must_be_aligned)
{
	test_image_make(&file);
	put_both64(72, IMAGE_LOG + 4096);
	expect_corrupt("log offset 0x101000");
	put_headers(&file, NULL);
	put_both32(68, 1 * MIB + 4096);
	expect_corrupt("log length 0x101000");
	release();
}

CASE(log_must_lie_behind_the_header_section)
{
	test_image_make(&file);
	put_both64(72, 0);
	expect_corrupt("log offset 0x0");
	release();
}

CASE(log_must_end_within_the_container)
{
	test_image_make(&file);
	put_both64(72, 4 * MIB);
	expect_corrupt("ends behind the container's end at 0x400000");
	put_both64(72, 5 * MIB);
	expect_corrupt("ends behind");
	put_both64(72, ~0ULL << 20);
	expect_corrupt("ends behind");
	/* In the last MiB it fits, and then it is only the BAT that is in the way. */
	put_both64(72, 3 * MIB);
	expect_corrupt("overlaps");
	release();
}

CASE(log_may_be_absent_while_clean)
{
	static const vhdx_guid log_guid = { { 1 } };

	test_image_make(&file);
	put_both32(68, 0);
	put_both64(72, 0);
	EXPECT_EQ(judge(), 0);
	put_headers(&file, &log_guid);
	put_both32(68, 0);
	expect_corrupt("its length is 0");
	release();
}

CASE(enormous_log_is_refused)
{
	test_image_make(&file);
	put_both32(68, GIB + MIB);
	expect_unsupported("a log of 1074790400 bytes");
	put_both32(68, GIB);
	expect_corrupt("ends behind");
	release();
}

CASE(read_errors_are_told)
{
	static const u64 places[] = { 0, HEADER_AT(0), HEADER_AT(1), TABLE_AT(0) };
	size_t i;

	test_image_make(&file);
	for (i = 0; i < ARRAY_SIZE(places); i++) {
		file.memory.fail_at = places[i];
		expect_refusal(-EIO, VHDX_REASON_IO, "failed (error 5)");
	}
	release();
}

/* Is this the current header of a container with these copies? */
static bool is_current(const struct vhdx_header *header, const void *first, const void *second)
{
	struct vhdx_header found;

	return vhdx_header_choose((const void *[]){ first, second }, &found) &&
	       vhdx_header_equal(&found, header);
}

CASE(current_header_is_known_again)
{
	u8 raw[VHDX_PAGE] __attribute__((aligned(8)));
	u8 next[VHDX_PAGE] __attribute__((aligned(8)));
	struct vhdx_header header, other;
	unsigned int field;

	test_image_make(&file);
	EXPECT_EQ(judge(), 0);
	header = image.header;
	/* As it is in the file, whoever wrote it, and as we write it. */
	EXPECT(is_current(&header, file.memory.bytes + HEADER_AT(0),
			  file.memory.bytes + HEADER_AT(1)));
	vhdx_header_encode(&header, raw);
	EXPECT(is_current(&header, raw, raw));
	for (field = 0; field < 6; field++) {
		other = header;
		other.sequence += field == 0;
		other.file_write_guid.b[0] ^= field == 1;
		other.data_write_guid.b[15] ^= field == 2;
		other.log_guid.b[7] ^= field == 3;
		other.log_length += field == 4;
		other.log_offset += field == 5;
		EXPECT(!is_current(&other, raw, raw));
	}
	/* One update, of the other copy: both are good, and ours is not current any more. */
	other = header;
	other.sequence++;
	vhdx_header_encode(&other, next);
	EXPECT(!is_current(&header, raw, next));
	EXPECT(!is_current(&header, next, raw));
	EXPECT(is_current(&other, raw, next));
	next[VHDX_PAGE - 1] ^= 1;
	EXPECT(is_current(&header, raw, next));
	EXPECT(is_current(&header, next, raw));
	EXPECT(!is_current(&header, next, next));
	memset(raw, 0, sizeof(raw));
	EXPECT(!is_current(&header, raw, next));
	release();
}

CASE(encoded_header_is_read_back)
{
	struct vhdx_header header = {
		.sequence = 0x1122334455667788,
		.file_write_guid = { { 1, 2, 3 } },
		.data_write_guid = { { 4, 5, 6 } },
		.log_length = 1 * MIB,
		.log_offset = IMAGE_LOG,
	};
	u8 buf[4096] __attribute__((aligned(8)));
	unsigned int slot;

	test_image_make(&file);
	for (slot = 0; slot < 2; slot++) {
		header.sequence++;
		memset(buf, 0xaa, sizeof(buf));
		vhdx_header_encode(&header, buf);
		put_bytes(&file, HEADER_AT(slot), buf, sizeof(buf));
		EXPECT_EQ(vhdx_header_offset(slot), HEADER_AT(slot));
		ASSERT_EQ(judge(), 0);
		EXPECT_EQ(image.header.slot, slot);
		EXPECT_EQ(image.header.sequence, header.sequence);
		EXPECT(vhdx_guid_equal(&image.header.file_write_guid, &header.file_write_guid));
		EXPECT(vhdx_guid_equal(&image.header.data_write_guid, &header.data_write_guid));
		EXPECT_EQ(image.header.log_length, header.log_length);
		EXPECT_EQ(image.header.log_offset, header.log_offset);
		/* Version 1, log version 0, and zeroes to the end. */
		EXPECT_EQ(get64(&file, HEADER_AT(slot) + 64) & 0xffffffff, 1 << 16);
		EXPECT_EQ(get64(&file, HEADER_AT(slot) + 80), 0);
		EXPECT_EQ(get64(&file, HEADER_AT(slot) + 4088), 0);
	}
	header.log_guid.b[0] = 7;
	vhdx_header_encode(&header, buf);
	EXPECT_EQ(buf[48], 7);
	release();
}

SUITE("header")
