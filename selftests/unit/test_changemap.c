// SPDX-License-Identifier: GPL-2.0-only
#include <pthread.h>
#include <sched.h>

#include "ktap.h"
#include "alloc.h"
#include "random.h"
#include "core/rct/changemap.h"
#include "core/diag.h"
#include "core/rct/leaf_bits.h"

#define SHIFT		14
#define UNIT		((u64)1 << SHIFT)
#define LEAF_BYTES	((u64)VHDX_LEAF_UNITS << SHIFT)
#define LEAVES		5
#define DISK_SIZE	(LEAVES * LEAF_BYTES - 3 * UNIT - 512)
#define UNITS		(LEAVES * VHDX_LEAF_UNITS - 3)

static struct vhdx_changemap map;
static u8 model[UNITS];

static void make(void)
{
	memset(model, 0, sizeof(model));
	EXPECT_EQ(vhdx_changemap_init(&map, DISK_SIZE, SHIFT), 0);
}

static void mark(u64 offset, u64 length)
{
	u64 unit;

	vhdx_changemap_mark(&map, offset, length);
	for (unit = offset >> SHIFT;
	     length && unit < UNITS && unit <= (offset + length - 1) >> SHIFT;
	     unit++)
		model[unit] = 1;
}

static bool is_marked(const struct vhdx_changemap *in, u64 unit)
{
	u64 words[VHDX_LEAF_WORDS] = { 0 };
	u32 bit = unit % VHDX_LEAF_UNITS;

	vhdx_changemap_leaf_or(in, unit / VHDX_LEAF_UNITS, words);
	return words[bit / 64] >> (bit % 64) & 1;
}

/* Leaves that are all changed may hide what the model has; they must be allowed to. */
static void compare(const struct vhdx_changemap *with, bool exact)
{
	u64 words[VHDX_LEAF_WORDS];
	u64 unit, missing = 0, extra = 0;

	for (unit = 0; unit < UNITS; unit++) {
		u32 bit = unit % VHDX_LEAF_UNITS;
		bool is;

		if (!bit) {
			memset(words, 0, sizeof(words));
			vhdx_changemap_leaf_or(with, unit / VHDX_LEAF_UNITS, words);
		}
		is = words[bit / 64] >> (bit % 64) & 1;
		missing += !is && model[unit];
		extra += is && !model[unit];
	}
	EXPECT_EQ(missing, 0);
	if (exact)
		EXPECT_EQ(extra, 0);
}

/* What is known of a leaf besides its bits, while nobody marks. */
static void compare_sums(void)
{
	struct vhdx_lent_leaf lent;
	u64 words[VHDX_LEAF_WORDS];
	enum vhdx_lending lending;
	u32 leaf;

	for (leaf = 0; leaf < LEAVES; leaf++) {
		lending = vhdx_changemap_lend_leaf(&map, leaf, &lent);
		if (!map.leaves[leaf]) {
			EXPECT_EQ(lending, VHDX_LENT_NOTHING);
			continue;
		}
		if (map.leaves[leaf] == VHDX_LEAF_ALL || !vhdx_is_little_endian()) {
			EXPECT_EQ(lending, VHDX_LENT_NOT);
			continue;
		}
		ASSERT_EQ(lending, VHDX_LENT_PAGE);
		memset(words, 0, sizeof(words));
		vhdx_changemap_leaf_or(&map, leaf, words);
		EXPECT(!memcmp(lent.page, words, sizeof(words)));
		EXPECT_EQ(lent.units, vhdx_count_bits(words, VHDX_LEAF_WORDS));
		EXPECT_EQ(map.leaf_groups[leaf], vhdx_leaf_bits_groups_of(words));
		vhdx_shared_put(lent.page);
	}
}

