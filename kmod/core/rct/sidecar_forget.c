// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Forgetting a point: the deltas on both sides of it become one.
 *
 * A leaf that only one of them has stays in the block where it is; what changes is
 * which delta names it. The commit that follows makes both happen at once.
 */
#include "sidecar_private.h"

/**
 * struct pair - goes through two deltas side by side, leaf by leaf
 * @a:		one
 * @b:		the other
 * @next_a:	the entry of @a to look at next
 * @next_b:	the same of @b
 * @left:	the entry of @a, NULL where it doesn't have the leaf
 * @right:	the same of @b
 */
struct pair {
	const struct vhdx_delta *a, *b;
	u32 next_a, next_b;
	const struct vhdx_delta_leaf *left, *right;
};

static bool next_leaf(struct pair *pair)
{
	const struct vhdx_delta_leaf *left = NULL, *right = NULL;

	if (pair->next_a < pair->a->leaf_count)
		left = &pair->a->leaves[pair->next_a];
	if (pair->next_b < pair->b->leaf_count)
		right = &pair->b->leaves[pair->next_b];
	if (left && right && left->leaf < right->leaf)
		right = NULL;
	else if (left && right && left->leaf > right->leaf)
		left = NULL;
	pair->next_a += !!left;
	pair->next_b += !!right;
	pair->left = left;
	pair->right = right;
	return left || right;
}

/* What the merged delta takes over as it is; NULL: it needs both. */
static const struct vhdx_delta_leaf *single_leaf(const struct pair *pair)
{
	if (!pair->right || (pair->left && pair->left->block == VHDX_DELTA_ALL))
		return pair->left;
	if (!pair->left || pair->right->block == VHDX_DELTA_ALL)
		return pair->right;
	return NULL;
}

static u64 count_blocks(const struct vhdx_delta *a, const struct vhdx_delta *b, u32 *leaves)
{
	struct pair pair = { .a = a, .b = b };
	u64 blocks = 0;

	for (*leaves = 0; next_leaf(&pair); ++*leaves)
		blocks += !single_leaf(&pair);
	return blocks + DIV_ROUND_UP(*leaves, vhdx_sidecar_entry_record.per_block);
}

static int merge_leaf(struct vhdx_leaf_writer *writer, const struct pair *pair, u64 *words,
		      void *buf)
{
	struct vhdx_sidecar *sidecar = writer->sidecar;
	int err;

	memset(words, 0, VHDX_PAGE);
	err = vhdx_sidecar_read_entry(sidecar, pair->left, words, buf, NULL);
	if (!err)
		err = vhdx_sidecar_read_entry(sidecar, pair->right, words, buf, NULL);
	if (!err)
		err = vhdx_leaf_writer_add(writer, pair->left->leaf, words);
	return err;
}

static int merge_leaves(struct vhdx_sidecar *sidecar, struct pair pair, struct vhdx_delta *merged)
{
	u64 *words = vhdx_alloc(VHDX_PAGE);
	void *buf = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	struct vhdx_leaf_writer writer;
	int err;

	err = vhdx_leaf_writer_init(&writer, sidecar, merged);
	if (!words || !buf)
		err = -ENOMEM;
	while (!err && next_leaf(&pair)) {
		const struct vhdx_delta_leaf *single = single_leaf(&pair);

		if (single)
			merged->leaves[merged->leaf_count++] = *single;
		else
			err = merge_leaf(&writer, &pair, words, buf);
	}
	if (!err)
		err = vhdx_leaf_writer_flush(&writer);
	vhdx_free(writer.buf);
	vhdx_free(buf);
	vhdx_free(words);
	return err;
}

static bool names_block(const struct vhdx_delta_leaf *entry, u64 block)
{
	return entry && entry->block == block;
}

static u32 leaf_of(const struct pair *pair)
{
	return pair->left ? pair->left->leaf : pair->right->leaf;
}

/* Free the blocks of @merged that are new. */
static void unwrite_merged(struct vhdx_sidecar *sidecar, struct pair pair,
			   struct vhdx_delta *merged)
{
	u32 i;

	for (i = 0; i < merged->leaf_count; i++) {
		u64 block = merged->leaves[i].block;

		while (next_leaf(&pair) && leaf_of(&pair) != merged->leaves[i].leaf)
			;
		if (block != VHDX_DELTA_ALL && !names_block(pair.left, block) &&
		    !names_block(pair.right, block))
			vhdx_sidecar_give_back_block(sidecar, block);
	}
	vhdx_sidecar_free_delta(merged);
}

