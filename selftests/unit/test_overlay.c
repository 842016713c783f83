// SPDX-License-Identifier: GPL-2.0-only
/* A replay in memory gives the bytes that a replay on disk would give. */
#include "alloc.h"
#include "judge.h"
#include "core/vhdx/overlay.h"
#include "test_log.h"

static struct log_fields fields;
static struct vhdx_overlay overlay;
static struct memory_store replayed;

#define PLACE	IMAGE_BAT

static void begin(void)
{
	test_log_begin(&file, &fields, 1);
	memset(file.memory.bytes + PLACE, 0xee, MIB);
}

/* Open the overlay, and replay a copy on disk as the driver does. */
static bool prepare(void)
{
	memset(&diag, 0, sizeof(diag));
	if (!EXPECT_EQ(vhdx_image_open(&image, &file.memory.store, &diag), 0) ||
	    !EXPECT_EQ(vhdx_overlay_init(&overlay, &file.memory.store, &image, &diag), 0)) {
		printf("# %s\n", diag.text);
		return false;
	}
	memory_store_copy(&replayed, &file.memory);
	EXPECT_EQ(vhdx_log_replay(&replayed.store, &image.header, &image.log, &diag), 0);
	memory_store_resize(&replayed, max(replayed.length, image.log.last_file_offset));
	EXPECT_EQ(overlay.store.size, replayed.length);
	return true;
}

static void finish(void)
{
	EXPECT_EQ(file.memory.bytes_written, 0);
	EXPECT(!overlay.store.write);
	vhdx_overlay_release(&overlay);
	memory_store_close(&replayed);
	release();
}

static bool same(u64 offset, size_t length)
{
	u8 *buf = vhdx_alloc(length);
	bool equal;

	memset(buf, 0x99, length);
	EXPECT_EQ(overlay.store.read(&overlay.store, offset, buf, length), 0);
	equal = !memcmp(buf, replayed.bytes + offset, length);
	vhdx_free(buf);
	return equal;
}

CASE(clean_container_shines_through)
{
	begin();
	put_headers(&file, NULL);
	ASSERT(prepare());
	EXPECT_EQ(overlay.page_count, 0);
	EXPECT_EQ(overlay.zero_count, 0);
	EXPECT(same(0, IMAGE_BLOCKS));
	EXPECT(!vhdx_overlay_touches(&overlay, 0, IMAGE_BLOCKS));
	finish();
}

CASE(pages_and_zeroes)
{
	begin();
	put_entry(&file, &fields, 0, 1, 0, (const struct log_effect[]) {
		DATA(PLACE, 1), ZERO(PLACE + 0x2000, 0x2000), DATA(PLACE + 0x3000, 2),
	}, 3);
	ASSERT(prepare());
	EXPECT(same(0, IMAGE_BLOCKS));
	EXPECT(vhdx_overlay_touches(&overlay, PLACE, 1));
	EXPECT(vhdx_overlay_touches(&overlay, PLACE - 512, 513));
	EXPECT(!vhdx_overlay_touches(&overlay, PLACE - 512, 512));
	EXPECT(!vhdx_overlay_touches(&overlay, PLACE + 0x1000, 0x1000));
	EXPECT(vhdx_overlay_touches(&overlay, PLACE + 0x1000, 0x1001));
	EXPECT(vhdx_overlay_touches(&overlay, PLACE + 0x2fff, 1));
	EXPECT(!vhdx_overlay_touches(&overlay, PLACE + 0x4000, MIB));
	finish();
}

/* Every piece of two neighbouring pages, at the granularity of a sector. */
CASE(parts_of_pages)
{
	u64 offset;
	size_t length;

	begin();
	put_entry(&file, &fields, 0, 1, 0, (const struct log_effect[]) {
		DATA(PLACE + 0x1000, 1), DATA(PLACE + 0x2000, 2), DATA(PLACE + 0x4000, 3),
	}, 3);
	ASSERT(prepare());
	for (offset = 0; offset < 0x6000; offset += 512)
		for (length = 512; length <= 0x6000; length += 512)
			EXPECT(same(PLACE + offset, length));
	finish();
}

