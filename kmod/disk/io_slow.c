// SPDX-License-Identifier: GPL-2.0-only
/*
 * The slow path: what has to wait. Several queues, so that none waits for an item of its
 * own, which without memory for a thread stands behind it: pages are loaded and sessions begun
 * on one, blocks are allocated on another, the room for them is made on a third; writes of
 * swapped memory, and data behind a flush, are started on a fourth; the container and the
 * journal have theirs. What waits for memory waits for what is given back on the queue of
 * publications, which waits for nothing.
 */
#include "io.h"
#include "disk.h"
#include "store/scope.h"
#include "trace.h"

/* First writes wait for a commit while this many pages wait for theirs: a few transactions. */
#define DIRTY_PAGES_MAX		(4 * VHDX_LOG_PAGES_MAX)

static u64 block_of(const struct vhdx_io *io)
{
	return io->disk_offset >> vhdx_disk_leaf(io->disk)->image.geo.block_shift;
}

/* ---- load a page, begin the session ------------------------------------------ */

static void slow_work(struct work_struct *work)
{
	struct vhdx_io *io = container_of(work, struct vhdx_io, work);
	struct vhdx_disk *disk = io->disk;
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	unsigned int flags = vhdx_scope_enter();
	void *handle;
	int err = 0;

	if (vhdx_io_is_write(io))
		err = vhdx_session_begin(disk);
	if (!err)
		err = leaf->map->load(leaf, io->disk_offset, &handle);
	if (err) {
		vhdx_io_end(io, errno_to_blk_status(err));
	} else {
		vhdx_io_enter(io);
		leaf->map->unload(leaf, handle);
	}
	vhdx_scope_leave(flags);
}

/**
 * vhdx_io_slow() - map it again once its page is there and the session has begun
 * @io:		not mapped
 */
void vhdx_io_slow(struct vhdx_io *io)
{
	INIT_WORK(&io->work, slow_work);
	queue_work(io->disk->slow_wq, &io->work);
}

/* ---- a block that somebody works on ---------------------------------------------- */

/**
 * vhdx_io_wait_for_block() - map it again once nobody works on its block any more
 * @io:		not mapped: the block was busy
 *
 * Any context.
 */
void vhdx_io_wait_for_block(struct vhdx_io *io)
{
	struct vhdx_block_ops *blocks = &vhdx_disk_leaf(io->disk)->writer.blocks;

	if (!vhdx_block_op_wait(blocks, block_of(io), &io->link))
		vhdx_io_enter(io);
}

/**
 * vhdx_io_block_ended() - nobody works on the block any more that it waited for
 * @link:	of the piece
 */
void vhdx_io_block_ended(struct list_head *link)
{
	vhdx_io_enter(container_of(link, struct vhdx_io, link));
}

/* ---- allocate a block ---------------------------------------------------------- */

/* The block is mapped, or it is not: those who waited find out by themselves. */
static void end_op(struct vhdx_io *io, struct vhdx_block_op *op)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);

	if (op->handle)
		leaf->map->release(leaf, io->disk_offset, op->handle);
	vhdx_block_op_end(&leaf->writer.blocks, op);
}

/* No stale byte: what the write does not cover is zero before the block is mapped. */
static int zero_around(struct vhdx_io *io, u64 where)
{
	struct vhdx_container *c = io->request.container;
	u32 block_size = vhdx_disk_leaf(io->disk)->image.geo.block_size;
	u64 begin = io->disk_offset & (block_size - 1);
	u64 end = begin + io->length;
	int err = 0;

	if (begin)
		err = c->ops->zero(c, where, begin);
	if (!err && end < block_size)
		err = c->ops->zero(c, where + end, block_size - end);
	return err;
}

/*
 * Who comes first makes the block; everybody else waits for it. Rule V1: the fast path
 * does not see the block before it is complete.
 */
static void allocate_work(struct work_struct *work)
{
	struct vhdx_io *io = container_of(work, struct vhdx_io, work);
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);
	unsigned int flags = vhdx_scope_enter();
	struct vhdx_mapping extent;
	struct vhdx_block_op *op;
	bool zeroed;
	int err;

	if (READ_ONCE(leaf->pages.dirty_count) >= DIRTY_PAGES_MAX) {
		io->parked = true;
		vhdx_io_wait_for_commit(io);
		goto out;
	}
	/* Those that are under way end as soon as their data is written. */
	op = vhdx_block_op_begin(&leaf->writer.blocks, block_of(io), &io->link);
	if (!op)
		goto out;

	err = leaf->map->hold(leaf, io->disk_offset, &op->handle);
	if (err)
		goto fail_op;
	/* Somebody may have made it since the lookup that sent us here. */
	leaf->map->held(leaf, io->disk_offset, op->handle, &extent);
	if (extent.kind != VHDX_MAPPING_ZERO) {
		end_op(io, op);
		vhdx_io_enter(io);
		goto out;
	}
	err = leaf->map->place(leaf, op->handle, &op->where, &zeroed);
	if (err)
		goto fail_op;
	trace_vhdx_allocate(io->disk->index, op->block, op->where, zeroed);
	if (!zeroed)
		err = zero_around(io, op->where);
	if (err)
		goto fail_place;

	io->op = op;
	io->commit = io->orig->bi_opf & REQ_FUA;
	vhdx_io_enter(io);
	goto out;

fail_place:
	leaf->map->abandon(leaf, op->where, err);
fail_op:
	end_op(io, op);
	vhdx_io_end(io, errno_to_blk_status(err));
out:
	vhdx_scope_leave(flags);
}

/**
 * vhdx_io_new_place() - where in the container it goes
 * @io:		with the block that is made for it
 */
u64 vhdx_io_new_place(const struct vhdx_io *io)
{
	return io->op->where +
	       (io->disk_offset & (vhdx_disk_leaf(io->disk)->image.geo.block_size - 1));
}

/**
 * vhdx_io_allocate() - a write to a block that is nowhere
 * @io:		admitted, session begun
 */
void vhdx_io_allocate(struct vhdx_io *io)
{
	INIT_WORK(&io->work, allocate_work);
	queue_work(io->disk->allocate_wq, &io->work);
}

static void publish_work(struct work_struct *work)
{
	struct vhdx_io *io = container_of(work, struct vhdx_io, work);
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);
	struct vhdx_block_op *op = io->op;
	unsigned int flags = vhdx_scope_enter();

	if (io->status)
		leaf->map->abandon(leaf, op->where, blk_status_to_errno(io->status));
	else
		leaf->map->publish(leaf, io->disk_offset, op->where, op->handle);
	io->op = NULL;
	end_op(io, op);
	vhdx_io_done(io, io->status);
	vhdx_scope_leave(flags);
}

/**
 * vhdx_io_publish() - the data of a new block is in the container
 * @io:		with the operation that made it
 * @status:	how the write went
 *
 * Any context. A queue of its own: all the others may wait for what is given back here.
 */
void vhdx_io_publish(struct vhdx_io *io, blk_status_t status)
{
	io->status = status;
	INIT_WORK(&io->work, publish_work);
	queue_work(io->disk->publish_wq, &io->work);
}
