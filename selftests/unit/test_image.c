// SPDX-License-Identifier: GPL-2.0-only
/* An attach as a whole: open, replay on disk or in memory, load. */
#include "alloc.h"
#include "judge.h"
#include "core/vhdx/overlay.h"
#include "core/vhdx/space.h"
#include "test_log.h"

static struct log_fields fields;
static struct vhdx_overlay overlay;

/* Log the two region tables as they are now, 16 pages each, as one entry. */
static void log_region_tables(void)
{
	struct vhdx_log_entry entry = {
		.log_guid = test_log_guid, .sequence = 1,
		.flushed_file_offset = fields.flushed, .last_file_offset = fields.last,
	};
	struct vhdx_log_page pages[32];
	u8 *first = vhdx_alloc(SECTOR);
	unsigned int i;

	for (i = 0; i < 32; i++) {
		pages[i].file_offset = TABLE_AT(0) + i * SECTOR;
		pages[i].sector = vhdx_alloc(SECTOR);
		memcpy(pages[i].sector, file.memory.bytes + pages[i].file_offset, SECTOR);
	}
	vhdx_log_entry_seal(first, &entry, pages, 32);
	put_bytes(&file, IMAGE_LOG, first, SECTOR);
	for (i = 0; i < 32; i++) {
		put_bytes(&file, IMAGE_LOG + (1 + i) * SECTOR, pages[i].sector, SECTOR);
		vhdx_free(pages[i].sector);
	}
	vhdx_free(first);
}

/* Both ways to attach must come to the same verdict. */
static void expect_load(int expected, const char *part)
{
	u64 grown;

	vhdx_image_release(&image);
	memset(&diag, 0, sizeof(diag));
	if (!EXPECT_EQ(vhdx_image_open(&image, &file.memory.store, &diag), 0)) {
		printf("# %s\n", diag.text);
		return;
	}
	EXPECT(image.log.dirty);
	EXPECT_EQ(vhdx_overlay_init(&overlay, &file.memory.store, &image, &diag), 0);
	EXPECT_EQ(vhdx_image_load(&image, &overlay.store, &diag), expected);
	EXPECT_HAS(diag.text, part);
	vhdx_overlay_release(&overlay);
	EXPECT_EQ(file.memory.bytes_written, 0);

	memset(&diag, 0, sizeof(diag));
	EXPECT_EQ(vhdx_log_replay(&file.memory.store, &image.header, &image.log, &diag), 0);
	grown = max(file.memory.length, image.log.last_file_offset);
	memory_store_resize(&file.memory, grown);
	EXPECT_EQ(vhdx_image_load(&image, &file.memory.store, &diag), expected);
	EXPECT_HAS(diag.text, part);
}

CASE(torn_region_tables_are_in_the_log)
{
	test_log_begin(&file, &fields, 1);
	log_region_tables();
	memset(file.memory.bytes + TABLE_AT(0) + 8 * SECTOR, 0x11, 16 * SECTOR);
	expect_load(0, "");
	release();
}

CASE(region_tables_that_the_log_does_not_mend)
{
	test_log_begin(&file, &fields, 1);
	put_entry(&file, &fields, 0, 1, 0, NULL, 0);
	file.memory.bytes[TABLE_AT(0) + 100] ^= 1;
	file.memory.bytes[TABLE_AT(1) + 100] ^= 1;
	expect_load(-EUCLEAN, "no valid region table");
	release();
}

CASE(region_at_the_logs_place_forbids_replay)
{
	test_log_begin(&file, &fields, 1);
	put_entry(&file, &fields, 0, 1, 0, (const struct log_effect[]) {
		DATA(IMAGE_BAT, 1),
	}, 1);
	put_region(&file, 1, GUID_METADATA, IMAGE_LOG, 1 * MIB, 1);
	expect_corrupt("overlaps");
	put_region(&file, 1, GUID_METADATA, IMAGE_METADATA, 1 * MIB, 1);
	put_region(&file, 2, GUID_STRANGE, IMAGE_LOG, 1 * MIB, 0);
	expect_corrupt("overlaps");
	release();
}

