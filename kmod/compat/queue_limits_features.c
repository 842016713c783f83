// SPDX-License-Identifier: GPL-2.0-only
/* 6.11: limits and features are one structure, given at allocation. */
#include <linux/blkdev.h>

struct gendisk *probe(void);
struct gendisk *probe(void)
{
	struct queue_limits lim = { .features = BLK_FEAT_WRITE_CACHE | BLK_FEAT_FUA };

	return blk_alloc_disk(&lim, NUMA_NO_NODE);
}
