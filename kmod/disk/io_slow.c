// SPDX-License-Identifier: GPL-2.0-only
/*
 * The slow path: what has to wait. Several queues, so that none waits for an item of its
 * own, which without memory for a thread stands behind it: pages are loaded and sessions begun
 * on one, blocks are allocated on another, the room for them is made on a third and writes of
 * swapped memory are started on a fourth; the container and the journal have theirs. What
 * waits for memory waits for what is given back on the queue of publications, which waits for
 * nothing.
 */
#include "io.h"
#include "disk.h"
#include "store/scope.h"

#include <linux/slab.h>

/* Blocks that can be made without memory: more of them wait for these. */
#define ALLOCATION_RESERVE	8

/* First writes wait for a commit while this many pages wait for theirs: a few transactions. */
#define DIRTY_PAGES_MAX		(4 * VHDX_LOG_PAGES_MAX)

/**
 * struct vhdx_allocation - a payload block that is being made
 * @link:	in disk->allocating
 * @block:	its number
 * @where:	its place in the container
 * @handle:	from ->load(): keeps the page that will name it
 * @waiting:	other writes to it, which go on once it is mapped
 */
struct vhdx_allocation {
	struct hlist_node link;
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

/* ---- allocate a block ---------------------------------------------------------- */

/*
 * Who comes first makes the block; everybody else waits for it. Rule V1: the fast path
 * does not see the block before it is complete.
 */
static struct vhdx_allocation *become_allocator(struct vhdx_io *io)
{
	struct vhdx_disk *disk = io->disk;
	u64 block = io->disk_offset >> vhdx_disk_leaf(disk)->image.geo.block_shift;
	struct vhdx_allocation *new, *other;

	/* What is in use comes back as soon as its data is written. */
	new = mempool_alloc(&disk->allocations, GFP_NOIO);
	memset(new, 0, sizeof(*new));
	new->block = block;
	INIT_LIST_HEAD(&new->waiting);

	spin_lock(&disk->allocating_lock);
	hash_for_each_possible(disk->allocating, other, link, block) {
		if (other->block == block)
			break;
	}
	if (other)
		list_add_tail(&io->link, &other->waiting);
	else
		hash_add(disk->allocating, &new->link, block);
	spin_unlock(&disk->allocating_lock);
	if (!other)
		return new;
	mempool_free(new, &disk->allocations);
	return NULL;
}

/* The block is mapped, or it is not: those who waited find out by themselves. */
static void end_allocation(struct vhdx_disk *disk, struct vhdx_allocation *allocation)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	struct vhdx_io *io, *next;
	LIST_HEAD(waiting);

	spin_lock(&disk->allocating_lock);
	hash_del(&allocation->link);
	list_splice_init(&allocation->waiting, &waiting);
	spin_unlock(&disk->allocating_lock);

	if (allocation->handle)
		leaf->map->unload(leaf, allocation->handle);
	mempool_free(allocation, &disk->allocations);
	list_for_each_entry_safe(io, next, &waiting, link) {
		list_del_init(&io->link);
		vhdx_io_enter(io);
	}
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

static void allocate_work(struct work_struct *work)
{
	struct vhdx_io *io = container_of(work, struct vhdx_io, work);
	struct vhdx_disk *disk = io->disk;
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	unsigned int flags = vhdx_scope_enter();
	struct vhdx_allocation *allocation;
	struct vhdx_mapping mapping;
	enum vhdx_place place;
	bool zeroed;
	int err;

	if (READ_ONCE(leaf->pages.dirty_count) >= DIRTY_PAGES_MAX) {
		io->parked = true;
		vhdx_io_wait_for_commit(io);
		goto out;
	}
	allocation = become_allocator(io);
	if (!allocation)
		goto out;

	err = leaf->map->load(leaf, io->disk_offset, &allocation->handle);
	if (err)
		goto fail_allocation;
	/* Somebody may have made it since the lookup that sent us here. */
	place = leaf->map->lookup(leaf, io->disk_offset, &mapping);
	if (place != VHDX_PLACE_ZERO) {
		end_allocation(disk, allocation);
		vhdx_io_enter(io);
		goto out;
	}
	err = leaf->map->place(leaf, allocation->handle, &allocation->where, &zeroed);
	if (err)
		goto fail_allocation;
	if (!zeroed)
		err = zero_around(io, allocation->where);
	if (err)
		goto fail_place;

	io->allocation = allocation;
	io->commit = io->orig->bi_opf & REQ_FUA;
	vhdx_io_enter(io);
	goto out;

fail_place:
	leaf->map->abandon(leaf, allocation->where, err);
fail_allocation:
	end_allocation(disk, allocation);
	vhdx_io_end(io, errno_to_blk_status(err));
out:
	vhdx_scope_leave(flags);
}

/**
 * vhdx_io_make_pool() - memory for blocks that are made while there is none (rule K3)
 * @disk:	its pool is exited with its queues
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_io_make_pool(struct vhdx_disk *disk)
{
	return mempool_init_kmalloc_pool(&disk->allocations, ALLOCATION_RESERVE,
					 sizeof(struct vhdx_allocation));
}

/**
 * vhdx_io_new_place() - where in the container it goes
 * @io:		with the block that is made for it
 */
u64 vhdx_io_new_place(const struct vhdx_io *io)
{
	return io->allocation->where +
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
	struct vhdx_allocation *allocation = io->allocation;
	struct vhdx_disk *disk = io->disk;
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	unsigned int flags = vhdx_scope_enter();

	if (io->status)
		leaf->map->abandon(leaf, allocation->where,
				   blk_status_to_errno(io->status));
	else
		leaf->map->publish(leaf, io->disk_offset, allocation->where,
				   allocation->handle);
	io->allocation = NULL;
	end_allocation(disk, allocation);
	vhdx_io_done(io, io->status);
	vhdx_scope_leave(flags);
}

/**
 * vhdx_io_publish() - the data of a new block is in the container
 * @io:		with its allocation
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
