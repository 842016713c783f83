// SPDX-License-Identifier: GPL-2.0-only
/* Which sequence of a log is the active one. */
#include "judge.h"
#include "test_log.h"

static struct log_fields fields;

/* A place that every log may write to: the BAT of a small test image. */
#define PLACE	IMAGE_BAT

static const struct log_effect one[] = { DATA(PLACE, 1) };
static const struct log_effect three[] = {
	DATA(PLACE, 1), ZERO(PLACE + 0x1000, 0x2000), DATA(PLACE + 0x3000, 2),
};

static void begin(void)
{
	test_log_begin(&file, &fields, 1);
}

static int scan(void)
{
	int err;

	vhdx_image_release(&image);
	memset(&diag, 0, sizeof(diag));
	err = vhdx_image_open(&image, &file.memory.store, &diag);
	EXPECT_EQ(file.memory.bytes_written, 0);
	return err;
}

static void expect_scan(u32 tail, u32 head, u32 count, u64 sequence)
{
	if (!EXPECT_EQ(scan(), 0)) {
		printf("# %s\n", diag.text);
		return;
	}
	EXPECT(image.log.dirty);
	EXPECT_EQ(image.log.tail, tail);
	EXPECT_EQ(image.log.head, head);
	EXPECT_EQ(image.log.entry_count, count);
	EXPECT_EQ(image.log.sequence, sequence);
}

static void expect_damage(const char *part)
{
	EXPECT_EQ(scan(), -EUCLEAN);
	EXPECT_EQ(diag.reason, VHDX_REASON_CORRUPT);
	EXPECT_HAS(diag.text, part);
	EXPECT(strlen(diag.text) < VHDX_DIAG_TEXT - 1);
}

#define NO_SEQUENCE	"no complete sequence"

CASE(clean_log_is_not_looked_at)
{
	begin();
	put_entry(&file, &fields, 0, 7, 0, one, 1);
	put_headers(&file, NULL);
	file.memory.fail_at = IMAGE_LOG;
	ASSERT_EQ(scan(), 0);
	EXPECT(!image.log.dirty);
	EXPECT_EQ(image.log.entry_count, 0);
	release();
}

CASE(empty_log_with_a_guid)
{
	begin();
	expect_damage("log at 0x100000: header 2 says that log 001d9010-0000-0000-0000-000000000001");
	EXPECT_HAS(diag.text, "nothing of it was ever written");
	EXPECT_HAS(diag.text, "vhdxctl check --repair");
	EXPECT(image.log.unwritten);
	release();
}

static int scan_to_read(struct vhdx_diag *unwritten)
{
	vhdx_image_release(&image);
	memset(&diag, 0, sizeof(diag));
	return vhdx_image_open_to_read(&image, &file.memory.store, unwritten, &diag);
}

CASE(who_reads_forgives_a_log_that_was_never_begun)
{
	struct vhdx_diag unwritten = { };

	begin();
	EXPECT_EQ(scan_to_read(&unwritten), 0);
	EXPECT(image.log.unwritten);
	EXPECT(!image.log.dirty);
	EXPECT(!diag.text[0]);
	EXPECT_EQ(unwritten.reason, VHDX_REASON_CORRUPT);
	EXPECT_HAS(unwritten.text, "nothing of it was ever written");
	EXPECT_EQ(scan_to_read(NULL), 0);
	/* Entries of earlier logs say nothing of it. */
	fields.guid.b[5] ^= 1;
	put_entry(&file, &fields, 0, 7, 0, three, 3);
	EXPECT_EQ(scan_to_read(NULL), 0);
	EXPECT(image.log.unwritten);
	release();
}

