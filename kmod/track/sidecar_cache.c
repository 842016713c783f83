// SPDX-License-Identifier: GPL-2.0-only
#include "sidecar_cache.h"
#include "compat.h"
#include "core/rct/sidecar.h"

#include <linux/mutex.h>

/*
 * One shrinker for all: to register one waits for reclaim, which may wait for I/O on a disk whose
 * tracker is just being started.
 */
static struct compat_shrinker shrinker;
static LIST_HEAD(caches);
/* Nothing is allocated under it. */
static DEFINE_MUTEX(caches_lock);

/* Two calls make a pair, which sparse does not see. */
static void lock_blocks(struct vhdx_block_cache *blocks, bool lock)
{
	struct vhdx_sidecar_cache *cache = container_of(blocks, struct vhdx_sidecar_cache, blocks);

	if (lock) {
		spin_lock(&cache->lock);
		__release(&cache->lock);
	} else {
		__acquire(&cache->lock);
		spin_unlock(&cache->lock);
	}
}

/* Who is just added or removed is left alone; reclaim comes by again. */
static unsigned long count_blocks(struct shrinker *unused, struct shrink_control *sc)
{
	struct vhdx_sidecar_cache *cache;
	unsigned long count = 0;

	if (!mutex_trylock(&caches_lock))
		return 0;
	list_for_each_entry(cache, &caches, link)
		count += READ_ONCE(cache->blocks.pages);
	mutex_unlock(&caches_lock);
	return count ?: SHRINK_EMPTY;
}

static unsigned long free_blocks(struct shrinker *unused, struct shrink_control *sc)
{
	struct vhdx_sidecar_cache *cache;
	unsigned long freed = 0;

	if (!mutex_trylock(&caches_lock))
		return SHRINK_STOP;
	list_for_each_entry(cache, &caches, link) {
		if (freed >= sc->nr_to_scan)
			break;
		if (READ_ONCE(cache->blocks.pages))
			freed += vhdx_block_cache_shrink(&cache->blocks, sc->nr_to_scan - freed);
	}
	/* The next one begins with another sidecar. */
	list_rotate_left(&caches);
	mutex_unlock(&caches_lock);
	return freed ?: SHRINK_STOP;
}

/**
 * vhdx_sidecar_cache_start() - keep blocks of this sidecar from here on
 * @cache:	zeroed, or stopped
 * @sidecar:	loaded or formatted; nobody reads it yet
 *
 * Without memory for it, none are kept.
 */
void vhdx_sidecar_cache_start(struct vhdx_sidecar_cache *cache, struct vhdx_sidecar *sidecar)
{
	vhdx_sidecar_cache_stop(cache);
	spin_lock_init(&cache->lock);
	cache->blocks.lock = lock_blocks;
	if (vhdx_sidecar_keep_blocks(sidecar, &cache->blocks))
		return;
	mutex_lock(&caches_lock);
	list_add_tail(&cache->link, &caches);
	mutex_unlock(&caches_lock);
}

/**
 * vhdx_sidecar_cache_stop() - free all of them; harmless where there are none
 * @cache:	nobody reads or writes its sidecar
 */
void vhdx_sidecar_cache_stop(struct vhdx_sidecar_cache *cache)
{
	if (!cache->blocks.slot_count)
		return;
	mutex_lock(&caches_lock);
	list_del(&cache->link);
	mutex_unlock(&caches_lock);
	vhdx_block_cache_release(&cache->blocks);
}

/**
 * vhdx_sidecar_cache_init() - when the module is loaded
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_sidecar_cache_init(void)
{
	return compat_shrinker_register(&shrinker, NULL, count_blocks, free_blocks, "vhdx-sidecar");
}

/**
 * vhdx_sidecar_cache_exit() - when it is unloaded: no sidecar is open
 */
void vhdx_sidecar_cache_exit(void)
{
	compat_shrinker_unregister(&shrinker);
}
