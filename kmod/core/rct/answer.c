// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "answer.h"

static u64 leaf_start(const struct vhdx_answer *answer, u32 leaf)
{
	return (u64)leaf << VHDX_LEAF_SHIFT << answer->unit_shift;
}

/* Nothing changed before @leaf. False: that is behind the end, or the answer is full. */
static bool go_to_leaf(struct vhdx_answer *answer, u32 leaf)
{
	u64 to = min(answer->end, leaf_start(answer, leaf));

	if (answer->offset < to && !answer->form->skip(answer, to))
		return false;
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
	return leaf == answer->leaf;
}

/* It is found; all of it may have changed, or of several. */
static int look_closer(struct vhdx_answer *answer, const struct vhdx_leaf_source *source,
		       void *context)
{
	const u32 shift = answer->unit_shift + VHDX_LEAF_SHIFT;
	u32 end = ((answer->end - 1) >> shift) + 1;
	int err = 0;

	answer->filled = answer->leaf;
	if (source->fill) {
		err = source->fill(context, answer->leaf, &end);
		if (!err)
			answer->filled = end;
	}
	if (err)
		return err;
	if (answer->filled > answer->leaf) {
		answer->known = VHDX_LEAF_FILLED;
		return 0;
	}
	err = source->read(context, answer->leaf, answer->units);
	if (!err)
		answer->known = VHDX_LEAF_LOADED;
	return err;
}

int vhdx_answer_leaf(struct vhdx_answer *answer, const struct vhdx_leaf_source *source,
		     void *context)
{
	const u32 shift = answer->unit_shift + VHDX_LEAF_SHIFT;
	u32 leaf = answer->offset >> shift;
	u32 end = ((answer->end - 1) >> shift) + 1;
	bool more;
	int err;

	if (answer->offset >= answer->end)
		return 0;
	if (!is_known(answer, leaf))
		answer->known = VHDX_LEAF_UNKNOWN;
	if (answer->known == VHDX_LEAF_UNKNOWN) {
		err = source->find(context, leaf, &end);
		if (err)
			return err;
		if (!go_to_leaf(answer, end))
			return 0;
	}
	if (answer->known == VHDX_LEAF_FOUND) {
		err = look_closer(answer, source, context);
		if (err)
			return err;
	}
	if (answer->known == VHDX_LEAF_FILLED)
		more = answer->form->fill(answer, min(answer->end,
						      leaf_start(answer, answer->filled)));
	else
		more = answer->form->take(answer, min(answer->end,
						      leaf_start(answer, answer->leaf + 1)));
	return more && answer->offset < answer->end;
}
