/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A container that was cut, or that another image was written over, while it is attached.
 *
 * What lay behind its new end must not read as zeroes, and what is in the file now must not be
 * written by this disk. From the moment that it is seen, the container is neither read nor written,
 * not even its header, until the disk is detached; and each question about changes is answered with
 * a gap, which is in the sidecar before the first answer (invariants 1 and 2, rule T7).
 *
 *	seen	a read ends before the known end; the length, before every transfer,
 *		commit, seal and query; the header, read back before every update
 *	gap	a worker writes it into the sidecar; pieces that fail meanwhile are parked
 *	told	it is there, or can't be written in time: parked pieces end
 */
#ifndef VHDX_LOSS_H
#define VHDX_LOSS_H

#include "store/container.h"

#include <linux/completion.h>
#include <linux/workqueue.h>

struct vhdx_diag;
struct vhdx_disk;
struct vhdx_io;

#define VHDX_LOSS_TEXT	100

/**
 * struct vhdx_loss - see the file comment
 * @lock:	everything but the completion; any context
 * @how:	what was found, for messages; empty before
 * @told:	no piece is parked any more
 * @parked:	pieces that failed before the gap was there
 * @gap_wq:	where that is done; NULL while there is no I/O and no question
 * @gap_work:	writes it; waits for tracker->tree
 * @release_work: ends parked pieces at their deadline
 * @below_work:	says that a parent is lost
 * @gap_done:	@gap_work has ended: what the tracker says is true
 */
struct vhdx_loss {
	spinlock_t lock;
	char how[VHDX_LOSS_TEXT];
	bool told;
	struct list_head parked;
	struct workqueue_struct *gap_wq;
	struct work_struct gap_work;
	struct delayed_work release_work;
	struct work_struct below_work;
	struct completion gap_done;
};

void vhdx_loss_init(struct vhdx_loss *loss);
void vhdx_loss_start(struct vhdx_disk *disk);
void vhdx_loss_see(struct vhdx_disk *disk, const char *how);
void vhdx_loss_see_below(struct vhdx_disk *disk);
bool vhdx_loss_park(struct vhdx_io *io, blk_status_t status);
int vhdx_loss_settle(struct vhdx_disk *disk);
void vhdx_loss_how(struct vhdx_disk *disk, char how[VHDX_LOSS_TEXT]);
void vhdx_loss_explain(struct vhdx_disk *disk, int err, struct vhdx_diag *diag);
void vhdx_loss_stop(struct vhdx_disk *disk);

#endif