CASE(who_reads_forgives_no_entry_that_was_begun)
{
	u32 kept;

	/* Of one that is torn, in the ring's first sector and in its last: its GUID is enough. */
	for (kept = 0; kept < 2; kept++) {
		begin();
		put_entry(&file, &fields, kept ? 255 * SECTOR : 0, 7, 0, one, 1);
		file.memory.bytes[log_at(&file, kept ? 255 * SECTOR : 0)] ^= 1;
		EXPECT_EQ(scan_to_read(NULL), -EUCLEAN);
		EXPECT_HAS(diag.text, NO_SEQUENCE);
		EXPECT_HAS(diag.text, "restore the container from a copy");
		EXPECT(!image.log.unwritten);
		release();
	}
}

CASE(entry_without_descriptors)
{
	begin();
	fields.flushed = 0;
	fields.last = 6 * MIB;
	put_entry(&file, &fields, 0, 1, 0, NULL, 0);
	expect_scan(0, SECTOR, 1, 1);
	EXPECT_EQ(image.log.flushed_file_offset, 0);
	EXPECT_EQ(image.log.last_file_offset, 6 * MIB);
	release();
}

CASE(sequence_begins_at_the_tail)
{
	u32 second, third, head;

	begin();
	second = put_entry(&file, &fields, 0, 5, 0, three, 3);
	third = put_entry(&file, &fields, second, 6, 0, one, 1);
	head = put_entry(&file, &fields, third, 7, 0, NULL, 0);
	expect_scan(0, head, 3, 7);
	put_entry(&file, &fields, third, 7, second, NULL, 0);
	expect_scan(second, head, 2, 7);
	put_entry(&file, &fields, third, 7, third, NULL, 0);
	expect_scan(third, head, 1, 7);
	release();
}

CASE(sequence_anywhere_in_the_ring)
{
	u32 head;

	begin();
	head = put_entry(&file, &fields, 50 * SECTOR, 9, 50 * SECTOR, three, 3);
	expect_scan(50 * SECTOR, head, 1, 9);
	release();
}

CASE(tail_must_be_an_entry_of_the_run)
{
	u32 second;

	begin();
	second = put_entry(&file, &fields, 0, 5, 0, three, 3);
	put_entry(&file, &fields, second, 6, SECTOR, one, 1);		/* inside the first */
	expect_damage(NO_SEQUENCE);
	put_entry(&file, &fields, second, 6, 40 * SECTOR, one, 1);	/* where nothing is */
	expect_damage(NO_SEQUENCE);
	put_entry(&file, &fields, 40 * SECTOR, 3, 40 * SECTOR, one, 1);	/* in another run */
	expect_scan(40 * SECTOR, 42 * SECTOR, 1, 3);
	put_entry(&file, &fields, second, 6, second + 2 * SECTOR, one, 1);	/* the head */
	expect_scan(40 * SECTOR, 42 * SECTOR, 1, 3);
	release();
}

CASE(only_entries_with_the_headers_guid_count)
{
	vhdx_guid other = { { 0x77 } };
	u32 next, last;

	/* As QEMU does it: a GUID of its own for each entry. */
	begin();
	fields.guid = other;
	next = put_entry(&file, &fields, 0, 1, 0, one, 1);
	fields.guid.b[0]++;
	last = put_entry(&file, &fields, next, 2, 0, one, 1);
	fields.guid = test_log_guid;
	next = put_entry(&file, &fields, last, 3, last, one, 1);
	/* A stale one that would continue it. */
	fields.guid = other;
	put_entry(&file, &fields, next, 4, 0, three, 3);
	expect_scan(last, next, 1, 3);
	release();
}

CASE(newest_of_several_sequences)
{
	begin();
	put_entry(&file, &fields, 0, 10, 0, one, 1);
	put_entry(&file, &fields, 20 * SECTOR, 30, 20 * SECTOR, one, 1);
	put_entry(&file, &fields, 60 * SECTOR, 20, 60 * SECTOR, one, 1);
	expect_scan(20 * SECTOR, 22 * SECTOR, 1, 30);
	/* The last entry's number counts, not the first one's. */
	put_entry(&file, &fields, 62 * SECTOR, 21, 60 * SECTOR, NULL, 0);
	put_entry(&file, &fields, 20 * SECTOR, 20, 20 * SECTOR, one, 1);
	expect_scan(60 * SECTOR, 63 * SECTOR, 2, 21);
	/* Of equals the first. */
	put_entry(&file, &fields, 90 * SECTOR, 21, 90 * SECTOR, NULL, 0);
	expect_scan(60 * SECTOR, 63 * SECTOR, 2, 21);
	release();
}

