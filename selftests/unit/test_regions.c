// SPDX-License-Identifier: GPL-2.0-only
/*
 * The regions of a disk between writes, commits and checkpoints, against a model that has one word
 * for each region.
 */
#include "ktap.h"
#include "alloc.h"
#include "random.h"
#include "core/rct/regions.h"
#include "core/rct/ondisk.h"

#define REGION		(4ULL << 20)
#define REGIONS		(9 * VHDX_COARSE_BITS + 100)
#define SECTORS		10U
#define WORDS		(SECTORS * VHDX_COARSE_SECTOR_WORDS)

static const struct vhdx_coarse_geometry geo = {
	.region_shift = 22, .regions = REGIONS, .sectors = SECTORS, .blocks = 2,
};

static struct vhdx_regions regions;
static u8 block[VHDX_SIDECAR_BLOCK];

static bool is_in(const u64 *set, u32 region)
{
	return set[region / 64] >> (region % 64) & 1;
}

static bool is_armed(u32 region)
{
	return vhdx_regions_are_armed(&regions, region * REGION, 1);
}

static enum vhdx_regions_wait want(u32 first, u32 last)
{
	return vhdx_regions_want(&regions, first * REGION + REGION - 1,
				 (last - first) * REGION + 1);
}

/* What a commit writes says what is set. */
static bool is_encoded(u32 region)
{
	u32 sector = region / VHDX_COARSE_BITS;
	u64 bits[VHDX_COARSE_SECTOR_WORDS], generation, commit;

	vhdx_regions_encode(&regions, sector / 8, 77, block);
	EXPECT(vhdx_coarse_decode(sector, block + sector % 8 * VHDX_COARSE_SECTOR, &generation,
				  &commit, bits));
	EXPECT_EQ(generation, 77);
	EXPECT_EQ(commit, regions.commit);
	return is_in(bits, region % VHDX_COARSE_BITS);
}

static void make(void)
{
	EXPECT_EQ(vhdx_regions_init(&regions, &geo), 0);
}

static void arm(u32 first, u32 last)
{
	want(first, last);
	vhdx_regions_take_want(&regions);
	vhdx_regions_committed(&regions);
}

CASE(a_write_waits_until_its_region_is_set_and_no_other_one_does)
{
	make();
	EXPECT(!is_armed(5));
	EXPECT_EQ(want(5, 5), VHDX_REGIONS_WANTED);
	EXPECT(!is_encoded(5));
	EXPECT_EQ(vhdx_regions_take_want(&regions), 1);
	EXPECT(is_encoded(5));
	EXPECT(!is_encoded(4));
	EXPECT(!is_encoded(6));
	EXPECT(!is_armed(5));
	/* One that comes now is served by the same commit; but not if it wants more. */
	EXPECT_EQ(want(5, 5), VHDX_REGIONS_TAKEN);
	EXPECT_EQ(want(5, 6), VHDX_REGIONS_WANTED);
	vhdx_regions_committed(&regions);
	EXPECT(is_armed(5));
	EXPECT(!is_armed(6));
	EXPECT_EQ(want(5, 5), VHDX_REGIONS_ARMED);
	EXPECT_EQ(vhdx_regions_take_want(&regions), 1);
	vhdx_regions_committed(&regions);
	EXPECT(vhdx_regions_are_armed(&regions, 6 * REGION - 1, 2));
	EXPECT(!vhdx_regions_are_armed(&regions, 7 * REGION - 1, 2));
	EXPECT_EQ(vhdx_regions_take_want(&regions), 0);
	EXPECT_EQ(regions.set, 2);
	EXPECT_EQ(regions.commit, 2);
	vhdx_regions_release(&regions);
}

CASE(one_commit_serves_all_that_wait_and_writes_what_they_touch)
{
	make();
	want(1, 1);
	want(3903, 3904);
	want(8 * 3904 - 1, 8 * 3904 - 1);
	EXPECT_EQ(vhdx_regions_take_want(&regions), 1);
	vhdx_regions_committed(&regions);
	want(8 * 3904, 8 * 3904);
	want(REGIONS - 1, REGIONS - 1);
	EXPECT_EQ(vhdx_regions_take_want(&regions), 2);
	vhdx_regions_committed(&regions);
	EXPECT_EQ(regions.set, 6);
	EXPECT(is_encoded(REGIONS - 1));
	/* Behind the last sector a block stays as it was made: empty. */
	vhdx_regions_encode(&regions, 1, 1, block);
	EXPECT_EQ(block[2 * VHDX_COARSE_SECTOR], 0);
	EXPECT(!memcmp(block + 2 * VHDX_COARSE_SECTOR, block + 2 * VHDX_COARSE_SECTOR + 1,
		       6 * VHDX_COARSE_SECTOR - 1));
	vhdx_regions_release(&regions);
}

