/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Writes of memory that is being swapped out. It stays in use until it is written, and to
 * write it takes more of it: clones, and whatever the file system below needs for a request.
 * So no more than VHDX_SWAP_OUTS of them are under way, as many as a request queue has.
 *
 * The others wait for their turn as bios, which a list of takes no memory, and whoever
 * reclaims memory goes on (rule K1): it may be the one that those under way wait for, in the
 * middle of a commit of the file system that the container lies on.
 *
 * Still each that waits holds a bio, and keeps a page. Once there is no memory for more bios,
 * nobody gets on: who reclaims memory needs bios to reclaim with, in the file system below too,
 * which may hold what those under way wait for. A loop device on a sparse file stands still for
 * good then. Here, when none has ended for a second, and the container is a file, some of those
 * that wait are given back unwritten, until something moves: such a page stays in memory, dirty,
 * and is swapped out later. The kernel says "Write-error on swap-device" of it; nothing is lost.
 */
#ifndef VHDX_SWAP_OUT_H
#define VHDX_SWAP_OUT_H

#include <linux/bio.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

struct vhdx_disk;

#define VHDX_SWAP_OUTS	128

/**
 * struct vhdx_swap_out - see the file comment
 * @lock:	everything below; irq-safe
 * @waiting:	bios that have not been started; each holds one of disk->write_ref
 * @under_way:	how many have
 * @ended:	how many of these have ended, ever
 * @seen:	@ended when @watch last looked
 * @still:	how often it has found that nothing moves, in a row
 * @watch:	looks after those that wait
 * @work:	starts some, after others ended
 */
struct vhdx_swap_out {
	spinlock_t lock;
	struct bio_list waiting;
	unsigned int under_way;
	unsigned int ended;
	unsigned int seen;
	unsigned int still;
	struct timer_list watch;
	struct work_struct work;
};

void vhdx_swap_out_init(struct vhdx_swap_out *swap_out);
void vhdx_swap_out_stop(struct vhdx_swap_out *swap_out);
bool vhdx_swap_out_enter(struct vhdx_disk *disk, struct bio *bio);
void vhdx_swap_out_leave(struct vhdx_disk *disk);

static inline bool vhdx_is_swap_out(const struct bio *bio)
{
	return bio->bi_opf & REQ_SWAP && op_is_write(bio_op(bio)) && !(bio->bi_opf & REQ_NOWAIT);
}

#endif