CASE(marks_exactly_the_units_that_were_touched)
{
	u32 round, i;

	random_seed(1);
	for (round = 0; round < 30; round++) {
		make();
		EXPECT(vhdx_changemap_is_empty(&map));
		for (i = 0; i < round * 3; i++) {
			u64 offset = random_below(DISK_SIZE);
			u64 most = random_below(8) ? 100 * UNIT : DISK_SIZE;

			mark(offset, min(DISK_SIZE - offset, random_below(most) + 1));
		}
		EXPECT_EQ(vhdx_changemap_is_empty(&map), !round);
		compare(&map, true);
		compare_sums();
		vhdx_changemap_release(&map);
	}
}

CASE(every_boundary_of_words_and_leaves)
{
	static const s64 steps[] = { -65, -64, -63, -2, -1, 0, 1, 2, 62, 63, 64, 65 };
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(steps); i++)
		for (j = i; j < ARRAY_SIZE(steps); j++) {
			make();
			mark(2 * LEAF_BYTES + steps[i] * (s64)UNIT,
			     (steps[j] - steps[i]) * UNIT + 1);
			compare(&map, true);
			vhdx_changemap_release(&map);
		}
}

CASE(what_lies_beyond_the_disk_is_ignored)
{
	make();
	mark(DISK_SIZE - 1, 1);
	vhdx_changemap_mark(&map, DISK_SIZE - 1, ~0ULL);
	vhdx_changemap_mark(&map, UNITS * UNIT, UNIT);
	vhdx_changemap_mark(&map, ~0ULL, 1);
	vhdx_changemap_mark(&map, ~0ULL, ~0ULL);
	vhdx_changemap_mark(&map, 0, 0);
	compare(&map, true);
	mark(0, DISK_SIZE);
	vhdx_changemap_mark(&map, 0, ~0ULL);
	compare(&map, true);
	vhdx_changemap_release(&map);
}

/* What a look says of a range must be so of all its units, and it must know what is in one. */
static void look(u64 offset, u64 length)
{
	u64 first = offset >> SHIFT, last = (offset + length - 1) >> SHIFT;
	bool all = first <= last && last < UNITS;
	u64 unit;

	for (unit = first; all && unit <= last; unit++)
		all = model[unit];
	if (vhdx_changemap_is_marked(&map, offset, length))
		EXPECT(all);
	else if (first == last)
		EXPECT(!all);
}

CASE(a_look_sees_a_marked_unit_and_never_one_that_is_not)
{
	u32 i;

	random_seed(4);
	make();
	mark(LEAF_BYTES, LEAF_BYTES);
	for (i = 0; i < 300; i++)
		mark(random_below(3 * LEAF_BYTES), random_below(UNIT) + 1);
	/* The last word of the disk's last leaf, all of it and what is behind the disk. */
	mark(DISK_SIZE - 1, 1);
	for (i = 0; i < 20000; i++) {
		look(random_below(DISK_SIZE), random_below(UNIT) + 1);
		look(random_below(UNITS) * UNIT, random_below(3) * UNIT + 1);
	}
	for (i = 0; i < 8; i++) {
		look((UNITS - 2 + i) * UNIT, 1);
		look((UNITS - 2 + i) * UNIT, UNIT);
		look(LEAF_BYTES - UNIT + i, UNIT);
		look(2 * LEAF_BYTES - UNIT + i, UNIT);
		look(LEAVES * LEAF_BYTES + i * LEAF_BYTES, UNIT);
	}
	look(~0ULL, 1);
	vhdx_changemap_release(&map);
}

CASE(a_whole_leaf_takes_no_memory)
{
	make();
	alloc_fail(1, ~0ULL);
	mark(LEAF_BYTES, 2 * LEAF_BYTES);
	EXPECT_EQ(alloc_count(), 0);
	alloc_fail(0, 0);
	compare(&map, true);
	vhdx_changemap_release(&map);
}

