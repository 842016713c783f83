// SPDX-License-Identifier: GPL-2.0-only
/*
 * Many deltas asked leaf by leaf, in steps, in any order, while points are forgotten: what is told
 * of a leaf is what all of them have in it.
 */
#include "ktap.h"
#include "sidecar_rig.h"
#include "core/rct/delta_merge.h"

#define POINTS	12

static struct vhdx_changemap whole;
static struct vhdx_delta_merge merge;
static struct vhdx_index_cache *cache;

/* A few leaves each; some deltas have none. */
static void make_points(void)
{
	struct vhdx_changemap map;
	struct vhdx_point_id id;
	u32 i, writes;

	make(0, 64 * LIMIT);
	new_map(&whole);
	for (i = 0; i < POINTS; i++) {
		new_map(&map);
		for (writes = random_below(4); writes--;)
			vhdx_changemap_mark(&map, random_below(DISK_SIZE), random_below(20000));
		if (!random_below(6))
			vhdx_changemap_mark(&map, random_below(LEAVES) * LEAF_BYTES, LEAF_BYTES);
		/* What leads to the first point is in no answer. */
		if (i)
			vhdx_changemap_or(&whole, &map);
		ASSERT_EQ(seal(&map, &id), 0);
		vhdx_changemap_release(&map);
	}
	cache = vhdx_index_cache_new(POINTS);
	memset(&merge, 0, sizeof(merge));
}

static void drop_points(void)
{
	vhdx_delta_merge_release(&merge);
	vhdx_index_cache_free(cache);
	vhdx_changemap_release(&whole);
	finish();
}

static void list(void)
{
	const struct vhdx_timeline *timeline = &sidecar.timeline;
	u32 i;

	ASSERT_EQ(vhdx_delta_merge_begin(&merge, timeline->count), 0);
	for (i = 1; i < timeline->count; i++)
		vhdx_delta_merge_add(&merge, &timeline->points[i]->before);
	ASSERT_EQ(vhdx_delta_merge_end(&merge), 0);
}

