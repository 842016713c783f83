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
	return answer->offset < answer->end;
}

int vhdx_answer_leaf(struct vhdx_answer *answer, const struct vhdx_leaf_source *source,
		     void *context)
{
	const u32 shift = answer->unit_shift + VHDX_LEAF_SHIFT;
	u32 leaf = answer->offset >> shift;
	u32 end = ((answer->end - 1) >> shift) + 1;
	int err;

	if (answer->offset >= answer->end)
		return 0;
	if (answer->leaf != leaf)
		answer->known = VHDX_LEAF_UNKNOWN;
	if (answer->known == VHDX_LEAF_UNKNOWN) {
		err = source->find(context, leaf, &end);
		if (err)
			return err;
		leaf = end;
		if (!go_to_leaf(answer, leaf))
			return 0;
	}
	if (answer->known == VHDX_LEAF_FOUND) {
		memset(answer->words, 0, VHDX_PAGE);
		err = source->read(context, leaf, answer->words);
		if (err)
			return err;
		answer->known = VHDX_LEAF_LOADED;
	}
	return answer->form->take(answer, min(answer->end, leaf_start(answer, leaf + 1))) &&
	       answer->offset < answer->end;
}
