/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Space of blocks that were unmapped, on its way to the blocks that get it next (rule V2).
 *
 *	unmapped	no I/O goes there any more: the gate was flipped (rule V1). But after a
 *			power loss the old mapping may be back
 *	  -> logged	that can't be: a worker gives the space back to what the container is
 *			on
 *	  -> free	the next blocks go there
 *
 * Space of sector bitmaps does not come here. The log may have pages of them, which a replay would
 * write over what is there by then.
 */
#ifndef VHDX_FREED_H
#define VHDX_FREED_H

#include "core/vhdx/image.h"

#include <linux/list.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

struct vhdx_open_layer;

/**
 * struct vhdx_freed - what one operation has unmapped
 * @link:	in freed->unmapped, or freed->free
 * @transaction: that it is part of
 * @zero:	free: it reads as zeroes
 * @rcu:	frees it where nothing may be waited for
 * @count:	of @extents
 * @extents:	in the container; whole blocks
 */
struct vhdx_freed {
	struct list_head link;
	struct rcu_head rcu;
	u64 transaction;
	bool zero;
	u32 count;
	struct vhdx_extent extents[];
};

/**
 * struct vhdx_freed_space - all of it, of one container
 * @lock:	everything below; nothing is waited for under it
 * @unmapped:	oldest first
 * @free:	the space that is taken next first
 * @give_back:	makes free what is logged
 */
struct vhdx_freed_space {
	spinlock_t lock;
	struct list_head unmapped;
	struct list_head free;
	struct work_struct give_back;
};

void vhdx_freed_init(struct vhdx_freed_space *space);
void vhdx_freed_stop(struct vhdx_freed_space *space);
void vhdx_freed_destroy(struct vhdx_freed_space *space);

struct vhdx_freed *vhdx_freed_alloc(u32 blocks);
void vhdx_freed_add(struct vhdx_freed *freed, u64 where, u32 length);
void vhdx_freed_give(struct vhdx_open_layer *layer, struct vhdx_freed *freed, u64 transaction);
void vhdx_freed_logged(struct vhdx_open_layer *layer);
int vhdx_freed_take(struct vhdx_freed_space *space, u32 length, bool zero, u64 *where,
		    bool *zeroed);
int vhdx_freed_wait(struct vhdx_freed_space *space);
u64 vhdx_freed_finish(struct vhdx_open_layer *layer, u64 end);

#endif
