// SPDX-License-Identifier: GPL-2.0-only
#include "swap_out.h"
#include "disk.h"
#include "writer.h"

static struct bio *next(struct vhdx_swap_out *swap_out)
{
	struct bio *bio = NULL;

	spin_lock_irq(&swap_out->lock);
	if (swap_out->under_way < VHDX_SWAP_OUTS)
		bio = bio_list_pop(&swap_out->waiting);
	if (bio)
		swap_out->under_way++;
	spin_unlock_irq(&swap_out->lock);
	return bio;
}

static void start_work(struct work_struct *work)
{
	struct vhdx_swap_out *swap_out = container_of(work, struct vhdx_swap_out, work);
	struct vhdx_disk *disk = container_of(swap_out, struct vhdx_disk, swap_out);
	unsigned int flags = vhdx_writer_enter();
	struct blk_plug plug;
	struct bio *bio;

	blk_start_plug(&plug);
	while ((bio = next(swap_out)) != NULL)
		vhdx_io_start(disk, bio, true);
	blk_finish_plug(&plug);
	vhdx_writer_leave(flags);
}

/**
 * vhdx_swap_out_init() - none is under way
 * @swap_out:	zeroed
 */
void vhdx_swap_out_init(struct vhdx_swap_out *swap_out)
{
	spin_lock_init(&swap_out->lock);
	bio_list_init(&swap_out->waiting);
	INIT_WORK(&swap_out->work, start_work);
}

/**
 * vhdx_swap_out_enter() - one more: may it start?
 * @disk:	the disk
 * @bio:	vhdx_is_swap_out(), with a reference of disk->io_ref
 *
 * Any context. Returns false if the bio waits: vhdx_io_start() is called for it later.
 */
bool vhdx_swap_out_enter(struct vhdx_disk *disk, struct bio *bio)
{
	struct vhdx_swap_out *swap_out = &disk->swap_out;
	unsigned long flags;
	bool starts;

	spin_lock_irqsave(&swap_out->lock, flags);
	starts = swap_out->under_way < VHDX_SWAP_OUTS && bio_list_empty(&swap_out->waiting);
	if (starts)
		swap_out->under_way++;
	else
		bio_list_add(&swap_out->waiting, bio);
	spin_unlock_irqrestore(&swap_out->lock, flags);
	return starts;
}

/**
 * vhdx_swap_out_leave() - one that had started has ended
 * @disk:	the disk; the caller still holds the reference of that one
 *
 * Any context.
 */
void vhdx_swap_out_leave(struct vhdx_disk *disk)
{
	struct vhdx_swap_out *swap_out = &disk->swap_out;
	unsigned long flags;

	spin_lock_irqsave(&swap_out->lock, flags);
	swap_out->under_way--;
	if (!bio_list_empty(&swap_out->waiting))
		queue_work(disk->swap_wq, &swap_out->work);
	spin_unlock_irqrestore(&swap_out->lock, flags);
}