/* What was read need not be durable: no write goes out there before it has been written again. */
CASE(what_was_found_is_set_anew)
{
	static u64 found[WORDS];

	found[1] = 0xf0;
	found[61] = 0xf;
	make();
	vhdx_regions_recover(&regions, found, 41);
	EXPECT(!is_armed(67) && !is_armed(68) && !is_armed(71) && !is_armed(3904));
	EXPECT(is_encoded(70) && is_encoded(3904));
	EXPECT_EQ(regions.set, 8);
	EXPECT_EQ(want(68, 68), VHDX_REGIONS_WANTED);
	EXPECT_EQ(vhdx_regions_take_want(&regions), 1);
	/* Numbers of commits go on. */
	EXPECT_EQ(regions.commit, 42);
	EXPECT(!is_armed(68));
	vhdx_regions_committed(&regions);
	EXPECT(is_armed(68) && is_armed(71) && is_armed(3904));
	EXPECT(!is_armed(67) && !is_armed(72));
	EXPECT(is_encoded(71));
	EXPECT_EQ(regions.set, 8);
	/* And can be cleared, like all others. */
	EXPECT_EQ(vhdx_regions_begin_clear(&regions, true), 8);
	vhdx_regions_release(&regions);
}

CASE(a_clear_comes_after_what_is_saved)
{
	make();
	arm(10, 13);
	EXPECT_EQ(vhdx_regions_begin_clear(&regions, true), 4);
	EXPECT(!is_armed(10) && !is_armed(13));
	/* Nothing of it is the committer's before the checkpoint is durable. */
	EXPECT_EQ(vhdx_regions_take_cleared(&regions), 0);
	EXPECT(is_encoded(10));
	EXPECT_EQ(vhdx_regions_confirm_clear(&regions), 4);
	EXPECT(is_encoded(10));
	EXPECT_EQ(vhdx_regions_take_cleared(&regions), 1);
	EXPECT(!is_encoded(10) && !is_encoded(13));
	EXPECT(!is_armed(10));
	EXPECT_EQ(regions.set, 0);
	EXPECT_EQ(regions.commit, 2);
	/* Too late to take it back: it is set anew. */
	EXPECT_EQ(want(10, 10), VHDX_REGIONS_WANTED);
	vhdx_regions_release(&regions);
}

CASE(a_write_takes_a_clear_back_at_any_time_before_it_is_taken)
{
	make();
	arm(10, 13);
	vhdx_regions_begin_clear(&regions, true);
	EXPECT_EQ(want(10, 10), VHDX_REGIONS_ARMED);
	EXPECT(is_armed(10));
	vhdx_regions_keep(&regions, 11 * REGION + 512, 512);
	vhdx_regions_keep(&regions, 12 * REGION, 0);
	EXPECT(is_armed(11));
	EXPECT(!is_armed(12));
	EXPECT_EQ(vhdx_regions_confirm_clear(&regions), 2);
	EXPECT_EQ(want(12, 12), VHDX_REGIONS_ARMED);
	EXPECT_EQ(vhdx_regions_take_cleared(&regions), 1);
	EXPECT(is_encoded(10) && is_encoded(11) && is_encoded(12) && !is_encoded(13));
	EXPECT_EQ(regions.set, 3);
	/* All of it taken back: there is nothing to write. */
	vhdx_regions_begin_clear(&regions, true);
	vhdx_regions_confirm_clear(&regions);
	EXPECT_EQ(want(10, 12), VHDX_REGIONS_ARMED);
	EXPECT_EQ(vhdx_regions_take_cleared(&regions), 0);
	vhdx_regions_release(&regions);
}

CASE(a_checkpoint_that_failed_arms_again_and_leaves_what_an_earlier_one_cleared)
{
	make();
	arm(10, 10);
	vhdx_regions_begin_clear(&regions, true);
	vhdx_regions_confirm_clear(&regions);
	arm(20, 20);
	EXPECT_EQ(vhdx_regions_begin_clear(&regions, true), 1);
	vhdx_regions_cancel_clear(&regions);
	EXPECT(is_armed(20));
	EXPECT(!is_armed(10));
	EXPECT_EQ(vhdx_regions_confirm_clear(&regions), 0);
	EXPECT_EQ(vhdx_regions_take_cleared(&regions), 1);
	EXPECT(!is_encoded(10) && is_encoded(20));
	vhdx_regions_release(&regions);
}

