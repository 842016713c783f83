// SPDX-License-Identifier: GPL-2.0-only
#include "visit.h"

/*
 * How the span is asked about a leaf: whether anything changed in it, and what.
 *
 * Sealed deltas are copied out of the timeline, and read without a lock, those that have the leaf:
 * their blocks stay as they are within the read side. Then the maps in memory are looked at, in a
 * moment in which the timeline is the one in which the deltas were found. So nothing is missed that
 * was recorded before that moment: it is in a delta of that timeline, all of which are read, or in
 * the live map, or in the map that a seal takes away (look_at_maps()). What moves in between moves
 * with the timeline's version, and then this is not that moment: a seal moves the old map into a
 * delta, a point that is forgotten its delta into the next one, or into the live map. Where the
 * live delta is not asked for, there is nothing to wait for: what lies between two points never
 * changes.
 *
 * Otherwise the span is looked up anew, and reading goes on. What was read before that counts
 * still, and the deltas that there are still are not read again: one that was merged since lies in
 * one that is to be read, as a whole.
 *
 * Who needs room in the sidecar may have to wait until the read side is left. That happens after
 * READ_SIDE and one delta more, also in the middle of a leaf: it goes on in the same way.
 *
 * A leaf that only one delta has, or one of the maps, is lent as it is, and told later: a bit that
 * is set in a map until then is told, too, or not. Of deltas alone, or of maps alone, a few leaves
 * are lent at once. A leaf is not lent once it was begun to be read: cursors have passed what was
 * read of it, and know of it no more.
 *
 * What was told of a leaf stays true for this call: whatever is written since was not written when
 * the call began. So a leaf is asked about twice, first if there is anything in it, and then what.
 */

/* The timeline is not the one in which the span was found. */
static int begin_again(struct vhdx_visitor *v)
{
	v->futile++;
	return -EAGAIN;
}

/* The deltas are those of the question's span. 0; -EAGAIN: not yet; -ENOMEM. */
static int merge_span(struct vhdx_visitor *v)
{
	const struct vhdx_timeline *timeline = &v->question.open->sidecar.timeline;
	u32 i;
	int err;

	if (v->merged == v->question.version)
		return 0;
	err = vhdx_delta_merge_begin(&v->merge, v->span.end - v->span.first);
	if (err)
		return err;
	if (!vhdx_tracker_look_again(v->tracker, &v->question))
		return begin_again(v);
	for (i = v->span.first; i < v->span.end; i++)
		vhdx_delta_merge_add(&v->merge, &timeline->points[i]->before);
	vhdx_tracker_look_away(&v->question);
	err = vhdx_delta_merge_end(&v->merge);
	if (!err)
		v->merged = v->question.version;
	return err;
}

/* A step was taken, after which there are more. 0: now; -EAGAIN: later; -EINTR: never. */
static int may_go_on(const struct vhdx_visitor *v)
{
	if (vhdx_errand_is_killed(v->errand))
		return -EINTR;
	cond_resched();
	return vhdx_visitor_is_long(v) ? -EAGAIN : 0;
}

static int find_leaf(void *context, u32 leaf, u32 *end)
{
	struct vhdx_visitor *v = context;
	u32 found = *end;
	int ret = merge_span(v);

	while (!ret) {
		ret = vhdx_delta_merge_find(&v->merge, &v->question.open->sidecar, leaf, &found,
					    v->cache);
		if (ret <= 0)
			break;
		ret = may_go_on(v);
	}
	if (!ret && v->span.live) {
		if (!vhdx_tracker_look_again(v->tracker, &v->question))
			return begin_again(v);
		found = vhdx_history_find_live_leaf(&v->question.history, leaf, found);
		vhdx_tracker_look_away(&v->question);
	}
	if (!ret) {
		v->futile = 0;
		*end = found;
	}
	return ret;
}

