// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Forgetting a point: the deltas on both sides of it become one.
 *
 * A leaf that only one of them has stays in the block where it is, and so does a whole table
 * of an index that the other one has no leaf for; what changes is which delta names it. The
 * commit that follows makes both happen at once.
 */
#include "sidecar_private.h"

/**
 * struct merge - two deltas that become one
 * @sidecar:	of both
 * @writer:	of that one
 * @a:		goes through the older one
 * @b:		goes through the newer one
 * @units:	changed in both, so counted twice
 * @pack:	fill tables instead of keeping them
 * @words:	scratch
 * @buf:	scratch
 */
struct merge {
	struct vhdx_sidecar *sidecar;
	struct vhdx_delta_writer writer;
	struct vhdx_index_iter a, b;
	u64 units;
	bool pack;
	u64 *words;
	void *buf;
};

/* 1: done; 0: not this way. */
static int keep_table(struct merge *merge, struct vhdx_index_iter *iter,
		      const struct vhdx_index_iter *other)
{
	const struct vhdx_table_ref *table;
	int err;

	table = vhdx_index_iter_table_before(iter, vhdx_index_iter_leaf(other));
	if (!table || merge->pack)
		return 0;
	err = vhdx_delta_writer_keep(&merge->writer, table);
	if (err)
		return err == -EAGAIN ? 0 : err;
	vhdx_index_iter_next(iter);
	return 1;
}

static int read_both(struct merge *merge, const struct vhdx_delta_leaf *a,
		     const struct vhdx_delta_leaf *b)
{
	int err;

	memset(merge->words, 0, VHDX_PAGE);
	err = vhdx_sidecar_read_entry(merge->sidecar, a, merge->words, merge->buf, NULL);
	return err ?: vhdx_sidecar_read_entry(merge->sidecar, b, merge->words, merge->buf, NULL);
}

static int put_both(struct merge *merge, const struct vhdx_delta_leaf *a,
		    const struct vhdx_delta_leaf *b)
{
	struct vhdx_delta_writer *writer = &merge->writer;
	u32 units = a->units + b->units;
	u64 before = writer->units;
	int err;

	if (a->block == VHDX_DELTA_ALL || b->block == VHDX_DELTA_ALL) {
		err = vhdx_delta_writer_put(writer, a->block == VHDX_DELTA_ALL ? a : b);
	} else {
		err = read_both(merge, a, b);
		if (!err)
			err = vhdx_delta_writer_add(writer, a->leaf, merge->words);
	}
	merge->units += units - (writer->units - before);
	vhdx_sidecar_doom_block(merge->sidecar, a->block);
	vhdx_sidecar_doom_block(merge->sidecar, b->block);
	return err;
}

static int put_leaf(struct merge *merge)
{
	const struct vhdx_delta_leaf *a, *b;
	int err;

	/* The one that comes later is not looked at: its table may be kept. */
	if (vhdx_index_iter_leaf(&merge->a) < vhdx_index_iter_leaf(&merge->b)) {
		err = vhdx_index_iter_peek(&merge->a, &a, NULL);
		err = err ?: vhdx_delta_writer_put(&merge->writer, a);
		vhdx_index_iter_next(&merge->a);
		return err;
	}
	if (vhdx_index_iter_leaf(&merge->a) > vhdx_index_iter_leaf(&merge->b)) {
		err = vhdx_index_iter_peek(&merge->b, &b, NULL);
		err = err ?: vhdx_delta_writer_put(&merge->writer, b);
		vhdx_index_iter_next(&merge->b);
		return err;
	}
	err = vhdx_index_iter_peek(&merge->a, &a, NULL);
	err = err ?: vhdx_index_iter_peek(&merge->b, &b, NULL);
	err = err ?: put_both(merge, a, b);
	vhdx_index_iter_next(&merge->a);
	vhdx_index_iter_next(&merge->b);
	return err;
}

static void doom_table(struct merge *merge, const struct vhdx_index_iter *iter)
{
	const struct vhdx_table_ref *table = vhdx_index_iter_table(iter);

	if (table)
		vhdx_sidecar_doom_block(merge->sidecar, table->block);
}

static int merge_indexes(struct merge *merge)
{
	int err = 0;

	while (!err && (merge->a.table < merge->a.table_count ||
			merge->b.table < merge->b.table_count)) {
		err = keep_table(merge, &merge->a, &merge->b);
		err = err ?: keep_table(merge, &merge->b, &merge->a);
		if (err) {
			err = min(err, 0);
			continue;
		}
		/* A table is read now, for its first leaf, and not kept. */
		if (vhdx_index_iter_leaf(&merge->a) <= vhdx_index_iter_leaf(&merge->b))
			doom_table(merge, &merge->a);
		if (vhdx_index_iter_leaf(&merge->b) <= vhdx_index_iter_leaf(&merge->a))
			doom_table(merge, &merge->b);
		err = put_leaf(merge);
		vhdx_breathe();
	}
	return err;
}