CASE(sequences_side_by_side)
{
	begin();
	put_entry(&file, &fields, 0, 10, 0, one, 1);
	put_entry(&file, &fields, 2 * SECTOR, 12, 2 * SECTOR, one, 1);
	put_entry(&file, &fields, 4 * SECTOR, 13, 2 * SECTOR, NULL, 0);
	expect_scan(2 * SECTOR, 5 * SECTOR, 2, 13);
	/* A number that goes back cuts as well. */
	put_entry(&file, &fields, 2 * SECTOR, 9, 2 * SECTOR, one, 1);
	put_entry(&file, &fields, 4 * SECTOR, 10, 2 * SECTOR, NULL, 0);
	expect_scan(0, 2 * SECTOR, 1, 10);
	release();
}

CASE(invalid_newer_run_gives_way_to_an_older_sequence)
{
	begin();
	put_entry(&file, &fields, 0, 10, 0, one, 1);
	put_entry(&file, &fields, 20 * SECTOR, 30, 0, one, 1);
	put_entry(&file, &fields, 22 * SECTOR, 31, 0, one, 1);
	expect_scan(0, 2 * SECTOR, 1, 10);
	release();
}

/* Whichever sector of the last entry didn't make it, the entry before it is the last. */
CASE(torn_last_entry)
{
	u8 old[SECTOR];
	u32 second, i;

	for (i = 0; i < 4; i++) {
		begin();
		second = put_entry(&file, &fields, 0, 5, 0, one, 1);
		/* What was there before: an older log with the same numbers, another GUID. */
		fields.guid.b[5] = 1;
		put_entry(&file, &fields, second, 6, 0, three, 3);
		if (i < 3)
			memcpy(old, file.memory.bytes + log_at(&file, second + i * SECTOR), SECTOR);
		fields.guid = test_log_guid;
		put_entry(&file, &fields, second, 6, 0, (const struct log_effect[]) {
			DATA(PLACE, 11), ZERO(PLACE + 0x1000, 0x2000), DATA(PLACE + 0x3000, 12),
		}, 3);
		if (i < 3) {
			put_bytes(&file, log_at(&file, second + i * SECTOR), old, SECTOR);
			expect_scan(0, second, 1, 5);
		} else {
			expect_scan(0, second + 3 * SECTOR, 2, 6);
		}
		release();
	}
}

CASE(sequence_wraps_around)
{
	u32 start = 250 * SECTOR;
	u32 next;

	begin();
	next = put_entry(&file, &fields, start, 5, start, three, 3);
	next = put_entry(&file, &fields, next, 6, start, one, 1);
	EXPECT_EQ(next, 255 * SECTOR);
	next = put_entry(&file, &fields, next, 7, start, three, 3);	/* across the end */
	EXPECT_EQ(next, 2 * SECTOR);
	next = put_entry(&file, &fields, next, 8, start, one, 1);
	expect_scan(start, 4 * SECTOR, 4, 8);
	next = put_entry(&file, &fields, next, 9, 255 * SECTOR, NULL, 0);
	expect_scan(255 * SECTOR, 5 * SECTOR, 3, 9);
	release();
}

CASE(entry_that_ends_with_the_ring)
{
	begin();
	put_entry(&file, &fields, 253 * SECTOR, 5, 253 * SECTOR, three, 3);
	expect_scan(253 * SECTOR, 0, 1, 5);
	put_entry(&file, &fields, 0, 6, 253 * SECTOR, NULL, 0);
	expect_scan(253 * SECTOR, SECTOR, 2, 6);
	release();
}