CASE(later_zeroes_win_over_pages_and_the_other_way_round)
{
	begin();
	put_entry(&file, &fields, 0, 1, 0, (const struct log_effect[]) {
		ZERO(PLACE, 0x4000), DATA(PLACE, 1), DATA(PLACE + 0x1000, 2),
		DATA(PLACE + 0x1000, 3), ZERO(PLACE + 0x1000, 0x1000), DATA(PLACE + 0x2000, 4),
		ZERO(PLACE + 0x2000, 0x1000), DATA(PLACE + 0x2000, 5),
	}, 8);
	ASSERT(prepare());
	EXPECT(same(PLACE, 0x5000));
	EXPECT(page_is(replayed.bytes + PLACE + 0x2000, 5));
	finish();
}

CASE(container_that_has_to_grow)
{
	u8 buf[512];

	begin();
	fields.last = 6 * MIB;
	put_entry(&file, &fields, 0, 1, 0, (const struct log_effect[]) {
		DATA(5 * MIB, 1), ZERO(5 * MIB + 0x1000, 0x1000),
	}, 2);
	ASSERT(prepare());
	EXPECT_EQ(overlay.store.size, 6 * MIB);
	EXPECT(same(0, 6 * MIB));
	memset(buf, 1, sizeof(buf));
	EXPECT_EQ(overlay.store.read(&overlay.store, 7 * MIB, buf, 512), 0);
	EXPECT_EQ(buf[0] | buf[511], 0);
	finish();

	begin();
	put_entry(&file, &fields, 0, 1, 0, (const struct log_effect[]) {
		DATA(8 * MIB, 1), ZERO(8 * MIB, 0x1000),
	}, 2);
	ASSERT(prepare());
	EXPECT_EQ(overlay.store.size, 8 * MIB + SECTOR);
	EXPECT(same(0, 8 * MIB + SECTOR));
	finish();
}

CASE(too_many_zero_descriptors)
{
	struct log_effect *effects = calloc(1025, sizeof(*effects));
	u32 i;

	for (i = 0; i < 1025; i++)
		effects[i] = (struct log_effect)ZERO(PLACE + i % 256 * SECTOR, SECTOR);
	begin();
	put_entry(&file, &fields, 0, 1, 0, effects, 1024);
	ASSERT(prepare());
	EXPECT(same(PLACE, MIB));
	finish();

	begin();
	put_entry(&file, &fields, 0, 1, 0, effects, 1025);
	memset(&diag, 0, sizeof(diag));
	ASSERT_EQ(vhdx_image_open(&image, &file.memory.store, &diag), 0);
	EXPECT_EQ(vhdx_overlay_init(&overlay, &file.memory.store, &image, &diag), -EOPNOTSUPP);
	EXPECT_EQ(diag.reason, VHDX_REASON_UNSUPPORTED);
	EXPECT_HAS(diag.text, "attach read-write to replay it on disk");
	vhdx_overlay_release(&overlay);
	release();
	free(effects);
}

/* A device that answers otherwise after the scan: the array has room for one log. */
CASE(log_that_grows_after_the_scan)
{
	struct log_effect effects[200];
	struct test_image other;
	u32 second, i;

	for (i = 0; i < 200; i++)
		effects[i] = (struct log_effect)DATA(PLACE, i);
	begin();
	second = put_entry(&file, &fields, 0, 1, 0, effects, 200);
	put_entry(&file, &fields, second, 2, 0, NULL, 0);
	ASSERT_EQ(vhdx_image_open(&image, &file.memory.store, NULL), 0);

	/* The descriptors of 200 more, whose data would lie in those of the first. */
	test_log_begin(&other, &fields, 1);
	put_entry(&other, &fields, second, 2, 0, effects, 200);
	put_bytes(&file, log_at(&file, second), other.memory.bytes + log_at(&other, second),
		  2 * SECTOR);
	test_image_free(&other);
	memset(&diag, 0, sizeof(diag));
	EXPECT_EQ(vhdx_overlay_init(&overlay, &file.memory.store, &image, &diag), -EOPNOTSUPP);
	EXPECT_HAS(diag.text, "more than 256 data descriptors");
	vhdx_overlay_release(&overlay);
	release();
}

