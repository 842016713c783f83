// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ranges, split where they read as zeroes: against a model of a disk that knows each sector.
 */
#include "core/rct/zeroes.h"
#include "ktap.h"
#include "random.h"

#define SECTORS		1024U
#define SECTOR_SHIFT	9
#define MOST		SECTORS

static bool is_zero[SECTORS];

static void make_disk(u32 runs)
{
	u32 at, length;

	memset(is_zero, random_below(2), sizeof(is_zero));
	while (runs--) {
		at = random_below(SECTORS);
		length = 1 + random_below(1 + random_below(200));
		memset(is_zero + at, random_below(2), min(SECTORS - at, length));
	}
}

static u64 bytes(u32 sectors)
{
	return (u64)sectors << SECTOR_SHIFT;
}

/* The next bytes from @at on are the same; some of them are told, as a mapping does. */
static u64 run_length(u64 at, bool *zero)
{
	u32 sector = at >> SECTOR_SHIFT;
	u32 end = sector + 1;

	*zero = is_zero[sector];
	while (end < SECTORS && is_zero[end] == *zero && random_below(20))
		end++;
	return bytes(end) - at;
}

static struct vhdx_range told[MOST];

/*
 * Split [from, to) as the driver does: @capacity parts at a time, and again where it was cut; now
 * and then it is cut before it need be. Returns how many parts there are.
 */
static u32 split(u64 from, u64 to, u32 granule_shift, u64 min_gap, u32 capacity, bool cuts)
{
	u32 count = 0, i;

	while (from < to) {
		struct vhdx_range part[8];
		struct vhdx_zeroes zeroes = {
			.told = { .array = part, .size = sizeof(*part), .capacity = capacity },
			.granule_shift = granule_shift,
			.min_gap = min_gap,
		};
		u64 sum = 0, length;
		bool zero;

		vhdx_zeroes_begin(&zeroes, from, to);
		while (zeroes.at < to) {
			length = run_length(zeroes.at, &zero);
			if (!vhdx_zeroes_add(&zeroes, length, zero))
				break;
			if (cuts && zeroes.at < to && !random_below(3)) {
				if (!vhdx_zeroes_cut(&zeroes) || zeroes.done > from)
					break;
			}
		}
		for (i = 0; i < zeroes.told.count; i++) {
			sum += part[i].byte_length;
			if (!EXPECT(count < MOST))
				return count;
			told[count++] = part[i];
		}
		EXPECT_EQ(zeroes.sum, sum);
		EXPECT_EQ(zeroes.done - from, sum);
		if (!EXPECT(zeroes.done > from))
			return count;
		from = zeroes.done;
	}
	return count;
}

static bool reads_as_zeroes(u64 from, u64 to)
{
	for (; from < to; from = (from | (bytes(1) - 1)) + 1)
		if (!is_zero[from >> SECTOR_SHIFT])
			return false;
	return true;
}

/* All of [from, to), in order; only zeroes are told as that; borders lie where they may. */
static void check_parts(u64 from, u64 to, u32 granule_shift, u32 count)
{
	u64 at = from;
	u32 i;

	for (i = 0; i < count; i++) {
		u64 end = told[i].byte_offset + told[i].byte_length;

		EXPECT_EQ(told[i].byte_offset, at);
		EXPECT(end > at);
		if (told[i].flags)
			EXPECT(reads_as_zeroes(at, end));
		if (end < to)
			EXPECT_EQ(end & ((1ULL << granule_shift) - 1), 0);
		at = end;
	}
	EXPECT_EQ(at, to);
}

static u64 zeroes_told(u64 from, u64 to, u32 count)
{
	u64 sum = 0;
	u32 i;

	for (i = 0; i < count; i++) {
		u64 begin = max(from, told[i].byte_offset);
		u64 end = min(to, told[i].byte_offset + told[i].byte_length);

		if (told[i].flags && begin < end)
			sum += end - begin;
	}
	return sum;
}

