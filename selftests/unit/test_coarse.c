// SPDX-License-Identifier: GPL-2.0-only
/*
 * The coarse area: what its sectors say, whatever became of them.
 */
#include "ktap.h"
#include "random.h"
#include "core/rct/coarse.h"
#include "core/rct/changemap.h"
#include "core/rct/ondisk.h"

#define TIB		(1ULL << 40)
#define SECTOR		VHDX_COARSE_SECTOR
#define WORDS		VHDX_COARSE_SECTOR_WORDS
#define SECTORS		10

static u8 area[2 * VHDX_SIDECAR_BLOCK];
static u64 bits[16 * WORDS];
static u64 commit;

/* 10 sectors, two blocks; the last region is in the middle of a word. */
static const struct vhdx_coarse_geometry geo = {
	.region_shift = 22, .regions = 9 * VHDX_COARSE_BITS + 100, .sectors = SECTORS, .blocks = 2,
};

static void write_sector(u32 number, u64 generation, u64 its_commit, u64 word)
{
	u64 words[WORDS];
	u32 i;

	for (i = 0; i < WORDS; i++)
		words[i] = word;
	vhdx_coarse_encode(number, generation, its_commit, words, area + number * SECTOR);
}

static void write_area(u64 generation, u64 its_commit, u64 word)
{
	u32 i;

	memset(area, 0, sizeof(area));
	for (i = 0; i < SECTORS; i++)
		write_sector(i, generation, its_commit, word);
}

static int judge(u64 sequence)
{
	memset(bits, 0xa5, sizeof(bits));
	return vhdx_coarse_judge(&geo, area, sequence, bits, &commit);
}

CASE(regions_of_disks_of_all_sizes)
{
	static const struct {
		u64 size;
		u32 unit_shift, region_shift, regions, sectors, blocks;
	} table[] = {
		{ 0, 14, 22, 0, 0, 0 },
		{ 512, 14, 22, 1, 1, 1 },
		{ 4 << 20, 20, 22, 1, 1, 1 },
		{ (4 << 20) + 512, 12, 22, 2, 1, 1 },
		{ 3904ULL << 22, 14, 22, 3904, 1, 1 },
		{ (3904ULL << 22) + 1, 14, 22, 3905, 2, 1 },
		{ 4 * TIB, 14, 22, 1 << 20, 269, 34 },
		{ 4 * TIB + 512, 14, 23, (1 << 19) + 1, 135, 17 },
		{ 64 * TIB, 16, 26, 1 << 20, 269, 34 },
	};
	struct vhdx_coarse_geometry found;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(table); i++) {
		vhdx_coarse_layout(table[i].size, table[i].unit_shift, &found);
		EXPECT_EQ(found.region_shift, table[i].region_shift);
		EXPECT_EQ(found.regions, table[i].regions);
		EXPECT_EQ(found.sectors, table[i].sectors);
		EXPECT_EQ(found.blocks, table[i].blocks);
	}
}

CASE(no_region_is_larger_than_a_leaf_or_smaller_than_a_unit)
{
	struct vhdx_coarse_geometry found;
	u64 size;
	u32 shift;

	for (size = 4096; size <= 64 * TIB; size *= 2)
		for (shift = 12; shift <= 20; shift++) {
			vhdx_coarse_layout(size, shift, &found);
			EXPECT(found.region_shift >= shift);
			EXPECT(found.region_shift <= shift + VHDX_LEAF_SHIFT);
			EXPECT((u64)found.regions << found.region_shift >= size);
			EXPECT(found.regions <= 1 << 20);
			EXPECT(found.sectors * VHDX_COARSE_BITS >= found.regions);
		}
}

CASE(what_is_written_is_read)
{
	u64 words[WORDS], read[WORDS], generation;
	u8 sector[SECTOR];
	u32 i;

	random_seed(1);
	for (i = 0; i < WORDS; i++)
		words[i] = random_next();
	vhdx_coarse_encode(77, 1ULL << 40, 1ULL << 50, words, sector);
	ASSERT(vhdx_coarse_decode(77, sector, &generation, &commit, read));
	EXPECT_EQ(generation, 1ULL << 40);
	EXPECT_EQ(commit, 1ULL << 50);
	EXPECT(!memcmp(words, read, sizeof(words)));
}

