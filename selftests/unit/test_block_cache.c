// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks that are kept in memory: the answers are those of the file, and cost no reading.
 *
 * All leaves that are sealed here have the same checksum: only what is done when a block is written
 * again keeps an old one from being told.
 */
#include "ktap.h"
#include "sidecar_rig.h"

/* x^32 and the rest of the polynomial of CRC-32C, the first bit lowest: no checksum sees it. */
#define UNSEEN	(1ULL | 0x82F63B78ULL << 1)

static struct vhdx_block_cache kept;

static void make_with_cache(void)
{
	make(0, 32 * LIMIT);
	memset(&kept, 0, sizeof(kept));
	ASSERT_EQ(vhdx_sidecar_keep_blocks(&sidecar, &kept), 0);
}

static void finish_with_cache(void)
{
	finish();
	vhdx_block_cache_release(&kept);
}

/* Leaf @leaf is one of 512 that differ and have one checksum. */
static void mark_unseen(struct vhdx_changemap *map, u32 leaf, u32 number)
{
	u64 start = leaf * LEAF_BYTES + ((64ULL * number) << SHIFT);
	u32 bit;

	for (bit = 0; bit < 64; bit++)
		if (UNSEEN >> bit & 1)
			vhdx_changemap_mark(map, start + ((u64)bit << SHIFT), 1);
}

static void read_all(const struct vhdx_delta *delta, u64 *words)
{
	struct vhdx_index_cache *cache = vhdx_index_cache_new(1);
	u32 leaf;

	for (leaf = 0; leaf < LEAVES; leaf++) {
		memset(words + leaf * VHDX_LEAF_WORDS, 0, VHDX_PAGE);
		EXPECT_EQ(read_words(&sidecar, delta, leaf, words + leaf * VHDX_LEAF_WORDS,
				     cache), 0);
	}
	vhdx_index_cache_free(cache);
}

static u64 words[LEAVES * VHDX_LEAF_WORDS];

/* Of a leaf as it is in the file. */
static u32 checksum(const u64 *from)
{
	__le64 stored[VHDX_LEAF_WORDS];
	u32 i;

	for (i = 0; i < VHDX_LEAF_WORDS; i++)
		stored[i] = cpu_to_le64(from[i]);
	return vhdx_crc32c(~0U, stored, sizeof(stored));
}

CASE(contents_have_one_checksum)
{
	struct vhdx_changemap map;
	u64 one[VHDX_LEAF_WORDS], other[VHDX_LEAF_WORDS];

	make_with_cache();
	new_map(&map);
	mark_unseen(&map, 0, 3);
	mark_unseen(&map, 1, 500);
	memset(one, 0, sizeof(one));
	memset(other, 0, sizeof(other));
	vhdx_changemap_leaf_or(&map, 0, one);
	vhdx_changemap_leaf_or(&map, 1, other);
	EXPECT(memcmp(one, other, sizeof(one)));
	EXPECT_EQ(checksum(one), checksum(other));
	vhdx_changemap_release(&map);
	finish_with_cache();
}

CASE(what_was_just_sealed_is_not_read)
{
	struct vhdx_changemap map;
	struct vhdx_point_id id;
	u64 reads;

	make_with_cache();
	new_map(&map);
	mark_unseen(&map, 0, 1);
	mark_unseen(&map, 4, 2);
	EXPECT_EQ(seal(&map, &id), 0);
	reads = fake.reads;
	expect_delta(&sidecar.timeline.points[0]->before, &map);
	EXPECT_EQ(fake.reads, reads);
	vhdx_changemap_release(&map);
	finish_with_cache();
}

CASE(what_was_asked_once_is_not_read_again)
{
	struct vhdx_changemap map;
	struct vhdx_point_id id;
	u64 reads;

	make_with_cache();
	new_map(&map);
	mark_unseen(&map, 0, 1);
	mark_unseen(&map, 4, 2);
	EXPECT_EQ(seal(&map, &id), 0);
	while (vhdx_block_cache_shrink(&kept, ~0U))
		;
	EXPECT_EQ(kept.pages, 0);
	reads = fake.reads;
	read_all(&sidecar.timeline.points[0]->before, words);
	/* Root, table, two leaves. */
	EXPECT_EQ(fake.reads, reads + 4);
	EXPECT_EQ(kept.pages, 4);
	read_all(&sidecar.timeline.points[0]->before, words);
	EXPECT_EQ(fake.reads, reads + 4);
	vhdx_changemap_release(&map);
	finish_with_cache();
}

