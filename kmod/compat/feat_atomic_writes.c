// SPDX-License-Identifier: GPL-2.0-only
/* 6.14: and they have to say that they mean it. */
#include <linux/blkdev.h>

blk_features_t probe(void);
blk_features_t probe(void)
{
	return BLK_FEAT_ATOMIC_WRITES;
}