CASE(ring_filled_to_the_last_sector)
{
	struct log_effect effects[126];
	u32 i;

	for (i = 0; i < 126; i++)
		effects[i] = (struct log_effect)DATA(PLACE + i * SECTOR, i);
	begin();
	put_entry(&file, &fields, 200 * SECTOR, 1, 200 * SECTOR, effects, 126);
	put_entry(&file, &fields, 71 * SECTOR, 2, 200 * SECTOR, effects, 126);
	put_entry(&file, &fields, 198 * SECTOR, 3, 200 * SECTOR, one, 1);
	expect_scan(200 * SECTOR, 200 * SECTOR, 3, 3);
	release();
}

/* The number of descriptors decides how many sectors they fill: 126, then 128 each. */
CASE(many_descriptors)
{
	static const unsigned int counts[] = { 125, 126, 127, 128, 254, 255, 1000 };
	struct log_effect *effects = calloc(1000, sizeof(*effects));
	unsigned int i, n;

	for (n = 0; n < 1000; n++)
		effects[n] = (struct log_effect)ZERO(PLACE + n * SECTOR, SECTOR);
	effects[0] = (struct log_effect)DATA(PLACE, 3);
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		u32 head;

		begin();
		effects[counts[i] - 1] = (struct log_effect)DATA(PLACE, 4);
		head = put_entry(&file, &fields, 3 * SECTOR, 5, 3 * SECTOR, effects, counts[i]);
		expect_scan(3 * SECTOR, head, 1, 5);
		effects[counts[i] - 1] = (struct log_effect)ZERO(PLACE, SECTOR);
		release();
	}
	free(effects);
}

/*
 * Each field of an entry with a right checksum: @at is its offset in the entry "three",
 * @value what to put there. Then the entry before it is the last one.
 */
