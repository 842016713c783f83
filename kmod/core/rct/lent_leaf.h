/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * A leaf that is told as it is, straight out of the page in which it lies: where only one delta
 * has it, nothing has to be put together.
 */
#ifndef VHDX_CORE_LENT_LEAF_H
#define VHDX_CORE_LENT_LEAF_H

#include "core/platform.h"

/**
 * struct vhdx_lent_leaf - what VHDX_LENT_PAGE stands for
 * @page:	the leaf as it is in files, one bit per unit; to be put. Of a live map: others may
 *		set bits in it meanwhile
 * @units:	how many bits it has; of a live map not less than when it was lent
 */
struct vhdx_lent_leaf {
	void *page;
	u32 units;
};

/**
 * enum vhdx_lending - what becomes of the wish
 * @VHDX_LENT_NOT:	it has to be read
 * @VHDX_LENT_NOTHING:	there is no such leaf
 * @VHDX_LENT_PAGE:	that is all of it
 */
enum vhdx_lending {
	VHDX_LENT_NOT,
	VHDX_LENT_NOTHING,
	VHDX_LENT_PAGE,
};

/* There is more than what was lent, if anything was: it has to be read. */
static inline enum vhdx_lending vhdx_take_back(enum vhdx_lending lending,
					       struct vhdx_lent_leaf *lent)
{
	if (lending == VHDX_LENT_PAGE)
		vhdx_shared_put(lent->page);
	return VHDX_LENT_NOT;
}

#endif
