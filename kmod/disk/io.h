/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One piece of a bio, which is mapped as a whole, on its way.
 *
 *	submit_bio	through the gate (gate.h); a write's first mark (inflight.h)
 *	  -> map	fast: looked up without locks, sent to the container
 *	  -> slow path	a page to load, a session to begin, a block to allocate; cut to one
 *			block, outside the gate, and through it again
 *	  -> unmap	whole blocks that are discarded, or zeroed: busy, gate flipped; inside
 *			again, and unmapped
 *	  -> waits	for a commit that sets its regions (coarse.h), the same way
 *	  -> container	done: out of the gate; second mark, the caller's bio ends
 *
 * submit_bio never waits (rule K1): a piece that has to wait is handed to a workqueue.
 */
#ifndef VHDX_IO_H
#define VHDX_IO_H

#include "layer/gate.h"
#include "layer/journal.h"
#include "store/request.h"
#include "track/inflight.h"

#include <linux/workqueue.h>

struct vhdx_block_op;
struct vhdx_disk;
struct vhdx_mapping;

/**
 * struct vhdx_io - state of one piece, in front of its clone
 * @disk:	where it goes
 * @ref:	of the disk, that it holds a reference of until the end (rule K2)
 * @orig:	the caller's bio; this piece is all of it
 * @link:	in the list that it is parked in: of its block's operation, of writes whose regions
 *		are set, or of the loss
 * @waiter:	for a commit of the journal
 * @pass:	its way through the gate
 * @write:	in flight, if it is a write and the disk is tracked
 * @work:	slow path, publication, zeroes
 * @disk_offset: first byte on the disk
 * @length:	in bytes; zero for a bare flush
 * @op:		makes the new block that it fills, until that is published; or unmaps its blocks,
 *		until they are
 * @again:	goes on with it once the commit is done that it waits for, before it is mapped; or
 *		NULL
 * @commit:	durable only after a commit of the journal (rule V4)
 * @status:	how it ended, while it waits for publication or commit
 * @swap_out:	one of the writes of swapped memory under way (swap_out.h)
 * @start_time:	for the disk's statistics
 * @request:	its transfer, once it is mapped; last, see there
 */
struct vhdx_io {
	struct vhdx_disk *disk;
	struct percpu_ref *ref;
	struct bio *orig;
	struct list_head link;
	struct vhdx_commit_waiter waiter;
	struct vhdx_pass pass;
	struct vhdx_write write;
	struct work_struct work;
	u64 disk_offset;
	u64 length;
	struct vhdx_block_op *op;
	void (*again)(struct vhdx_io *io);
	bool commit;
	blk_status_t status;
	bool swap_out;
	unsigned long start_time;
	struct vhdx_request request;
};

static inline bool vhdx_io_is_write(const struct vhdx_io *io)
{
	return op_is_write(bio_op(io->orig));
}

/* It has no data: what is there becomes zeroes, or goes. */
static inline bool vhdx_io_is_unmap(const struct vhdx_io *io)
{
	return bio_op(io->orig) == REQ_OP_DISCARD || bio_op(io->orig) == REQ_OP_WRITE_ZEROES;
}

/* io.c */
void vhdx_submit_bio(struct bio *bio);
void vhdx_io_start(struct vhdx_disk *disk, struct bio *bio);
void vhdx_io_resume(struct vhdx_pass *pass);
void vhdx_io_covered(struct list_head *link);
bool vhdx_io_shut(struct vhdx_disk *disk, unsigned long deadline);
void vhdx_io_enter(struct vhdx_io *io);
void vhdx_io_enter_slowly(struct vhdx_io *io);
void vhdx_io_finish(struct vhdx_io *io, blk_status_t status);
void vhdx_io_done(struct vhdx_io *io, blk_status_t status);
void vhdx_io_end(struct vhdx_io *io, blk_status_t status);
void vhdx_io_wait_for_commit(struct vhdx_io *io);

/* io_slow.c */
void vhdx_io_slow(struct vhdx_io *io);
bool vhdx_io_wait_for_block(struct vhdx_io *io);
void vhdx_io_block_ended(struct list_head *link);
void vhdx_io_allocate(struct vhdx_io *io);
bool vhdx_io_allocate_now(struct vhdx_io *io);
u64 vhdx_io_new_place(const struct vhdx_io *io);
void vhdx_io_publish(struct vhdx_io *io, blk_status_t status);
bool vhdx_io_wait_while_dirty(struct vhdx_io *io, void (*again)(struct vhdx_io *io));

/* io_unmap.c */
u64 vhdx_io_whole_blocks(const struct vhdx_io *io);
bool vhdx_io_needs_no_block(const struct vhdx_io *io, const struct vhdx_mapping *extent);
void vhdx_io_unmap(struct vhdx_io *io);
void vhdx_io_end_unmap(struct vhdx_io *io);
void vhdx_io_zero(struct vhdx_io *io);

#endif
