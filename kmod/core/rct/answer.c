// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "answer.h"

static u64 leaf_start(const struct vhdx_answer *answer, u32 leaf)
{
	return (u64)leaf << VHDX_LEAF_SHIFT << answer->unit_shift;
}

/* Nothing changed before @leaf. 0: that is behind the end, or the answer is full; 1; -errno. */
static int go_to_leaf(struct vhdx_answer *answer, u32 leaf)
{
	u64 to = min(answer->end, leaf_start(answer, leaf));
	int more = answer->offset < to ? answer->form->skip(answer, to) : 1;

	if (more <= 0)
		return more;
	answer->leaf = leaf;
	answer->known = VHDX_LEAF_FOUND;
	if (answer->units)
		vhdx_leaf_bits_clear(answer->units);
	return answer->offset < answer->end;
}

/* What was found out of the leaf that @offset is in holds for the answer. */
static bool is_known(const struct vhdx_answer *answer, u32 leaf)
{
	if (answer->known == VHDX_LEAF_FILLED)
		return leaf >= answer->leaf && leaf < answer->filled;
	/* What was lent went over to the answer. */
	return leaf == answer->leaf && answer->known != VHDX_LEAF_LENT;
}

static u64 end_of_leaf(const struct vhdx_answer *answer)
{
	return min(answer->end, leaf_start(answer, answer->leaf + 1));
}

/* It is found; all of it may have changed, or of several. */
static int look_for_more(struct vhdx_answer *answer, const struct vhdx_leaf_source *source,
			 void *context)
{
	const u32 shift = answer->unit_shift + VHDX_LEAF_SHIFT;
	u32 end = ((answer->end - 1) >> shift) + 1;
	int err;

	if (!source->fill)
		return 0;
	err = source->fill(context, answer->leaf, &end);
	if (err || end == answer->leaf)
		return err;
	answer->filled = end;
	answer->known = VHDX_LEAF_FILLED;
	return 0;
}

static int borrow(struct vhdx_answer *answer, const struct vhdx_leaf_source *source, void *context)
{
	u32 count;
	int ret;

	if (!source->lend || !answer->form->can_borrow)
		return 0;
	count = min(answer->form->can_borrow(answer), VHDX_ANSWER_BORROWS);
	if (!count)
		return 0;
	ret = source->lend(context, answer->leaf, answer->lent, count);
	if (ret <= 0)
		return ret;
	answer->lent_count = ret;
	answer->known = VHDX_LEAF_LENT;
	return 0;
}

/*
 * Leaves that can be lent mostly lie side by side: the one behind one that was lent is asked for
 * before anybody looks if it is there. What becomes of that is in @known.
 */
static int borrow_next(struct vhdx_answer *answer, const struct vhdx_leaf_source *source,
		       void *context, u32 leaf)
{
	const bool is_next = answer->known == VHDX_LEAF_LENT && leaf == answer->leaf + 1;

	answer->known = VHDX_LEAF_UNKNOWN;
	if (!is_next)
		return 0;
	answer->leaf = leaf;
	return borrow(answer, source, context);
}

static int make_room(struct vhdx_answer *answer)
{
	if (!answer->units)
		answer->units = vhdx_alloc(sizeof(*answer->units));
	return answer->units ? 0 : -ENOMEM;
}

/* What is in it. Once it was begun to be read, it is read to the end. */
static int look_closer(struct vhdx_answer *answer, const struct vhdx_leaf_source *source,
		       void *context)
{
	int err = 0;

	if (answer->known == VHDX_LEAF_FOUND)
		err = look_for_more(answer, source, context);
	if (!err && answer->known == VHDX_LEAF_FOUND)
		err = borrow(answer, source, context);
	if (!err && answer->known == VHDX_LEAF_FOUND)
		answer->known = VHDX_LEAF_TO_READ;
	if (err || answer->known != VHDX_LEAF_TO_READ)
		return err;
	err = make_room(answer) ?: source->read(context, answer->leaf, answer->units);
	if (!err)
		answer->known = VHDX_LEAF_LOADED;
	return err;
}

/* There is room for them. At last it is at the last one of them. */
static int tell_lent(struct vhdx_answer *answer)
{
	const struct vhdx_lent_leaf *lent = answer->lent;
	const struct vhdx_lent_leaf *last = lent + answer->lent_count - 1;

	for (; lent < last; lent++, answer->leaf++)
		answer->form->borrow(answer, lent, leaf_start(answer, answer->leaf + 1));
	return answer->form->borrow(answer, last, end_of_leaf(answer));
}

static int tell(struct vhdx_answer *answer)
{
	const struct vhdx_answer_form *form = answer->form;

	switch (answer->known) {
	case VHDX_LEAF_FILLED:
		return form->fill(answer, min(answer->end,
					      leaf_start(answer, answer->filled)));
	case VHDX_LEAF_LENT:
		return tell_lent(answer);
	default:
		return form->take(answer, end_of_leaf(answer));
	}
}

int vhdx_answer_leaf(struct vhdx_answer *answer, const struct vhdx_leaf_source *source,
		     void *context)
{
	const u32 shift = answer->unit_shift + VHDX_LEAF_SHIFT;
	u32 leaf = answer->offset >> shift;
	u32 end = ((answer->end - 1) >> shift) + 1;
	int ret;

	if (answer->offset >= answer->end)
		return 0;
	if (!is_known(answer, leaf)) {
		ret = borrow_next(answer, source, context, leaf);
		if (ret)
			return ret;
	}
	if (answer->known == VHDX_LEAF_UNKNOWN) {
		ret = source->find(context, leaf, &end);
		if (!ret)
			ret = go_to_leaf(answer, end);
		if (ret <= 0)
			return ret;
	}
	if (answer->known == VHDX_LEAF_FOUND || answer->known == VHDX_LEAF_TO_READ) {
		ret = look_closer(answer, source, context);
		if (ret)
			return ret;
	}
	ret = tell(answer);
	return ret > 0 ? answer->offset < answer->end : ret;
}