/* Doom what @pair named and @merged does not, and the indexes. */
static void doom_merged(struct vhdx_sidecar *sidecar, struct pair pair)
{
	const struct vhdx_delta *a = pair.a, *b = pair.b;
	u32 i;

	while (next_leaf(&pair)) {
		if (!pair.left || !pair.right)
			continue;
		vhdx_sidecar_doom_block(sidecar, pair.left->block);
		vhdx_sidecar_doom_block(sidecar, pair.right->block);
	}
	for (i = 0; i < a->index_block_count; i++)
		vhdx_sidecar_doom_block(sidecar, a->index_blocks[i]);
	for (i = 0; i < b->index_block_count; i++)
		vhdx_sidecar_doom_block(sidecar, b->index_blocks[i]);
}

/* Replace @older and @newer by one. On failure both are what they were. */
static int merge(struct vhdx_sidecar *sidecar, struct vhdx_delta *older, struct vhdx_delta *newer)
{
	struct pair pair = { .a = older, .b = newer };
	struct vhdx_delta merged = {};
	u32 leaves;
	u64 blocks = count_blocks(older, newer, &leaves);
	int err;

	if (!vhdx_sidecar_has_room(sidecar, blocks))
		return -ENOSPC;
	merged.leaves = vhdx_alloc(leaves * sizeof(*merged.leaves));
	if (!merged.leaves)
		return -ENOMEM;
	err = merge_leaves(sidecar, pair, &merged);
	if (!err)
		err = vhdx_sidecar_write_index(sidecar, &merged);
	if (err) {
		unwrite_merged(sidecar, pair, &merged);
		return err;
	}
	doom_merged(sidecar, pair);
	merged.flags = newer->flags;
	merged.gap_reason = newer->gap_reason;
	vhdx_sidecar_join_marks(&merged, older);
	vhdx_sidecar_free_delta(newer);
	*newer = merged;
	return 0;
}

/* @newer becomes the union, @older empty. On failure both are what they were. */
static int join(struct vhdx_sidecar *sidecar, struct vhdx_delta *older, struct vhdx_delta *newer)
{
	int err;

	if (older->leaf_count && newer->leaf_count) {
		err = merge(sidecar, older, newer);
		if (err)
			return err;
		vhdx_sidecar_free_delta(older);
		return 0;
	}
	vhdx_sidecar_join_marks(newer, older);
	if (older->leaf_count) {
		older->flags = newer->flags;
		older->gap_reason = newer->gap_reason;
		swap(*older, *newer);
	}
	vhdx_sidecar_free_delta(older);
	return 0;
}

/* What follows the newest point is in @live as well, and what was saved of it. */
static int join_live(struct vhdx_sidecar *sidecar, struct vhdx_delta *older,
		     struct vhdx_changemap *live)
{
	struct vhdx_changemap map;
	int err;

	err = vhdx_changemap_init(&map, sidecar->disk_size, sidecar->unit_shift);
	if (err)
		return err;
	err = vhdx_sidecar_load_map(sidecar, older, &map);
	if (!err)
		err = join(sidecar, older, &sidecar->timeline.live);
	if (!err)
		vhdx_changemap_or(live, &map);
	vhdx_changemap_release(&map);
	return err;
}

/* What leads to the oldest point is never part of an answer. */
static void empty_first(struct vhdx_sidecar *sidecar, struct vhdx_delta *first)
{
	u32 gap_reason = first->gap_reason;

	vhdx_sidecar_drop_delta(sidecar, first);
	first->gap_reason = gap_reason;
}

int vhdx_sidecar_forget_point(struct vhdx_sidecar *sidecar, u32 position,
			      struct vhdx_changemap *live)
{
	struct vhdx_timeline *timeline = &sidecar->timeline;
	struct vhdx_timeline_point *point = timeline->points[position];
	u32 behind = timeline->count - position - 1;
	int err = 0;

	if (!position) {
		vhdx_sidecar_drop_delta(sidecar, &point->before);
		if (behind)
			empty_first(sidecar, &timeline->points[1]->before);
	} else if (behind) {
		err = join(sidecar, &point->before, &timeline->points[position + 1]->before);
	} else {
		err = join_live(sidecar, &point->before, live);
	}
	if (err)
		return err;

	memmove(&timeline->points[position], &timeline->points[position + 1],
		behind * sizeof(*timeline->points));
	timeline->count--;
	vhdx_free(point);
	return 0;
}
