// SPDX-License-Identifier: GPL-2.0-only
/*
 * The live delta at rest: the checkpoint and the regions that are set; and the blocks that a
 * checkpoint frees under readers.
 */
#include "ktap.h"
#include "sidecar_rig.h"
#include "core/bits.h"
#include "core/rct/sidecar_private.h"

#define TIB		(1ULL << 40)
#define REGION		(4 * VHDX_MIB)
#define PER_LEAF	(LEAF_BYTES / REGION)
#define WORDS		VHDX_COARSE_SECTOR_WORDS
#define AREA		(VHDX_SIDECAR_COARSE_BLOCK * VHDX_SIDECAR_BLOCK)

/* ---- the coarse area, written as the driver does it ---- */

static void put_sector(u32 number, u64 generation, u64 commit, const u64 *bits)
{
	vhdx_coarse_encode(number, generation, commit, bits,
			   fake.bytes + AREA + number * VHDX_COARSE_SECTOR);
}

/* Ended by a region that no disk has. */
static void write_regions(const u32 *region)
{
	u64 bits[WORDS] = { 0 };

	for (; *region != ~0U; region++)
		vhdx_set_bits(bits, *region, *region + 1);
	put_sector(0, sidecar.sequence, 7, bits);
}

/* An array makes each number a u32, which a variable argument would not be on 32 bits. */
#define set_regions(...)	write_regions((const u32[]) { __VA_ARGS__, ~0U })
#define set_no_regions()	write_regions((const u32[]) { ~0U })

static int load_live(struct vhdx_changemap *map)
{
	int err = reload();

	EXPECT_EQ(err, 0);
	EXPECT_EQ(vhdx_changemap_init(map, sidecar.disk_size, sidecar.unit_shift), 0);
	return err ?: vhdx_sidecar_load_live(&sidecar, map, &diag);
}

static void expect_live(const struct vhdx_changemap *should, u64 recovered)
{
	struct vhdx_changemap live;

	EXPECT_EQ(load_live(&live), 0);
	EXPECT(same_maps(&live, should));
	EXPECT_EQ(sidecar.recovered_units, recovered);
	EXPECT_EQ(sidecar.timeline.live.flags, recovered ? VHDX_DELTA_COARSE : 0);
	vhdx_changemap_release(&live);
}

/* A checkpoint with some units in the first three regions, and in leaf 2 all. */
static void make_saved(struct vhdx_changemap *map)
{
	make(0, LIMIT);
	new_map(map);
	vhdx_changemap_mark(map, 3 * 4096, 2 * 4096);
	vhdx_changemap_mark(map, 2 * REGION, REGION);
	vhdx_changemap_mark(map, 2 * LEAF_BYTES, LEAF_BYTES);
	ASSERT_EQ(vhdx_sidecar_checkpoint(&sidecar, map, NULL), 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
}

CASE(regions_are_joined_with_the_checkpoint)
{
	struct vhdx_changemap map;

	make_saved(&map);
	expect_live(&map, 0);
	EXPECT(!sidecar.found);
	EXPECT_EQ(sidecar.coarse_commit, 0);

	/* Two units of it are known; of the last one only what the disk has. */
	set_regions(0, PER_LEAF + 1, LEAVES * PER_LEAF - 1);
	vhdx_changemap_mark(&map, 0, REGION);
	vhdx_changemap_mark(&map, LEAF_BYTES + REGION, REGION);
	vhdx_changemap_mark(&map, LEAVES * LEAF_BYTES - REGION, REGION);
	expect_live(&map, 1022 + 1024 + 1024);
	EXPECT_EQ(sidecar.coarse_commit, 7);
	/* Nothing was written, so it is found again. */
	expect_live(&map, 1022 + 1024 + 1024);
	vhdx_changemap_release(&map);
	finish();
}

/* A disk that ends within a region, and one that has less than a region. */
CASE(units_behind_the_end_are_not_counted)
{
	static const u64 units[] = { PER_LEAF * 1024 + 1024 + 3, 5 };
	struct vhdx_changemap all, live;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(units); i++) {
		make_for(units[i] * 4096 - 512, SHIFT, 0, LIMIT);
		new_map(&all);
		vhdx_changemap_mark(&all, 0, sidecar.disk_size);
		/* Damaged: the bits behind the last region count as set, too. */
		memset(fake.bytes + AREA, 0, VHDX_COARSE_SECTOR);
		EXPECT_EQ(load_live(&live), 0);
		EXPECT(same_maps(&live, &all));
		EXPECT_EQ(sidecar.recovered_units, units[i]);
		ASSERT_EQ(vhdx_sidecar_checkpoint(&sidecar, &live, NULL), 0);
		EXPECT_EQ(sidecar.timeline.live.changed_units, units[i]);
		vhdx_changemap_release(&live);
		vhdx_changemap_release(&all);
		finish();
	}
}

