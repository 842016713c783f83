/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Exclusive work on one payload block, which is found by the block's number: to allocate it, for
 * one. Whoever comes to the block meanwhile waits in the operation's list, outside of the gate,
 * and looks the block up again when it has ended.
 *
 *	begin		nobody else works on the block
 *	hold		the page that names it is pinned, and its entry busy: vhdx_map_ops->lookup
 *			says so. What is decided from here on is decided by ->held, which looks at
 *			that page: what was seen before may have been one that was evicted since,
 *			and loaded again (rule V1)
 *	...		vhdx_gate_flip() here, if what the entry names is to be taken away
 *	release, end	everybody looks again
 */
#ifndef VHDX_BLOCK_OP_H
#define VHDX_BLOCK_OP_H

#include <linux/hashtable.h>
#include <linux/mempool.h>
#include <linux/spinlock.h>

/**
 * struct vhdx_block_op - an operation on a block
 * @link:	in ops->under_way
 * @block:	its number
 * @where:	its new place in the container
 * @handle:	from ->hold()
 * @waiting:	who came meanwhile
 */
struct vhdx_block_op {
	struct hlist_node link;
	u64 block;
	u64 where;
	void *handle;
	struct list_head waiting;
};

/**
 * struct vhdx_block_ops - those that are under way
 * @resume:	goes on with who has waited; in the task that ends the operation
 * @lock:	@under_way, and the lists of who waits; any context
 * @under_way:	by block
 * @pool:	memory for them (rule K3)
 */
struct vhdx_block_ops {
	void (*resume)(struct list_head *waiter);
	spinlock_t lock;
	DECLARE_HASHTABLE(under_way, 6);
	mempool_t pool;
};

int vhdx_block_ops_init(struct vhdx_block_ops *ops, void (*resume)(struct list_head *waiter));
void vhdx_block_ops_destroy(struct vhdx_block_ops *ops);
struct vhdx_block_op *vhdx_block_op_begin(struct vhdx_block_ops *ops, u64 block,
					  struct list_head *waiter);
bool vhdx_block_op_wait(struct vhdx_block_ops *ops, u64 block, struct list_head *waiter);
void vhdx_block_op_end(struct vhdx_block_ops *ops, struct vhdx_block_op *op);

#endif
