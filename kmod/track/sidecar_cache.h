/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Blocks of open sidecars that are kept in memory as long as nobody needs that: questions between
 * sealed points, asked once more, or asked right after the seal, read nothing.
 */
#ifndef VHDX_SIDECAR_CACHE_H
#define VHDX_SIDECAR_CACHE_H

#include "core/rct/block_cache.h"

#include <linux/list.h>
#include <linux/spinlock.h>

struct vhdx_sidecar;

/**
 * struct vhdx_sidecar_cache - of one sidecar; all zero: there is none
 * @blocks:	what is kept
 * @lock:	of @blocks: of tasks that ask, errands and reclaim, never of I/O
 * @link:	of all of them; what is in use is reclaimed
 */
struct vhdx_sidecar_cache {
	struct vhdx_block_cache blocks;
	spinlock_t lock;
	struct list_head link;
};

int vhdx_sidecar_cache_init(void);
void vhdx_sidecar_cache_exit(void);

void vhdx_sidecar_cache_start(struct vhdx_sidecar_cache *cache, struct vhdx_sidecar *sidecar);
void vhdx_sidecar_cache_stop(struct vhdx_sidecar_cache *cache);

#endif
