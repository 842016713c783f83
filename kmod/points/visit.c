// SPDX-License-Identifier: GPL-2.0-only
#include "visit.h"

/* Deltas between two looks at the timeline. */
#define BATCH_DELTAS	8

/**
 * struct vhdx_visit_ops - what is asked about a leaf
 * @begin:	nothing is known yet
 * @sealed:	what a delta knows; 0 or -errno
 * @live:	what the maps in memory know
 */
struct vhdx_visit_ops {
	void (*begin)(struct vhdx_visitor *v, u32 leaf);
	int (*sealed)(struct vhdx_visitor *v, const struct vhdx_delta *delta, u32 leaf);
	void (*live)(struct vhdx_visitor *v, u32 leaf);
};

/*
 * How the span is asked about a leaf: whether anything changed in it, and what.
 *
 * Sealed deltas are copied out of the timeline, some at a time, and read without a lock: their
 * blocks stay as they are within the read side. Then the maps in memory are looked at, in a moment
 * in which the timeline is the one in which the deltas were found. So nothing is missed that was
 * recorded before that moment: it is in a delta of that timeline, all of which are read, or in the
 * live map, or in the map that a seal takes away (look_at_maps()). What moves in between moves with
 * the timeline's version, and then this is not that moment: a seal moves the old map into a delta,
 * a point that is forgotten its delta into the next one, or into the live map.
 *
 * Otherwise the span is looked up anew, and reading goes on behind the delta that was read last.
 * What was read before that counts still: a delta that was merged since lies in one that was read,
 * too, or in one that is to be read, as a whole. If the point of the last one is itself gone, the
 * visit begins again.
 *
 * Who needs room in the sidecar may have to wait until the read side is left. That happens after
 * READ_SIDE and one delta more, also in the middle of a visit: it goes on in the same way.
 *
 * What a visit told stays true for this call: whatever is written since was not written when the
 * call began. So a leaf is asked about twice, first if there is anything in it, and then what.
 */
static u32 next_delta(struct vhdx_visitor *v, const struct vhdx_visit_ops *ops, u32 leaf)
{
	const struct vhdx_visit *visit = &v->visit;
	int position = -1;

	if (visit->ops == ops && visit->leaf == leaf)
		position = vhdx_timeline_find(&v->question.open->sidecar.timeline, &visit->last);
	v->visit.ops = NULL;
	if (position >= 0)
		return position + 1;
	ops->begin(v, leaf);
	return v->span.first;
}

/* The timeline is not the one in which the span was found. */
static int begin_again(struct vhdx_visitor *v)
{
	v->futile++;
	return -EAGAIN;
}

/* Deltas from this position on, and their points; how many. */
static u32 copy_deltas(const struct vhdx_visitor *v, u32 position, struct vhdx_delta *deltas,
		       struct vhdx_point_id *points)
{
	const struct vhdx_timeline *timeline = &v->question.open->sidecar.timeline;
	u32 count = 0;

	while (position < v->span.end && count < BATCH_DELTAS) {
		points[count] = timeline->points[position]->id;
		deltas[count++] = timeline->points[position++]->before;
	}
	return count;
}

/* One of them at least, however long that takes. How many, or -errno. */
static int visit_deltas(struct vhdx_visitor *v, const struct vhdx_visit_ops *ops, u32 leaf,
			const struct vhdx_delta *deltas, u32 count)
{
	u32 i = 0;
	int err;

	do {
		err = ops->sealed(v, &deltas[i++], leaf);
	} while (!err && i < count && !vhdx_visitor_is_long(v));
	return err ?: i;
}

/* 0; -EAGAIN: not yet, go on with the same leaf; -errno. */
static int visit(struct vhdx_visitor *v, const struct vhdx_visit_ops *ops, u32 leaf)
{
	struct vhdx_delta deltas[BATCH_DELTAS];
	struct vhdx_point_id points[BATCH_DELTAS];
	u32 position;
	int count;

	if (!vhdx_tracker_look_again(v->tracker, &v->question))
		return begin_again(v);
	for (position = next_delta(v, ops, leaf); position < v->span.end; position += count) {
		count = copy_deltas(v, position, deltas, points);
		vhdx_tracker_look_away(&v->question);
		count = visit_deltas(v, ops, leaf, deltas, count);
		if (count < 0)
			return count;
		v->visit = (struct vhdx_visit) { ops, leaf, points[count - 1] };
		if (vhdx_errand_is_killed(v->errand))
			return -EINTR;
		if (vhdx_visitor_is_long(v))
			return -EAGAIN;
		if (!vhdx_tracker_look_again(v->tracker, &v->question))
			return begin_again(v);
	}
	if (v->span.live)
		ops->live(v, leaf);
	vhdx_tracker_look_away(&v->question);
	v->visit.ops = NULL;
	v->futile = 0;
	return 0;
}

static void begin_read(struct vhdx_visitor *v, u32 leaf)
{
	memset(v->words, 0, VHDX_PAGE);
}

static int read_sealed(struct vhdx_visitor *v, const struct vhdx_delta *delta, u32 leaf)
{
	return vhdx_sidecar_read_leaf(&v->question.open->sidecar, delta, leaf, v->words, v->cache);
}

static void read_live(struct vhdx_visitor *v, u32 leaf)
{
	vhdx_history_live_leaf(&v->question.history, leaf, v->words);
}

static const struct vhdx_visit_ops reading = {
	.begin = begin_read,
	.sealed = read_sealed,
	.live = read_live,
};

static int read_leaf(void *context, u32 leaf, u64 *words)
{
	struct vhdx_visitor *v = context;
	int err = visit(v, &reading, leaf);

	if (err)
		return err;
	memcpy(words, v->words, VHDX_PAGE);
	v->leaves++;
	return 0;
}

static void begin_find(struct vhdx_visitor *v, u32 leaf)
{
	v->found = v->end;
}

static int find_sealed(struct vhdx_visitor *v, const struct vhdx_delta *delta, u32 leaf)
{
	return vhdx_sidecar_find_leaf(&v->question.open->sidecar, delta, leaf, &v->found,
				      v->cache);
}

static void find_live(struct vhdx_visitor *v, u32 leaf)
{
	v->found = vhdx_history_find_live_leaf(&v->question.history, leaf, v->found);
}

static const struct vhdx_visit_ops finding = {
	.begin = begin_find,
	.sealed = find_sealed,
	.live = find_live,
};

static int find_leaf(void *context, u32 leaf, u32 *end)
{
	struct vhdx_visitor *v = context;
	int err;

	v->end = *end;
	err = visit(v, &finding, leaf);
	*end = v->found;
	return err;
}

const struct vhdx_leaf_source vhdx_visitor_source = {
	.find = find_leaf,
	.read = read_leaf,
};