CASE(every_field_is_judged)
{
	static const struct {
		const char *what;
		u32 at;
		u32 width;
		u64 value;
	} faults[] = {
		{ "entry signature", 0, 4, 0x65676f6d },
		{ "length zero", 8, 4, 0 },
		{ "length unaligned", 8, 4, 3 * SECTOR + 512 },
		{ "length beyond the ring", 8, 4, 1 * MIB + SECTOR },
		{ "length enormous", 8, 4, 0xfffff000 },
		{ "length short of a data sector", 8, 4, 2 * SECTOR },
		{ "length one sector too long", 8, 4, 4 * SECTOR },
		{ "tail unaligned", 12, 4, 512 },
		{ "tail beyond the ring", 12, 4, 1 * MIB },
		{ "sequence number zero", 16, 8, 0 },
		{ "sequence number of another entry", 16, 8, 6 },
		{ "fewer descriptors than data sectors need", 24, 4, 2 },
		{ "more descriptors than there are", 24, 4, 4 },
		{ "more descriptors than fit", 24, 4, 1000 },
		{ "descriptors enormous", 24, 4, 0xffffffff },
		{ "log GUID", 40, 8, 1 },
		{ "FlushedFileOffset unaligned", 48, 8, IMAGE_BLOCKS - 512 },
		{ "LastFileOffset unaligned", 56, 8, IMAGE_BLOCKS + 4096 },
		{ "first descriptor's signature", 64, 4, 0x63736565 },
		{ "first descriptor's offset unaligned", 80, 8, PLACE + 512 },
		{ "first descriptor's sequence number", 88, 8, 6 },
		{ "second descriptor's length unaligned", 104, 8, 512 },
		{ "second descriptor's offset unaligned", 112, 8, PLACE + 1 },
		{ "second descriptor's sequence number", 120, 8, 1ULL << 32 | 5 },
		{ "data sector's signature", 4096, 4, 0x61746165 },
		{ "data sector begins an entry", 4096, 4, 0x65676f6c },
		{ "data sector's high half", 4100, 4, 1 },
		{ "data sector's low half", 8188, 4, 6 },
		{ "last data sector's signature", 8192, 4, 0 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(faults); i++) {
		u32 lengths[] = { 3 * SECTOR, faults[i].at == 8 ? faults[i].value : 0 };
		u64 at;
		u32 n;

		begin();
		put_entry(&file, &fields, 0, 4, 0, NULL, 0);
		put_entry(&file, &fields, SECTOR, 5, 0, three, 3);
		expect_scan(0, 4 * SECTOR, 2, 5);
		at = log_at(&file, SECTOR + faults[i].at);
		if (faults[i].width == 4)
			put32(&file, at, faults[i].value);
		else
			put64(&file, at, faults[i].value);
		/* Sealed over the true length, and over the claimed one. */
		for (n = 0; n < 2; n++) {
			if (!lengths[n] || lengths[n] > MIB || lengths[n] % SECTOR)
				continue;
			seal_entry(&file, SECTOR, lengths[n]);
			expect_scan(0, SECTOR, 1, 4);
		}
		if (ktap.failed)
			printf("# %s\n", faults[i].what);
		release();
	}
}

CASE(sequence_numbers_begin_with_one)
{
	begin();
	put_entry(&file, &fields, 0, 0, 0, one, 1);
	expect_damage(NO_SEQUENCE);
	put_entry(&file, &fields, 2 * SECTOR, 1, 0, one, 1);
	expect_damage(NO_SEQUENCE);
	put_entry(&file, &fields, 2 * SECTOR, 1, 2 * SECTOR, one, 1);
	expect_scan(2 * SECTOR, 4 * SECTOR, 1, 1);
	put_entry(&file, &fields, 4 * SECTOR, ~0ULL, 4 * SECTOR, one, 1);
	put_entry(&file, &fields, 6 * SECTOR, 0, 4 * SECTOR, one, 1);
	expect_scan(4 * SECTOR, 6 * SECTOR, 1, ~0ULL);
	release();
}

/* One bit anywhere in it makes the entry invalid. */
CASE(every_bit_is_under_the_checksum)
{
	u32 at;

	begin();
	put_entry(&file, &fields, 0, 5, 0, three, 3);
	for (at = 0; at < 3 * SECTOR; at += 61) {
		file.memory.bytes[log_at(&file, at)] ^= 1 << at % 8;
		EXPECT_EQ(scan(), -EUCLEAN);
		file.memory.bytes[log_at(&file, at)] ^= 1 << at % 8;
	}
	expect_scan(0, 3 * SECTOR, 1, 5);
	release();
}

CASE(truncated_container)
{
	begin();
	fields.flushed = 64 * MIB;	/* an older entry's says nothing */
	put_entry(&file, &fields, 0, 5, 0, one, 1);
	fields.flushed = IMAGE_BLOCKS;
	put_entry(&file, &fields, 2 * SECTOR, 6, 0, one, 1);
	expect_scan(0, 4 * SECTOR, 2, 6);
	fields.flushed = IMAGE_BLOCKS + MIB;
	put_entry(&file, &fields, 2 * SECTOR, 6, 0, one, 1);
	expect_damage("log entry at 0x102000: the container had at least 0x500000 bytes");
	EXPECT_HAS(diag.text, "truncated: restore from a copy");
	release();
}

/* FlushedFileOffset is a multiple of 1 MiB, the container need not be one. */
CASE(container_of_odd_length)
{
	begin();
	memory_store_resize(&file.memory, IMAGE_BLOCKS + 512);
	fields.flushed = IMAGE_BLOCKS;
	put_entry(&file, &fields, 0, 5, 0, one, 1);
	expect_scan(0, 2 * SECTOR, 1, 5);
	fields.flushed = IMAGE_BLOCKS + MIB;
	put_entry(&file, &fields, 0, 5, 0, one, 1);
	expect_damage("truncated");
	release();
}

CASE(impossible_last_file_offset)
{
	begin();
	fields.last = 128 * TIB;
	put_entry(&file, &fields, 0, 5, 0, one, 1);
	expect_scan(0, 2 * SECTOR, 1, 5);
	fields.last = 128 * TIB + MIB;
	put_entry(&file, &fields, 0, 5, 0, one, 1);
	expect_damage("LastFileOffset 0x800000100000");
	release();
}

/* A descriptor with this target, in an entry that is in order otherwise. */
static void put_target(u64 offset, u64 zeroes)
{
	struct log_effect effect = { .offset = offset, .zeroes = zeroes };

	put_entry(&file, &fields, 0, 5, 0, &effect, 1);
}

CASE(targets_below_the_region_tables)
{
	static const u64 bad[] = { 0, 64 * KIB, 128 * KIB, 192 * KIB - SECTOR };
	size_t i;

	begin();
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		put_target(bad[i], 0);
		expect_damage("where the headers are");
		put_target(bad[i], SECTOR);
		expect_damage("where the headers are");
	}
	put_target(192 * KIB, 0);
	EXPECT_EQ(scan(), 0);
	put_target(192 * KIB, SECTOR);
	EXPECT_EQ(scan(), 0);
	release();
}

