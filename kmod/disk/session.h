/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One use of a disk's leaf for writing (struct vhdx_session), and what its sidecar is told of it.
 *
 * A session begins with the first visible change, not at attach: a disk that is only
 * read leaves its container as it was, byte for byte.
 */
#ifndef VHDX_SESSION_H
#define VHDX_SESSION_H

#include <linux/wait.h>
#include <linux/workqueue.h>

struct vhdx_diag;
struct vhdx_disk;

/**
 * struct vhdx_session_start - a session that tasks wait for which can be killed
 * @work:	begins it; on slow_wq, as the first write does
 * @ended:	how often that has ended
 * @err:	how it ended last
 * @wait:	for that
 */
struct vhdx_session_start {
	struct work_struct work;
	u32 ended;
	int err;
	wait_queue_head_t wait;
};

int vhdx_session_refused(struct vhdx_disk *disk);
int vhdx_session_begin(struct vhdx_disk *disk);
void vhdx_session_start_init(struct vhdx_session_start *start);
u32 vhdx_session_start(struct vhdx_disk *disk);
int vhdx_session_started(struct vhdx_disk *disk, u32 start);
int vhdx_session_wait(struct vhdx_disk *disk);
int vhdx_session_end(struct vhdx_disk *disk, struct vhdx_diag *gap);
int vhdx_session_shut(struct vhdx_disk *disk);

#endif
