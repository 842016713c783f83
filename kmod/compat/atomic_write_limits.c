// SPDX-License-Identifier: GPL-2.0-only
/* 6.11: devices say how much they write as a whole or not at all. */
#include <linux/blkdev.h>

unsigned int probe(struct block_device *bdev);
unsigned int probe(struct block_device *bdev)
{
	struct queue_limits lim = {
		.atomic_write_hw_max = queue_atomic_write_max_bytes(bdev_get_queue(bdev)),
	};

	return bdev_can_atomic_write(bdev) ? lim.atomic_write_hw_max : 0;
}
