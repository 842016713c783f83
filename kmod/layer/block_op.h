/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Exclusive work on a payload block, or on several that follow each other: to allocate one, or to
 * unmap them. It is found by their numbers. A piece of I/O that comes to one of them meanwhile
 * waits in the operation's list, outside of the gate, and looks the block up again when the
 * operation has ended.
 *
 *	begin		no other operation on any of the blocks is under way
 *	hold		the page that names it is pinned, and its entry busy: ->lookup of the
 *			mapping says so. What is decided from here on is decided by ->held, which
 *			looks at that page: what was seen before may have been one that was evicted
 *			since, and loaded again (rule V1)
 *	...		vhdx_gate_flip() here, if what the entry names is to be taken away
 *	release, end	pieces that waited look again; in a task that may go on with them
 */
#ifndef VHDX_BLOCK_OP_H
#define VHDX_BLOCK_OP_H

#include "mapping.h"

#include <linux/hashtable.h>
#include <linux/mempool.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

/**
 * struct vhdx_block_op - an operation on blocks
 * @link:	in ops->under_way
 * @wide:	in ops->wide, where it is on more than one block
 * @block:	number of the first one
 * @count:	of blocks
 * @unmaps:	it takes away what the blocks have; otherwise it makes one
 * @room:	where data goes that is written
 * @pin:	from ->hold()
 * @waiting:	pieces of I/O that came meanwhile
 * @ops:	of the layer; and
 * @work:	for who ends it where pieces that waited can't go on
 */
struct vhdx_block_op {
	struct hlist_node link;
	struct list_head wide;
	u64 block;
	u32 count;
	bool unmaps;
	struct vhdx_room room;
	struct vhdx_pin pin;
	struct list_head waiting;
	struct vhdx_block_ops *ops;
	struct work_struct work;
};

/**
 * struct vhdx_block_ops - the operations that are under way
 * @resume:	goes on with a piece that has waited; in the task that ends the operation
 * @lock:	@under_way, and @waiting of each operation; any context
 * @under_way:	by first block
 * @wide:	those on more than one block, as many as there are discards under way
 * @pool:	memory for operations (rule K3)
 */
struct vhdx_block_ops {
	void (*resume)(struct list_head *waiter);
	spinlock_t lock;
	DECLARE_HASHTABLE(under_way, 6);
	struct list_head wide;
	mempool_t pool;
};

int vhdx_block_ops_init(struct vhdx_block_ops *ops, void (*resume)(struct list_head *waiter));
void vhdx_block_ops_destroy(struct vhdx_block_ops *ops);
struct vhdx_block_op *vhdx_block_op_begin(struct vhdx_block_ops *ops, u64 block, u32 count,
					  struct list_head *waiter);
struct vhdx_block_op *vhdx_block_op_try(struct vhdx_block_ops *ops, u64 block);
bool vhdx_block_op_wait(struct vhdx_block_ops *ops, u64 block, struct list_head *waiter);
void vhdx_block_op_end(struct vhdx_block_op *op);
bool vhdx_block_op_end_alone(struct vhdx_block_op *op);

#endif
