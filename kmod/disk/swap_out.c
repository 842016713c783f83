// SPDX-License-Identifier: GPL-2.0-only
#include "swap_out.h"
#include "disk.h"
#include "message.h"
#include "store/scope.h"

/* How many bios are given back at a time, after no swap-out has ended in so many looks. */
#define GIVEN_BACK	256
#define STILL		20
#define LOOK		(HZ / 20)

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
	unsigned int flags = vhdx_scope_enter();
	struct blk_plug plug;
	struct bio *bio;

	blk_start_plug(&plug);
	while ((bio = next(swap_out)) != NULL)
		vhdx_io_start(disk, bio);
	blk_finish_plug(&plug);
	vhdx_scope_leave(flags);
}

static bool nothing_moves(struct vhdx_swap_out *swap_out)
{
	lockdep_assert_held(&swap_out->lock);
	if (swap_out->ended != swap_out->seen)
		swap_out->still = 0;
	else
		swap_out->still++;
	swap_out->seen = swap_out->ended;
	return swap_out->still >= STILL;
}

/*
 * Only bios that swapping made itself, out of the reserve that it shares with file systems, are
 * given back: device mapper and md have reserves of their own, and md would take the disk out of
 * its array. In newer kernels (7.3) swapping has its own reserve, too, and nothing is given back.
 */
static void give_back(struct vhdx_swap_out *swap_out, struct bio_list *given_back)
{
	struct bio_list kept = BIO_EMPTY_LIST;
	struct bio *bio;
	int i;

	lockdep_assert_held(&swap_out->lock);
	for (i = 0; i < GIVEN_BACK; i++) {
		bio = bio_list_pop(&swap_out->waiting);
		if (!bio)
			break;
		bio_list_add(bio->bi_pool == &fs_bio_set ? given_back : &kept, bio);
	}
	bio_list_merge(&swap_out->waiting, &kept);
}

static void watch(struct timer_list *timer)
{
	struct vhdx_swap_out *swap_out = container_of(timer, struct vhdx_swap_out, watch);
	struct vhdx_disk *disk = container_of(swap_out, struct vhdx_disk, swap_out);
	struct bio_list given_back = BIO_EMPTY_LIST;
	unsigned long flags;
	struct bio *bio;

	spin_lock_irqsave(&swap_out->lock, flags);
	if (nothing_moves(swap_out))
		give_back(swap_out, &given_back);
	if (!bio_list_empty(&swap_out->waiting))
		mod_timer(&swap_out->watch, jiffies + LOOK);
	spin_unlock_irqrestore(&swap_out->lock, flags);

	while ((bio = bio_list_pop(&given_back)) != NULL) {
		bio->bi_status = BLK_STS_RESOURCE;
		bio_endio(bio);
		percpu_ref_put(&disk->write_ref);
	}
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
	timer_setup(&swap_out->watch, watch, 0);
}

/**
 * vhdx_swap_out_stop() - the timer does not run any more
 * @swap_out:	no bio is waiting, and none comes
 */
void vhdx_swap_out_stop(struct vhdx_swap_out *swap_out)
{
	timer_delete_sync(&swap_out->watch);
}

/*
 * What is in a page cache is written by the kernel's flusher, who may wait for memory that is to be
 * swapped out to this disk. That can't be helped here; whoever finds that the machine stands still
 * is to find out why.
 */
static void begin(struct vhdx_disk *disk)
{
	const struct vhdx_container *c = vhdx_disk_container(disk);
	struct vhdx_swap_out *swap_out = &disk->swap_out;
	unsigned long flags;
	bool first;

	spin_lock_irqsave(&swap_out->lock, flags);
	first = !swap_out->begun;
	WRITE_ONCE(swap_out->begun, true);
	spin_unlock_irqrestore(&swap_out->lock, flags);
	if (first && c->ops->file_system && !c->direct)
		vhdx_say_warn(disk->index,
			      "memory is swapped out to it, and its container is used through the page cache: when memory runs out, the machine may stand still for good; use other swap space");
}

/**
 * vhdx_swap_out_enter() - one more write of swapped memory: may it start?
 * @disk:	the disk
 * @bio:	vhdx_is_swap_out(), with a reference of disk->write_ref
 *
 * Any context. Returns false if the bio waits: vhdx_io_start() is called for it later, or it ends
 * with an error, unwritten.
 */
bool vhdx_swap_out_enter(struct vhdx_disk *disk, struct bio *bio)
{
	struct vhdx_swap_out *swap_out = &disk->swap_out;
	unsigned long flags;
	bool starts;

	if (unlikely(!READ_ONCE(swap_out->begun)))
		begin(disk);
	spin_lock_irqsave(&swap_out->lock, flags);
	starts = swap_out->under_way < VHDX_SWAP_OUTS && bio_list_empty(&swap_out->waiting);
	if (starts)
		swap_out->under_way++;
	else
		bio_list_add(&swap_out->waiting, bio);
	/* Below a block device there is no file system that waiting bios could hold up. */
	if (!starts && vhdx_disk_container(disk)->ops->file_system &&
	    !timer_pending(&swap_out->watch))
		mod_timer(&swap_out->watch, jiffies + LOOK);
	spin_unlock_irqrestore(&swap_out->lock, flags);
	return starts;
}

/**
 * vhdx_swap_out_leave() - a write of swapped memory that had started has ended
 * @disk:	the disk; the caller still holds the write's reference
 *
 * Any context.
 */
void vhdx_swap_out_leave(struct vhdx_disk *disk)
{
	struct vhdx_swap_out *swap_out = &disk->swap_out;
	unsigned long flags;

	spin_lock_irqsave(&swap_out->lock, flags);
	swap_out->under_way--;
	swap_out->ended++;
	if (!bio_list_empty(&swap_out->waiting))
		queue_work(disk->swap_wq, &swap_out->work);
	spin_unlock_irqrestore(&swap_out->lock, flags);
}
