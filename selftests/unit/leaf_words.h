/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Leaves of sealed deltas in plain words, as a model has them.
 */
#ifndef LEAF_WORDS_H
#define LEAF_WORDS_H

#include "core/rct/sidecar.h"

/* OR leaf @leaf of @delta into @words. As vhdx_sidecar_read_leaf(). */
static inline int read_words(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
			     u32 leaf, u64 *words, struct vhdx_index_cache *cache)
{
	struct vhdx_leaf_bits found;
	int err;
	u32 i;

	/* What lies in words of no group is not to be told. */
	memset(&found, 0xa5, sizeof(found));
	vhdx_leaf_bits_clear(&found);
	err = vhdx_sidecar_read_leaf(sidecar, delta, leaf, &found, cache);
	for (i = 0; i < VHDX_LEAF_WORDS; i++)
		words[i] |= vhdx_leaf_bits_word(&found, i);
	return err;
}

#endif