CASE(regions_that_add_nothing_are_not_coarse)
{
	struct vhdx_changemap map;

	make_saved(&map);
	set_regions(2, 2 * PER_LEAF, 3 * PER_LEAF - 1);
	expect_live(&map, 0);
	EXPECT(sidecar.found);
	vhdx_changemap_release(&map);
	finish();
}

CASE(a_leaf_that_regions_fill_takes_no_memory)
{
	struct vhdx_changemap map, live;
	u64 bits[WORDS] = { 0 };

	make_saved(&map);
	vhdx_set_bits(bits, 0, 2 * PER_LEAF);
	put_sector(0, 1, 1, bits);
	EXPECT_EQ(load_live(&live), 0);
	EXPECT(live.leaves[1] == VHDX_LEAF_ALL);
	EXPECT(live.leaves[2] == VHDX_LEAF_ALL);
	vhdx_changemap_release(&live);
	vhdx_changemap_release(&map);
	finish();
}

CASE(behind_a_gap_there_is_nothing_to_read)
{
	struct vhdx_changemap map, none;

	make_saved(&map);
	set_regions(0);
	vhdx_timeline_gap(&sidecar.timeline, VHDX_REASON_RESET, 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	new_map(&none);
	expect_live(&none, 0);
	/* And nothing to save, so a damaged checkpoint is no hindrance. */
	fake.bytes[sidecar.timeline.live.index_block * VHDX_SIDECAR_BLOCK] ^= 1;
	ASSERT_EQ(vhdx_sidecar_checkpoint(&sidecar, &map, NULL), 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	EXPECT_EQ(sidecar.timeline.live.leaf_count, 0);
	EXPECT_EQ(sidecar.timeline.live.gap_reason, VHDX_REASON_RESET);
	vhdx_changemap_release(&none);
	vhdx_changemap_release(&map);
	finish();
}

CASE(coarse_stays_until_a_seal)
{
	struct vhdx_changemap map, live;
	struct vhdx_point_id id;

	make_saved(&map);
	set_regions(0);
	EXPECT_EQ(load_live(&live), 0);
	ASSERT_EQ(vhdx_sidecar_checkpoint(&sidecar, &live, NULL), 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	set_no_regions();
	vhdx_changemap_release(&live);
	EXPECT_EQ(load_live(&live), 0);
	EXPECT_EQ(sidecar.recovered_units, 0);
	EXPECT_EQ(sidecar.timeline.live.flags, VHDX_DELTA_COARSE);
	ASSERT_EQ(seal(&live, &id), 0);
	EXPECT_EQ(sidecar.timeline.points[0]->before.flags, VHDX_DELTA_COARSE);
	EXPECT_EQ(sidecar.timeline.live.flags, 0);
	vhdx_changemap_release(&live);
	vhdx_changemap_release(&map);
	finish();
}

CASE(loading_without_memory_fails_and_loses_nothing)
{
	struct vhdx_changemap map, live;
	u64 bits[WORDS] = { 0 };
	u32 i, failed = 0;
	int err = -ENOMEM;

	make_saved(&map);
	vhdx_set_bits(bits, 1, 40);
	put_sector(0, 1, 1, bits);
	vhdx_changemap_mark(&map, REGION, 39 * REGION);
	for (i = 1; err == -ENOMEM; i++) {
		vhdx_sidecar_release(&sidecar);
		alloc_fail(i, 1);
		err = load(true);
		if (!err)
			err = vhdx_changemap_init(&live, DISK_SIZE, SHIFT);
		if (!err) {
			err = vhdx_sidecar_load_live(&sidecar, &live, &diag);
			EXPECT(err || same_maps(&live, &map));
			vhdx_changemap_release(&live);
		}
		EXPECT(!err || err == -ENOMEM);
		failed += !!err;
	}
	alloc_fail(0, 0);
	EXPECT(failed > 10);
	vhdx_changemap_release(&map);
	finish();
}

/* ---- damage ---- */

static int (*plain_read)(struct vhdx_store *store, u64 offset, void *buf, size_t length);
static u64 bad_sector;

static int read_but_one(struct vhdx_store *store, u64 offset, void *buf, size_t length)
{
	if (offset <= bad_sector && bad_sector < offset + length)
		return -EIO;
	return plain_read(store, offset, buf, length);
}

#define SECTORS	269U	/* of the largest disk */

/* A disk whose coarse area has many sectors, the same regions set in each. */
static void make_huge(u32 each)
{
	u64 bits[WORDS] = { 0 };
	u32 i;

	make_for(64 * TIB, 16, 0, LIMIT);
	vhdx_set_bits(bits, 0, each);
	for (i = 0; each && i < sidecar.coarse.sectors; i++)
		put_sector(i, 1, i, bits);
}

static u32 count_regions(u32 first, u32 end)
{
	u32 region = first, count = 0;

	while ((region = vhdx_find_bit(sidecar.found, 0, region, end)) < end) {
		count++;
		region++;
	}
	return count;
}

/* All of the regions of sector @bad are set, of the others those that were. */
static void expect_all_of(u32 bad, u32 each)
{
	u32 i, regions = sidecar.coarse.regions;

	for (i = 0; i < sidecar.coarse.sectors; i++) {
		u32 first = i * VHDX_COARSE_BITS, end = min(first + VHDX_COARSE_BITS, regions);

		EXPECT_EQ(count_regions(first, end), i == bad ? end - first : each);
	}
}

/* Nothing is missed, so an attach has nothing to say of it. */
static void expect_told_by_verify(int err, u64 offset)
{
	char where[32];

	memset(&diag, 0, sizeof(diag));
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), err);
	snprintf(where, sizeof(where), "offset %llu", (unsigned long long)offset);
	EXPECT_HAS(diag.text, where);
}

CASE(a_damaged_sector_is_all_set)
{
	static const u32 bad[] = { 0, 7, 8, SECTORS - 1 };
	struct fake_store right;
	u32 i;

	make_huge(3);
	EXPECT_EQ(sidecar.coarse.sectors, SECTORS);
	fake_store_copy(&fake, &right);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		u8 *sector = fake.bytes + AREA + bad[i] * VHDX_COARSE_SECTOR;

		/* One that was never written, one that rotted, one of another place. */
		memset(sector, 0, VHDX_COARSE_SECTOR);
		ASSERT_EQ(reload(), 0);
		expect_all_of(bad[i], 3);
		memcpy(sector, right.bytes + (sector - fake.bytes), VHDX_COARSE_SECTOR);
		sector[100] ^= 4;
		ASSERT_EQ(reload(), 0);
		expect_all_of(bad[i], 3);
		expect_told_by_verify(-EUCLEAN, sector - fake.bytes);
		memcpy(sector, right.bytes + AREA + 5 * VHDX_COARSE_SECTOR, VHDX_COARSE_SECTOR);
		ASSERT_EQ(reload(), 0);
		expect_all_of(bad[i], 3);
		memcpy(sector, right.bytes + (sector - fake.bytes), VHDX_COARSE_SECTOR);
		ASSERT_EQ(reload(), 0);
		EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
	}
	fake_store_release(&right);
	finish();
}