CASE(targets_in_the_log)
{
	begin();
	put_target(IMAGE_LOG, 0);
	expect_damage("log entry at 0x100000 writes 0x1000 bytes to 0x100000, into the log itself");
	put_target(2 * MIB - SECTOR, 0);
	expect_damage("into the log itself");
	put_target(IMAGE_LOG - SECTOR, 2 * SECTOR);
	expect_damage("into the log itself");
	put_target(512 * KIB, 8 * MIB);
	expect_damage("into the log itself");
	put_target(IMAGE_LOG - SECTOR, 0);
	EXPECT_EQ(scan(), 0);
	put_target(2 * MIB, 0);
	EXPECT_EQ(scan(), 0);
	put_target(IMAGE_LOG - SECTOR, SECTOR);
	EXPECT_EQ(scan(), 0);
	release();
}

CASE(targets_beyond_any_container)
{
	begin();
	put_target(128 * TIB - SECTOR, 0);
	EXPECT_EQ(scan(), 0);
	put_target(128 * TIB, 0);
	expect_damage("nothing behind 0x800000000000");
	put_target(~0ULL - (SECTOR - 1), 0);
	expect_damage("nothing behind");
	put_target(2 * MIB, ~0ULL - (SECTOR - 1));
	expect_damage("nothing behind");
	put_target(128 * TIB - SECTOR, 2 * SECTOR);
	expect_damage("nothing behind");
	release();
}

CASE(zeroes_are_bounded)
{
	struct log_effect effects[] = {
		ZERO(2 * MIB, 8 * GIB), ZERO(2 * MIB, 8 * GIB), ZERO(2 * MIB, SECTOR),
	};

	begin();
	put_entry(&file, &fields, 0, 5, 0, effects, 2);
	EXPECT_EQ(scan(), 0);
	put_entry(&file, &fields, 0, 5, 0, effects, 3);
	expect_damage("the log zeroes 0x400001000 bytes up to here");
	/* Over several entries too. */
	put_entry(&file, &fields, 0, 5, 0, effects, 2);
	put_entry(&file, &fields, SECTOR, 6, 0, effects + 2, 1);
	expect_damage("log entry at 0x101000: the log zeroes");
	put_target(2 * MIB, 1 * TIB);
	expect_damage("the log zeroes");
	release();
}

CASE(zero_descriptor_of_no_length)
{
	begin();
	/* It writes nothing, so it matters little where. */
	put_target(IMAGE_LOG + SECTOR, SECTOR);
	expect_damage("into the log itself");
	put64(&file, log_at(&file, 64 + 8), 0);
	seal_entry(&file, 0, SECTOR);
	expect_scan(0, SECTOR, 1, 5);
	release();
}

CASE(bad_target_before_the_tail_is_history)
{
	begin();
	put_target(0, 0);
	put_entry(&file, &fields, 2 * SECTOR, 6, 2 * SECTOR, one, 1);
	expect_scan(2 * SECTOR, 4 * SECTOR, 1, 6);
	put_entry(&file, &fields, 2 * SECTOR, 6, 0, one, 1);
	expect_damage("where the headers are");
	release();
}