/* Region n is bit n, least significant first, 3904 in a sector. */
CASE(regions_lie_where_they_are_said_to)
{
	static const u32 regions[] = { 0, 1, 63, 64, 3903, 3904, 3905, 9 * 3904 + 99 };
	u32 i, sector, bit;

	for (i = 0; i < ARRAY_SIZE(regions); i++) {
		u64 words[WORDS] = { 0 };

		write_area(1, 1, 0);
		sector = regions[i] / 3904;
		bit = regions[i] % 3904;
		words[bit / 64] = 1ULL << (bit % 64);
		vhdx_coarse_encode(sector, 1, 2, words, area + sector * SECTOR);
		EXPECT_EQ(area[sector * SECTOR + 24 + bit / 8], 1 << (bit % 8));
		ASSERT_EQ(judge(1), 0);
		EXPECT_EQ(bits[regions[i] / 64], 1ULL << (regions[i] % 64));
		EXPECT_EQ(commit, 2);
	}
}

/* Each sector is old or new, and both are right. */
CASE(a_torn_block_is_a_mix_of_sectors)
{
	u32 mix, i;

	for (mix = 0; mix < 256; mix++) {
		write_area(5, 3, 0x0f);
		for (i = 0; i < 8; i++)
			if (mix >> i & 1)
				write_sector(i, 6, 4, 0xff);
		ASSERT_EQ(judge(6), 0);
		for (i = 0; i < 8; i++)
			EXPECT_EQ(bits[i * WORDS + 1], mix >> i & 1 ? 0xff : 0x0f);
		EXPECT_EQ(commit, mix ? 4 : 3);
	}
}

CASE(whatever_bit_flips_a_damaged_sector_says_all)
{
	u32 i, at;

	write_area(5, 3, 0);
	for (at = 0; at < SECTOR * 8; at++) {
		area[2 * SECTOR + at / 8] ^= 1 << (at % 8);
		ASSERT_EQ(judge(5), 0);
		for (i = 0; i < 4 * WORDS; i++)
			EXPECT_EQ(bits[i], i / WORDS == 2 ? ~0ULL : 0);
		area[2 * SECTOR + at / 8] ^= 1 << (at % 8);
		if (ktap.failed)
			return;
	}
}

CASE(a_sector_that_is_not_there_or_somewhere_else_says_all)
{
	u64 words[WORDS], generation;

	write_area(5, 3, 0);
	EXPECT(!vhdx_coarse_decode(0, NULL, &generation, &commit, words));
	EXPECT_EQ(words[0], ~0ULL);
	EXPECT_EQ(words[WORDS - 1], ~0ULL);
	memcpy(area + SECTOR, area, SECTOR);
	memset(area + 3 * SECTOR, 0, SECTOR);
	ASSERT_EQ(judge(5), 0);
	EXPECT_EQ(bits[0], 0);
	EXPECT_EQ(bits[WORDS], ~0ULL);
	EXPECT_EQ(bits[2 * WORDS], 0);
	EXPECT_EQ(bits[3 * WORDS], ~0ULL);
}

CASE(nothing_is_said_behind_the_last_region)
{
	u32 i;

	write_area(5, 3, ~0ULL);
	area[9 * SECTOR + 30] ^= 1;
	ASSERT_EQ(judge(5), 0);
	EXPECT_EQ(bits[9 * WORDS], ~0ULL);
	EXPECT_EQ(bits[9 * WORDS + 1], (1ULL << 36) - 1);
	for (i = 9 * WORDS + 2; i < 10 * WORDS; i++)
		EXPECT_EQ(bits[i], 0);
	EXPECT_EQ(bits[10 * WORDS], 0xa5a5a5a5a5a5a5a5ULL);
}

CASE(a_sector_of_a_newer_header_gives_the_older_one_away)
{
	write_area(5, 3, 0);
	EXPECT_EQ(judge(5), 0);
	EXPECT_EQ(judge(6), 0);
	EXPECT_EQ(judge(4), -EUCLEAN);
	write_sector(9, 6, 4, 0);
	EXPECT_EQ(judge(5), -EUCLEAN);
	/* But not one that nobody can read. */
	area[9 * SECTOR + 9] ^= 1;
	EXPECT_EQ(judge(5), 0);
	EXPECT_EQ(commit, 3);
}

SUITE("coarse")