/* Its delta becomes part of the next one: of all together nothing changes. */
static void forget_one(void)
{
	u32 count = sidecar.timeline.count;

	if (count < 3)
		return;
	ASSERT_EQ(vhdx_sidecar_forget_point(&sidecar, 1 + random_below(count - 2), NULL), 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	list();
}

static void read_leaf(u32 leaf, bool changes)
{
	u64 words[VHDX_LEAF_WORDS] = { };
	struct vhdx_leaf_bits units;
	u32 i;
	int ret;

	memset(&units, 0xa5, sizeof(units));
	vhdx_leaf_bits_clear(&units);
	do {
		if (changes && !random_below(3))
			forget_one();
		ret = vhdx_delta_merge_read(&merge, &sidecar, leaf, &units, cache);
	} while (ret > 0);
	ASSERT_EQ(ret, 0);
	vhdx_changemap_leaf_or(&whole, leaf, words);
	for (i = 0; i < VHDX_LEAF_WORDS; i++)
		ASSERT_EQ(vhdx_leaf_bits_word(&units, i), words[i]);
}

static u32 find_leaf(u32 leaf, u32 end, bool changes)
{
	int ret;

	do {
		if (changes && !random_below(3))
			forget_one();
		ret = vhdx_delta_merge_find(&merge, &sidecar, leaf, &end, cache);
	} while (ret > 0);
	EXPECT_EQ(ret, 0);
	return end;
}

static void ask_in_order(bool changes)
{
	u32 leaf = 0;

	while (leaf < LEAVES) {
		u32 found = find_leaf(leaf, LEAVES, changes);

		ASSERT_EQ(found, vhdx_changemap_find_leaf(&whole, leaf, LEAVES));
		if (found < LEAVES)
			read_leaf(found, changes);
		leaf = found + 1;
	}
}

static void ask_at_random(bool changes)
{
	u32 i, leaf, end;

	for (i = 0; i < 20; i++) {
		leaf = random_below(LEAVES);
		end = leaf + random_below(LEAVES + 1 - leaf);
		if (random_below(2))
			read_leaf(leaf, changes);
		else
			ASSERT_EQ(find_leaf(leaf, end, changes),
				  vhdx_changemap_find_leaf(&whole, leaf, end));
	}
}

CASE(all_that_the_deltas_have)
{
	u32 round;

	for (round = 0; round < 40; round++) {
		random_seed(round);
		make_points();
		list();
		ask_in_order(false);
		ask_at_random(false);
		ask_in_order(true);
		drop_points();
		if (ktap.failed)
			return;
	}
}

CASE(points_are_forgotten_meanwhile)
{
	u32 round;

	for (round = 0; round < 40; round++) {
		random_seed(round);
		make_points();
		list();
		ask_at_random(true);
		drop_points();
		if (ktap.failed)
			return;
	}
}

/* 1: it is all that there is of the leaf. */
static u32 lend_leaf(u32 leaf, bool changes)
{
	u64 words[VHDX_LEAF_WORDS] = { };
	enum vhdx_lending lending;
	struct vhdx_lent_leaf lent;
	u32 i;
	int ret;

	do {
		if (changes && !random_below(3))
			forget_one();
		ret = vhdx_delta_merge_lend(&merge, &sidecar, leaf, &lending, &lent, cache);
	} while (ret > 0);
	EXPECT_EQ(ret, 0);
	vhdx_changemap_leaf_or(&whole, leaf, words);
	if (lending == VHDX_LENT_NOTHING)
		EXPECT_EQ(vhdx_count_bits(words, VHDX_LEAF_WORDS), 0);
	if (lending != VHDX_LENT_PAGE)
		return 0;
	for (i = 0; i < VHDX_LEAF_WORDS; i++)
		EXPECT_EQ(le64_to_cpu(((__le64 *)lent.page)[i]), words[i]);
	EXPECT_EQ(lent.units, vhdx_count_bits(words, VHDX_LEAF_WORDS));
	vhdx_shared_put(lent.page);
	return 1;
}

CASE(a_leaf_that_one_delta_has_is_lent)
{
	struct vhdx_block_cache kept = { };
	u32 round, leaf, lent = 0, not = 0;

	for (round = 0; round < 40; round++) {
		random_seed(round);
		make_points();
		ASSERT_EQ(vhdx_sidecar_keep_blocks(&sidecar, &kept), 0);
		list();
		/* Leaves are kept once they were read. */
		ask_in_order(false);
		for (leaf = 0; leaf < LEAVES; leaf++) {
			if (lend_leaf(leaf, round % 2))
				lent++;
			else
				not++;
			if (random_below(2))
				read_leaf(leaf, round % 2);
		}
		drop_points();
		vhdx_block_cache_release(&kept);
		if (ktap.failed)
			return;
	}
	EXPECT(lent && not);
}

/* Some blocks of the sidecar stay in memory, others go. */
static void forget_some(struct vhdx_block_cache *kept)
{
	u64 block;

	for (block = 0; block < sidecar.block_count; block++)
		if (!random_below(3))
			vhdx_block_cache_drop(kept, block, 1);
}

static void read_alone(const struct vhdx_delta *delta, struct vhdx_leaf_bits *leaves)
{
	u32 leaf;

	for (leaf = 0; leaf < LEAVES; leaf++) {
		vhdx_leaf_bits_clear(&leaves[leaf]);
		ASSERT_EQ(vhdx_sidecar_read_leaf(&sidecar, delta, leaf, &leaves[leaf], cache), 0);
	}
}

/* In steps. */
static void expect_read(u32 leaf, const struct vhdx_leaf_bits *should)
{
	struct vhdx_leaf_bits units;
	u32 i;
	int ret;

	vhdx_leaf_bits_clear(&units);
	do {
		ret = vhdx_delta_merge_read(&merge, &sidecar, leaf, &units, cache);
	} while (ret > 0);
	ASSERT_EQ(ret, 0);
	for (i = 0; i < VHDX_LEAF_WORDS; i++)
		ASSERT_EQ(vhdx_leaf_bits_word(&units, i), vhdx_leaf_bits_word(should, i));
}

static void expect_lent(const struct vhdx_lent_leaf *lent, const struct vhdx_leaf_bits *should)
{
	u32 i;

	for (i = 0; i < VHDX_LEAF_WORDS; i++)
		EXPECT_EQ(le64_to_cpu(((__le64 *)lent->page)[i]), vhdx_leaf_bits_word(should, i));
	vhdx_shared_put(lent->page);
}

/* From @leaf on; how many. */
static u32 lend_together(u32 leaf, const struct vhdx_leaf_bits *leaves)
{
	struct vhdx_lent_leaf lent[LEAVES];
	enum vhdx_lending lending;
	u32 i, count;
	int ret;

	do {
		ret = vhdx_delta_merge_lend(&merge, &sidecar, leaf, &lending, lent, cache);
	} while (ret > 0);
	EXPECT_EQ(ret, 0);
	if (lending != VHDX_LENT_PAGE)
		return 0;
	count = 1 + vhdx_delta_merge_lend_on(&merge, &sidecar, leaf + 1, lent + 1,
					     random_below(LEAVES - leaf), cache);
	for (i = 0; i < count; i++)
		expect_lent(&lent[i], &leaves[leaf + i]);
	return count;
}

/* Those that lie side by side; whichever is asked for next, or again, is what it is. */
CASE(leaves_of_a_single_delta_are_lent_together)
{
	static struct vhdx_leaf_bits leaves[LEAVES];
	struct vhdx_block_cache kept = { };
	const struct vhdx_delta *delta;
	u32 round, leaf, again, lent, most = 0;

	random_seed(7);
	for (round = 0; round < 80 && !ktap.failed; round++) {
		make_points();
		ASSERT_EQ(vhdx_sidecar_keep_blocks(&sidecar, &kept), 0);
		delta = &sidecar.timeline.points[1 + random_below(POINTS - 1)]->before;
		ASSERT_EQ(vhdx_delta_merge_begin(&merge, 1), 0);
		vhdx_delta_merge_add(&merge, delta);
		ASSERT_EQ(vhdx_delta_merge_end(&merge), 0);
		read_alone(delta, leaves);
		if (random_below(2))
			forget_some(&kept);
		for (leaf = 0; leaf < LEAVES; leaf += max(lent, 1U)) {
			lent = lend_together(leaf, leaves);
			most = max(most, lent);
			again = leaf + random_below(max(lent, 1U));
			if (!lent || random_below(2))
				expect_read(again, &leaves[again]);
		}
		drop_points();
		vhdx_block_cache_release(&kept);
	}
	EXPECT(most > 1);
}

/* Somebody asks for a leaf, is stopped in the middle, and asks for something else, or again. */
CASE(who_stops_in_the_middle_begins_anew)
{
	struct vhdx_leaf_bits units;
	u32 round, leaf, steps, end;

	for (round = 0; round < 40; round++) {
		random_seed(round);
		make_points();
		list();
		leaf = random_below(LEAVES);
		vhdx_leaf_bits_clear(&units);
		for (steps = random_below(2 * POINTS); steps--;)
			EXPECT(vhdx_delta_merge_read(&merge, &sidecar, leaf, &units, cache) >= 0);
		end = LEAVES;
		if (random_below(2))
			vhdx_delta_merge_find(&merge, &sidecar,
					      min(leaf + random_below(2), LEAVES - 1), &end,
					      cache);
		else
			read_leaf((leaf + 1) % LEAVES, false);
		read_leaf(leaf, false);
		drop_points();
		if (ktap.failed)
			return;
	}
}

/* What was read already of a leaf is not read again because a point was forgotten. */
CASE(what_is_known_stays_known)
{
	struct vhdx_leaf_bits units;
	u64 reads;
	u32 i;

	random_seed(3);
	make_points();
	list();
	vhdx_leaf_bits_clear(&units);
	for (i = 0; vhdx_delta_merge_read(&merge, &sidecar, 0, &units, cache) > 0; i++)
		;
	EXPECT(i > 3);
	find_leaf(1, LEAVES, false);
	list();
	reads = fake.reads;
	find_leaf(1, LEAVES, false);
	EXPECT_EQ(fake.reads, reads);
	drop_points();
}

/*
 * Who must not wait asks for a leaf, in as many steps as it takes; and, where something is not in
 * memory, somebody else goes on. Whether that was so.
 */
static bool read_in_memory(u32 leaf, struct vhdx_leaf_bits *units)
{
	const u64 reads = fake.reads;
	bool missed;
	int ret;

	cache->in_memory = true;
	cache->missed = false;
	do {
		ret = vhdx_delta_merge_read(&merge, &sidecar, leaf, units, cache);
	} while (ret > 0);
	missed = cache->missed;
	EXPECT_EQ(ret, missed ? -EAGAIN : 0);
	EXPECT_EQ(fake.reads, reads);
	cache->in_memory = false;
	while (missed && (ret = vhdx_delta_merge_read(&merge, &sidecar, leaf, units, cache)) > 0)
		;
	EXPECT_EQ(ret, 0);
	return missed;
}

static bool is_whole(u32 leaf, const struct vhdx_leaf_bits *units)
{
	u64 should[VHDX_LEAF_WORDS] = { };
	u32 i;

	vhdx_changemap_leaf_or(&whole, leaf, should);
	for (i = 0; i < VHDX_LEAF_WORDS; i++)
		if (vhdx_leaf_bits_word(units, i) != should[i])
			return false;
	return true;
}

/* A step that would have to read passes over nothing, and reads nothing. */
CASE(what_is_not_in_memory_is_asked_for_again)
{
	struct vhdx_block_cache kept = { };
	struct vhdx_leaf_bits units;
	u32 round, leaf, found, missed = 0;

	random_seed(4);
	for (round = 0; round < 40 && !ktap.failed; round++) {
		make_points();
		ASSERT_EQ(vhdx_sidecar_keep_blocks(&sidecar, &kept), 0);
		list();
		for (leaf = 0; leaf < LEAVES; leaf++) {
			vhdx_leaf_bits_clear(&units);
			missed += read_in_memory(leaf, &units);
			EXPECT(is_whole(leaf, &units));
			if (!random_below(4))
				forget_some(&kept);
			/* The tables that it keeps itself. */
			vhdx_index_cache_free(cache);
			cache = vhdx_index_cache_new(POINTS);
		}
		/* By now all of it may be there. */
		cache->in_memory = true;
		cache->missed = false;
		found = LEAVES;
		while (vhdx_delta_merge_find(&merge, &sidecar, 0, &found, cache) > 0)
			;
		EXPECT(cache->missed || found == vhdx_changemap_find_leaf(&whole, 0, LEAVES));
		drop_points();
		vhdx_block_cache_release(&kept);
	}
	EXPECT(missed > 40);
}

/* Tables are shared by all who read with this cache: where one is in it says nothing of another. */
static void look_up_others(void)
{
	const struct vhdx_timeline *timeline = &sidecar.timeline;
	u32 i, end;

	for (i = 1; i < timeline->count; i++) {
		end = LEAVES;
		if (random_below(2))
			EXPECT_EQ(vhdx_sidecar_find_leaf(&sidecar, &timeline->points[i]->before,
							 random_below(LEAVES), &end, cache), 0);
	}
}

CASE(what_else_is_looked_up_does_not_matter)
{
	u32 round, leaf, found;

	random_seed(6);
	for (round = 0; round < 40 && !ktap.failed; round++) {
		make_points();
		list();
		for (leaf = 0; leaf < LEAVES; leaf = found + 1) {
			look_up_others();
			found = find_leaf(leaf, LEAVES, false);
			ASSERT_EQ(found, vhdx_changemap_find_leaf(&whole, leaf, LEAVES));
			look_up_others();
			if (found < LEAVES)
				read_leaf(found, false);
		}
		drop_points();
	}
}

SUITE("delta_merge")
