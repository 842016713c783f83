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

/* What the cursor that is first has from @leaf on. 1 or -errno. */
static int look(struct vhdx_delta_merge *merge, const struct vhdx_sidecar *sidecar, u32 leaf,
		struct vhdx_index_cache *cache)
{
	struct vhdx_delta_cursor *cursor = top(merge);
	const struct vhdx_delta_leaf *entry;
	int err;

	merge->passed = max(merge->passed, leaf);
	err = vhdx_sidecar_find_entry(sidecar, &cursor->delta, max(leaf, cursor->leaf),
				      VHDX_MERGE_END, &entry, cache);
	if (err)
		return err;
	if (entry)
		cursor->entry = *entry;
	go_on(merge, cursor, entry ? entry->leaf : VHDX_MERGE_END, true);
	return 1;
}

int vhdx_delta_merge_find(struct vhdx_delta_merge *merge, const struct vhdx_sidecar *sidecar,
			  u32 leaf, u32 *end, struct vhdx_index_cache *cache)
{
	const struct vhdx_delta_cursor *cursor;

	merge->is_reading = false;
	if (leaf < merge->passed)
		begin_anew(merge);
	cursor = top(merge);
	if (!cursor || cursor->leaf >= *end)
		return 0;
	if (!cursor->exact || cursor->leaf < leaf)
		return look(merge, sidecar, leaf, cache);
	*end = cursor->leaf;
	return 0;
}

int vhdx_delta_merge_read(struct vhdx_delta_merge *merge, const struct vhdx_sidecar *sidecar,
			  u32 leaf, struct vhdx_leaf_bits *units, struct vhdx_index_cache *cache)
{
	struct vhdx_delta_cursor *cursor;
	int err;

	if (!merge->is_reading || merge->reading != leaf) {
		if (leaf < merge->passed)
			begin_anew(merge);
		merge->is_reading = true;
		merge->reading = leaf;
	}
	cursor = top(merge);
	if (!cursor || cursor->leaf > leaf) {
		merge->is_reading = false;
		return 0;
	}
	if (!cursor->exact || cursor->leaf < leaf)
		return look(merge, sidecar, leaf, cache);
	err = vhdx_sidecar_take_leaf(sidecar, &cursor->entry, units, cache);
	if (err)
		return err;
	merge->passed = leaf + 1;
	go_on(merge, cursor, leaf + 1, false);
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
	struct vhdx_delta_cursor *cursor;

	*lending = VHDX_LENT_NOTHING;
	if (leaf < merge->passed)
		begin_anew(merge);
	cursor = top(merge);
	if (!cursor || cursor->leaf > leaf)
		return 0;
	if (!cursor->exact || cursor->leaf < leaf)
		return look(merge, sidecar, leaf, cache);
	*lending = VHDX_LENT_NOT;
	if (is_alone(merge, leaf))
		*lending = vhdx_sidecar_lend_leaf(sidecar, &cursor->entry, lent);
	return 0;
}