CASE(without_memory_a_leaf_is_all_changed)
{
	make();
	mark(0, 1);
	alloc_fail(1, ~0ULL);
	mark(LEAF_BYTES, 1);
	mark(5, 1);
	alloc_fail(0, 0);
	EXPECT(map.leaves[1] == VHDX_LEAF_ALL);
	EXPECT(is_marked(&map, 2 * VHDX_LEAF_UNITS - 1));
	EXPECT(!is_marked(&map, 2 * VHDX_LEAF_UNITS));
	EXPECT(!is_marked(&map, 1));
	mark(LEAF_BYTES + 77 * UNIT, 9 * UNIT);
	compare(&map, false);
	vhdx_changemap_release(&map);
}

CASE(any_allocation_may_fail_and_nothing_is_missed)
{
	u32 round, i;

	random_seed(2);
	for (round = 0; round < 200; round++) {
		struct vhdx_changemap other;

		make();
		EXPECT_EQ(vhdx_changemap_init(&other, DISK_SIZE, SHIFT), 0);
		alloc_fail(1 + random_below(6), 1 + random_below(3));
		for (i = 0; i < 8; i++)
			mark(random_below(DISK_SIZE), random_below(50 * UNIT));
		vhdx_changemap_or(&other, &map);
		alloc_fail(0, 0);
		compare(&map, false);
		compare(&other, false);
		vhdx_changemap_release(&other);
		vhdx_changemap_release(&map);
	}
}

CASE(mark_all_keeps_leaves_that_are_there)
{
	u64 *leaf;

	make();
	mark(0, 1);
	leaf = map.leaves[0];
	alloc_fail(1, ~0ULL);
	vhdx_changemap_mark_all(&map);
	alloc_fail(0, 0);
	EXPECT(map.leaves[0] == leaf);
	memset(model, 1, sizeof(model));
	compare(&map, true);
	vhdx_changemap_release(&map);
}

CASE(or_is_the_union)
{
	u32 round, i;

	random_seed(3);
	for (round = 0; round < 20; round++) {
		struct vhdx_changemap other;

		make();
		for (i = 0; i < 5; i++)
			mark(random_below(DISK_SIZE), random_below(LEAF_BYTES));
		other = map;
		EXPECT_EQ(vhdx_changemap_init(&map, DISK_SIZE, SHIFT), 0);
		for (i = 0; i < 5; i++)
			mark(random_below(DISK_SIZE), random_below(UNIT));
		vhdx_changemap_or(&map, &other);
		compare(&map, true);
		vhdx_changemap_release(&other);
		vhdx_changemap_release(&map);
	}
}

CASE(loading_a_leaf_adds_to_it)
{
	u64 words[VHDX_LEAF_WORDS] = { 1, 0, 1ULL << 63 };

	make();
	mark(LEAF_BYTES + UNIT, 1);
	EXPECT_EQ(vhdx_changemap_leaf_load(&map, 1, words), 0);
	EXPECT_EQ(vhdx_changemap_leaf_load(&map, 0, words), 0);
	mark(0, 1);
	mark(191 * UNIT, 1);
	mark(LEAF_BYTES, 1);
	mark(LEAF_BYTES + 191 * UNIT, 1);
	compare(&map, true);
	alloc_fail(1, 1);
	EXPECT_EQ(vhdx_changemap_leaf_load(&map, 2, words), -ENOMEM);
	alloc_fail(0, 0);
	compare(&map, true);
	vhdx_changemap_mark(&map, 3 * LEAF_BYTES, LEAF_BYTES);
	EXPECT_EQ(vhdx_changemap_leaf_load(&map, 3, words), 0);
	EXPECT(map.leaves[3] == VHDX_LEAF_ALL);
	compare_sums();
	vhdx_changemap_release(&map);
}

