/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Blocks of a sidecar that are kept in memory: those of the newest sealed delta, and those that
 * questions came by. There are never more than @slot_count, and any of them may go at any time.
 *
 * What is here is what is in the file. Whoever writes a block drops it here first, and nobody who
 * reads what was in it before can still put that back: a block is written again only when those
 * readers have ended (vhdx_sidecar.retire). The checksum is compared besides, but two contents may
 * have the same one.
 *
 * A block has one slot where it can be, which the next one that belongs there takes over: the
 * blocks of a delta lie side by side.
 */
#ifndef VHDX_CORE_BLOCK_CACHE_H
#define VHDX_CORE_BLOCK_CACHE_H

#include "lent_leaf.h"

struct vhdx_block_slot;
struct vhdx_leaf_bits;

/**
 * struct vhdx_block_cache - all zero: it keeps nothing
 * @lock:	called before and after slots are looked at; nothing sleeps, reads or allocates in
 *		between. NULL: callers serialise
 * @slots:	the block whose number is N is in slot N modulo @slot_count, if anywhere
 * @slot_count:	a power of two, or zero
 * @pages:	how many are in use
 * @hand:	where the next one is looked for that may go
 */
struct vhdx_block_cache {
	void (*lock)(struct vhdx_block_cache *cache, bool lock);
	struct vhdx_block_slot *slots;
	u32 slot_count;
	u32 pages;
	u32 hand;
};

/* The most that are ever kept: as much as the largest change map. */
#define VHDX_BLOCK_CACHE_MOST	32768U

/* For so many leaves, and their index; @lock stays as it is. 0 or -ENOMEM: it keeps nothing. */
int vhdx_block_cache_init(struct vhdx_block_cache *cache, u32 leaves);
/* Nobody uses it. */
void vhdx_block_cache_release(struct vhdx_block_cache *cache);

/* All of these take NULL for a cache: there is nothing in it. */

/* Copy the block with this checksum to @buf. False: it is not here. */
bool vhdx_block_cache_get(struct vhdx_block_cache *cache, u64 block, u32 crc, void *buf);
/* The same of a leaf, which is ORed into @units. */
bool vhdx_block_cache_or(struct vhdx_block_cache *cache, u64 block, u32 crc,
			 struct vhdx_leaf_bits *units);
/* The same, but it is lent as it is. */
bool vhdx_block_cache_lend(struct vhdx_block_cache *cache, u64 block, u32 crc,
			   struct vhdx_lent_leaf *lent);
/* Keep what is in the file, without fail or not at all: this is not said. */
void vhdx_block_cache_put(struct vhdx_block_cache *cache, u64 block, u32 crc, const void *buf);
/* Something else is about to be written there. */
void vhdx_block_cache_drop(struct vhdx_block_cache *cache, u64 block, u32 count);

/**
 * vhdx_block_cache_shrink() - give memory back
 * @cache:	of which all may go but what was used since the last time
 * @pages:	how many are wanted
 *
 * Returns how many they were.
 */
u32 vhdx_block_cache_shrink(struct vhdx_block_cache *cache, u32 pages);

#endif
