// SPDX-License-Identifier: GPL-2.0-only
/* What a replay writes. */
#include "judge.h"
#include "test_log.h"

static struct log_fields fields;

#define PLACE	IMAGE_BAT

static void begin(void)
{
	test_log_begin(&file, &fields, 1);
	/* Something that zeroes and pages can be told from. */
	memset(file.memory.bytes + PLACE, 0xee, MIB);
}

static int replay(void)
{
	int err;

	vhdx_image_release(&image);
	memset(&diag, 0, sizeof(diag));
	err = vhdx_image_open(&image, &file.memory.store, &diag);
	EXPECT_EQ(err, 0);
	EXPECT_EQ(file.memory.bytes_written, 0);
	if (!err)
		err = vhdx_log_replay(&file.memory.store, &image.header, &image.log, &diag);
	return err;
}

static bool is_filled(u64 offset, u64 length, u8 byte)
{
	while (length--)
		if (file.memory.bytes[offset++] != byte)
			return false;
	return true;
}

CASE(page_is_whole_again)
{
	begin();
	put_entry(&file, &fields, 0, 1, 0, (const struct log_effect[]) { DATA(PLACE, 77) }, 1);
	ASSERT_EQ(replay(), 0);
	EXPECT(page_is(file.memory.bytes + PLACE, 77));
	EXPECT(is_filled(PLACE + SECTOR, SECTOR, 0xee));
	EXPECT_EQ(file.memory.bytes_written, SECTOR);
	release();
}

CASE(order_of_effects)
{
	const struct log_effect effects[] = {
		DATA(PLACE, 1), DATA(PLACE + 0x1000, 2), ZERO(PLACE, 0x1000), DATA(PLACE, 3),
		DATA(PLACE + 0x2000, 4), ZERO(PLACE + 0x1000, 0x3000), DATA(PLACE + 0x3000, 5),
	};
	u32 next;

	begin();
	next = put_entry(&file, &fields, 0, 1, 0, effects, ARRAY_SIZE(effects));
	put_entry(&file, &fields, next, 2, 0, (const struct log_effect[]) {
		DATA(PLACE + 0x3000, 6), DATA(PLACE + 0x4000, 7),
	}, 2);
	ASSERT_EQ(replay(), 0);
	EXPECT(page_is(file.memory.bytes + PLACE, 3));
	EXPECT(is_filled(PLACE + 0x1000, 0x2000, 0));
	EXPECT(page_is(file.memory.bytes + PLACE + 0x3000, 6));
	EXPECT(page_is(file.memory.bytes + PLACE + 0x4000, 7));
	release();
}

CASE(only_what_lies_between_tail_and_head)
{
	vhdx_guid other = { { 0x77 } };
	u32 next;

	begin();
	put_entry(&file, &fields, 0, 1, 0, (const struct log_effect[]) { DATA(PLACE, 1) }, 1);
	put_entry(&file, &fields, 2 * SECTOR, 2, 2 * SECTOR,
		  (const struct log_effect[]) { DATA(PLACE + 0x1000, 2) }, 1);
	next = put_entry(&file, &fields, 4 * SECTOR, 3, 2 * SECTOR,
			 (const struct log_effect[]) { DATA(PLACE + 0x2000, 3) }, 1);
	fields.guid = other;
	put_entry(&file, &fields, next, 4, 0,
		  (const struct log_effect[]) { DATA(PLACE + 0x3000, 4) }, 1);
	ASSERT_EQ(replay(), 0);
	EXPECT(is_filled(PLACE, SECTOR, 0xee));
	EXPECT(page_is(file.memory.bytes + PLACE + 0x1000, 2));
	EXPECT(page_is(file.memory.bytes + PLACE + 0x2000, 3));
	EXPECT(is_filled(PLACE + 0x3000, SECTOR, 0xee));
	release();
}

CASE(descriptors_and_data_across_the_rings_end)
{
	struct log_effect effects[130];
	u32 start, i;

	for (i = 0; i < 130; i++)
		effects[i] = (struct log_effect)DATA(PLACE + i * SECTOR, 100 + i);
	/* The end falls before, within and behind the two descriptor sectors. */
	for (start = 252; start < 256; start++) {
		begin();
		put_entry(&file, &fields, start * SECTOR, 1, start * SECTOR, effects, 130);
		ASSERT_EQ(replay(), 0);
		for (i = 0; i < 130; i++)
			EXPECT(page_is(file.memory.bytes + PLACE + i * SECTOR, 100 + i));
		release();
	}
}

