/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Writes of memory that is being swapped out. The memory stays in use until it is written, and
 * writing it takes more memory: clones, and whatever the file system below needs for a request.
 * So no more than VHDX_SWAP_OUTS writes are under way, as many as a request queue has.
 *
 * The other writes wait for their turn as bios in a list, which takes no memory, and the task that
 * reclaims memory goes on (rule K1): the writes under way may wait for that very task, which is in
 * the middle of a commit of the file system that the container lies on.
 *
 * A bio that observers are told of (observers.h) counts as one write, whatever it is cut into: none
 * of its parts waits for its turn.
 *
 * Still each bio that waits keeps itself and a page from being freed. Once there is no memory for
 * more bios, no task can reclaim memory, for that takes bios; not in the file system below either,
 * which may hold what the writes under way wait for. A loop device on a sparse file stands still
 * for good then. Here, if the container is a file, and no write has ended for a second, some of the
 * bios that wait are given back unwritten, until a write ends: such a page stays in memory, dirty,
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
 * @begun:	there was one; set once
 * @waiting:	bios that have not been started; each holds a reference of disk->write_ref
 * @under_way:	how many writes have been started, and have not ended
 * @ended:	how many writes have ended, ever
 * @seen:	@ended when @watch last looked
 * @still:	how often in a row @watch has found that no write had ended
 * @watch:	looks after @waiting
 * @work:	starts writes, after others have ended
 */
struct vhdx_swap_out {
	spinlock_t lock;
	bool begun;
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
