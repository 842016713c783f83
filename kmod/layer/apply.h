/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The pages of a log entry on their way to their places: all of them at once.
 */
#ifndef VHDX_APPLY_H
#define VHDX_APPLY_H

#include "core/vhdx/log.h"
#include "store/request.h"

#include <linux/completion.h>

struct vhdx_apply_page;

/**
 * struct vhdx_apply - one log entry's at a time
 * @pages:	a request for each page that an entry may have, or NULL
 * @remaining:	requests under way, and one for the task that sends them
 * @done:	none is
 * @status:	of one that failed, or BLK_STS_OK
 */
struct vhdx_apply {
	struct vhdx_apply_page **pages;
	atomic_t remaining;
	struct completion done;
	blk_status_t status;
};

int vhdx_apply_prepare(struct vhdx_apply *apply);
void vhdx_apply_destroy(struct vhdx_apply *apply);
int vhdx_apply(struct vhdx_apply *apply, struct vhdx_container *container,
	       const struct vhdx_log_page *copies, unsigned int count);

#endif