static int read_leaf(void *context, u32 leaf, struct vhdx_leaf_bits *units)
{
	struct vhdx_visitor *v = context;
	int ret = merge_span(v);

	while (!ret) {
		ret = vhdx_delta_merge_read(&v->merge, &v->question.open->sidecar, leaf, units,
					    v->cache);
		if (ret <= 0)
			break;
		ret = may_go_on(v);
	}
	if (!ret && v->span.live) {
		if (!vhdx_tracker_look_again(v->tracker, &v->question))
			return begin_again(v);
		vhdx_history_live_leaf(&v->question.history, leaf, units);
		vhdx_tracker_look_away(&v->question);
	}
	if (!ret) {
		v->futile = 0;
		v->leaves++;
	}
	return ret;
}

/* What is known of the deltas, and what the maps have besides. They are looked at. */
static enum vhdx_lending lend_live(const struct vhdx_visitor *v, u32 leaf,
				   enum vhdx_lending lending, struct vhdx_lent_leaf *lent)
{
	const struct vhdx_history *history = &v->question.history;

	if (lending == VHDX_LENT_NOTHING)
		return vhdx_history_lend_live(history, leaf, lent);
	if (vhdx_history_find_live_leaf(history, leaf, leaf + 1) > leaf)
		return lending;
	return vhdx_take_back(lending, lent);
}

/* A leaf of the sealed deltas. */
static int lend_sealed(struct vhdx_visitor *v, u32 leaf, enum vhdx_lending *lending,
		       struct vhdx_lent_leaf *lent)
{
	int ret;

	for (;;) {
		ret = vhdx_delta_merge_lend(&v->merge, &v->question.open->sidecar, leaf, lending,
					    lent, v->cache);
		if (ret <= 0)
			return ret;
		ret = may_go_on(v);
		if (ret)
			return ret;
	}
}

/* Nothing but sealed deltas. What ends it behind the first leaf is met again there. */
static int lend_from_deltas(struct vhdx_visitor *v, u32 leaf, struct vhdx_lent_leaf *lent,
			    u32 count)
{
	enum vhdx_lending lending = VHDX_LENT_NOT;
	int ret = 0;
	u32 i = 0;

	while (i < count) {
		ret = lend_sealed(v, leaf + i, &lending, &lent[i]);
		if (ret || lending != VHDX_LENT_PAGE)
			break;
		i++;
		i += vhdx_delta_merge_lend_on(&v->merge, &v->question.open->sidecar, leaf + i,
					      &lent[i], count - i, v->cache);
	}
	return i ? i : ret;
}

/* Nothing but what is in memory: all of it is of one moment. */
static int lend_from_maps(struct vhdx_visitor *v, u32 leaf, struct vhdx_lent_leaf *lent,
			  u32 count)
{
	u32 i;

	if (!vhdx_tracker_look_again(v->tracker, &v->question))
		return begin_again(v);
	for (i = 0; i < count; i++)
		if (vhdx_history_lend_live(&v->question.history, leaf + i, &lent[i]) !=
		    VHDX_LENT_PAGE)
			break;
	vhdx_tracker_look_away(&v->question);
	return i;
}

/* One that either of both has: the deltas may have to go back for the next one, if it is not. */
static int lend_from_either(struct vhdx_visitor *v, u32 leaf, struct vhdx_lent_leaf *lent)
{
	enum vhdx_lending lending;
	int ret = lend_sealed(v, leaf, &lending, lent);

	if (ret || lending == VHDX_LENT_NOT)
		return ret;
	if (!vhdx_tracker_look_again(v->tracker, &v->question)) {
		vhdx_take_back(lending, lent);
		return begin_again(v);
	}
	lending = lend_live(v, leaf, lending, lent);
	vhdx_tracker_look_away(&v->question);
	return lending == VHDX_LENT_PAGE;
}

static int lend_leaves(void *context, u32 leaf, struct vhdx_lent_leaf *lent, u32 count)
{
	struct vhdx_visitor *v = context;
	int ret = merge_span(v);

	if (ret)
		return ret;
	if (!v->span.live)
		ret = lend_from_deltas(v, leaf, lent, count);
	else if (!v->merge.count)
		ret = lend_from_maps(v, leaf, lent, count);
	else
		ret = lend_from_either(v, leaf, lent);
	if (ret >= 0) {
		v->leaves += ret;
		v->futile = 0;
	}
	return ret;
}

const struct vhdx_leaf_source vhdx_visitor_source = {
	.find = find_leaf,
	.lend = lend_leaves,
	.read = read_leaf,
};
