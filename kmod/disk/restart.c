// SPDX-License-Identifier: GPL-2.0-only
#include "restart.h"
#include "disk.h"
#include "store/scope.h"

static struct bio *next(struct vhdx_restart *restart)
{
	struct bio *bio;

	spin_lock_irq(&restart->lock);
	bio = bio_list_pop(&restart->waiting);
	spin_unlock_irq(&restart->lock);
	return bio;
}

static void restart_work(struct work_struct *work)
{
	struct vhdx_restart *restart = container_of(work, struct vhdx_restart, work);
	struct vhdx_disk *disk = container_of(restart, struct vhdx_disk, restart);
	unsigned int flags = vhdx_scope_enter();
	struct bio *bio;

	while ((bio = next(restart)) != NULL) {
		submit_bio_noacct(bio);
		percpu_ref_put(&disk->io_ref);
	}
	vhdx_scope_leave(flags);
}

/**
 * vhdx_restart_init() - none is waiting
 * @restart:	zeroed
 */
void vhdx_restart_init(struct vhdx_restart *restart)
{
	spin_lock_init(&restart->lock);
	bio_list_init(&restart->waiting);
	INIT_WORK(&restart->work, restart_work);
}

/**
 * vhdx_restart_bio() - start a bio over, in a worker
 * @disk:	the disk
 * @bio:	holds a reference of disk->io_ref, which is dropped once it has started
 *
 * Any context.
 */
void vhdx_restart_bio(struct vhdx_disk *disk, struct bio *bio)
{
	struct vhdx_restart *restart = &disk->restart;
	unsigned long flags;

	spin_lock_irqsave(&restart->lock, flags);
	bio_list_add(&restart->waiting, bio);
	queue_work(disk->swap_wq, &restart->work);
	spin_unlock_irqrestore(&restart->lock, flags);
}
