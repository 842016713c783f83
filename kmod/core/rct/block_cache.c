// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "block_cache.h"
#include "leaf_bits.h"

/**
 * struct vhdx_block_slot - room for one block
 * @block:	its number
 * @page:	what is in it, shared; NULL: the slot is empty
 * @groups:	of a leaf: those that have any bits (leaf_bits.h)
 * @crc:	its checksum
 * @units:	of a leaf: how many bits it has
 * @used:	since reclaim last came by
 */
struct vhdx_block_slot {
	u64 block;
	void *page;
	u64 groups;
	u32 crc;
	u32 units;
	bool used;
};

static void lock(struct vhdx_block_cache *cache)
{
	if (cache->lock)
		cache->lock(cache, true);
}

static void unlock(struct vhdx_block_cache *cache)
{
	if (cache->lock)
		cache->lock(cache, false);
}

/* One that was taken out of its slot, or NULL. */
static void let_go(void *page)
{
	if (page)
		vhdx_shared_put(page);
}

int vhdx_block_cache_init(struct vhdx_block_cache *cache, u32 leaves)
{
	u32 count = 64;

	while (count < VHDX_BLOCK_CACHE_MOST && count < leaves + leaves / 64 + 32)
		count *= 2;
	cache->slots = vhdx_alloc(count * sizeof(*cache->slots));
	if (!cache->slots)
		return -ENOMEM;
	cache->slot_count = count;
	cache->pages = 0;
	cache->hand = 0;
	return 0;
}

void vhdx_block_cache_release(struct vhdx_block_cache *cache)
{
	u32 i;

	for (i = 0; i < cache->slot_count; i++)
		let_go(cache->slots[i].page);
	vhdx_free(cache->slots);
	cache->slots = NULL;
	cache->slot_count = 0;
	cache->pages = 0;
}

static bool is_there(const struct vhdx_block_cache *cache)
{
	return cache && cache->slot_count;
}

static struct vhdx_block_slot *slot_of(struct vhdx_block_cache *cache, u64 block)
{
	return &cache->slots[block & (cache->slot_count - 1)];
}

/* The slot that has the block; NULL: it is not here. They are locked. */
static const struct vhdx_block_slot *find(struct vhdx_block_cache *cache, u64 block, u32 crc)
{
	struct vhdx_block_slot *slot = slot_of(cache, block);

	if (!slot->page || slot->block != block || slot->crc != crc)
		return NULL;
	slot->used = true;
	return slot;
}

/* The same, and unless it is NULL they are locked from here on. */
static const struct vhdx_block_slot *find_locked(struct vhdx_block_cache *cache, u64 block, u32 crc)
{
	const struct vhdx_block_slot *slot;

	if (!is_there(cache))
		return NULL;
	lock(cache);
	slot = find(cache, block, crc);
	if (!slot)
		unlock(cache);
	return slot;
}

bool vhdx_block_cache_get(struct vhdx_block_cache *cache, u64 block, u32 crc, void *buf)
{
	const struct vhdx_block_slot *slot = find_locked(cache, block, crc);

	if (!slot)
		return false;
	memcpy(buf, slot->page, VHDX_PAGE);
	unlock(cache);
	return true;
}

bool vhdx_block_cache_or(struct vhdx_block_cache *cache, u64 block, u32 crc,
			 struct vhdx_leaf_bits *units)
{
	const struct vhdx_block_slot *slot = find_locked(cache, block, crc);

	if (!slot)
		return false;
	vhdx_leaf_bits_or_le(units, slot->page, slot->groups);
	unlock(cache);
	return true;
}

bool vhdx_block_cache_lend(struct vhdx_block_cache *cache, u64 block, u32 crc,
			   struct vhdx_lent_leaf *lent)
{
	const struct vhdx_block_slot *slot = find_locked(cache, block, crc);

	if (!slot)
		return false;
	vhdx_shared_get(slot->page);
	lent->page = slot->page;
	lent->units = slot->units;
	unlock(cache);
	return true;
}

/* What was in the slot is the caller's to let go of. It is locked. */
static void *take_out(struct vhdx_block_cache *cache, struct vhdx_block_slot *slot)
{
	void *page = slot->page;

	slot->page = NULL;
	cache->pages -= !!page;
	return page;
}

static bool is_kept(struct vhdx_block_cache *cache, u64 block, u32 crc)
{
	bool kept;

	lock(cache);
	kept = find(cache, block, crc);
	unlock(cache);
	return kept;
}

/* No memory is made free for it: that is of more use to others. */
void vhdx_block_cache_put(struct vhdx_block_cache *cache, u64 block, u32 crc, const void *buf)
{
	struct vhdx_block_slot *slot;
	void *page, *former;
	u64 groups;
	u32 units;

	if (!is_there(cache) || is_kept(cache, block, crc))
		return;
	page = vhdx_shared_new_atomic();
	if (!page)
		return;
	memcpy(page, buf, VHDX_PAGE);
	groups = vhdx_leaf_bits_groups_of(page);
	units = vhdx_count_bits(page, VHDX_LEAF_WORDS);
	lock(cache);
	slot = slot_of(cache, block);
	former = take_out(cache, slot);
	*slot = (struct vhdx_block_slot) {
		.block = block,
		.page = page,
		.groups = groups,
		.crc = crc,
		.units = units,
	};
	cache->pages++;
	unlock(cache);
	let_go(former);
}

void vhdx_block_cache_drop(struct vhdx_block_cache *cache, u64 block, u32 count)
{
	struct vhdx_block_slot *slot;
	void *page;

	for (; is_there(cache) && count; count--, block++) {
		lock(cache);
		slot = slot_of(cache, block);
		page = slot->block == block ? take_out(cache, slot) : NULL;
		unlock(cache);
		let_go(page);
	}
}

/* The next slot; whether it was used counts once. */
static void *try_next(struct vhdx_block_cache *cache)
{
	struct vhdx_block_slot *slot;
	void *page = NULL;

	lock(cache);
	slot = slot_of(cache, cache->hand++);
	if (slot->used)
		slot->used = false;
	else
		page = take_out(cache, slot);
	unlock(cache);
	return page;
}

u32 vhdx_block_cache_shrink(struct vhdx_block_cache *cache, u32 pages)
{
	u32 i, freed = 0;
	void *page;

	if (!is_there(cache))
		return 0;
	for (i = 0; i < 2 * cache->slot_count && freed < pages; i++) {
		page = try_next(cache);
		freed += !!page;
		let_go(page);
	}
	return freed;
}