CASE(ring_filled_to_the_last_sector)
{
	struct log_effect effects[127];
	u32 i;

	for (i = 0; i < 127; i++)
		effects[i] = (struct log_effect)DATA(PLACE + i * SECTOR, i);
	begin();
	/* 129 and 127 sectors: head and tail are the same. */
	put_entry(&file, &fields, 200 * SECTOR, 1, 200 * SECTOR, effects, 127);
	for (i = 0; i < 126; i++)
		effects[i] = (struct log_effect)DATA(PLACE + (100 + i) * SECTOR, 1000 + i);
	put_entry(&file, &fields, 73 * SECTOR, 2, 200 * SECTOR, effects, 126);
	ASSERT_EQ(replay(), 0);
	EXPECT_EQ(image.log.entry_count, 2);
	for (i = 0; i < 100; i++)
		EXPECT(page_is(file.memory.bytes + PLACE + i * SECTOR, i));
	for (; i < 226; i++)
		EXPECT(page_is(file.memory.bytes + PLACE + i * SECTOR, 1000 + i - 100));
	release();
}

CASE(only_zeroes)
{
	begin();
	put_entry(&file, &fields, 0, 1, 0, (const struct log_effect[]) {
		ZERO(PLACE + 0x1000, 0x42000), NOTHING(0), ZERO(PLACE + 0x80000, 0x1000),
	}, 3);
	ASSERT_EQ(replay(), 0);
	EXPECT(is_filled(PLACE, 0x1000, 0xee));
	EXPECT(is_filled(PLACE + 0x1000, 0x42000, 0));
	EXPECT(is_filled(PLACE + 0x43000, 0x3d000, 0xee));
	EXPECT(is_filled(PLACE + 0x80000, 0x1000, 0));
	EXPECT(is_filled(PLACE + 0x81000, 0x1000, 0xee));
	EXPECT_EQ(file.memory.bytes_written, 0x43000);
	release();
}

CASE(nothing_to_do)
{
	begin();
	put_entry(&file, &fields, 0, 1, 0, NULL, 0);
	ASSERT_EQ(replay(), 0);
	EXPECT_EQ(file.memory.bytes_written, 0);
	release();
}

CASE(pages_extend_the_container)
{
	begin();
	put_entry(&file, &fields, 0, 1, 0,
		  (const struct log_effect[]) { DATA(7 * MIB, 9) }, 1);
	ASSERT_EQ(replay(), 0);
	EXPECT_EQ(file.memory.length, 7 * MIB + SECTOR);
	EXPECT(page_is(file.memory.bytes + 7 * MIB, 9));
	EXPECT(is_filled(4 * MIB, 3 * MIB, 0));
	release();
}

/* What extends a container fills it with zeroes: there is nothing to write. */
CASE(zeroes_behind_the_end_cost_nothing)
{
	begin();
	put_entry(&file, &fields, 0, 1, 0, (const struct log_effect[]) {
		ZERO(4 * MIB - 0x2000, 4 * GIB), DATA(5 * MIB, 9), ZERO(5 * MIB, 4 * GIB),
	}, 3);
	ASSERT_EQ(replay(), 0);
	EXPECT(is_filled(4 * MIB - 0x3000, 0x1000, 0xee));
	EXPECT(is_filled(4 * MIB - 0x2000, 0x2000, 0));
	EXPECT_EQ(file.memory.length, 5 * MIB + SECTOR);
	/* This page had extended it, so it had to be taken back. */
	EXPECT(is_filled(5 * MIB, SECTOR, 0));
	EXPECT_EQ(file.memory.bytes_written, 0x2000 + 2 * SECTOR);
	release();
}

CASE(again_and_again)
{
	u8 *before;

	begin();
	put_entry(&file, &fields, 0, 1, 0, (const struct log_effect[]) {
		DATA(PLACE, 1), ZERO(PLACE, 0x1000), DATA(PLACE + 0x1000, 2), DATA(PLACE, 3),
	}, 4);
	ASSERT_EQ(replay(), 0);
	before = malloc(file.memory.length);
	memcpy(before, file.memory.bytes, file.memory.length);
	file.memory.bytes_written = 0;
	ASSERT_EQ(replay(), 0);
	EXPECT(!memcmp(before, file.memory.bytes, file.memory.length));
	free(before);
	release();
}

