// SPDX-License-Identifier: GPL-2.0-only
/* 6.17: what is made zeroes without being written (FALLOC_FL_WRITE_ZEROES). */
#include <linux/blkdev.h>

unsigned int probe(void);
unsigned int probe(void)
{
	struct queue_limits lim = {
		.max_hw_wzeroes_unmap_sectors = 8,
	};

	return lim.max_hw_wzeroes_unmap_sectors;
}