CASE(errors_from_below)
{
	u8 *buf = vhdx_alloc(SECTOR);

	begin();
	put_entry(&file, &fields, 0, 1, 0, (const struct log_effect[]) { DATA(PLACE, 1) }, 1);
	ASSERT(prepare());
	file.memory.fail_at = PLACE;
	EXPECT_EQ(overlay.store.read(&overlay.store, PLACE, buf, SECTOR), -EIO);
	file.memory.fail_at = log_at(&file, SECTOR);
	EXPECT_EQ(overlay.store.read(&overlay.store, PLACE, buf, SECTOR), -EIO);
	EXPECT_EQ(overlay.store.read(&overlay.store, PLACE + SECTOR, buf, SECTOR), 0);
	finish();
	vhdx_free(buf);
}

/* A header claims what it likes, and a chain may be of hundreds of such containers. */
CASE(memory_is_for_what_the_log_has)
{
	const unsigned int mib = 64;

	test_log_begin(&file, &fields, mib);
	put_entry(&file, &fields, 0, 1, 0, (const struct log_effect[]) {
		DATA((2 + mib) * MIB, 1),
	}, 1);
	ASSERT_EQ(vhdx_image_open(&image, &file.memory.store, &diag), 0);
	alloc_fail(0, 0);
	EXPECT_EQ(vhdx_overlay_init(&overlay, &file.memory.store, &image, &diag), 0);
	EXPECT(alloc_bytes() < 256 * 1024);
	vhdx_overlay_release(&overlay);
	release();
}

CASE(many_pages)
{
	const unsigned int mib = 4;
	struct log_effect effects[100];
	u32 position = 0, entry, i;

	test_log_begin(&file, &fields, mib);
	for (entry = 0; entry < 8; entry++) {
		for (i = 0; i < ARRAY_SIZE(effects); i++)
			effects[i] = (struct log_effect)DATA((2 + mib) * MIB +
							     random_below(256) * SECTOR,
							     entry * 1000 + i);
		position = put_entry(&file, &fields, position, 1 + entry, 0, effects,
				     ARRAY_SIZE(effects));
	}
	ASSERT(prepare());
	EXPECT(same(0, replayed.length));
	finish();
}

/* A sequence of random entries over a small place, so that effects meet each other. */
static void random_log(void)
{
	u32 position = random_below(256) * SECTOR;
	u32 tail = position;
	u32 entries = 1 + random_below(12);
	u32 seed = 0;
	u32 i, n;

	for (i = 0; i < entries; i++) {
		struct log_effect effects[16];
		u32 count = random_below(17);

		for (n = 0; n < count; n++) {
			/* In the BAT, or around the end of the container. */
			u64 offset = (random_below(4) ? PLACE : IMAGE_BLOCKS - 0x8000) +
				     random_below(16) * SECTOR;

			effects[n] = (struct log_effect)DATA(offset, ++seed);
			if (!random_below(3))
				effects[n].zeroes = (1 + random_below(8)) * SECTOR;
		}
		position = put_entry(&file, &fields, position, 1 + i, tail, effects, count);
		if (!random_below(6))
			tail = position;
	}
	/* The last entry decides; make sure that it names an entry. */
	put_entry(&file, &fields, position, 1 + entries, tail, NULL, 0);
}

CASE(random_logs_agree_with_replay_on_disk)
{
	u32 seed, i;

	for (seed = 1; seed <= 400; seed += ktap_share()) {
		begin();
		random_seed(seed);
		random_log();
		ASSERT(prepare());
		EXPECT(same(0, replayed.length));
		for (i = 0; i < 40; i++) {
			u64 offset = PLACE + random_below(2 * MIB / 512) * 512;
			u64 length = (1 + random_below(64)) * 512;
			bool untouched;

			if (offset + length > replayed.length)
				continue;
			EXPECT(same(offset, length));
			/* What differs is touched. */
			untouched = offset + length <= file.memory.length &&
				    !memcmp(file.memory.bytes + offset, replayed.bytes + offset,
					    length);
			if (!vhdx_overlay_touches(&overlay, offset, length))
				EXPECT(untouched || offset + length > file.memory.length);
		}
		if (ktap.failed)
			printf("# seed %u\n", seed);
		finish();
		if (ktap.failed)
			return;
	}
}

SUITE("overlay")