CASE(write_errors_are_told)
{
	begin();
	put_entry(&file, &fields, 0, 1, 0, (const struct log_effect[]) {
		DATA(PLACE, 1), ZERO(PLACE + 0x80000, 0x1000),
	}, 2);
	file.memory.fail_at = PLACE;
	file.memory.error = -ENOSPC;
	EXPECT_EQ(replay(), -ENOSPC);
	EXPECT_EQ(diag.reason, VHDX_REASON_IO);
	EXPECT_HAS(diag.text, "replaying the log: writing 0x1000 bytes at 0x300000 failed");
	file.memory.bytes_written = 0;
	file.memory.fail_at = PLACE + 0x80000;
	EXPECT_EQ(replay(), -ENOSPC);
	EXPECT_HAS(diag.text, "at 0x380000 failed");
	release();
}

struct told {
	u64 offset;
	u64 length;
	u64 log_offset;
	u32 seed;
};

static struct told told[8];
static unsigned int told_count;

static int note(void *context, u64 offset, const void *sector, u64 length, u64 log_offset)
{
	EXPECT(context == &told);
	if (told_count == ARRAY_SIZE(told))
		return -E2BIG;
	told[told_count++] = (struct told){ offset, length, log_offset, sector ? 1 : 0 };
	if (sector)
		EXPECT(page_is(sector, 40 + told_count));
	return 0;
}

CASE(walk_tells_where_the_sectors_are)
{
	begin();
	put_entry(&file, &fields, 254 * SECTOR, 1, 254 * SECTOR, (const struct log_effect[]) {
		DATA(PLACE, 41), ZERO(PLACE + 0x1000, 0x5000), DATA(PLACE + 0x1000, 43),
	}, 3);
	memset(&diag, 0, sizeof(diag));
	ASSERT_EQ(vhdx_image_open(&image, &file.memory.store, &diag), 0);
	told_count = 0;
	EXPECT_EQ(vhdx_log_walk(&file.memory.store, &image.header, &image.log, note, &told, &diag),
		  0);
	ASSERT_EQ(told_count, 3);
	EXPECT_EQ(told[0].offset, PLACE);
	EXPECT_EQ(told[0].length, SECTOR);
	EXPECT_EQ(told[0].log_offset, IMAGE_LOG + 255 * SECTOR);
	EXPECT_EQ(told[1].offset, PLACE + 0x1000);
	EXPECT_EQ(told[1].length, 0x5000);
	EXPECT_EQ(told[1].seed, 0);
	EXPECT_EQ(told[2].log_offset, IMAGE_LOG);
	release();
}

CASE(walk_ends_with_the_callers_error)
{
	struct log_effect effects[9];
	unsigned int i;

	for (i = 0; i < 9; i++)
		effects[i] = (struct log_effect)ZERO(PLACE, SECTOR);
	begin();
	put_entry(&file, &fields, 0, 1, 0, effects, 9);
	ASSERT_EQ(vhdx_image_open(&image, &file.memory.store, NULL), 0);
	told_count = 0;
	EXPECT_EQ(vhdx_log_walk(&file.memory.store, &image.header, &image.log, note, &told, NULL),
		  -E2BIG);
	release();
}

/* A device that answers otherwise the second time must not lead anybody astray. */
CASE(log_that_changes_after_the_scan)
{
	static const struct {
		u32 at;
		u64 value;
	} changes[] = {
		{ 0, 0 }, { 8, 0xfffff000 }, { 24, 0xffffffff }, { 64, 0 }, { 80, 1 }, { 80, 0 },
		{ 80, PLACE + 1 }, { 24, 3 }, { 96, 0x63736564 }, { 96 + 8, 1 },
		{ 96 + 8, ~0ULL << 12 }, { 96 + 16, IMAGE_LOG },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(changes); i++) {
		begin();
		put_entry(&file, &fields, 0, 1, 0, (const struct log_effect[]) {
			DATA(PLACE, 41), ZERO(PLACE + 0x1000, 0x5000),
		}, 2);
		ASSERT_EQ(vhdx_image_open(&image, &file.memory.store, NULL), 0);
		put64(&file, log_at(&file, changes[i].at), changes[i].value);
		memset(&diag, 0, sizeof(diag));
		if (!EXPECT_EQ(vhdx_log_walk(&file.memory.store, &image.header, &image.log, NULL,
					     NULL, &diag), -EUCLEAN))
			printf("# change %zu\n", i);
		release();
	}
}

SUITE("log_replay")
