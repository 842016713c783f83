// SPDX-License-Identifier: GPL-2.0-only
/*
 * The slow path: pieces of bios that have to wait. There are several workqueues, so that no item
 * waits for another item of its own queue, which would stand behind it if there is no memory for
 * another thread. slow_wq loads pages and begins sessions, allocate_wq allocates blocks, unmap_wq
 * waits until blocks can be unmapped, space_wq makes room for new ones, swap_wq starts writes of
 * swapped memory and data behind a flush; container and journal have their own. An item that waits
 * for memory waits for what publish_wq gives back, and no item of publish_wq waits for anything;
 * pieces that waited for a block, or at the gate, go on there.
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
	unsigned int flags = vhdx_scope_enter();
	struct vhdx_chain_pins pins;
	int err = 0;

	if (vhdx_io_is_write(io))
		err = vhdx_session_begin(disk);
	if (!err)
		err = vhdx_chain_load(disk, io->disk_offset, io->length, vhdx_io_is_write(io),
				      &pins);
	if (err) {
		vhdx_io_end(io, errno_to_blk_status(err));
	} else {
		vhdx_io_enter_slowly(io);
		vhdx_chain_unload(disk, &pins);
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

/* ---- a block with an operation under way ----------------------------------------- */

/**
 * vhdx_io_wait_for_block() - map it again once the operation on its block has ended
 * @io:		not mapped: the block was busy
 *
 * Any context. Returns false if no operation is under way: the caller maps the piece again.
 */
bool vhdx_io_wait_for_block(struct vhdx_io *io)
{
	struct vhdx_block_ops *blocks = &vhdx_disk_leaf(io->disk)->writer.blocks;

	return vhdx_block_op_wait(blocks, block_of(io), &io->link);
}

/**
 * vhdx_io_block_ended() - the operation that the piece waited for has ended
 * @link:	of the piece
 */
void vhdx_io_block_ended(struct list_head *link)
{
	vhdx_io_enter(container_of(link, struct vhdx_io, link));
}

/* ---- allocate a block ---------------------------------------------------------- */

static void end_work(struct work_struct *work)
{
	unsigned int flags = vhdx_scope_enter();

	vhdx_block_op_end(container_of(work, struct vhdx_block_op, work));
	vhdx_scope_leave(flags);
}

/*
 * The block is mapped, or it is not: pieces that waited for it look it up again, in a worker: here
 * may be a place that one of them comes from. Any context.
 */
static void end_op(struct vhdx_io *io, struct vhdx_block_op *op)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);

	if (op->pin.entry)
		leaf->mapping->release(leaf, io->disk_offset, &op->pin);
	if (vhdx_block_op_end_alone(op))
		return;
	INIT_WORK(&op->work, end_work);
	queue_work(io->disk->publish_wq, &op->work);
}

/**
 * vhdx_io_wait_while_dirty() - what makes pages dirty waits if there are too many
 * @io:		outside of the gate, and on no list
 * @again:	goes on with it
 *
 * Returns false if it goes on at once.
 */
bool vhdx_io_wait_while_dirty(struct vhdx_io *io, void (*again)(struct vhdx_io *io))
{
	if (READ_ONCE(vhdx_disk_leaf(io->disk)->pages.dirty_count) < DIRTY_PAGES_MAX)
		return false;
	io->again = again;
	vhdx_io_wait_for_commit(io);
	return true;
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
		err = c->ops->zero(c, where, begin, false);
	if (!err && end < block_size)
		err = c->ops->zero(c, where + end, block_size - end, false);
	return err;
}

/*
 * The first write to a block makes it; all others wait in its operation's list. The fast path does
 * not see the block before it is complete (rule V1).
 */