CASE(geometry)
{
	static const struct {
		u64 size;
		u32 shift;
		u64 units;
		u32 leaves;
	} table[] = {
		{ 0, 12, 0, 0 },
		{ 1, 12, 1, 1 },
		{ 4096, 12, 1, 1 },
		{ 4097, 12, 2, 1 },
		{ 32768ULL << 14, 14, 32768, 1 },
		{ (32768ULL << 14) + 512, 14, 32769, 2 },
		{ 64ULL << 40, 16, 1ULL << 30, 32768 },
	};
	struct vhdx_changemap m;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(table); i++) {
		EXPECT_EQ(vhdx_changemap_init(&m, table[i].size, table[i].shift), 0);
		EXPECT_EQ(m.units, table[i].units);
		EXPECT_EQ(m.leaf_count, table[i].leaves);
		vhdx_changemap_mark(&m, 0, 1);
		vhdx_changemap_mark_all(&m);
		EXPECT_EQ(vhdx_changemap_is_empty(&m), !table[i].units);
		vhdx_changemap_release(&m);
	}
	EXPECT_EQ(vhdx_changemap_init(&m, ~0ULL, 12), -ENOMEM);
	vhdx_changemap_release(&m);
	alloc_fail(1, 1);
	EXPECT_EQ(vhdx_changemap_init(&m, 4096, 12), -ENOMEM);
	alloc_fail(0, 0);
	vhdx_changemap_release(&m);
}

CASE(the_unit_grows_with_the_disk)
{
	const u64 tib = 1ULL << 40;

	EXPECT_EQ(vhdx_unit_shift_for(0, 0), 14);
	EXPECT_EQ(vhdx_unit_shift_for(tib, 0), 14);
	EXPECT_EQ(vhdx_unit_shift_for(16 * tib, 0), 14);
	EXPECT_EQ(vhdx_unit_shift_for(16 * tib + 512, 0), 15);
	EXPECT_EQ(vhdx_unit_shift_for(64 * tib, 0), 16);
	EXPECT_EQ(vhdx_unit_shift_for(4 * tib, VHDX_UNIT_MIN), 12);
	EXPECT_EQ(vhdx_unit_shift_for(4 * tib + 512, VHDX_UNIT_MIN), 13);
	EXPECT_EQ(vhdx_unit_shift_for(64 * tib, VHDX_UNIT_MIN), 16);
	EXPECT_EQ(vhdx_unit_shift_for(1, VHDX_UNIT_MAX), 20);
	EXPECT_EQ(vhdx_unit_shift_for(~0ULL, 0), 20);
}

/* ---- many writers ---- */

#define THREADS		4
#define MARKS		8000

struct writer {
	pthread_t thread;
	u64 seed;
};

/* Each its own sequence; nothing may be lost, whoever makes the leaf. */
static u64 next_offset(u64 *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (*state >> 20) % DISK_SIZE;
}

static void *write_marks(void *argument)
{
	struct writer *writer = argument;
	u64 state = writer->seed;
	u32 i;

	for (i = 0; i < MARKS; i++) {
		u64 offset = next_offset(&state);

		vhdx_changemap_mark(&map, offset, 3 * UNIT);
		/* What I marked I see. */
		if (!is_marked(&map, offset >> SHIFT))
			return "lost";
	}
	return NULL;
}

/* From the @nth allocation on two fail. */
static void race(u64 nth)
{
	struct writer writers[THREADS];
	struct vhdx_changemap sum;
	u32 i, j;

	make();
	EXPECT_EQ(vhdx_changemap_init(&sum, DISK_SIZE, SHIFT), 0);
	alloc_fail(nth, nth ? 2 : 0);
	for (i = 0; i < THREADS; i++) {
		writers[i].seed = random_next();
		pthread_create(&writers[i].thread, NULL, write_marks, &writers[i]);
	}
	/* Reading and OR-ing run beside marking. */
	for (i = 0; i < 20; i++)
		vhdx_changemap_or(&sum, &map);
	for (i = 0; i < THREADS; i++) {
		void *verdict;

		pthread_join(writers[i].thread, &verdict);
		EXPECT(!verdict);
	}
	alloc_fail(0, 0);
	vhdx_changemap_or(&sum, &map);
	EXPECT(sum.leaves[0] && sum.leaves[LEAVES - 1]);
	vhdx_changemap_release(&sum);
	for (i = 0; i < THREADS; i++) {
		u64 state = writers[i].seed;

		for (j = 0; j < MARKS; j++) {
			u64 unit = next_offset(&state) >> SHIFT;

			memset(model + unit, 1, min(3, UNITS - unit));
			if (unit + 3 < UNITS && !model[unit + 3])
				model[unit + 3] = 2;	/* may be touched */
		}
	}
}

