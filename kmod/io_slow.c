// SPDX-License-Identifier: GPL-2.0-only
/*
 * The slow path: what has to wait. Three queues, so that none waits for an item of its
 * own: pages are loaded and sessions begun on one, blocks are allocated on another
 * (which may run the scan), and the container and the journal have theirs.
 */
#include "io.h"
#include "disk.h"
#include "writer.h"

#include <linux/slab.h>

/**
 * struct vhdx_allocation - a payload block that is being made
 * @block:	its number: index in disk->allocating
 * @where:	its place in the container
 * @handle:	from ->load(): keeps the page that will name it
 * @waiting:	other writes to it, which go on once it is mapped
 */
struct vhdx_allocation {
	u64 block;
	u64 where;
	void *handle;
	struct list_head waiting;
};

/* ---- load a page, begin the session ------------------------------------------ */

static void slow_work(struct work_struct *work)
{
	struct vhdx_io *io = container_of(work, struct vhdx_io, work);
	struct vhdx_disk *disk = io->disk;
	unsigned int flags = vhdx_writer_enter();
	void *handle;
	int err = 0;

	if (vhdx_io_is_write(io))
		err = vhdx_session_begin(disk);
	if (!err)
		err = disk->map->load(disk, io->disk_offset, &handle);
	if (err) {
		vhdx_io_end(io, errno_to_blk_status(err));
	} else {
		vhdx_io_map(io);
		disk->map->unload(disk, handle);
	}
	vhdx_writer_leave(flags);
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

/* ---- allocate a block ---------------------------------------------------------- */

/*
 * Who comes first makes the block; everybody else waits for it. Rule V1: the fast path
 * does not see the block before it is complete.
 */
static struct vhdx_allocation *become_allocator(struct vhdx_io *io)
{
	struct vhdx_disk *disk = io->disk;
	struct vhdx_allocation *new, *other;

	new = kzalloc(sizeof(*new), GFP_KERNEL);
	if (!new)
		return ERR_PTR(-ENOMEM);
	new->block = io->disk_offset >> disk->image.geo.block_shift;
	INIT_LIST_HEAD(&new->waiting);

	/* One operation: __xa_store() may drop the lock for memory, after which
	 * somebody else may be there.
	 */
	xa_lock(&disk->allocating);
	other = __xa_cmpxchg(&disk->allocating, new->block, NULL, new, GFP_NOIO);
	if (other && !xa_is_err(other))
		list_add_tail(&io->link, &other->waiting);
	xa_unlock(&disk->allocating);
	if (!other)
		return new;
	kfree(new);
	return xa_is_err(other) ? ERR_PTR(xa_err(other)) : NULL;
}

/* The block is mapped, or it is not: those who waited find out by themselves. */
static void end_allocation(struct vhdx_disk *disk, struct vhdx_allocation *allocation)
{
	struct vhdx_io *io, *next;
	LIST_HEAD(waiting);

	xa_lock(&disk->allocating);
	__xa_erase(&disk->allocating, allocation->block);
	list_splice_init(&allocation->waiting, &waiting);
	xa_unlock(&disk->allocating);

	if (allocation->handle)
		disk->map->unload(disk, allocation->handle);
	kfree(allocation);
	list_for_each_entry_safe(io, next, &waiting, link) {
		list_del_init(&io->link);
		vhdx_io_map(io);
	}
}

/* No stale byte: what the write does not cover is zero before the block is mapped. */
static int zero_around(struct vhdx_io *io, u64 where)
{
	struct vhdx_container *c = io->container;
	u32 block_size = io->disk->image.geo.block_size;
	u64 begin = io->disk_offset & (block_size - 1);
	u64 end = begin + io->length;
	int err = 0;

	if (begin)
		err = c->ops->zero(c, where, begin);
	if (!err && end < block_size)
		err = c->ops->zero(c, where + end, block_size - end);
	return err;
}

static void allocate_work(struct work_struct *work)
{
	struct vhdx_io *io = container_of(work, struct vhdx_io, work);
	struct vhdx_disk *disk = io->disk;
	unsigned int flags = vhdx_writer_enter();
	struct vhdx_allocation *allocation;
	struct vhdx_mapping mapping;
	enum vhdx_place place;
	bool zeroed;
	int err;

	allocation = become_allocator(io);
	err = PTR_ERR_OR_ZERO(allocation);
	if (err)
		goto fail_io;
	if (!allocation)
		goto out;

	err = disk->map->load(disk, io->disk_offset, &allocation->handle);
	if (err)
		goto fail_allocation;
	/* Somebody may have made it since the lookup that sent us here. */
	place = disk->map->lookup(disk, io->disk_offset, &mapping);
	if (place != VHDX_PLACE_ZERO) {
		end_allocation(disk, allocation);
		vhdx_io_map(io);
		goto out;
	}
	err = disk->map->place(disk, allocation->handle, &allocation->where, &zeroed);
	if (err)
		goto fail_allocation;
	if (!zeroed)
		err = zero_around(io, allocation->where);
	if (err)
		goto fail_place;

	io->allocation = allocation;
	io->commit = io->orig->bi_opf & REQ_FUA;
	vhdx_io_send(io, allocation->where +
		     (io->disk_offset & (disk->image.geo.block_size - 1)));
	goto out;

fail_place:
	disk->map->abandon(disk, allocation->where, err);
fail_allocation:
	end_allocation(disk, allocation);
fail_io:
	vhdx_io_end(io, errno_to_blk_status(err));
out:
	vhdx_writer_leave(flags);
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
	struct vhdx_allocation *allocation = io->allocation;
	struct vhdx_disk *disk = io->disk;
	unsigned int flags = vhdx_writer_enter();

	if (io->status)
		disk->map->abandon(disk, allocation->where,
				   blk_status_to_errno(io->status));
	else
		disk->map->publish(disk, io->disk_offset, allocation->where,
				   allocation->handle);
	io->allocation = NULL;
	end_allocation(disk, allocation);
	vhdx_io_done(io, io->status);
	vhdx_writer_leave(flags);
}

/**
 * vhdx_io_publish() - the data of a new block is in the container
 * @io:		with its allocation
 * @status:	how the write went
 *
 * Any context. Not on the queue of allocations: those may wait for the scan.
 */
void vhdx_io_publish(struct vhdx_io *io, blk_status_t status)
{
	io->status = status;
	INIT_WORK(&io->work, publish_work);
	queue_work(io->disk->slow_wq, &io->work);
}