CASE(read_error_is_told)
{
	begin();
	put_entry(&file, &fields, 0, 5, 0, three, 3);
	file.memory.fail_at = log_at(&file, 128 * SECTOR);
	EXPECT_EQ(scan(), -EIO);
	EXPECT_EQ(diag.reason, VHDX_REASON_IO);
	EXPECT_HAS(diag.text, "reading the log at 0x180000 failed");
	release();
}

/*
 * Logs made to be expensive. Tried literally, each of them costs a number of sectors
 * that is quadratic in the 2048 of this log.
 */
#define BOMB_MIB	8

static void begin_bomb(void)
{
	test_log_begin(&file, &fields, BOMB_MIB);
}

static void expect_bounded(int err)
{
	file.memory.bytes_read = 0;
	EXPECT_EQ(scan(), err);
	if (!EXPECT(file.memory.bytes_read < 4 * BOMB_MIB * MIB))
		printf("# %llu bytes were read\n", file.memory.bytes_read);
	release();
}

CASE(bomb_of_headers)
{
	u32 position;

	begin_bomb();
	for (position = 0; position < BOMB_MIB * MIB; position += SECTOR) {
		put_entry(&file, &fields, position, position / SECTOR + 1, 0, NULL, 0);
		put32(&file, log_at(&file, position) + 8, BOMB_MIB * MIB);
	}
	expect_bounded(-EUCLEAN);
}

/* Headers that claim much more than the data sectors up to the next header. */
CASE(bomb_of_long_claims)
{
	struct log_effect effects[126];
	u32 position, i;

	for (i = 0; i < 126; i++)
		effects[i] = (struct log_effect)DATA((2 + BOMB_MIB) * MIB + i * SECTOR, i);
	begin_bomb();
	for (position = 0; position < BOMB_MIB * MIB; position += 16 * SECTOR) {
		put_entry(&file, &fields, position, 7, position, effects, 15);
		put32(&file, log_at(&file, position) + 8, BOMB_MIB * MIB);
	}
	expect_bounded(-EUCLEAN);
}

/* The last header of the ring wraps over sectors that others have read already. */
CASE(bomb_that_wraps)
{
	struct log_effect *effects = calloc(1950, sizeof(*effects));
	u32 i;

	for (i = 0; i < 1950; i++)
		effects[i] = (struct log_effect)DATA((2 + BOMB_MIB) * MIB, i);
	begin_bomb();
	put_entry(&file, &fields, 2040 * SECTOR, 7, 0, effects, 1950);
	put32(&file, log_at(&file, 2040 * SECTOR) + 4, 0);
	expect_bounded(-EUCLEAN);
	free(effects);
}

/* One long run whose last entry names a tail outside it. */
CASE(bomb_of_a_run_without_tail)
{
	u32 position;

	begin_bomb();
	for (position = 0; position < 2000 * SECTOR; position += SECTOR)
		put_entry(&file, &fields, position, position / SECTOR + 1, 2001 * SECTOR, NULL, 0);
	expect_bounded(-EUCLEAN);
}

/* Many runs, each of which needs a look at its tail. */
CASE(bomb_of_short_runs)
{
	u32 i;

	begin_bomb();
	for (i = 0; i < 2047; i++)
		put_entry(&file, &fields, i * SECTOR, i * 2 - i % 3 + 10, (i - i % 3 + 1) * SECTOR,
			  NULL, 0);
	expect_bounded(0);
}

/*
 * The procedure of MS-VHDX 2.3.3, literally, with a parser that reads whole entries.
 */
struct literal {
	u32 tail;
	u32 head;
	u32 count;
	u64 sequence;
};