static void expect_race(bool exact)
{
	u64 unit, missing = 0, extra = 0;

	for (unit = 0; unit < UNITS; unit++) {
		bool is = is_marked(&map, unit);

		missing += model[unit] == 1 && !is;
		extra += !model[unit] && is;
	}
	EXPECT_EQ(missing, 0);
	if (exact)
		EXPECT_EQ(extra, 0);
}

CASE(threads_lose_no_mark)
{
	random_seed(4);
	race(0);
	expect_race(true);
	compare_sums();
	vhdx_changemap_release(&map);
}

CASE(threads_lose_no_mark_when_memory_runs_out)
{
	u32 round;

	random_seed(5);
	for (round = 0; round < 10; round++) {
		race(1 + random_below(4));
		expect_race(false);
		vhdx_changemap_release(&map);
	}
}

#define MANY_LEAVES	1024

static u32 at_leaf[2];

/* Both come to the same leaf at the same time: one makes it, the other one finds it there. */
static void *mark_and_find(void *argument)
{
	const u32 me = !!argument;
	void *verdict = NULL;
	u32 leaf, spins;

	for (leaf = 0; leaf < MANY_LEAVES; leaf++) {
		__atomic_store_n(&at_leaf[me], leaf + 1, __ATOMIC_SEQ_CST);
		for (spins = 0; __atomic_load_n(&at_leaf[!me], __ATOMIC_SEQ_CST) <= leaf; spins++)
			if (spins > 1000)
				sched_yield();
		vhdx_changemap_mark(&map, leaf * LEAF_BYTES + me * UNIT, 1);
		if (vhdx_changemap_find_leaf(&map, leaf, leaf + 1) != leaf ||
		    vhdx_changemap_find_leaf(&map, leaf, MANY_LEAVES) != leaf)
			verdict = "not found";
	}
	return verdict;
}

CASE(who_marks_finds_the_leaf)
{
	pthread_t other;
	void *verdict;
	u32 round;

	for (round = 0; round < 3; round++) {
		memset(at_leaf, 0, sizeof(at_leaf));
		ASSERT_EQ(vhdx_changemap_init(&map, MANY_LEAVES * LEAF_BYTES, SHIFT), 0);
		EXPECT_EQ(vhdx_changemap_find_leaf(&map, 0, ~0U), ~0U);
		EXPECT(vhdx_changemap_is_empty(&map));
		pthread_create(&other, NULL, mark_and_find, &map);
		EXPECT(!mark_and_find(NULL));
		pthread_join(other, &verdict);
		EXPECT(!verdict);
		vhdx_changemap_release(&map);
	}
}

CASE(leaves_are_found_in_their_order)
{
	static const u32 marked[] = { 0, 63, 64, 65, 500, 511, 512, MANY_LEAVES - 1 };
	u32 i, end, leaf, wanted;

	ASSERT_EQ(vhdx_changemap_init(&map, MANY_LEAVES * LEAF_BYTES, SHIFT), 0);
	for (i = 0; i < ARRAY_SIZE(marked); i++)
		vhdx_changemap_mark(&map, marked[i] * LEAF_BYTES, 1);
	random_seed(6);
	for (i = 0; i < 20000; i++) {
		leaf = random_below(MANY_LEAVES + 2);
		end = leaf + random_below(MANY_LEAVES + 70 - leaf);
		for (wanted = 0; wanted < ARRAY_SIZE(marked) && marked[wanted] < leaf; wanted++)
			;
		wanted = wanted < ARRAY_SIZE(marked) ? marked[wanted] : end;
		if (!EXPECT_EQ(vhdx_changemap_find_leaf(&map, leaf, end), min(wanted, end)))
			break;
	}
	vhdx_changemap_release(&map);
}

SUITE("changemap")
