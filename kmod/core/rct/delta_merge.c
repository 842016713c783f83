// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "delta_merge.h"
#include "sidecar.h"

/* ---- the heap ------------------------------------------------------------------------------ */

static u32 leaf_at(const struct vhdx_delta_merge *merge, u32 place)
{
	return merge->cursors[merge->heap[place]].leaf;
}

/* The cursor at this place may have gone on; all others are where they belong. */
static void sift_down(struct vhdx_delta_merge *merge, u32 place)
{
	const u32 number = merge->heap[place];
	const u32 leaf = merge->cursors[number].leaf;
	u32 child;

	for (child = 2 * place + 1; child < merge->count; child = 2 * place + 1) {
		if (child + 1 < merge->count && leaf_at(merge, child + 1) < leaf_at(merge, child))
			child++;
		if (leaf_at(merge, child) >= leaf)
			break;
		merge->heap[place] = merge->heap[child];
		place = child;
	}
	merge->heap[place] = number;
}

static void make_heap(struct vhdx_delta_merge *merge)
{
	u32 i;

	for (i = 0; i < merge->count; i++)
		merge->heap[i] = i;
	for (i = merge->count / 2; i--;)
		sift_down(merge, i);
}

/* The cursor that has the next leaf, if there is any. */
static struct vhdx_delta_cursor *top(const struct vhdx_delta_merge *merge)
{
	return merge->count ? &merge->cursors[merge->heap[0]] : NULL;
}

/* It knows nothing before this leaf any more. */
static void go_on(struct vhdx_delta_merge *merge, struct vhdx_delta_cursor *cursor, u32 leaf,
		  bool exact)
{
	cursor->leaf = leaf;
	cursor->exact = exact;
	if (merge->count > 1)
		sift_down(merge, 0);
}

/* ---- which deltas -------------------------------------------------------------------------- */

int vhdx_delta_merge_begin(struct vhdx_delta_merge *merge, u32 deltas)
{
	vhdx_free(merge->next);
	merge->next_count = 0;
	merge->matched = 0;
	merge->next = vhdx_alloc(max(deltas, 1U) * sizeof(*merge->next));
	return merge->next ? 0 : -ENOMEM;
}

/* What has the same root has the same leaves: the checksum is compared besides. */
static bool is_same(const struct vhdx_delta *one, const struct vhdx_delta *other)
{
	return one->index_block == other->index_block && one->index_crc == other->index_crc &&
	       one->leaf_count == other->leaf_count;
}

/* Of those that were there before, which are in the same order; NULL: it was not. */
static const struct vhdx_delta_cursor *find_former(struct vhdx_delta_merge *merge,
						   const struct vhdx_delta *delta)
{
	u32 i;

	for (i = merge->matched; i < merge->count; i++) {
		if (is_same(&merge->cursors[i].delta, delta)) {
			merge->matched = i + 1;
			return &merge->cursors[i];
		}
	}
	return NULL;
}

void vhdx_delta_merge_add(struct vhdx_delta_merge *merge, const struct vhdx_delta *delta)
{
	const struct vhdx_delta_cursor *former;

	if (!delta->leaf_count)
		return;
	former = find_former(merge, delta);
	if (former)
		merge->next[merge->next_count++] = *former;
	else
		merge->next[merge->next_count++] = (struct vhdx_delta_cursor) { .delta = *delta };
}

int vhdx_delta_merge_end(struct vhdx_delta_merge *merge)
{
	u32 *heap = vhdx_alloc(max(merge->next_count, 1U) * sizeof(*heap));

	if (!heap)
		return -ENOMEM;
	vhdx_free(merge->heap);
	vhdx_free(merge->cursors);
	merge->heap = heap;
	merge->cursors = merge->next;
	merge->count = merge->next_count;
	merge->next = NULL;
	merge->next_count = 0;
	make_heap(merge);
	return 0;
}

void vhdx_delta_merge_release(struct vhdx_delta_merge *merge)
{
	vhdx_free(merge->next);
	vhdx_free(merge->heap);
	vhdx_free(merge->cursors);
	memset(merge, 0, sizeof(*merge));
}

/* ---- leaf by leaf -------------------------------------------------------------------------- */

/* Some cursors are behind it. */
static void begin_anew(struct vhdx_delta_merge *merge)
{
	u32 i;

	for (i = 0; i < merge->count; i++) {
		merge->cursors[i].leaf = 0;
		merge->cursors[i].exact = false;
	}
	merge->passed = 0;
	make_heap(merge);
}

/* As long as nothing is read, so many cursors are one step. */
#define AT_ONCE		16U

/*
 * The leaf that the cursor has behind the one that it is at, as long as that is in the same table.
 * NULL: there may be one, or it lies before @leaf.
 */
static const struct vhdx_delta_leaf *neighbour(const struct vhdx_delta_cursor *cursor, u32 leaf,
					       struct vhdx_index_cache *cache)
{
	const struct vhdx_delta_leaf *entry = NULL;

	if (cursor->exact && cursor->leaf < leaf)
		entry = vhdx_index_next(&cursor->delta, cursor->leaf, cache);
	return entry && entry->leaf >= leaf ? entry : NULL;
}

/* What the cursor that is first has from @leaf on. */
static int look(struct vhdx_delta_merge *merge, const struct vhdx_sidecar *sidecar, u32 leaf,
		struct vhdx_index_cache *cache)
{
	struct vhdx_delta_cursor *cursor = top(merge);
	const struct vhdx_delta_leaf *entry = neighbour(cursor, leaf, cache);
	int err = 0;

