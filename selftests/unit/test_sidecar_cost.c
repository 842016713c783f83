// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a sidecar costs: writes and flushes of a seal, reads and memory of an attach.
 */
#include "ktap.h"
#include "sidecar_rig.h"
#include "core/rct/sidecar_private.h"

#define TIB	(1ULL << 40)

static u64 flushes;
static u64 bytes_written;
static int (*plain_flush)(struct vhdx_store *store);
static int (*plain_write)(struct vhdx_store *store, u64 offset, const void *buf, size_t length);

static int counting_flush(struct vhdx_store *store)
{
	flushes++;
	return plain_flush(store);
}

static int counting_write(struct vhdx_store *store, u64 offset, const void *buf, size_t length)
{
	bytes_written += length;
	return plain_write(store, offset, buf, length);
}

static void count_from_here(void)
{
	if (fake.store.flush != counting_flush) {
		plain_flush = fake.store.flush;
		plain_write = fake.store.write;
		fake.store.flush = counting_flush;
		fake.store.write = counting_write;
	}
	flushes = 0;
	bytes_written = 0;
	fake.steps = 0;
}

struct cost {
	u64 writes, bytes, flushes;
};

static struct cost cost_so_far(void)
{
	struct cost cost = { fake.steps - flushes, bytes_written, flushes };

	return cost;
}

static void expect_same(const char *what, struct cost few, struct cost many)
{
	EXPECT_EQ(few.writes, many.writes);
	EXPECT_EQ(few.bytes, many.bytes);
	EXPECT_EQ(few.flushes, many.flushes);
	printf("# %s: %llu writes of %llu bytes, %llu flushes\n", what,
	       (unsigned long long)many.writes, (unsigned long long)many.bytes,
	       (unsigned long long)many.flushes);
}

