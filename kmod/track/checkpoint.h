/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Saving the live delta while writes go on, so that regions can be cleared (rule T3):
 *
 *	choose		regions that are armed; from now on writes find them unarmed, and arm them
 *			again, which cancels the clear
 *	grace period	every mark that was made while they were armed can be seen
 *	keep		regions with a write in flight stay set
 *	save		what the others have; a commit makes that durable
 *	clear		what no write has armed again, by the committer of the coarse map
 *
 * In the background it runs after some time, when many regions are set, or when none was set for a
 * while; and always before the clean close.
 */
#ifndef VHDX_CHECKPOINT_H
#define VHDX_CHECKPOINT_H

#include <linux/types.h>
#include <linux/workqueue.h>

struct vhdx_coarse;
struct vhdx_tracker;

/**
 * struct vhdx_checkpoint - those in the background
 * @work:	the next one
 * @count:	how many were written, with the one before a close
 */
struct vhdx_checkpoint {
	struct delayed_work work;
	u64 count;
};

void vhdx_checkpoint_init(struct vhdx_checkpoint *checkpoint);
void vhdx_checkpoint_plan(struct vhdx_tracker *tracker, struct vhdx_coarse *coarse);
void vhdx_checkpoint_stop(struct vhdx_checkpoint *checkpoint);
int vhdx_checkpoint_all(struct vhdx_tracker *tracker, int *unsaved);

#endif