/* Otherwise each checkpoint makes those wait who write again and again. */
CASE(a_checkpoint_leaves_what_became_armed_since_the_last_one)
{
	make();
	arm(10, 11);
	EXPECT_EQ(vhdx_regions_begin_clear(&regions, false), 0);
	arm(12, 12);
	EXPECT_EQ(vhdx_regions_begin_clear(&regions, false), 2);
	EXPECT(!is_armed(10) && !is_armed(11) && is_armed(12));
	/* Written meanwhile: the next one leaves it alone, the one after that does not. */
	EXPECT_EQ(want(11, 11), VHDX_REGIONS_ARMED);
	vhdx_regions_confirm_clear(&regions);
	EXPECT_EQ(vhdx_regions_begin_clear(&regions, false), 1);
	EXPECT(is_armed(11) && !is_armed(12));
	vhdx_regions_confirm_clear(&regions);
	EXPECT_EQ(vhdx_regions_begin_clear(&regions, false), 1);
	EXPECT(!is_armed(11));
	vhdx_regions_release(&regions);
}

CASE(who_goes_on_from_region_to_region_finds_the_next_ones_set)
{
	make();
	regions.ahead = 4;
	/* Here and there: no more than what is written. */
	arm(100, 100);
	arm(300, 300);
	EXPECT_EQ(regions.set, 2);
	arm(101, 101);
	EXPECT(is_armed(102) && !is_armed(103));
	arm(103, 103);
	EXPECT(is_armed(106) && !is_armed(107));
	/* However long it goes on. */
	arm(107, 107);
	EXPECT(is_armed(111) && !is_armed(112));
	/* Not behind the end; and only where nothing is set yet. */
	arm(REGIONS - 2, REGIONS - 2);
	arm(REGIONS - 1, REGIONS - 1);
	arm(299, 299);
	arm(298, 298);
	EXPECT_EQ(regions.set, 12 + 3 + 2);
	vhdx_regions_release(&regions);
}

CASE(a_commit_sets_all_of_the_group_that_a_wanted_one_is_in)
{
	make();
	regions.around = 3;
	arm(9, 9);
	EXPECT(!is_armed(7) && is_armed(8) && is_armed(15) && !is_armed(16));
	EXPECT_EQ(regions.set, 8);
	/* What is being cleared stays so, whoever is wanted beside it. */
	vhdx_regions_begin_clear(&regions, true);
	vhdx_regions_confirm_clear(&regions);
	regions.around = 4;
	arm(3, 3);
	EXPECT(is_armed(0) && is_armed(7) && !is_armed(8) && !is_armed(15));
	EXPECT_EQ(vhdx_regions_take_cleared(&regions), 1);
	EXPECT(!is_encoded(8) && is_encoded(7));
	EXPECT_EQ(regions.set, 8);
	/* A word at most, and nothing behind the end. */
	regions.around = VHDX_REGIONS_AROUND_MAX;
	arm(130, 130);
	EXPECT(!is_armed(127) && is_armed(128) && is_armed(191) && !is_armed(192));
	arm(REGIONS - 1, REGIONS - 1);
	EXPECT_EQ(regions.set, 8 + 64 + (REGIONS - 1) % 64 + 1);
	vhdx_regions_release(&regions);
}

CASE(who_writes_nothing_waits_for_nothing)
{
	make();
	EXPECT(vhdx_regions_are_armed(&regions, 0, 0));
	EXPECT(vhdx_regions_are_armed(&regions, 5 * REGION, 0));
	EXPECT_EQ(vhdx_regions_want(&regions, 0, 0), VHDX_REGIONS_ARMED);
	EXPECT_EQ(vhdx_regions_want(&regions, 5 * REGION + 512, 0), VHDX_REGIONS_ARMED);
	EXPECT_EQ(vhdx_regions_take_want(&regions), 0);
	vhdx_regions_release(&regions);
}

CASE(given_up_all_is_armed_and_nothing_more_is_written)
{
	make();
	arm(1, 2);
	vhdx_regions_begin_clear(&regions, true);
	vhdx_regions_confirm_clear(&regions);
	want(7, 7);
	vhdx_regions_give_up(&regions);
	EXPECT(is_armed(0) && is_armed(1) && is_armed(7) && is_armed(REGIONS - 1));
	EXPECT_EQ(want(0, REGIONS - 1), VHDX_REGIONS_ARMED);
	EXPECT_EQ(vhdx_regions_take_want(&regions), 0);
	EXPECT_EQ(vhdx_regions_take_cleared(&regions), 0);
	vhdx_regions_committed(&regions);
	vhdx_regions_release(&regions);
}

