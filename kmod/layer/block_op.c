// SPDX-License-Identifier: GPL-2.0-only
#include "block_op.h"

#include <linux/slab.h>

/* Operations that can be begun without memory: further ones wait for these to end. */
#define RESERVE		8

/**
 * vhdx_block_ops_init() - none is under way
 * @ops:	zeroed
 * @resume:	see struct vhdx_block_ops
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_block_ops_init(struct vhdx_block_ops *ops, void (*resume)(struct list_head *waiter))
{
	ops->resume = resume;
	spin_lock_init(&ops->lock);
	hash_init(ops->under_way);
	INIT_LIST_HEAD(&ops->wide);
	return mempool_init_kmalloc_pool(&ops->pool, RESERVE, sizeof(struct vhdx_block_op));
}

/**
 * vhdx_block_ops_destroy() - free the memory; harmless where there is none
 * @ops:	none is under way
 */
void vhdx_block_ops_destroy(struct vhdx_block_ops *ops)
{
	mempool_exit(&ops->pool);
}

static bool overlaps(const struct vhdx_block_op *op, u64 block, u32 count)
{
	return op->block < block + count && block < op->block + op->count;
}

static struct vhdx_block_op *find_any(struct vhdx_block_ops *ops, u64 block, u32 count)
{
	struct vhdx_block_op *op;
	int bucket;

	hash_for_each(ops->under_way, bucket, op, link) {
		if (overlaps(op, block, count))
			return op;
	}
	return NULL;
}

/* Of single blocks there may be many operations, and of these only those in one list are asked. */
static struct vhdx_block_op *find(struct vhdx_block_ops *ops, u64 block, u32 count)
{
	struct vhdx_block_op *op;

	lockdep_assert_held(&ops->lock);
	if (count > 1)
		return find_any(ops, block, count);
	hash_for_each_possible(ops->under_way, op, link, block) {
		if (op->block == block)
			return op;
	}
	list_for_each_entry(op, &ops->wide, wide) {
		if (overlaps(op, block, count))
			return op;
	}
	return NULL;
}

/*
 * Begins the operation, with what was allocated for it, unless another one is under way: then that
 * is returned, for which @waiter waits, if there is one.
 */
static struct vhdx_block_op *begin(struct vhdx_block_ops *ops, struct vhdx_block_op *op, u64 block,
				   u32 count, struct list_head *waiter)
{
	struct vhdx_block_op *other;
	unsigned long flags;

	memset(op, 0, sizeof(*op));
	op->ops = ops;
	op->block = block;
	op->count = count;
	INIT_LIST_HEAD(&op->wide);
	INIT_LIST_HEAD(&op->waiting);

	spin_lock_irqsave(&ops->lock, flags);
	other = find(ops, block, count);
	if (!other) {
		hash_add(ops->under_way, &op->link, block);
		if (count > 1)
			list_add(&op->wide, &ops->wide);
	} else if (waiter) {
		list_add_tail(waiter, &other->waiting);
	}
	spin_unlock_irqrestore(&ops->lock, flags);
	return other;
}

/**
 * vhdx_block_op_begin() - begin an operation, or wait for one that is under way
 * @ops:	of the layer
 * @block:	number of the first payload block
 * @count:	of blocks
 * @waiter:	of the caller, on no list
 *
 * Sleeps for memory, which comes back as operations end. Returns NULL if @waiter waits.
 */
struct vhdx_block_op *vhdx_block_op_begin(struct vhdx_block_ops *ops, u64 block, u32 count,
					  struct list_head *waiter)
{
	struct vhdx_block_op *op = mempool_alloc(&ops->pool, GFP_NOIO);

	if (!begin(ops, op, block, count, waiter))
		return op;
	mempool_free(op, &ops->pool);
	return NULL;
}

/**
 * vhdx_block_op_try() - begin an operation on one block, without any wait
 * @ops:	of the layer
 * @block:	number of the payload block
 *
 * Any context. Returns NULL if another one is under way, or if there is no memory.
 */
struct vhdx_block_op *vhdx_block_op_try(struct vhdx_block_ops *ops, u64 block)
{
	struct vhdx_block_op *op = mempool_alloc(&ops->pool, GFP_NOWAIT | __GFP_NOWARN);

	if (!op || !begin(ops, op, block, 1, NULL))
		return op;
	mempool_free(op, &ops->pool);
	return NULL;
}

/**
 * vhdx_block_op_wait() - wait for the operation on a block that was busy a moment ago
 * @ops:	of the layer
 * @block:	number of a payload block
 * @waiter:	of the caller, on no list
 *
 * Any context. Returns false if there is none any more: then it is not busy either.
 */
bool vhdx_block_op_wait(struct vhdx_block_ops *ops, u64 block, struct list_head *waiter)
{
	struct vhdx_block_op *op;
	unsigned long flags;

	spin_lock_irqsave(&ops->lock, flags);
	op = find(ops, block, 1);
	if (op)
		list_add_tail(waiter, &op->waiting);
	spin_unlock_irqrestore(&ops->lock, flags);
	return op;
}

static void remove(struct vhdx_block_op *op)
{
	lockdep_assert_held(&op->ops->lock);
	hash_del(&op->link);
	list_del(&op->wide);
}

/**
 * vhdx_block_op_end() - another operation may begin; pieces that waited go on
 * @op:		begun, and not held any more; gone afterwards
 */
void vhdx_block_op_end(struct vhdx_block_op *op)
{
	struct vhdx_block_ops *ops = op->ops;
	struct list_head *waiter, *next;
	unsigned long flags;
	LIST_HEAD(waiting);

	spin_lock_irqsave(&ops->lock, flags);
	remove(op);
	list_splice_init(&op->waiting, &waiting);
	spin_unlock_irqrestore(&ops->lock, flags);

	mempool_free(op, &ops->pool);
	list_for_each_safe(waiter, next, &waiting)
		ops->resume(waiter);
}

/**
 * vhdx_block_op_end_alone() - the same if no piece waits
 * @op:		begun, and not held any more; gone afterwards, if no piece waits
 *
 * Any context. Returns false if one does: then the operation is still under way.
 */
bool vhdx_block_op_end_alone(struct vhdx_block_op *op)
{
	struct vhdx_block_ops *ops = op->ops;
	unsigned long flags;
	bool alone;

	spin_lock_irqsave(&ops->lock, flags);
	alone = list_empty(&op->waiting);
	if (alone)
		remove(op);
	spin_unlock_irqrestore(&ops->lock, flags);
	if (alone)
		mempool_free(op, &ops->pool);
	return alone;
}