CASE(unknown_required_region_forbids_replay)
{
	test_log_begin(&file, &fields, 1);
	put_entry(&file, &fields, 0, 1, 0, NULL, 0);
	put_region(&file, 2, GUID_STRANGE, 8 * MIB, 1 * MIB, 1);
	expect_unsupported(GUID_STRANGE);
	release();
}

CASE(log_that_moves_a_region_onto_itself)
{
	test_log_begin(&file, &fields, 1);
	put_region(&file, 2, GUID_STRANGE, IMAGE_LOG, 1 * MIB, 0);
	log_region_tables();
	put_region(&file, 2, GUID_STRANGE, 9 * MIB, 1 * MIB, 0);
	expect_load(-EUCLEAN, "overlaps");
	release();
}

CASE(region_behind_the_end_until_the_log_is_replayed)
{
	test_log_begin(&file, &fields, 1);
	put_region(&file, 2, GUID_STRANGE, 9 * MIB, 1 * MIB, 0);
	put_entry(&file, &fields, 0, 1, 0, NULL, 0);
	expect_load(-EUCLEAN, "region " GUID_STRANGE " at 0x900000, 0x100000 bytes, ends behind");
	fields.last = 10 * MIB;
	put_entry(&file, &fields, 0, 1, 0, NULL, 0);
	memory_store_resize(&file.memory, IMAGE_BLOCKS);
	expect_load(0, "");
	release();

	/* Nothing grows a clean container. */
	test_image_make(&file);
	put_region(&file, 2, GUID_STRANGE, 9 * MIB, 1 * MIB, 0);
	expect_corrupt("ends behind");
	release();
}

CASE(loading_twice_and_releasing_twice)
{
	test_image_make(&file);
	ASSERT_EQ(judge(), 0);
	EXPECT_EQ(vhdx_image_load(&image, &file.memory.store, &diag), 0);
	EXPECT_EQ(image.extent_count, 4);
	vhdx_image_release(&image);
	vhdx_image_release(&image);
	EXPECT_EQ(image.extent_count, 0);
	release();
}

/* How disk2vhd leaves them: equal headers, 512 bytes too many, metadata first. */
CASE(image_of_disk2vhd)
{
	test_image_make(&file);
	put64(&file, HEADER_AT(1) + 8, 1);
	seal_header(&file, 1);
	EXPECT(!memcmp(file.memory.bytes + HEADER_AT(0), file.memory.bytes + HEADER_AT(1), 4096));
	memory_store_resize(&file.memory, IMAGE_BLOCKS + 512);
	put_region(&file, 0, GUID_METADATA, IMAGE_METADATA, 1 * MIB, 1);
	put_region(&file, 1, GUID_BAT, IMAGE_BAT, 1 * MIB, 1);
	EXPECT_EQ(judge(), 0);
	release();
}

/* The BAT ends with the container: whatever is missing is noticed. */
CASE(cut_anywhere)
{
	u64 step = 512 * ktap_share();
	u64 length;

	test_image_make(&file);
	for (length = IMAGE_BLOCKS - step; length;
	     length -= length % (64 * KIB) ? step : 32 * KIB) {
		memory_store_resize(&file.memory, length);
		EXPECT_EQ(judge(), -EUCLEAN);
		EXPECT_HAS(diag.text, "truncated: restore from a copy");
	}
	release();
}

