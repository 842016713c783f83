// SPDX-License-Identifier: GPL-2.0-only
/* Composing entries: against the builder, against replay, and back again. */
#include "judge.h"
#include "test_log.h"

static struct log_fields fields;

static u8 *sectors[VHDX_LOG_PAGES_MAX];
static struct vhdx_log_page pages[VHDX_LOG_PAGES_MAX];

static void make_pages(unsigned int count, u32 seed)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		sectors[i] = vhdx_alloc(SECTOR);
		page_fill(sectors[i], seed + i);
		pages[i].file_offset = IMAGE_BAT + i * SECTOR;
		pages[i].sector = sectors[i];
	}
}

static void free_pages(unsigned int count)
{
	while (count--)
		vhdx_free(sectors[count]);
}

static void put_sealed(u32 position, const u8 *first, unsigned int count)
{
	unsigned int i;

	put_bytes(&file, log_at(&file, position), first, SECTOR);
	for (i = 0; i < count; i++)
		put_bytes(&file, log_at(&file, position + (1 + i) * SECTOR), sectors[i], SECTOR);
}

/* The builder, which shares no line with it, makes the same bytes. */
CASE(composed_as_the_specification_says)
{
	static const unsigned int counts[] = { 0, 1, 2, 125, 126 };
	struct log_effect effects[VHDX_LOG_PAGES_MAX];
	u8 *first = vhdx_alloc(SECTOR);
	size_t i;
	u32 n;

	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		struct vhdx_log_entry entry = {
			.log_guid = test_log_guid, .sequence = 0x123456789abcdef0,
			.tail = 7 * SECTOR, .flushed_file_offset = 8 * MIB,
			.last_file_offset = 9 * MIB,
		};
		u32 length = (1 + counts[i]) * SECTOR;

		test_log_begin(&file, &fields, 1);
		fields.flushed = 8 * MIB;
		fields.last = 9 * MIB;
		for (n = 0; n < counts[i]; n++)
			effects[n] = (struct log_effect)DATA(IMAGE_BAT + n * SECTOR, 500 + n);
		put_entry(&file, &fields, 128 * SECTOR, entry.sequence, entry.tail, effects,
			  counts[i]);

		make_pages(counts[i], 500);
		memset(first, 0xaa, SECTOR);
		vhdx_log_entry_seal(first, &entry, pages, counts[i]);
		put_sealed(0, first, counts[i]);
		EXPECT(!memcmp(file.memory.bytes + log_at(&file, 0),
			       file.memory.bytes + log_at(&file, 128 * SECTOR), length));
		free_pages(counts[i]);
		release();
	}
	vhdx_free(first);
}

CASE(unsealed_is_what_was_sealed)
{
	struct vhdx_log_entry entry = { .log_guid = test_log_guid, .sequence = ~0ULL };
	u8 *first = vhdx_alloc(SECTOR);
	unsigned int i;

	make_pages(VHDX_LOG_PAGES_MAX, 900);
	vhdx_log_entry_seal(first, &entry, pages, VHDX_LOG_PAGES_MAX);
	for (i = 0; i < VHDX_LOG_PAGES_MAX; i++)
		EXPECT(!page_is(sectors[i], 900 + i));
	vhdx_log_entry_unseal(first, pages, VHDX_LOG_PAGES_MAX);
	for (i = 0; i < VHDX_LOG_PAGES_MAX; i++)
		EXPECT(page_is(sectors[i], 900 + i));
	free_pages(VHDX_LOG_PAGES_MAX);
	vhdx_free(first);
}

/* A single byte, at every place of a page, first and last included. */
CASE(every_byte_survives)
{
	struct vhdx_log_entry entry = { .log_guid = test_log_guid, .sequence = 1 };
	u8 *first = vhdx_alloc(SECTOR);
	u8 expected[SECTOR] = { 0 };
	u32 at;

	make_pages(2, 0);
	for (at = 0; at < SECTOR; at++) {
		expected[at] = 0x5a;
		memcpy(sectors[0], expected, SECTOR);
		memset(sectors[1], 0, SECTOR);
		vhdx_log_entry_seal(first, &entry, pages, 2);
		vhdx_log_entry_unseal(first, pages, 2);
		if (!EXPECT(!memcmp(sectors[0], expected, SECTOR)))
			printf("# byte %u\n", at);
		memset(expected, 0, SECTOR);
		EXPECT(!memcmp(sectors[1], expected, SECTOR));
	}
	free_pages(2);
	vhdx_free(first);
}

CASE(sealed_entries_replay)
{
	struct vhdx_log_entry entry = {
		.log_guid = test_log_guid, .sequence = 41, .tail = 0,
		.flushed_file_offset = IMAGE_BLOCKS, .last_file_offset = IMAGE_BLOCKS,
	};
	u8 *first = vhdx_alloc(SECTOR);
	unsigned int i;

	test_log_begin(&file, &fields, 1);
	vhdx_log_entry_seal(first, &entry, NULL, 0);
	put_sealed(0, first, 0);
	entry.sequence = 42;
	make_pages(VHDX_LOG_PAGES_MAX, 10);
	vhdx_log_entry_seal(first, &entry, pages, VHDX_LOG_PAGES_MAX);
	put_sealed(SECTOR, first, VHDX_LOG_PAGES_MAX);
	ASSERT_EQ(vhdx_image_open(&image, &file.memory.store, &diag), 0);
	EXPECT_EQ(image.log.entry_count, 2);
	EXPECT_EQ(image.log.sequence, 42);
	ASSERT_EQ(vhdx_log_replay(&file.memory.store, &image.header, &image.log, &diag), 0);
	for (i = 0; i < VHDX_LOG_PAGES_MAX; i++)
		EXPECT(page_is(file.memory.bytes + IMAGE_BAT + i * SECTOR, 10 + i));
	free_pages(VHDX_LOG_PAGES_MAX);
	vhdx_free(first);
	release();
}

SUITE("log_entry")
