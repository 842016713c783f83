/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Data that came with a flush in front of it: once the commit is done it starts over, as a new
 * bio. To start it may take memory that only the next commits give back, so no worker that commits
 * does it. What waits for its turn is a bio, which holds nothing that other bios wait for.
 */
#ifndef VHDX_RESTART_H
#define VHDX_RESTART_H

#include <linux/bio.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

struct vhdx_disk;

/**
 * struct vhdx_restart - see the file comment
 * @lock:	@waiting; irq-safe
 * @waiting:	bios that are to start over; each holds a reference of disk->io_ref
 * @work:	starts the bios in @waiting
 */
struct vhdx_restart {
	spinlock_t lock;
	struct bio_list waiting;
	struct work_struct work;
};

void vhdx_restart_init(struct vhdx_restart *restart);
void vhdx_restart_bio(struct vhdx_disk *disk, struct bio *bio);

#endif