/* Everything that an attach does with a dirty log. */
static int all_steps(void)
{
	struct vhdx_space space;
	int err;

	vhdx_image_release(&image);
	memset(&diag, 0, sizeof(diag));
	err = vhdx_image_open(&image, &file.memory.store, &diag);
	if (err)
		return err;
	err = vhdx_overlay_init(&overlay, &file.memory.store, &image, &diag);
	if (err)
		return err;
	err = vhdx_image_load(&image, &overlay.store, &diag);
	vhdx_overlay_release(&overlay);
	if (!err)
		err = vhdx_log_replay(&file.memory.store, &image.header, &image.log, &diag);
	if (err)
		return err;
	err = vhdx_space_init(&space, &image, file.memory.length, &diag);
	vhdx_space_release(&space);
	return err;
}

CASE(out_of_memory_anywhere)
{
	u64 allocations;
	u64 nth;

	test_log_begin(&file, &fields, 1);
	log_region_tables();
	put_entry(&file, &fields, 33 * SECTOR, 2, 0, (const struct log_effect[]) {
		ZERO(IMAGE_BAT, SECTOR),
	}, 1);
	alloc_fail(0, 0);
	ASSERT_EQ(all_steps(), 0);
	allocations = alloc_count();
	EXPECT(allocations > 15);
	for (nth = 1; nth <= allocations; nth++) {
		alloc_fail(nth, 1);
		EXPECT_EQ(all_steps(), -ENOMEM);
		EXPECT_STREQ(diag.text, "out of memory");
		EXPECT_EQ(diag.reason, VHDX_REASON_NONE);
	}
	alloc_fail(0, 0);
	EXPECT_EQ(all_steps(), 0);
	release();
}

/* Values that like to be at the edge of something. */
static u64 nasty_value(void)
{
	u64 value = 1ULL << random_below(64);

	switch (random_below(6)) {
	case 0: return 0;
	case 1: return ~0ULL;
	case 2: return value - 1;
	case 3: return -value;
	case 4: return random_below(16) * MIB;
	default: return value;
	}
}

/*
 * Any field of any structure, with the checksums right: a verdict, a message with
 * each refusal, no write, and nothing for the sanitizers to say.
 */
CASE(random_fields)
{
	static const struct {
		u64 offset;
		u32 length;
	} places[] = {
		{ HEADER_AT(0), 80 }, { HEADER_AT(1), 80 },
		{ TABLE_AT(0), 80 }, { TABLE_AT(1), 80 },
		{ IMAGE_METADATA, 192 }, { ITEM_AT(0), 160 }, { IMAGE_LOG, 256 },
	};
	u32 opened = 0;
	u32 round;

	random_seed(7);
	for (round = 0; round < 3000 / ktap_share(); round++) {
		u32 changes = 1 + random_below(3);
		int err;

		if (round % 50 == 0) {
			if (round)
				release();
			test_log_begin(&file, &fields, 1);
		}
		put_headers(&file, random_below(2) ? &test_log_guid : NULL);
		put_entry(&file, &fields, 0, 1, 0, (const struct log_effect[]) {
			DATA(IMAGE_BAT, 1), ZERO(IMAGE_METADATA + 0x20000, SECTOR),
		}, 2);
		while (changes--) {
			u32 place = random_below(ARRAY_SIZE(places));
			u64 at = places[place].offset + random_below(places[place].length / 4) * 4;

			if (random_below(2))
				put64(&file, at, nasty_value());
			else
				put32(&file, at, nasty_value());
		}
		seal_header(&file, 0);
		seal_header(&file, 1);
		seal_table(&file, 0);
		seal_table(&file, 1);
		seal_entry(&file, 0, 2 * SECTOR);

		err = judge();
		opened += !err;
		EXPECT(!err || diag.text[0]);
		EXPECT(!err || err == -EUCLEAN || err == -EOPNOTSUPP);
		EXPECT(strlen(diag.text) < VHDX_DIAG_TEXT - 1);
		if (ktap.failed) {
			printf("# round %u: %d %s\n", round, err, diag.text);
			break;
		}
	}
	EXPECT(opened > 20 / ktap_share());
	release();
}

SUITE("image")