/* As the driver does it: the point, not issued; then issued. */
static void seal_in_two(const struct vhdx_changemap *map)
{
	struct vhdx_timeline_point point = { .id = next_id() };
	struct vhdx_delta before;

	ASSERT_EQ(vhdx_sidecar_write_delta(&sidecar, map, &before), 0);
	ASSERT_EQ(vhdx_sidecar_add_point(&sidecar, &point, &before), 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	vhdx_sidecar_issue_point(&sidecar);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
}

/* Of one among many: the first one may see to the blocks that are kept free. */
static struct cost cost_of_seal(const struct vhdx_changemap *map)
{
	seal_in_two(map);
	count_from_here();
	seal_in_two(map);
	return cost_so_far();
}

static struct cost cost_of_forget(u32 position)
{
	count_from_here();
	EXPECT_EQ(vhdx_sidecar_forget_point(&sidecar, position, NULL), 0);
	EXPECT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	return cost_so_far();
}

static void add_points(const struct vhdx_changemap *map, u32 count)
{
	struct vhdx_timeline_point point = { .issued = true };
	struct vhdx_delta before;

	while (sidecar.timeline.count < count) {
		point.id = next_id();
		ASSERT_EQ(vhdx_sidecar_write_delta(&sidecar, map, &before), 0);
		ASSERT_EQ(vhdx_sidecar_add_point(&sidecar, &point, &before), 0);
	}
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
}

/* The records of the points before it stay where they are. */
CASE(a_seal_costs_the_same_with_2_points_and_with_4000)
{
	struct cost few, many, few_forgotten, many_forgotten;
	struct vhdx_changemap map;

	random_seed(1);
	make(0, 96 << 20);
	new_map(&map);
	vhdx_changemap_mark(&map, 5 * 4096, 1);
	vhdx_changemap_mark(&map, 2 * LEAF_BYTES, 4096);
	add_points(&map, 2);
	few = cost_of_seal(&map);
	few_forgotten = cost_of_forget(1);
	add_points(&map, 4000);
	many = cost_of_seal(&map);
	expect_same("a seal of two leaves", few, many);
	many_forgotten = cost_of_forget(2000);
	expect_same("forgetting a point", few_forgotten, many_forgotten);
	/* Index and leaves, once; twice a table, its root and the header. */
	EXPECT_EQ(many.bytes, (4 + 2 * 3) * 4096);
	EXPECT_EQ(many.flushes, 4);
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
	vhdx_changemap_release(&map);
	finish();
}

/* Whatever is forgotten, a commit rewrites a few blocks, and there is room for all points. */
CASE(tables_of_points_are_joined_and_packed)
{
	const struct vhdx_changemap none = { 0 };
	u32 round, i;
	u64 most = 0;

	random_seed(2);
	make(0, 16 << 20);
	add_points(&none, VHDX_POINTS_MAX);
	/* Leave some of each table: as many small tables as there can be. */
	for (i = VHDX_POINTS_MAX - 1; i--;)
		if (i % 21 > 10) {
			count_from_here();
			ASSERT_EQ(vhdx_sidecar_forget_point(&sidecar, i, NULL), 0);
			ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
			most = max(most, cost_so_far().bytes);
		}
	EXPECT(most <= 4 * 4096);
	EXPECT(sidecar.points.table_count > 180);
	add_points(&none, VHDX_POINTS_MAX);
	EXPECT(sidecar.points.table_count <= VHDX_SIDECAR_TABLES);
	for (round = 0; round < 300; round++) {
		ASSERT_EQ(vhdx_sidecar_forget_point(&sidecar,
						    random_below(sidecar.timeline.count), NULL),
			  0);
		if (random_below(3))
			add_points(&none, VHDX_POINTS_MAX);
	}
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	i = sidecar.timeline.count;
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(sidecar.timeline.count, i);
	finish();
}

static struct vhdx_changemap wide;

/* A disk of many leaves: 4 units of 4 KiB in each of them are in a dense map. */
static void make_wide(u32 leaves)
{
	make_for(leaves * LEAF_BYTES, SHIFT, 0, 64 << 20);
	new_map(&wide);
}

static void expect_wide(const struct vhdx_delta *delta)
{
	struct vhdx_changemap loaded;

	new_map(&loaded);
	EXPECT_EQ(vhdx_sidecar_load_map(&sidecar, delta, &loaded, NULL), 0);
	EXPECT(same_maps(&loaded, &wide));
	vhdx_changemap_release(&loaded);
}

/* Deltas of 3,000 leaves and of one: what becomes of them is the large one but for one table. */
CASE(forgetting_rewrites_what_it_touches)
{
	const u32 leaves = 3000;
	struct vhdx_changemap small;
	struct vhdx_point_id id;
	struct cost cost;
	u32 i;

	random_seed(3);
	make_wide(leaves);
	new_map(&small);
	ASSERT_EQ(seal(&small, &id), 0);
	for (i = 0; i < leaves; i += 1 + (i == 1500))
		vhdx_changemap_mark(&wide, i * LEAF_BYTES, 4 * 4096);
	ASSERT_EQ(seal(&wide, &id), 0);
	/* One leaf that it has, one that it hasn't: its table overflows. */
	vhdx_changemap_mark(&small, 700 * LEAF_BYTES + 12345678, 1);
	vhdx_changemap_mark(&small, 1501 * LEAF_BYTES, 1);
	ASSERT_EQ(seal(&small, &id), 0);
	vhdx_changemap_or(&wide, &small);
	ASSERT_EQ(reload(), 0);

	cost = cost_of_forget(1);
	/* Three tables, a leaf, the root; the table and the root of the points, the header. */
	EXPECT(cost.bytes <= 9 * 4096);
	EXPECT_EQ(cost.flushes, 2);
	EXPECT_EQ(sidecar.timeline.points[1]->before.changed_units, (leaves - 1) * 4 + 2);
	expect_wide(&sidecar.timeline.points[1]->before);
	i = used_blocks();
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(used_blocks(), i);
	expect_wide(&sidecar.timeline.points[1]->before);
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
	vhdx_changemap_release(&small);
	vhdx_changemap_release(&wide);
	finish();
}

/* One leaf more, again and again: kept tables get smaller and fewer, the root is never full. */
CASE(an_index_survives_any_number_of_merges)
{
	const u32 leaves = 2000;
	struct vhdx_changemap small;
	struct vhdx_point_id id;
	u32 round, leaf;

	random_seed(4);
	make_wide(leaves);
	new_map(&small);
	ASSERT_EQ(seal(&small, &id), 0);
	ASSERT_EQ(seal(&small, &id), 0);
	vhdx_changemap_release(&small);
	for (round = 0; round < 400; round++) {
		u32 few = 1 + random_below(8);

		new_map(&small);
		while (few--) {
			leaf = random_below(leaves);
			vhdx_changemap_mark(&small, leaf * LEAF_BYTES + random_below(9) * 4096, 1);
		}
		vhdx_changemap_or(&wide, &small);
		ASSERT_EQ(seal(&small, &id), 0);
		ASSERT_EQ(vhdx_sidecar_forget_point(&sidecar, 1, NULL), 0);
		ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
		vhdx_changemap_release(&small);
	}
	expect_wide(&sidecar.timeline.points[1]->before);
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
	vhdx_changemap_release(&wide);
	finish();
}

/*
 * A store that forgets the tables of indexes, which would need much memory: nobody who attaches
 * may read them.
 */
static struct vhdx_changemap dense;
static u8 **kept;
#define KEPT	(1U << 16)

static int keeping_write(struct vhdx_store *store, u64 offset, const void *buf, size_t length)
{
	(void)store;
	for (; length; offset += 4096, buf += 4096, length -= 4096) {
		u64 block = offset / 4096;

		if (le32_to_cpu(((const struct vhdx_sidecar_head *)buf)->magic) ==
		    VHDX_SIDECAR_INDEX_MAGIC)
			continue;
		if (!EXPECT(block < KEPT))
			return -EIO;
		if (!kept[block])
			kept[block] = malloc(4096);
		memcpy(kept[block], buf, 4096);
	}
	return 0;
}

static u64 bytes_read;

static int keeping_read(struct vhdx_store *store, u64 offset, void *buf, size_t length)
{
	bytes_read += length;
	for (; length; offset += 4096, buf += 4096, length -= 4096) {
		if (offset / 4096 < KEPT && kept[offset / 4096])
			memcpy(buf, kept[offset / 4096], 4096);
		else
			memset(buf, 0, 4096);
	}
	store->size = KEPT * 4096ULL;
	return 0;
}

static int no_flush(struct vhdx_store *store)
{
	(void)store;
	return 0;
}

CASE(an_attach_with_365_dense_points_of_64_tib)
{
	struct vhdx_store store = {
		.size = KEPT * 4096ULL, .read = keeping_read, .write = keeping_write,
		.flush = no_flush,
	};
	struct vhdx_timeline_point point = { .issued = true };
	struct vhdx_delta before;
	struct vhdx_changemap live;
	u32 count = 365 / ktap_share();
	u32 i;

	kept = calloc(KEPT, sizeof(*kept));
	sidecar = (struct vhdx_sidecar) {
		.disk_id = disk_id, .disk_size = 64 * TIB, .unit_shift = 16,
		.state = VHDX_SIDECAR_ON, .current_guid = dwg[0],
	};
	ASSERT_EQ(vhdx_sidecar_format(&sidecar, &store, true, &diag), 0);
	ASSERT_EQ(vhdx_changemap_init(&dense, 64 * TIB, 16), 0);
	vhdx_changemap_mark_all(&dense);
	for (i = 0; i < count; i++) {
		point.id = next_id();
		ASSERT_EQ(vhdx_sidecar_write_delta(&sidecar, &dense, &before), 0);
		EXPECT_EQ(before.leaf_count, 32768);
		EXPECT_EQ(before.changed_units, 1 << 30);
		ASSERT_EQ(vhdx_sidecar_add_point(&sidecar, &point, &before), 0);
	}
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	vhdx_sidecar_release(&sidecar);
	/* A sector of the coarse area is gone: its regions are set. */
	memset(kept[5], 0, VHDX_COARSE_SECTOR);

	bytes_read = 0;
	alloc_fail(0, 0);
	ASSERT_EQ(vhdx_sidecar_load(&sidecar, &store, true, false, &diag), 0);
	ASSERT_EQ(vhdx_sidecar_bind(&sidecar, &disk_id, 64 * TIB, &dwg[0], 0, &diag), 0);
	ASSERT_EQ(vhdx_changemap_init(&live, 64 * TIB, 16), 0);
	ASSERT_EQ(vhdx_sidecar_load_live(&sidecar, &live, &diag), 0);
	EXPECT_EQ(sidecar.recovered_units, VHDX_COARSE_BITS << (26 - 16));
	printf("# %llu bytes read, %llu bytes of memory, scratch included\n",
	       (unsigned long long)bytes_read, (unsigned long long)alloc_bytes());
	EXPECT_EQ(sidecar.timeline.count, count);
	EXPECT(bytes_read < 1 << 20);
	EXPECT(alloc_bytes() < 1 << 20);
	vhdx_changemap_release(&live);
	vhdx_changemap_release(&dense);
	vhdx_sidecar_release(&sidecar);
	for (i = 0; i < KEPT; i++)
		free(kept[i]);
	free(kept);
}

/* The index of each of them once, and the leaves that are there. */
CASE(a_question_reads_each_index_once)
{
	const u32 points = 300, leaves = 50;
	struct vhdx_index_cache *cache = vhdx_index_cache_new(points);
	u64 words[VHDX_LEAF_WORDS] = { 0 };
	struct vhdx_changemap small;
	u32 leaf, i;
	u64 reads;

	make_wide(leaves);
	new_map(&small);
	vhdx_changemap_mark(&small, 30 * LEAF_BYTES, 1);
	add_points(&small, points);
	reads = fake.reads;
	for (leaf = 0; leaf < leaves; leaf++)
		for (i = 0; i < points; i++)
			EXPECT_EQ(read_words(&sidecar, &sidecar.timeline.points[i]->before, leaf,
					     words, cache), 0);
	EXPECT_EQ(fake.reads - reads, 3 * points);
	EXPECT_EQ(cache->reads, 3 * points);
	EXPECT_EQ(words[0], 1);
	vhdx_index_cache_free(cache);
	vhdx_changemap_release(&small);
	vhdx_changemap_release(&wide);
	finish();
}

/* ---- what is free ---- */

static u64 length_after(bool walk, u32 rounds)
{
	struct vhdx_changemap map;
	struct vhdx_point_id id;
	u32 i;

	random_seed(5);
	make(0, LIMIT);
	new_map(&map);
	mark_at_random(&map, 5);
	for (i = 0; i < 10; i++)
		EXPECT_EQ(seal(&map, &id), 0);
	for (i = 0; i < rounds; i++) {
		vhdx_sidecar_release(&sidecar);
		EXPECT_EQ(load(false), 0);
		if (walk)
			EXPECT_EQ(vhdx_sidecar_walk(&sidecar, ~0U, &diag), 0);
		EXPECT_EQ(seal(&map, &id), 0);
		EXPECT_EQ(vhdx_sidecar_forget_point(&sidecar, 4, NULL), 0);
		EXPECT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	}
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
	vhdx_changemap_release(&map);
	i = fake.length;
	finish();
	return i;
}

CASE(until_the_walk_ends_the_file_grows)
{
	EXPECT_EQ(length_after(true, 4), length_after(true, 14));
	EXPECT(length_after(false, 14) > length_after(true, 14) + 50 * 4096);
}

/* What happens between two steps of the walk is not lost on it. */
CASE(a_walk_in_steps)
{
	struct vhdx_changemap map;
	struct vhdx_point_id id;
	struct vhdx_delta delta;
	u32 round, i, before;
	int more;

	random_seed(6);
	for (round = 0; round < 60; round++) {
		make(0, LIMIT);
		new_map(&map);
		for (i = 0; i < 30; i++) {
			vhdx_changemap_release(&map);
			new_map(&map);
			mark_at_random(&map, random_below(3));
			ASSERT_EQ(seal(&map, &id), 0);
		}
		vhdx_sidecar_release(&sidecar);
		ASSERT_EQ(load(false), 0);
		do {
			more = vhdx_sidecar_walk(&sidecar, 1 + random_below(9), &diag);
			ASSERT(more >= 0);
			if (random_below(2))
				ASSERT_EQ(seal(&map, &id), 0);
			i = random_below(sidecar.timeline.count - 1);
			if (random_below(2))
				ASSERT_EQ(vhdx_sidecar_forget_point(&sidecar, i, NULL), 0);
			/* What was forgotten is in the durable header until the commit. */
			if (random_below(2)) {
				ASSERT_EQ(vhdx_sidecar_write_delta(&sidecar, &map, &delta), 0);
				EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
			}
		} while (more);
		ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
		EXPECT(vhdx_sidecar_is_walked(&sidecar));
		before = meaning();
		ASSERT_EQ(reload(), 0);
		EXPECT_EQ(meaning(), before);
		EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
		vhdx_changemap_release(&map);
		finish();
		if (ktap.failed)
			return;
	}
}

SUITE("sidecar_cost")
