/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VHDX_SHUTDOWN_H
#define VHDX_SHUTDOWN_H

#include <linux/list.h>
#include <linux/workqueue.h>

/**
 * struct vhdx_shutdown - what a disk needs to be closed when the machine goes down
 * @link:	in a list of disks that are closed side by side
 * @depth:	on how many VHDX disks it lies, one on the other
 * @work:	closes it
 * @deadline:	when it gives up, in jiffies
 * @done:	it has ended, one way or the other
 */
struct vhdx_shutdown {
	struct list_head link;
	unsigned int depth;
	struct work_struct work;
	unsigned long deadline;
	bool done;
};

int vhdx_shutdown_init(void);
void vhdx_shutdown_exit(void);

#endif