/* What was used stays when some is given back, and goes when it was not used since. */
CASE(reclaim_leaves_what_is_used)
{
	static u8 page[VHDX_PAGE];
	struct vhdx_block_cache cache = { };
	u32 i, used = 0;

	ASSERT_EQ(vhdx_block_cache_init(&cache, 0), 0);
	for (i = 0; i < 2 * cache.slot_count; i++)
		vhdx_block_cache_put(&cache, i, i, page);
	EXPECT_EQ(cache.pages, cache.slot_count);
	for (i = 0; i < 2 * cache.slot_count; i += 4)
		used += vhdx_block_cache_get(&cache, i, i, page);
	EXPECT_EQ(used, cache.slot_count / 4);
	EXPECT_EQ(vhdx_block_cache_shrink(&cache, cache.slot_count - used),
		  cache.slot_count - used);
	for (i = 0; i < 2 * cache.slot_count; i += 4)
		used -= vhdx_block_cache_get(&cache, i, i, page);
	EXPECT_EQ(used, 0);
	while (vhdx_block_cache_shrink(&cache, 1))
		;
	EXPECT_EQ(cache.pages, 0);
	vhdx_block_cache_release(&cache);
}

CASE(neither_another_block_nor_another_version_is_found)
{
	u8 page[VHDX_PAGE] = { 1 }, found[VHDX_PAGE] = { };
	struct vhdx_block_cache cache = { };

	ASSERT_EQ(vhdx_block_cache_init(&cache, 0), 0);
	vhdx_block_cache_put(&cache, 5, 77, page);
	EXPECT(!vhdx_block_cache_get(&cache, 5 + cache.slot_count, 77, found));
	EXPECT(!vhdx_block_cache_get(&cache, 5, 78, found));
	EXPECT(!vhdx_block_cache_get(NULL, 5, 77, found));
	EXPECT_EQ(found[0], 0);
	/* Of two that share a slot, the other one is not dropped. */
	vhdx_block_cache_drop(&cache, 5 + cache.slot_count, 1);
	EXPECT(vhdx_block_cache_get(&cache, 5, 77, found));
	EXPECT_EQ(found[0], 1);
	vhdx_block_cache_drop(&cache, 3, 4);
	EXPECT(!vhdx_block_cache_get(&cache, 5, 77, found));
	EXPECT_EQ(cache.pages, 0);
	vhdx_block_cache_release(&cache);
}

#define POINTS	6

/* What each delta has to say; the one before the first point says nothing. */
static struct vhdx_changemap truths[POINTS];

static void seal_another(struct vhdx_changemap *truth)
{
	struct vhdx_point_id id;

	new_map(truth);
	mark_unseen(truth, random_below(LEAVES), random_below(VHDX_LEAF_WORDS));
	mark_unseen(truth, random_below(LEAVES), random_below(VHDX_LEAF_WORDS));
	ASSERT_EQ(seal(truth, &id), 0);
}

/* The delta of point number @position joins the next one. */
static void forget(u32 position, u32 count)
{
	ASSERT_EQ(vhdx_sidecar_forget_point(&sidecar, position, NULL), 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	vhdx_changemap_or(&truths[position + 1], &truths[position]);
	vhdx_changemap_release(&truths[position]);
	memmove(&truths[position], &truths[position + 1],
		(count - position - 1) * sizeof(truths[0]));
}

/*
 * Blocks of points that are forgotten are used again, for contents that their checksum does not
 * tell apart: whatever was kept, what is told is what was sealed.
 */
CASE(a_block_that_is_written_again_is_not_the_old_one)
{
	u32 round, i, count = 0;
	u64 end;

	random_seed(1);
	make_with_cache();
	for (round = 0; round < 400; round++) {
		seal_another(&truths[count++]);
		for (i = 1; i < count; i++)
			expect_delta(&sidecar.timeline.points[i]->before, &truths[i]);
		if (count == POINTS)
			forget(1 + random_below(count - 2), count), count--;
		for (i = 1; i < count; i++)
			expect_delta(&sidecar.timeline.points[i]->before, &truths[i]);
		if (!random_below(4))
			vhdx_block_cache_shrink(&kept, random_below(40));
		if (ktap.failed)
			break;
	}
	/* They were used again: it did not just grow. */
	end = sidecar.space.end;
	EXPECT(end < 200);
	while (count)
		vhdx_changemap_release(&truths[--count]);
	finish_with_cache();
}

/* What could not be written is in no file, and nothing else is told in its place. */
CASE(what_was_not_written_is_not_kept)
{
	struct vhdx_changemap map, other;
	struct vhdx_point_id id;
	u32 i, step, sealed = 0;

	for (step = 1; step < 8; step++) {
		make_with_cache();
		new_map(&map);
		new_map(&other);
		mark_unseen(&map, 0, 1);
		mark_unseen(&other, 0, 2);
		fake.fail_step = fake.steps + step;
		fake.fail_error = -ENOSPC;
		if (seal(&map, &id)) {
			fake.fail_step = 0;
			/* It may not be known which header is durable. */
			if (!seal(&other, &id)) {
				i = sidecar.timeline.count - 1;
				expect_delta(&sidecar.timeline.points[i]->before, &other);
				sealed++;
			}
		}
		vhdx_changemap_release(&map);
		vhdx_changemap_release(&other);
		finish_with_cache();
	}
	EXPECT(sealed);
}

SUITE("block_cache")