CASE(without_memory_there_is_nothing_to_release)
{
	unsigned int i;

	for (i = 1; i <= 7; i++) {
		alloc_fail(i, 1);
		EXPECT_EQ(vhdx_regions_init(&regions, &geo), -ENOMEM);
		EXPECT(!regions.armed && !regions.fresh);
	}
	alloc_fail(0, 0);
}

enum state { NOTHING, WANT, TAKEN, ARMED, CLEARING, CLEARED };

static enum state model[REGIONS];

static enum vhdx_regions_wait model_want(u32 first, u32 last)
{
	enum vhdx_regions_wait wait = VHDX_REGIONS_ARMED;
	u32 i;

	for (i = first; i <= last; i++) {
		if (model[i] == CLEARING || model[i] == CLEARED)
			model[i] = ARMED;
		if (model[i] == NOTHING)
			model[i] = WANT;
		if (model[i] == WANT)
			wait = VHDX_REGIONS_WANTED;
		else if (model[i] == TAKEN && wait == VHDX_REGIONS_ARMED)
			wait = VHDX_REGIONS_TAKEN;
	}
	return wait;
}

/* All regions in one state go to another. Returns the blocks that they are in. */
static u64 model_move(enum state from, enum state to)
{
	u64 blocks = 0;
	u32 i;

	for (i = 0; i < REGIONS; i++)
		if (model[i] == from) {
			model[i] = to;
			blocks |= 1 << i / VHDX_COARSE_BITS / 8;
		}
	return blocks;
}

static void compare(void)
{
	u32 i, set = 0, wrong = 0;

	for (i = 0; i < REGIONS; i++) {
		enum state s = model[i];

		wrong += is_armed(i) != (s == ARMED);
		wrong += is_in(regions.ondisk, i) != (s != NOTHING && s != WANT);
		wrong += is_in(regions.want, i) != (s == WANT);
		wrong += is_in(regions.taken, i) != (s == TAKEN);
		wrong += is_in(regions.clearing, i) != (s == CLEARING);
		wrong += is_in(regions.cleared, i) != (s == CLEARED);
		set += is_in(regions.ondisk, i);
	}
	EXPECT_EQ(wrong, 0);
	EXPECT_EQ(regions.set, set);
}

CASE(whatever_happens_in_whatever_order_each_region_is_in_one_state)
{
	bool committing = false, clearing = false;
	u32 round, first, last;
	u64 blocks;

	random_seed(7);
	make();
	memset(model, 0, sizeof(model));
	for (round = 0; round < 4000 && !ktap.failed; round++) {
		switch (random_below(6)) {
		case 0:
		case 1:
			first = random_below(random_below(4) ? 50 : REGIONS);
			last = min(first + random_below(5), REGIONS - 1);
			EXPECT_EQ(want(first, last), model_want(first, last));
			break;
		case 2:
			if (committing) {
				vhdx_regions_committed(&regions);
				model_move(TAKEN, ARMED);
				committing = false;
			} else if (random_below(2)) {
				blocks = model_move(WANT, TAKEN);
				EXPECT_EQ(vhdx_regions_take_want(&regions), blocks);
				committing = blocks;
			} else {
				blocks = model_move(CLEARED, NOTHING);
				EXPECT_EQ(vhdx_regions_take_cleared(&regions), blocks);
			}
			break;
		case 3:
			if (!clearing && !random_below(4)) {
				model_move(ARMED, CLEARING);
				vhdx_regions_begin_clear(&regions, true);
				clearing = true;
			}
			break;
		case 4:
			first = random_below(60);
			vhdx_regions_keep(&regions, first * REGION, REGION);
			if (model[first] == CLEARING || model[first] == CLEARED)
				model[first] = ARMED;
			break;
		case 5:
			if (!clearing || random_below(8))
				break;
			if (random_below(3)) {
				vhdx_regions_confirm_clear(&regions);
				model_move(CLEARING, CLEARED);
			} else {
				vhdx_regions_cancel_clear(&regions);
				model_move(CLEARING, ARMED);
			}
			clearing = false;
			break;
		}
		if (!(round % 50))
			compare();
	}
	compare();
	vhdx_regions_release(&regions);
}

SUITE("regions")