	merge->passed = max(merge->passed, leaf);
	if (!entry)
		err = vhdx_sidecar_find_entry(sidecar, &cursor->delta, max(leaf, cursor->leaf),
					      VHDX_MERGE_END, &entry, cache);
	if (err)
		return err;
	if (entry)
		cursor->entry = *entry;
	go_on(merge, cursor, entry ? entry->leaf : VHDX_MERGE_END, true);
	return 0;
}

/*
 * Until the cursor that is first has a leaf from @leaf on, or all of them have none before @end.
 * 1: there is more to do; 0: that is so; -errno.
 */
static int look_on(struct vhdx_delta_merge *merge, const struct vhdx_sidecar *sidecar, u32 leaf,
		   u32 end, struct vhdx_index_cache *cache)
{
	const u32 reads = cache->reads;
	const struct vhdx_delta_cursor *cursor;
	u32 i;
	int err;

	for (i = 0; i < AT_ONCE && cache->reads == reads; i++) {
		cursor = top(merge);
		if (!cursor || cursor->leaf >= end || (cursor->exact && cursor->leaf >= leaf))
			return 0;
		err = look(merge, sidecar, leaf, cache);
		if (err)
			return err;
	}
	return 1;
}

int vhdx_delta_merge_find(struct vhdx_delta_merge *merge, const struct vhdx_sidecar *sidecar,
			  u32 leaf, u32 *end, struct vhdx_index_cache *cache)
{
	int ret;

	merge->is_reading = false;
	if (!merge->count)
		return 0;
	if (leaf < merge->passed)
		begin_anew(merge);
	ret = look_on(merge, sidecar, leaf, *end, cache);
	if (ret)
		return ret;
	*end = min(*end, top(merge)->leaf);
	return 0;
}

static bool has_leaf(const struct vhdx_delta_merge *merge, u32 leaf)
{
	const struct vhdx_delta_cursor *cursor = top(merge);

	return cursor && cursor->leaf == leaf;
}

/* The leaf of the cursor that is first. */
static int take_first(struct vhdx_delta_merge *merge, const struct vhdx_sidecar *sidecar, u32 leaf,
		      struct vhdx_leaf_bits *units, struct vhdx_index_cache *cache)
{
	struct vhdx_delta_cursor *cursor = top(merge);
	const struct vhdx_delta_leaf *entry;
	int err;

	err = vhdx_sidecar_take_leaf(sidecar, &cursor->entry, units, cache);
	if (err)
		return err;
	merge->passed = leaf + 1;
	entry = neighbour(cursor, leaf + 1, cache);
	if (entry)
		cursor->entry = *entry;
	go_on(merge, cursor, entry ? entry->leaf : leaf + 1, entry);
	return 0;
}

int vhdx_delta_merge_read(struct vhdx_delta_merge *merge, const struct vhdx_sidecar *sidecar,
			  u32 leaf, struct vhdx_leaf_bits *units, struct vhdx_index_cache *cache)
{
	const u32 reads = cache->reads;
	u32 i;
	int ret;

	if (!merge->count) {
		merge->is_reading = false;
		return 0;
	}
	if (!merge->is_reading || merge->reading != leaf) {
		if (leaf < merge->passed)
			begin_anew(merge);
		merge->is_reading = true;
		merge->reading = leaf;
	}
	for (i = 0; i < AT_ONCE && cache->reads == reads; i++) {
		ret = look_on(merge, sidecar, leaf, leaf + 1, cache);
		if (!ret && !has_leaf(merge, leaf)) {
			merge->is_reading = false;
			return 0;
		}
		if (!ret)
			ret = take_first(merge, sidecar, leaf, units, cache);
		if (ret)
			return ret;
	}
	return 1;
}

/* No other cursor may have it. */
static bool is_alone(const struct vhdx_delta_merge *merge, u32 leaf)
{
	return (merge->count < 2 || leaf_at(merge, 1) > leaf) &&
	       (merge->count < 3 || leaf_at(merge, 2) > leaf);
}

int vhdx_delta_merge_lend(struct vhdx_delta_merge *merge, const struct vhdx_sidecar *sidecar,
			  u32 leaf, enum vhdx_lending *lending, struct vhdx_lent_leaf *lent,
			  struct vhdx_index_cache *cache)
{
	int ret;

	*lending = VHDX_LENT_NOTHING;
	if (!merge->count)
		return 0;
	if (leaf < merge->passed)
		begin_anew(merge);
	ret = look_on(merge, sidecar, leaf, leaf + 1, cache);
	if (ret || !has_leaf(merge, leaf))
		return ret;
	*lending = VHDX_LENT_NOT;
	if (is_alone(merge, leaf))
		*lending = vhdx_sidecar_lend_leaf(sidecar, &top(merge)->entry, lent);
	return 0;
}

/* With one cursor there is no heap to keep in order. It may end up behind leaves that were lent. */
u32 vhdx_delta_merge_lend_on(struct vhdx_delta_merge *merge, const struct vhdx_sidecar *sidecar,
			     u32 leaf, struct vhdx_lent_leaf *lent, u32 count,
			     struct vhdx_index_cache *cache)
{
	struct vhdx_delta_cursor *cursor = top(merge);
	const struct vhdx_delta_leaf *entry;
	u32 i;

	if (merge->count != 1)
		return 0;
	for (i = 0; i < count; i++) {
		entry = neighbour(cursor, leaf + i, cache);
		if (!entry)
			break;
		cursor->entry = *entry;
		cursor->leaf = entry->leaf;
		if (entry->leaf != leaf + i ||
		    vhdx_sidecar_lend_leaf(sidecar, entry, &lent[i]) != VHDX_LENT_PAGE)
			break;
	}
	merge->passed = max(merge->passed, leaf + i);
	return i;
}