static int run_merge(struct merge *merge, const struct vhdx_delta *older,
		     const struct vhdx_delta *newer, struct vhdx_delta *merged)
{
	int err;

	memset(merged, 0, sizeof(*merged));
	merge->words = vhdx_alloc(VHDX_PAGE);
	merge->buf = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	err = merge->words && merge->buf ? 0 : -ENOMEM;
	err = err ?: vhdx_delta_writer_init(&merge->writer, merge->sidecar,
					    VHDX_SIDECAR_SPARE_FOR_MERGES);
	err = err ?: vhdx_index_iter_init(&merge->a, merge->sidecar, older, NULL);
	err = err ?: vhdx_index_iter_init(&merge->b, merge->sidecar, newer, NULL);
	err = err ?: merge_indexes(merge);
	err = err ?: vhdx_delta_writer_finish(&merge->writer, merged);
	vhdx_index_iter_release(&merge->b);
	vhdx_index_iter_release(&merge->a);
	vhdx_delta_writer_release(&merge->writer);
	vhdx_free(merge->buf);
	vhdx_free(merge->words);
	if (err)
		return err;
	merged->changed_units = older->changed_units + newer->changed_units - merge->units;
	vhdx_sidecar_doom_block(merge->sidecar, older->index_block);
	vhdx_sidecar_doom_block(merge->sidecar, newer->index_block);
	return 0;
}

/* Of a delta that keeps blocks of another one all blocks have to be known. */
static int merge(struct vhdx_sidecar *sidecar, struct vhdx_delta *older, struct vhdx_delta *newer,
		 struct vhdx_delta *merged)
{
	u32 doomed;
	int err, i;

	err = vhdx_sidecar_learn_delta(sidecar, older, NULL);
	err = err ?: vhdx_sidecar_learn_delta(sidecar, newer, NULL);
	if (err)
		return err;
	doomed = vhdx_sidecar_begin(sidecar);
	for (i = 0; i < 2; i++) {
		struct merge merge = { .sidecar = sidecar, .pack = i };

		err = run_merge(&merge, older, newer, merged);
		if (!err)
			break;
		vhdx_sidecar_undo(sidecar, doomed);
		/* Small tables that were kept filled the root. */
		if (err != -E2BIG)
			return err;
	}
	return err ? -EUCLEAN : 0;
}

/* @joined is the union, and names what both have named. On failure both are what they were. */
static int join(struct vhdx_sidecar *sidecar, struct vhdx_delta *older, struct vhdx_delta *newer,
		struct vhdx_delta *joined)
{
	int err = 0;

	if (older->leaf_count && newer->leaf_count)
		err = merge(sidecar, older, newer, joined);
	else
		*joined = older->leaf_count ? *older : *newer;
	if (err)
		return err;
	vhdx_sidecar_copy_marks(joined, newer);
	vhdx_sidecar_join_marks(joined, older);
	return 0;
}

/*
 * A reader who finds the point finds its delta before it, and one who does not finds it in what
 * follows: both change at once. Then the record goes.
 */
static void cut(struct vhdx_sidecar *sidecar, u32 position, const struct vhdx_delta *joined,
		struct vhdx_changemap *live, const struct vhdx_changemap *map)
{
	struct vhdx_timeline *timeline = &sidecar->timeline;
	bool newest = position == timeline->count - 1;
	struct vhdx_timeline_point *point;

	vhdx_sidecar_begin_change(sidecar);
	if (!newest)
		timeline->points[position + 1]->before = *joined;
	else
		timeline->live = *joined;
	if (map)
		vhdx_changemap_or(live, map);
	point = vhdx_sidecar_cut_point(sidecar, position);
	vhdx_sidecar_end_change(sidecar);

	vhdx_free(point);
	if (!newest)
		vhdx_sidecar_touch_point(sidecar, position + 1);
	vhdx_sidecar_drop_record(sidecar, position);
}

/* What follows the newest point is in @live as well, and what was saved of it. */
static int forget_newest(struct vhdx_sidecar *sidecar, u32 position, struct vhdx_changemap *live)
{
	struct vhdx_delta *before = &sidecar->timeline.points[position]->before;
	struct vhdx_changemap map;
	struct vhdx_delta joined;
	int err;

	err = vhdx_changemap_init(&map, sidecar->disk_size, sidecar->unit_shift);
	if (err)
		return err;
	err = vhdx_sidecar_load_map(sidecar, before, &map, NULL);
	if (!err)
		err = join(sidecar, before, &sidecar->timeline.live, &joined);
	if (!err)
		cut(sidecar, position, &joined, live, &map);
	vhdx_changemap_release(&map);
	return err;
}

/* What leads to the oldest point is never part of an answer. */
static void forget_oldest(struct vhdx_sidecar *sidecar)
{
	struct vhdx_timeline *timeline = &sidecar->timeline;
	struct vhdx_delta first = timeline->points[0]->before, second = { }, empty = { };

	if (timeline->count > 1) {
		second = timeline->points[1]->before;
		empty.gap_reason = second.gap_reason;
		empty.gap_time_ns = second.gap_time_ns;
	} else {
		empty = timeline->live;
	}
	cut(sidecar, 0, &empty, NULL, NULL);
	vhdx_sidecar_drop_delta(sidecar, &first);
	vhdx_sidecar_drop_delta(sidecar, &second);
}

int vhdx_sidecar_forget_point(struct vhdx_sidecar *sidecar, u32 position,
			      struct vhdx_changemap *live)
{
	struct vhdx_timeline *timeline = &sidecar->timeline;
	struct vhdx_delta joined;
	int err;

	if (!position) {
		forget_oldest(sidecar);
		return 0;
	}
	if (position == timeline->count - 1)
		return forget_newest(sidecar, position, live);
	err = join(sidecar, &timeline->points[position]->before,
		   &timeline->points[position + 1]->before, &joined);
	if (!err)
		cut(sidecar, position, &joined, NULL, NULL);
	return err;
}
