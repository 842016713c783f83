// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tokens of strict mode: which one counts, whatever a power loss left of them and of the sectors
 * that they name.
 */
#include "ktap.h"
#include "random.h"
#include "core/rct/token.h"
#include "core/rct/ondisk.h"

#define SECTOR		VHDX_COARSE_SECTOR
#define SECTORS		10
#define ALL		((1ULL << SECTORS) - 1)

static u8 slots[VHDX_TOKEN_SLOTS][VHDX_SIDECAR_BLOCK];
static u8 area[2 * VHDX_SIDECAR_BLOCK];
static struct vhdx_token_state state;

static const struct vhdx_coarse_geometry geo = {
	.region_shift = 22, .regions = SECTORS * VHDX_COARSE_BITS, .sectors = SECTORS, .blocks = 2,
};

static void write_sector(u32 number, u64 commit)
{
	static const u64 words[VHDX_COARSE_SECTOR_WORDS];

	vhdx_coarse_encode(number, 1, commit, words, area + number * SECTOR);
}

static void write_area(u64 commit)
{
	u32 i;

	for (i = 0; i < SECTORS; i++)
		write_sector(i, commit);
}

static void write_token(unsigned int slot, u64 commit, u64 sequence, u64 sectors)
{
	struct vhdx_token token = {
		.commit = commit, .sequence = sequence, .sectors[0] = sectors,
	};

	vhdx_token_encode(&token, slots[slot]);
}

/* As it is when a sidecar was just made. */
static void begin(void)
{
	memset(slots, 0, sizeof(slots));
	memset(area, 0, sizeof(area));
	write_area(0);
}

static void judge(void)
{
	const void *const both[] = { slots[0], slots[1] };

	memset(&state, 0xa5, sizeof(state));
	vhdx_token_judge(both, &geo, area, &state);
}

CASE(what_is_written_is_read)
{
	struct vhdx_token token, read;
	u32 i;

	random_seed(1);
	token.commit = random_next();
	token.sequence = random_next();
	for (i = 0; i < VHDX_TOKEN_WORDS; i++)
		token.sectors[i] = random_next();
	vhdx_token_encode(&token, slots[0]);
	ASSERT(vhdx_token_decode(slots[0], &read));
	EXPECT(!memcmp(&token, &read, sizeof(token)));
	EXPECT(!vhdx_token_decode(NULL, &read));
	/* Sector n is bit n, least significant first. */
	write_token(0, 1, 1, 1 << 9);
	EXPECT_EQ(slots[0][24], 0);
	EXPECT_EQ(slots[0][25], 2);
}

CASE(without_a_token_no_header_is_borne_out)
{
	begin();
	judge();
	EXPECT_EQ(state.sequence, 0);
	EXPECT_EQ(state.commit, 0);
}

CASE(the_newer_of_two_counts_in_either_slot)
{
	u32 slot;

	for (slot = 0; slot < 2; slot++) {
		begin();
		write_token(slot, 8, 31, 0);
		write_token(!slot, 7, 30, 0);
		judge();
		EXPECT_EQ(state.sequence, 31);
		EXPECT_EQ(state.slot, slot);
		EXPECT_EQ(state.commit, 8);
	}
}

/* An older copy of the container may have come in between: its header counts from less. */
CASE(an_older_token_does_not_count_whatever_it_says)
{
	begin();
	write_token(0, 7, 1000, 0);
	write_token(1, 8, 12, 0);
	judge();
	EXPECT_EQ(state.sequence, 12);
	EXPECT_EQ(state.slot, 1);
}

/* Every mix of the sectors of two commits: only if all are there, the token was right to say so. */
CASE(a_token_counts_with_all_of_its_sectors)
{
	u32 mix, i;

	for (mix = 0; mix <= ALL; mix++) {
		begin();
		write_area(7);
		write_token(0, 7, 30, ALL);
		write_token(1, 8, 31, 0x2a5);
		for (i = 0; i < SECTORS; i++)
			if (mix >> i & 1)
				write_sector(i, 8);
		judge();
		EXPECT_EQ(state.sequence, (mix & 0x2a5) == 0x2a5 ? 31 : 30);
		EXPECT_EQ(state.slot, (mix & 0x2a5) == 0x2a5);
		/* What was half written is never written once more under the same number. */
		EXPECT_EQ(state.commit, 8);
	}
}

CASE(a_sector_that_was_written_again_is_new_enough)
{
	begin();
	write_token(0, 7, 30, 1 << 3);
	write_sector(3, 9);
	judge();
	EXPECT_EQ(state.sequence, 30);
}

/* It says "all", which is more than was written. */
CASE(a_damaged_sector_is_none_that_is_missing)
{
	begin();
	write_token(0, 7, 30, ALL);
	write_area(7);
	write_sector(4, 6);
	judge();
	EXPECT_EQ(state.sequence, 0);
	area[4 * SECTOR + 100] ^= 1;
	judge();
	EXPECT_EQ(state.sequence, 30);
}

CASE(whatever_bit_flips_the_older_token_counts)
{
	u32 at;

	begin();
	write_token(0, 7, 30, 0);
	write_token(1, 8, 31, 0);
	for (at = 0; at < VHDX_SIDECAR_BLOCK * 8; at++) {
		slots[1][at / 8] ^= 1 << (at % 8);
		judge();
		EXPECT_EQ(state.sequence, 30);
		EXPECT_EQ(state.slot, 0);
		slots[1][at / 8] ^= 1 << (at % 8);
		if (ktap.failed)
			return;
	}
}

CASE(a_sector_that_the_area_does_not_have_bears_nothing_out)
{
	begin();
	write_token(0, 7, 30, 0);
	write_token(1, 8, 31, 1ULL << SECTORS);
	judge();
	EXPECT_EQ(state.sequence, 30);
}

/* The largest area there is: a commit of all of it has room in one token. */
CASE(all_sectors_of_a_full_area_fit)
{
	struct vhdx_coarse_geometry most;

	vhdx_coarse_layout(64ULL << 40, 16, &most);
	EXPECT_EQ(most.regions, VHDX_COARSE_REGIONS_MAX);
	EXPECT(most.sectors <= VHDX_TOKEN_SECTORS);
}

SUITE("token")