CASE(a_sector_that_can_not_be_read_is_all_set)
{
	static const u32 bad[] = { 0, 100, SECTORS - 1 };
	u32 i;

	make_huge(3);
	plain_read = fake.store.read;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		fake.store.read = read_but_one;
		bad_sector = AREA + bad[i] * VHDX_COARSE_SECTOR;
		ASSERT_EQ(reload(), 0);
		expect_all_of(bad[i], 3);
		EXPECT_EQ(sidecar.coarse_commit, SECTORS - 1 - (bad[i] == SECTORS - 1));
		expect_told_by_verify(-EIO, bad_sector);
	}
	finish();
}

/* Sectors of one block, some of before the write that was cut short, some of it. */
CASE(a_torn_block_is_a_mix_of_sectors)
{
	u64 bits[WORDS] = { 0 };
	u32 i;

	make_huge(3);
	vhdx_set_bits(bits, 0, 9);
	for (i = 8; i < 16; i += 3)
		put_sector(i, 1, 500, bits);
	ASSERT_EQ(reload(), 0);
	for (i = 0; i < 20; i++)
		EXPECT_EQ(count_regions(i * VHDX_COARSE_BITS, (i + 1) * VHDX_COARSE_BITS),
			  i == 8 || i == 11 || i == 14 ? 9 : 3);
	EXPECT_EQ(sidecar.coarse_commit, 500);
	finish();
}