static u32 literal_entry(u32 position)
{
	u64 at = log_at(&file, position);
	u32 length = get64(&file, at + 8);
	u64 sequence = get64(&file, at + 16);
	u32 count = get64(&file, at + 24);
	u32 crc = ~0U;
	u32 data = 0;
	u32 sectors = 1;
	u32 i;

	if (memcmp(file.memory.bytes + at, "loge", 4) || !length || length % SECTOR ||
	    length > MIB || !sequence || count > 30000 || (u32)(get64(&file, at + 12)) % SECTOR ||
	    memcmp(file.memory.bytes + at + 32, &test_log_guid, 16))
		return 0;
	while (126 + (sectors - 1) * 128 < count)
		sectors++;
	for (i = 0; i < count; i++) {
		u64 descriptor = log_at(&file, position + 64 + 32 * i);

		data += !memcmp(file.memory.bytes + descriptor, "desc", 4);
		if (get64(&file, descriptor + 24) != sequence)
			return 0;
	}
	if ((sectors + data) * SECTOR != length)
		return 0;
	for (i = 0; i < length; i += SECTOR) {
		u8 sector[SECTOR];

		memcpy(sector, file.memory.bytes + log_at(&file, position + i), SECTOR);
		if (!i)
			memset(sector + 4, 0, 4);
		crc = vhdx_crc32c(crc, sector, SECTOR);
	}
	return ~crc == (u32)get64(&file, at + 4) ? length : 0;
}

static bool literal_scan(struct literal *best)
{
	u32 tail = 0;

	memset(best, 0, sizeof(*best));
	for (;;) {
		u32 starts[256];
		u32 count = 0;
		u32 used = 0;
		u64 sequence = 0;
		u32 last_tail = 0;
		u32 old = tail;
		u32 length, i;

		while (used < MIB && (length = literal_entry((tail + used) % MIB))) {
			u64 at = log_at(&file, tail + used);

			if (used + length > MIB || (used && get64(&file, at + 16) != sequence + 1))
				break;
			starts[count++] = (tail + used) % MIB;
			sequence = get64(&file, at + 16);
			last_tail = get64(&file, at + 12);
			used += length;
		}
		for (i = 0; i < count && starts[i] != last_tail; i++)
			;
		if (i < count && sequence > best->sequence) {
			best->tail = last_tail;
			best->head = (tail + used) % MIB;
			best->count = count - i;
			best->sequence = sequence;
		}
		tail = (tail + (i < count ? used : SECTOR)) % MIB;
		if (tail <= old)
			return best->count != 0;
	}
}

static void random_log(void)
{
	u32 starts[64] = { 0 };
	u32 position = random_below(256) * SECTOR;
	u64 sequence = 1 + random_below(40);
	u32 entries = 1 + random_below(60);
	u32 i, n;

	for (i = 0; i < entries; i++) {
		struct log_effect effects[40];
		u32 count = random_below(random_below(8) ? 6 : 40);

		for (n = 0; n < count; n++) {
			effects[n] = (struct log_effect)DATA(PLACE, n);
			if (!random_below(3))
				effects[n].zeroes = SECTOR;
		}
		starts[i] = position;
		/* Mostly in a row; now and then elsewhere, or with another number. */
		position = put_entry(&file, &fields, position, sequence,
				     starts[i - random_below(min(i, 5U) + 1)], effects, count);
		sequence++;
		if (!random_below(8))
			position = random_below(256) * SECTOR;
		if (!random_below(10))
			sequence = 1 + random_below(80);
	}
	for (i = random_below(4); i; i--)
		file.memory.bytes[log_at(&file, random_below(MIB))] ^= 1;
}

CASE(agrees_with_the_letter_of_the_specification)
{
	struct literal literal;
	u32 found = 0;
	u32 seed;

	for (seed = 1; seed <= 600; seed += ktap_share()) {
		begin();
		random_seed(seed);
		random_log();
		if (literal_scan(&literal)) {
			found++;
			expect_scan(literal.tail, literal.head, literal.count, literal.sequence);
		} else {
			EXPECT_EQ(scan(), -EUCLEAN);
		}
		if (ktap.failed) {
			printf("# seed %u\n", seed);
			release();
			return;
		}
		release();
	}
	EXPECT(found > 400 / ktap_share());
}

SUITE("log_scan")