static void allocate_work(struct work_struct *work)
{
	struct vhdx_io *io = container_of(work, struct vhdx_io, work);
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);
	unsigned int flags = vhdx_scope_enter();
	struct vhdx_mapping extent;
	struct vhdx_block_op *op;
	int err;

	if (vhdx_io_wait_while_dirty(io, vhdx_io_allocate))
		goto out;
	/* If another operation is under way, it ends as soon as its data is written. */
	op = vhdx_block_op_begin(&leaf->writer.blocks, block_of(io), 1, &io->link);
	if (!op)
		goto out;

	err = leaf->mapping->hold(leaf, io->disk_offset, io->length, &op->pin);
	if (err == -EAGAIN)
		goto after_commit;
	if (err)
		goto fail_op;
	/* Another write may have made it since the lookup that sent this one here. */
	leaf->mapping->held(leaf, io->disk_offset, io->length, &op->pin, &extent);
	if (extent.kind != VHDX_MAPPING_ZERO && extent.kind != VHDX_MAPPING_PARENT) {
		end_op(io, op);
		vhdx_io_enter(io);
		goto out;
	}
	err = leaf->mapping->place(leaf, io->disk_offset, &op->pin, &op->room);
	if (err == -EAGAIN)
		goto after_commit;
	if (err)
		goto fail_op;
	if (op->room.fresh)
		trace_vhdx_allocate(io->disk->index, op->block, op->room.where, op->room.zeroed);
	if (!op->room.zeroed)
		err = zero_around(io, op->room.where);
	if (err)
		goto fail_place;

	io->op = op;
	io->commit = io->orig->bi_opf & REQ_FUA;
	vhdx_io_enter(io);
	goto out;

after_commit:
	end_op(io, op);
	io->again = vhdx_io_allocate;
	vhdx_io_wait_for_commit(io);
	goto out;
fail_place:
	leaf->mapping->abandon(leaf, &op->room, err);
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
	return io->op->room.where +
	       (io->disk_offset & (vhdx_disk_leaf(io->disk)->image.geo.block_size - 1));
}

/**
 * vhdx_io_allocate() - a write to a block that has no place in the container
 * @io:		admitted, session begun
 */
void vhdx_io_allocate(struct vhdx_io *io)
{
	INIT_WORK(&io->work, allocate_work);
	queue_work(io->disk->allocate_wq, &io->work);
}

/**
 * vhdx_io_allocate_now() - vhdx_io_allocate() if that has nothing to wait for
 * @io:		inside the gate, admitted, session begun
 *
 * Any process context; never waits. Returns false if a worker has to do it. Otherwise the piece has
 * the operation that makes its block, and is to be sent there.
 */
bool vhdx_io_allocate_now(struct vhdx_io *io)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);
	struct vhdx_block_op *op;

	if (READ_ONCE(leaf->pages.dirty_count) >= DIRTY_PAGES_MAX)
		return false;
	op = vhdx_block_op_try(&leaf->writer.blocks, block_of(io));
	if (!op)
		return false;
	if (!leaf->mapping->take(leaf, io->disk_offset, io->length, &op->pin, &op->room)) {
		end_op(io, op);
		return false;
	}
	trace_vhdx_allocate(io->disk->index, op->block, op->room.where, op->room.zeroed);
	io->op = op;
	io->commit = io->orig->bi_opf & REQ_FUA;
	return true;
}

static void publish(struct vhdx_io *io)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);
	struct vhdx_block_op *op = io->op;

	leaf->mapping->publish(leaf, io->disk_offset, io->length, &op->room, &op->pin);
	io->op = NULL;
	end_op(io, op);
	vhdx_io_finish(io, BLK_STS_OK);
}

/* Nothing was written, or it failed: the room may be another block's. */
static void abandon(struct vhdx_io *io)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);
	struct vhdx_block_op *op = io->op;

	leaf->mapping->abandon(leaf, &op->room, blk_status_to_errno(io->status));
	io->op = NULL;
	end_op(io, op);
	vhdx_io_finish(io, io->status);
}

static void publish_work(struct work_struct *work)
{
	struct vhdx_io *io = container_of(work, struct vhdx_io, work);
	unsigned int flags = vhdx_scope_enter();

	if (io->op->unmaps)
		vhdx_io_end_unmap(io);
	else
		abandon(io);
	vhdx_scope_leave(flags);
}

/**
 * vhdx_io_publish() - the data of a new block is in the container, or blocks can be unmapped
 * @io:		with the operation that it is about
 * @status:	how the write went
 *
 * Any context. Items of all other queues may wait for what is given back here.
 */
void vhdx_io_publish(struct vhdx_io *io, blk_status_t status)
{
	if (!status && !io->op->unmaps) {
		publish(io);
		return;
	}
	io->status = status;
	INIT_WORK(&io->work, publish_work);
	queue_work(io->disk->publish_wq, &io->work);
}
