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
	int ret;

	if (!source->lend || !answer->form->can_borrow ||
	    !answer->form->can_borrow(answer, end_of_leaf(answer)))
		return 0;
	ret = source->lend(context, answer->leaf, &answer->lent);
	if (ret <= 0)
		return ret;
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
	err = source->read(context, answer->leaf, answer->units);
	if (!err)
		answer->known = VHDX_LEAF_LOADED;
	return err;
}

static int tell(struct vhdx_answer *answer)
{
	const struct vhdx_answer_form *form = answer->form;

	switch (answer->known) {
	case VHDX_LEAF_FILLED:
		return form->fill(answer, min(answer->end,
					      leaf_start(answer, answer->filled)));
	case VHDX_LEAF_LENT:
		return form->borrow(answer, end_of_leaf(answer));
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