/* Every granule that lies in as many zeroes as are told apart is told to be. */
static void check_all_told(u64 from, u64 to, u32 granule_shift, u64 min_gap, u32 count)
{
	const u64 granule = 1ULL << granule_shift;
	u64 begin = from, end, next;

	while (begin < to) {
		for (end = begin; end < to; end = next) {
			next = min(to, (end & ~(granule - 1)) + granule);
			if (!reads_as_zeroes(end, next))
				break;
		}
		if (end > begin && (end - begin >= min_gap || (begin == from && end == to)))
			EXPECT_EQ(zeroes_told(begin, end, count), end - begin);
		else
			EXPECT_EQ(zeroes_told(begin, end, count), 0);
		begin = max(end, min(to, (begin & ~(granule - 1)) + granule));
	}
}

CASE(what_is_told_as_zeroes_is_zeroes)
{
	u32 round;

	random_seed(1);
	for (round = 0; round < 3000; round++) {
		u32 granule_shift = SECTOR_SHIFT + random_below(6);
		u64 min_gap = random_below(2) ? 0 : random_below(bytes(100));
		u64 from = random_below(bytes(SECTORS) - 1);
		u64 to = from + 1 + random_below(bytes(SECTORS) - from - 1);
		u32 count;

		make_disk(random_below(30));
		/* An answer that ends early ends between two granules. */
		count = split(from, to, granule_shift, 0, 1 + random_below(8), true);
		check_parts(from, to, granule_shift, count);
		check_all_told(from, to, granule_shift, 0, count);
		count = split(from, to, granule_shift, min_gap, 1 + random_below(8), true);
		check_parts(from, to, granule_shift, count);
	}
}

/* With room for all of them, what lies between small gaps is one part. */
CASE(short_zeroes_are_not_told_apart)
{
	u32 round;

	random_seed(2);
	for (round = 0; round < 1000; round++) {
		u32 granule_shift = SECTOR_SHIFT + random_below(6);
		u64 min_gap = random_below(bytes(100));
		u64 from = random_below(bytes(SECTORS) - 1);
		u64 to = from + 1 + random_below(bytes(SECTORS) - from - 1);
		struct vhdx_zeroes zeroes = {
			.told = { .array = told, .size = sizeof(*told), .capacity = MOST },
			.granule_shift = granule_shift,
			.min_gap = min_gap,
		};
		u64 length;
		bool zero;

		make_disk(random_below(30));
		vhdx_zeroes_begin(&zeroes, from, to);
		while (zeroes.at < to) {
			length = run_length(zeroes.at, &zero);
			EXPECT(vhdx_zeroes_add(&zeroes, length, zero));
		}
		check_parts(from, to, granule_shift, zeroes.told.count);
		check_all_told(from, to, granule_shift, min_gap, zeroes.told.count);
	}
}

CASE(a_range_of_zeroes_is_one_however_short)
{
	u32 count;

	memset(is_zero, 1, sizeof(is_zero));
	count = split(bytes(3) + 5, bytes(3) + 7, 14, bytes(100), 1, false);
	EXPECT_EQ(count, 1);
	EXPECT_EQ(told[0].flags, VHDX_RANGE_ZERO);
}

/* One range after the other goes into one list: ends that are no borders stay what they are. */
CASE(ranges_follow_each_other)
{
	struct vhdx_range part[8];
	struct vhdx_zeroes zeroes = {
		.told = { .array = part, .size = sizeof(*part), .capacity = 8 },
		.granule_shift = 12,
	};

	vhdx_zeroes_begin(&zeroes, 4096, 3 * 4096);
	EXPECT(vhdx_zeroes_add(&zeroes, 4096, false));
	EXPECT(vhdx_zeroes_add(&zeroes, 1 << 20, true));
	vhdx_zeroes_begin(&zeroes, 8 * 4096, 9 * 4096);
	EXPECT_EQ(zeroes.done, 8 * 4096);
	EXPECT(vhdx_zeroes_add(&zeroes, 512, true));
	EXPECT(vhdx_zeroes_add(&zeroes, 4096, false));
	EXPECT_EQ(zeroes.told.count, 3);
	EXPECT_EQ(part[0].flags, 0);
	EXPECT_EQ(part[1].flags, VHDX_RANGE_ZERO);
	EXPECT_EQ(part[1].byte_length, 4096);
	EXPECT_EQ(part[2].flags, 0);
	EXPECT_EQ(part[2].byte_length, 4096);
	EXPECT_EQ(zeroes.sum, 3 * 4096);
}

SUITE("zeroes")
