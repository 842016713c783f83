// SPDX-License-Identifier: GPL-2.0-only
/*
 * Discards and zeroes: pieces of bios that have no data.
 *
 * Whole blocks are unmapped, however large they are. I/O that looked them up before is inside the
 * gate; so they are made busy, the gate is flipped, which is one wait for all blocks of a piece and
 * for all pieces that came meanwhile, and only then they are unmapped, inside the gate again like
 * the write that it is to change tracking: marked before, and after (rules V1, T1).
 *
 * Parts of a block are zeroed where they are in the container. Where a write would make a block,
 * so do they, unless they read as zeroes already. Discarded they stay as they are.
 */
#include "io.h"
#include "disk.h"
#include "store/scope.h"

#include <linux/sched.h>

/**
 * vhdx_io_whole_blocks() - how much of a piece can be unmapped at once, from its beginning
 * @io:		any piece
 *
 * In bytes: whole blocks. Returns 0 where it is mapped like a write: zeroes for a part of a block,
 * or whose space stays. A discard of which that is true is ignored.
 */
u64 vhdx_io_whole_blocks(const struct vhdx_io *io)
{
	const struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);

	if (likely(!vhdx_io_is_unmap(io)) || io->orig->bi_opf & REQ_NOUNMAP)
		return 0;
	return leaf->mapping->whole(leaf, io->disk_offset, io->length);
}

/* The blocks that a piece is about, in bytes of the disk. */
static void blocks_of(const struct vhdx_io *io, u64 *offset, u64 *length)
{
	const struct vhdx_geometry *geo = &vhdx_disk_leaf(io->disk)->image.geo;
	u64 end = round_up(io->disk_offset + io->length, geo->block_size);

	*offset = round_down(io->disk_offset, geo->block_size);
	*length = min(end, geo->disk_size) - *offset;
}

/* Of these blocks nothing is used by a piece inside the gate, and none comes to be used. */
static int take_away(struct vhdx_io *io, struct vhdx_block_op *op, u64 offset, u64 length)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);
	bool taken;
	int err = leaf->mapping->hold_blocks(leaf, offset, length, &op->pin, &taken);

	if (err || !taken)
		return err;
	return vhdx_gate_flip(&io->disk->gate, MAX_SCHEDULE_TIMEOUT);
}

/**
 * vhdx_io_needs_no_block() - are these zeroes without one?
 * @io:		zeroes, in one block
 * @extent:	what is mapped there
 *
 * A part of a block reads as zeroes already, and all that changes is what other programs make of
 * it; or a block of which the leaf has nothing is zeroed as a whole, and there is no space to keep.
 */
bool vhdx_io_needs_no_block(const struct vhdx_io *io, const struct vhdx_mapping *extent)
{
	const struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);

	return extent->kind == VHDX_MAPPING_ZERO ||
	       (extent->kind == VHDX_MAPPING_PARENT && extent->absent &&
		leaf->mapping->whole(leaf, io->disk_offset, io->length) == io->length);
}

static bool needs_no_block(const struct vhdx_io *io, struct vhdx_block_op *op)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);
	struct vhdx_mapping extent;

	leaf->mapping->held(leaf, io->disk_offset, io->length, &op->pin, &extent);
	return vhdx_io_needs_no_block(io, &extent);
}

static void end_op(struct vhdx_io *io, struct vhdx_block_op *op)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);
	u64 offset, length;

	blocks_of(io, &offset, &length);
	if (op->pin.entry)
		leaf->mapping->release_blocks(leaf, offset, length, &op->pin);
	vhdx_block_op_end(op);
}

static int begin_op(struct vhdx_io *io, struct vhdx_block_op **op)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);
	u32 shift = leaf->image.geo.block_shift;
	u64 offset, length;
	int err;

	blocks_of(io, &offset, &length);
	*op = vhdx_block_op_begin(&leaf->writer.blocks, offset >> shift,
				  (length + leaf->image.geo.block_size - 1) >> shift, &io->link);
	if (!*op)
		return 0;
	(*op)->unmaps = true;
	err = take_away(io, *op, offset, length);
	if (err)
		end_op(io, *op);
	return err;
}

static void unmap_work(struct work_struct *work)
{
	struct vhdx_io *io = container_of(work, struct vhdx_io, work);
	unsigned int flags = vhdx_scope_enter();
	struct vhdx_block_op *op = NULL;
	int err = vhdx_session_begin(io->disk);

	if (!err && vhdx_io_wait_while_dirty(io, vhdx_io_unmap))
		goto out;
	if (!err)
		err = begin_op(io, &op);
	if (err) {
		/* Nobody has to discard. */
		vhdx_io_end(io, err == -EUCLEAN ? BLK_STS_NOTSUPP : errno_to_blk_status(err));
		goto out;
	}
	/* It waits for another operation. */
	if (!op)
		goto out;
	/* Another write may have made it since the lookup that sent this one here. */
	if (!vhdx_io_whole_blocks(io) && !needs_no_block(io, op)) {
		end_op(io, op);
	} else {
		io->op = op;
		io->commit = io->orig->bi_opf & REQ_FUA;
	}
	vhdx_io_enter(io);
out:
	vhdx_scope_leave(flags);
}

/**
 * vhdx_io_unmap() - whole blocks are to be unmapped, or vhdx_io_needs_no_block()
 * @io:		outside of the gate, and on no list
 *
 * Any context.
 */
void vhdx_io_unmap(struct vhdx_io *io)
{
	INIT_WORK(&io->work, unmap_work);
	queue_work(io->disk->unmap_wq, &io->work);
}

/**
 * vhdx_io_end_unmap() - its blocks are held, and nothing uses them: now they are unmapped
 * @io:		inside the gate, admitted; or it has failed there: then they are not
 *
 * In publish_wq: waits for nothing.
 */
void vhdx_io_end_unmap(struct vhdx_io *io)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(io->disk);
	struct vhdx_block_op *op = io->op;
	u64 offset, length;

	blocks_of(io, &offset, &length);
	if (!io->status)
		leaf->mapping->unmap(leaf, offset, length, &op->pin,
				     bio_op(io->orig) == REQ_OP_DISCARD ?
				     VHDX_UNMAPPED_DISCARDED : VHDX_UNMAPPED_ZERO);
	io->op = NULL;
	end_op(io, op);
	vhdx_io_finish(io, io->status);
}

static void zero_work(struct work_struct *work)
{
	struct vhdx_io *io = container_of(work, struct vhdx_io, work);
	struct vhdx_container *container = io->request.container;
	unsigned int flags = vhdx_scope_enter();
	int err = container->ops->zero(container, io->request.offset, io->length,
				       io->orig->bi_opf & REQ_NOUNMAP);

	vhdx_io_done(io, errno_to_blk_status(err));
	vhdx_scope_leave(flags);
}

/**
 * vhdx_io_zero() - zeroes go where data would go
 * @io:		inside the gate, admitted; io->request says where
 *
 * Any context. On the queue of the container, no item of which waits for another one.
 */
void vhdx_io_zero(struct vhdx_io *io)
{
	INIT_WORK(&io->work, zero_work);
	queue_work(io->request.container->queue.workqueue, &io->work);
}