static void rot(unsigned int slot)
{
	fake.bytes[slot * VHDX_SIDECAR_BLOCK + 300] ^= 1;
}

CASE(the_newest_header_rots)
{
	struct vhdx_changemap map, all;
	unsigned int slot;
	u64 sequence;

	make_saved(&map);
	vhdx_changemap_release(&map);
	set_regions(0, 1);
	EXPECT_EQ(load_live(&map), 0);
	ASSERT_EQ(vhdx_sidecar_checkpoint(&sidecar, &map, NULL), 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	slot = sidecar.slot;
	sequence = sidecar.sequence;
	rot(slot);

	/* Before a region was cleared behind it, the other one tells it all. */
	EXPECT_EQ(load_live(&all), 0);
	EXPECT_EQ(sidecar.sequence, sequence - 1);
	EXPECT(same_maps(&all, &map));

	/* One was cleared, or set: what says so is newer than the header that is left. */
	sidecar.sequence = sequence;
	set_regions(0);
	EXPECT_EQ(reload(), -EUCLEAN);
	EXPECT_EQ(diag.reason, VHDX_REASON_INCONSISTENT);
	EXPECT_HAS(diag.text, "newest header is lost");
	EXPECT_HAS(diag.text, "track reset");
	vhdx_sidecar_release(&sidecar);
	EXPECT_EQ(load(true), -EUCLEAN);
	rot(slot);
	EXPECT_EQ(reload(), 0);
	rot(0);
	rot(1);
	EXPECT_EQ(reload(), -EUCLEAN);
	EXPECT_EQ(diag.reason, VHDX_REASON_INCONSISTENT);
	vhdx_changemap_release(&all);
	vhdx_changemap_release(&map);
	finish();
}

/* ---- checkpoints of some leaves ---- */

#define WIDE	(3 * 255 + 20)	/* leaves: an index of several tables */

static struct vhdx_changemap wide, saved;

static void make_wide(u32 leaves)
{
	make_for(WIDE * LEAF_BYTES - 512, SHIFT, 0, 64 * VHDX_MIB);
	new_map(&wide);
	new_map(&saved);
	while (leaves--)
		vhdx_changemap_mark(&wide, leaves * LEAF_BYTES + leaves * 4096, 1);
}

static void release_wide(void)
{
	vhdx_changemap_release(&wide);
	vhdx_changemap_release(&saved);
	finish();
}

/* What the file has from now on: the leaves of @regions from @wide. */
static void expect_saved(const u64 *regions)
{
	u64 words[VHDX_LEAF_WORDS];
	struct vhdx_changemap told;
	u32 leaf, first;

	for (leaf = 0; leaf < wide.leaf_count; leaf++) {
		first = leaf * PER_LEAF;
		if (vhdx_find_bit(regions, 0, first, first + PER_LEAF) == first + PER_LEAF)
			continue;
		memset(words, 0, sizeof(words));
		vhdx_changemap_leaf_or(&wide, leaf, words);
		EXPECT_EQ(vhdx_changemap_leaf_load(&saved, leaf, words), 0);
	}
	new_map(&told);
	EXPECT_EQ(vhdx_sidecar_load_map(&sidecar, &sidecar.timeline.live, &told, &diag), 0);
	EXPECT(same_maps(&told, &saved));
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
	vhdx_changemap_release(&told);
}

CASE(a_checkpoint_takes_the_leaves_of_its_regions)
{
	u64 regions[WIDE * PER_LEAF / 64 + 1];
	u32 round, i, most;
	u64 used;

	random_seed(11);
	make_wide(0);
	for (round = 0; round < 150; round++) {
		memset(regions, 0, sizeof(regions));
		most = random_below(5) ? 4 : WIDE;
		for (i = random_below(most) + 1; i; i--) {
			u64 leaf = random_below(WIDE), at = leaf * LEAF_BYTES;
			u32 region = leaf * PER_LEAF + random_below(PER_LEAF);

			vhdx_changemap_mark(&wide, at + random_below(LEAF_BYTES), 4096);
			if (!random_below(8))
				vhdx_changemap_mark(&wide, at, LEAF_BYTES);
			if (random_below(3))
				vhdx_set_bits(regions, region, region + 1);
		}
		ASSERT_EQ(vhdx_sidecar_checkpoint(&sidecar, &wide, regions), 0);
		ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
		expect_saved(regions);
		if (round % 10 == 9) {
			used = used_blocks();
			ASSERT_EQ(reload(), 0);
			EXPECT_EQ(used_blocks(), used);
		}
	}
	release_wide();
}

static int (*plain_write)(struct vhdx_store *store, u64 offset, const void *buf, size_t length);
static u64 blocks_written;

static int counting_write(struct vhdx_store *store, u64 offset, const void *buf, size_t length)
{
	blocks_written += length / VHDX_SIDECAR_BLOCK;
	return plain_write(store, offset, buf, length);
}

CASE(one_leaf_of_hundreds_costs_four_blocks)
{
	u64 regions[WIDE * PER_LEAF / 64 + 1] = { 0 };
	u64 reads;

	make_wide(WIDE);
	ASSERT_EQ(vhdx_sidecar_checkpoint(&sidecar, &wide, NULL), 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	vhdx_changemap_mark(&wide, 500 * LEAF_BYTES, 1);
	vhdx_set_bits(regions, 500 * PER_LEAF, 500 * PER_LEAF + 1);
	plain_write = fake.store.write;
	fake.store.write = counting_write;
	blocks_written = 0;
	reads = fake.reads;
	ASSERT_EQ(vhdx_sidecar_checkpoint(&sidecar, &wide, regions), 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	/* The leaf, its table, the root, the header. */
	EXPECT_EQ(blocks_written, 4);
	EXPECT(fake.reads - reads <= 3);
	release_wide();
}

/* A leaf that comes between two full tables is one of its own: in the end too many. */
CASE(tables_that_are_kept_never_fill_the_root)
{
	const u32 leaves = 32768, per_table = VHDX_SIDECAR_RECORDS(struct vhdx_sidecar_entry);
	u64 *regions = vhdx_alloc(leaves * PER_LEAF / 8);
	u32 leaf;

	make_for(leaves * LEAF_BYTES, SHIFT, 0, 8 * VHDX_MIB);
	new_map(&wide);
	new_map(&saved);
	for (leaf = 0; leaf < leaves; leaf++)
		if (leaf % (per_table + 1) < per_table)
			vhdx_changemap_mark(&wide, leaf * LEAF_BYTES, LEAF_BYTES);
	ASSERT_EQ(vhdx_sidecar_checkpoint(&sidecar, &wide, NULL), 0);
	for (leaf = per_table; leaf < leaves; leaf += per_table + 1) {
		vhdx_changemap_mark(&wide, leaf * LEAF_BYTES, LEAF_BYTES);
		vhdx_set_bits(regions, leaf * PER_LEAF, leaf * PER_LEAF + 1);
		ASSERT_EQ(vhdx_sidecar_checkpoint(&sidecar, &wide, regions), 0);
		ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
		memset(regions, 0, leaves * PER_LEAF / 8);
	}
	EXPECT_EQ(sidecar.timeline.live.leaf_count, leaves);
	EXPECT_EQ(sidecar.timeline.live.changed_units, (u64)leaves * VHDX_LEAF_UNITS);
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
	vhdx_free(regions);
	release_wide();
}

CASE(a_checkpoint_that_fails_for_lack_of_anything_changed_nothing)
{
	u64 regions[WORDS] = { 0 };
	struct vhdx_changemap map, more;
	u32 before, used, i;
	int err;

	random_seed(13);
	make_saved(&map);
	new_map(&more);
	vhdx_changemap_or(&more, &map);
	mark_at_random(&more, 30);
	vhdx_set_bits(regions, 0, 4 * PER_LEAF);
	before = meaning();
	used = used_blocks();
	for (i = 1; ; i++) {
		if (i & 1) {
			alloc_fail(i / 2 + 1, 1);
		} else {
			fake.fail_step = fake.steps + i / 2;
			fake.fail_error = -ENOSPC;
		}
		err = vhdx_sidecar_checkpoint(&sidecar, &more, i % 4 < 2 ? regions : NULL);
		alloc_fail(0, 0);
		fake.fail_step = 0;
		if (!err)
			break;
		EXPECT(err == -ENOMEM || err == -ENOSPC);
		EXPECT_EQ(meaning(), before);
		EXPECT_EQ(used_blocks(), used);
	}
	EXPECT(i > 2);
	vhdx_changemap_release(&more);
	vhdx_changemap_release(&map);
	finish();
}

/* All of the live delta is in memory: what rots in the file is replaced. */
CASE(a_damaged_checkpoint_is_replaced)
{
	u64 regions[WORDS] = { 1 };
	struct vhdx_changemap map, live;

	make_saved(&map);
	EXPECT_EQ(load_live(&live), 0);
	/* Known blocks are not read again, but the index is. */
	fake.bytes[sidecar.timeline.live.index_block * VHDX_SIDECAR_BLOCK + 20] ^= 1;
	ASSERT_EQ(vhdx_sidecar_checkpoint(&sidecar, &live, regions), 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	expect_live(&map, 0);
	vhdx_changemap_release(&live);

	fake.bytes[sidecar.timeline.live.index_block * VHDX_SIDECAR_BLOCK + 20] ^= 1;
	vhdx_sidecar_release(&sidecar);
	ASSERT_EQ(load(false), 0);
	ASSERT_EQ(vhdx_sidecar_checkpoint(&sidecar, &map, regions), 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	expect_live(&map, 0);
	vhdx_changemap_release(&map);
	finish();
}

CASE(a_damaged_checkpoint_says_where)
{
	struct vhdx_changemap map, live;

	make_saved(&map);
	fake.bytes[sidecar.timeline.live.index_block * VHDX_SIDECAR_BLOCK + 20] ^= 1;
	vhdx_sidecar_release(&sidecar);
	ASSERT_EQ(load(true), 0);
	new_map(&live);
	EXPECT_EQ(vhdx_sidecar_load_live(&sidecar, &live, &diag), -EUCLEAN);
	EXPECT_EQ(diag.reason, VHDX_REASON_INCONSISTENT);
	EXPECT_HAS(diag.text, "an index at offset");
	vhdx_changemap_release(&live);
	vhdx_changemap_release(&map);
	finish();
}

/* ---- readers ---- */

static u64 cookie, ended;

static u64 begin_waiting(struct vhdx_sidecar *s)
{
	EXPECT(s == &sidecar);
	return ++cookie;
}

static bool has_ended(struct vhdx_sidecar *s, u64 which)
{
	(void)s;
	return which <= ended;
}

static void make_with_readers(void)
{
	make(0, LIMIT);
	cookie = 0;
	ended = 0;
	sidecar.retire = begin_waiting;
	sidecar.retired = has_ended;
}

static void save_and_commit(struct vhdx_changemap *map)
{
	mark_at_random(map, 1);
	ASSERT_EQ(vhdx_sidecar_checkpoint(&sidecar, map, NULL), 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
}

/* Whoever began to read a delta before it was replaced reads it to the end. */
CASE(blocks_are_not_used_again_under_a_reader)
{
	struct vhdx_changemap map, then;
	struct vhdx_delta old;
	u64 most;
	u32 i;

	random_seed(14);
	make_with_readers();
	new_map(&map);
	new_map(&then);
	mark_at_random(&map, 10);
	save_and_commit(&map);
	ended = cookie;
	old = sidecar.timeline.live;
	vhdx_changemap_or(&then, &map);

	/* More commits than batches: nothing is free too early, and nothing is lost. */
	for (i = 0; i < 3 * VHDX_SIDECAR_BATCHES; i++) {
		save_and_commit(&map);
		expect_delta(&old, &then);
	}
	most = used_blocks();
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
	ended = cookie;
	save_and_commit(&map);
	ended = cookie;
	save_and_commit(&map);
	EXPECT(used_blocks() < most / 2);
	sidecar.retire = NULL;
	most = used_blocks();
	ASSERT_EQ(reload(), 0);
	EXPECT(used_blocks() <= most);
	expect_delta(&sidecar.timeline.live, &map);
	vhdx_changemap_release(&then);
	vhdx_changemap_release(&map);
	finish();
}

/* Readers end in the middle of something that fails then: both are as they should be. */
CASE(undoing_something_while_readers_end)
{
	struct vhdx_changemap map;
	u32 i, before;
	u64 used;

	random_seed(15);
	make_with_readers();
	new_map(&map);
	mark_at_random(&map, 20);
	save_and_commit(&map);
	used = 0;
	for (i = 0; i < 20; i++) {
		save_and_commit(&map);
		before = meaning();
		ended = cookie - (i & 1);
		fake.fail_step = fake.steps + 1 + i % 3;
		fake.fail_error = -ENOSPC;
		vhdx_changemap_mark(&map, random_below(DISK_SIZE), 1);
		if (vhdx_sidecar_checkpoint(&sidecar, &map, NULL))
			EXPECT_EQ(meaning(), before);
		fake.fail_step = 0;
		ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
		EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
	}
	ended = ~0ULL;
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	used = used_blocks();
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(used_blocks(), used);
	vhdx_changemap_release(&map);
	finish();
}

#define DELTAS	24

static void make_deltas(void)
{
	struct vhdx_changemap map;
	struct vhdx_point_id id;
	u32 i;

	for (i = 0; i < DELTAS; i++) {
		new_map(&map);
		mark_at_random(&map, 1 + random_below(3));
		ASSERT_EQ(seal(&map, &id), 0);
		vhdx_changemap_release(&map);
	}
}

/* Each leaf is what a reader finds who remembers nothing. */
static void expect_true_leaves(const struct vhdx_delta *delta, struct vhdx_index_cache *cache)
{
	struct vhdx_index_cache *fresh = vhdx_index_cache_new(1);
	u64 words[VHDX_LEAF_WORDS], should[VHDX_LEAF_WORDS];
	u32 leaf;

	for (leaf = 0; leaf < LEAVES; leaf++) {
		memset(words, 0, sizeof(words));
		memset(should, 0, sizeof(should));
		EXPECT_EQ(read_words(&sidecar, delta, leaf, words, cache), 0);
		EXPECT_EQ(read_words(&sidecar, delta, leaf, should, fresh), 0);
		EXPECT(!memcmp(words, should, sizeof(words)));
	}
	vhdx_index_cache_free(fresh);
}

static void forget_one(void)
{
	u32 position = 1 + random_below(sidecar.timeline.count - 3);

	ASSERT_EQ(vhdx_sidecar_forget_point(&sidecar, position, NULL), 0);
}

/* It began before the first one, and comes back when the second one is not committed yet. */
static void forget_two_beside_a_reader(void)
{
	struct vhdx_index_cache *cache = vhdx_index_cache_new(DELTAS);
	const struct vhdx_timeline *timeline = &sidecar.timeline;
	struct vhdx_delta old[DELTAS];
	u32 i, count = timeline->count;

	ended = cookie;
	for (i = 0; i < count; i++)
		old[i] = timeline->points[i]->before;
	forget_one();
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	for (i = 0; i < count; i++)
		expect_true_leaves(&old[i], cache);
	/* Blocks that it remembers are free from here on. */
	ended = cookie;
	forget_one();
	for (i = 0; i < timeline->count; i++)
		expect_true_leaves(&timeline->points[i]->before, cache);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	vhdx_index_cache_free(cache);
}

CASE(a_reader_that_comes_back_takes_no_delta_for_another)
{
	u32 seed;

	for (seed = 1; seed <= 5; seed++) {
		random_seed(seed);
		make_with_readers();
		make_deltas();
		while (sidecar.timeline.count > 6)
			forget_two_beside_a_reader();
		sidecar.retire = NULL;
		finish();
	}
}

SUITE("sidecar_live")
