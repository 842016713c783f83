// SPDX-License-Identifier: GPL-2.0-only
#include "pages.h"
#include "core/vhdx/bitmap.h"

#include <linux/hash.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/slab.h>

/* The pages of all caches. */
static atomic_long_t all_pages;

/* ---- pages ------------------------------------------------------------------ */

static void *pool_alloc(gfp_t gfp, void *unused)
{
	struct vhdx_page *page = kmalloc(sizeof(*page), gfp);

	if (!page)
		return NULL;
	page->entries = kmalloc(VHDX_PAGE, gfp);
	if (!page->entries) {
		kfree(page);
		return NULL;
	}
	return page;
}

static void pool_free(void *element, void *unused)
{
	struct vhdx_page *page = element;

	kfree(page->entries);
	kfree(page);
}

static void page_free(struct vhdx_page *page)
{
	mempool_free(page, &page->cache->pool);
}

static void page_free_rcu(struct rcu_head *rcu)
{
	page_free(container_of(rcu, struct vhdx_page, rcu));
}

/* From now on it is found. */
static void add(struct vhdx_page *page, struct hlist_head *chain)
{
	lockdep_assert_held(&page->cache->lock);
	hlist_add_head_rcu(&page->chain, chain);
	WRITE_ONCE(page->cache->count, page->cache->count + 1);
	atomic_long_inc(&all_pages);
}

/* Not pinned, on no list. */
static void drop(struct vhdx_page *page)
{
	lockdep_assert_held(&page->cache->lock);
	hlist_del_rcu(&page->chain);
	WRITE_ONCE(page->cache->count, page->cache->count - 1);
	atomic_long_dec(&all_pages);
	call_rcu(&page->rcu, page_free_rcu);
}

/* Take the clean page that was used least lately out of the cache; false: there is none. */
static bool evict(struct vhdx_page_cache *cache)
{
	struct vhdx_page *page;

	spin_lock_irq(&cache->lock);
	page = list_first_entry_or_null(&cache->clean, struct vhdx_page, link);
	if (page) {
		list_del_init(&page->link);
		cache->clean_count--;
		drop(page);
	}
	spin_unlock_irq(&cache->lock);
	return page;
}

/* The next page goes to the end if it was used since reclaim last came by. */
static bool second_chance(struct vhdx_page_cache *cache)
{
	struct vhdx_page *page;
	bool used = false;

	spin_lock_irq(&cache->lock);
	page = list_first_entry_or_null(&cache->clean, struct vhdx_page, link);
	if (page && page->used) {
		WRITE_ONCE(page->used, false);
		list_move_tail(&page->link, &cache->clean);
		used = true;
	}
	spin_unlock_irq(&cache->lock);
	return used;
}

static bool too_many(void)
{
	return atomic_long_read(&all_pages) / (PAGE_SIZE / VHDX_PAGE) >
	       totalram_pages() >> VHDX_PAGES_SHARE_SHIFT;
}

/* A page goes that was not used lately, if one of the next few is none of those that were. */
static void make_room(struct vhdx_page_cache *cache)
{
	int i;

	for (i = 0; i < 16 && second_chance(cache); i++)
		;
	evict(cache);
}

static void starve(struct vhdx_page_cache *cache, int by)
{
	spin_lock_irq(&cache->lock);
	cache->starving += by;
	spin_unlock_irq(&cache->lock);
}

/*
 * Without memory, and with the reserve in use, a page comes back to the reserve a grace
 * period after its last pin is given up. All that a dirty one needs for that is a commit,
 * which takes no page.
 */
static struct vhdx_page *page_alloc_slowly(struct vhdx_page_cache *cache)
{
	struct vhdx_page *page;

	starve(cache, 1);
	if (!evict(cache) && cache->ops->hurry)
		cache->ops->hurry(cache);
	page = mempool_alloc(&cache->pool, GFP_NOIO);
	starve(cache, -1);
	return page;
}

/* NULL only for those who don't wait. */
static struct vhdx_page *page_alloc(struct vhdx_page_cache *cache, bool wait)
{
	struct vhdx_page *page = mempool_alloc(&cache->pool, GFP_NOWAIT | __GFP_NOWARN);
	__le64 *entries;

	if (!page && !wait)
		return NULL;
	if (!page)
		page = page_alloc_slowly(cache);
	entries = page->entries;
	memset(page, 0, sizeof(*page));
	page->cache = cache;
	page->entries = entries;
	return page;
}

static struct vhdx_page *page_load(struct vhdx_page_cache *cache,
				   const struct vhdx_page_kind *kind,
				   struct vhdx_container *container, u64 index, bool wait)
{
	struct vhdx_page *page = page_alloc(cache, wait);
	int err;

	if (!page)
		return ERR_PTR(-EAGAIN);
	INIT_LIST_HEAD(&page->link);
	page->index = index;
	page->pins = 1;
	err = cache->ops->read(cache, container, index * VHDX_PAGE, page->entries);
	if (err) {
		page_free(page);
		return ERR_PTR(err);
	}
	if (kind->judge)
		kind->judge(page, container);
	return page;
}

/* ---- lookup ------------------------------------------------------------------ */

static struct hlist_head *chain_of(struct vhdx_page_cache *cache, u64 index)
{
	return &cache->chains[hash_64(index, cache->chain_bits)];
}

/* Under RCU, or with the lock. */
static struct vhdx_page *find(struct vhdx_page_cache *cache, u64 index)
{
	struct vhdx_page *page;

	hlist_for_each_entry_rcu(page, chain_of(cache, index), chain,
				 lockdep_is_held(&cache->lock)) {
		if (page->index == index)
			return page;
	}
	return NULL;
}

/**
 * vhdx_page_peek() - the page of a container offset, if it is in memory
 * @cache:	the cache
 * @offset:	container offset
 *
 * Under rcu_read_lock(), which keeps the page; its entries are read with READ_ONCE().
 */
struct vhdx_page *vhdx_page_peek(struct vhdx_page_cache *cache, u64 offset)
{
	struct vhdx_page *page = find(cache, offset / VHDX_PAGE);

	if (page && !READ_ONCE(page->used))
		WRITE_ONCE(page->used, true);
	return page;
}

static struct vhdx_page *pin(struct vhdx_page_cache *cache, u64 index)
{
	struct vhdx_page *page;
	unsigned long flags;

	spin_lock_irqsave(&cache->lock, flags);
	page = find(cache, index);
	if (page && !page->pins++ && !list_empty(&page->link)) {
		list_del_init(&page->link);
		cache->clean_count--;
	}
	spin_unlock_irqrestore(&cache->lock, flags);
	return page;
}

/**
 * vhdx_page_pin() - the page of a container offset, if it is in memory, pinned
 * @cache:	the cache
 * @offset:	container offset
 *
 * Any context. NULL: it is not. vhdx_page_put() it.
 */
struct vhdx_page *vhdx_page_pin(struct vhdx_page_cache *cache, u64 offset)
{
	return pin(cache, offset / VHDX_PAGE);
}

/**
 * vhdx_page_get() - the page of a container offset, read if need be, pinned
 * @cache:	the cache
 * @kind:	what it consists of
 * @container:	where it is read: the caller's own descriptor, of several that there may be
 * @offset:	container offset
 * @wait:	for memory. Not while the caller holds another page of the cache, unless it has
 *		cache->together
 *
 * May sleep. An ERR_PTR on failure; of -EAGAIN if it had to wait for memory, or for a task that
 * does. vhdx_page_put() it.
 */
struct vhdx_page *vhdx_page_get(struct vhdx_page_cache *cache, const struct vhdx_page_kind *kind,
				struct vhdx_container *container, u64 offset, bool wait)
{
	u64 index = offset / VHDX_PAGE;
	struct mutex *loader = &cache->loaders[index % VHDX_PAGES_LOADERS];
	struct vhdx_page *page = pin(cache, index);

	if (page)
		return page;

	if (wait)
		mutex_lock(loader);
	else if (!mutex_trylock(loader))
		return ERR_PTR(-EAGAIN);
	page = pin(cache, index);
	if (page)
		goto out;
	page = page_load(cache, kind, container, index, wait);
	if (IS_ERR(page))
		goto out;
	spin_lock_irq(&cache->lock);
	add(page, chain_of(cache, index));
	spin_unlock_irq(&cache->lock);
	/* What other disks have taken is not taken from this one's reserve. */
	if (too_many() && READ_ONCE(cache->clean_count) > VHDX_PAGES_KEPT)
		make_room(cache);
out:
	mutex_unlock(loader);
	return page;
}

static void unpin_locked(struct vhdx_page_cache *cache, struct vhdx_page *page)
{
	lockdep_assert_held(&cache->lock);
	if (--page->pins)
		return;
	if (cache->starving) {
		drop(page);
		return;
	}
	list_add_tail(&page->link, &cache->clean);
	cache->clean_count++;
}

/**
 * vhdx_page_put() - give a pin up
 * @cache:	the cache
 * @page:	from vhdx_page_get(), or vhdx_page_pin()
 *
 * Any context.
 */
void vhdx_page_put(struct vhdx_page_cache *cache, struct vhdx_page *page)
{
	unsigned long flags;

	spin_lock_irqsave(&cache->lock, flags);
	unpin_locked(cache, page);
	spin_unlock_irqrestore(&cache->lock, flags);
}

/**
 * vhdx_page_hold() - an entry is busy
 * @cache:	the cache
 * @page:	pinned
 * @entry:	0 … VHDX_PAGE_ENTRIES - 1, not busy
 *
 * What comes through the gate after it was flipped sees it. Any context.
 */
void vhdx_page_hold(struct vhdx_page_cache *cache, struct vhdx_page *page, unsigned int entry)
{
	unsigned long flags;

	spin_lock_irqsave(&cache->lock, flags);
	set_bit(entry, page->busy);
	WRITE_ONCE(page->odd, page->odd + 1);
	spin_unlock_irqrestore(&cache->lock, flags);
}

/**
 * vhdx_page_release() - it is not any more
 * @cache:	the cache
 * @page:	pinned
 * @entry:	held
 *
 * Any context.
 */
void vhdx_page_release(struct vhdx_page_cache *cache, struct vhdx_page *page, unsigned int entry)
{
	unsigned long flags;

	spin_lock_irqsave(&cache->lock, flags);
	clear_bit_unlock(entry, page->busy);
	/* Behind what was done to the entry: pairs with vhdx_page_is_busy(). */
	smp_store_release(&page->odd, page->odd - 1);
	spin_unlock_irqrestore(&cache->lock, flags);
}

/**
 * vhdx_page_reserve() - make sure that writing a page in place does not run out of space
 * @cache:	the cache
 * @page:	pinned; not changed yet, unless it was reserved before
 *
 * It may lie in a hole of a sparse file, or be shared with a copy of it. To write what is
 * there already makes room by the way that payload takes, which waits for no other I/O.
 * Sleeps. Returns 0, -ENOSPC, or -errno.
 */
int vhdx_page_reserve(struct vhdx_page_cache *cache, struct vhdx_page *page)
{
	int err = 0;

	if (vhdx_page_is_reserved(page))
		return 0;
	/* One task at a time: once it is reserved the page may change. */
	mutex_lock(&cache->reserve_lock);
	if (!page->reserved)
		err = cache->ops->reserve(cache, page->index * VHDX_PAGE, page->entries);
	if (!err)
		WRITE_ONCE(page->reserved, true);
	mutex_unlock(&cache->reserve_lock);
	return err;
}

/* ---- changes ------------------------------------------------------------------ */

static void begin_change(struct vhdx_page *page)
{
	lockdep_assert_held(&page->cache->lock);
	WRITE_ONCE(page->changed_in, page->cache->marks.running);
	/* Before what changes, for readers that find it without the lock. */
	smp_wmb();
}

/* The pin that a dirty page has is the journal's. */
static void end_change(struct vhdx_page *page)
{
	struct vhdx_page_cache *cache = page->cache;

	lockdep_assert_held(&cache->lock);
	if (page->dirty)
		return;
	page->dirty = true;
	page->dirty_since = cache->marks.running;
	page->pins++;
	list_add_tail(&page->link, &cache->dirty);
	cache->dirty_count++;
}

static void set_entry(struct vhdx_page *page, unsigned int entry, u64 value)
{
	begin_change(page);
	WRITE_ONCE(page->entries[entry], cpu_to_le64(value));
	end_change(page);
}

/**
 * vhdx_page_set() - change one entry; the next commit makes it durable
 * @cache:	the cache
 * @page:	pinned
 * @entry:	0 … VHDX_PAGE_ENTRIES - 1
 * @value:	in host byte order
 *
 * Rule V1: what the entry points to is complete already. Any context.
 */
void vhdx_page_set(struct vhdx_page_cache *cache, struct vhdx_page *page, unsigned int entry,
		   u64 value)
{
	unsigned long flags;

	spin_lock_irqsave(&cache->lock, flags);
	set_entry(page, entry, value);
	spin_unlock_irqrestore(&cache->lock, flags);
}

/**
 * vhdx_page_set_last() - the same, of an entry that relies on changes of other pages
 * @cache:	the cache
 * @page:	pinned; no page relies on what is in it
 * @entry:	0 … VHDX_PAGE_ENTRIES - 1
 * @value:	in host byte order
 *
 * No log entry has it before what was changed before it (rule V7). A page goes to the end of those
 * that are dirty once for each of its entries at the most. Any context.
 */
void vhdx_page_set_last(struct vhdx_page_cache *cache, struct vhdx_page *page,
			unsigned int entry, u64 value)
{
	unsigned long flags;

	spin_lock_irqsave(&cache->lock, flags);
	set_entry(page, entry, value);
	list_move_tail(&page->link, &cache->dirty);
	spin_unlock_irqrestore(&cache->lock, flags);
}

/**
 * vhdx_page_fill() - change bits of a page of a sector bitmap; the next commit makes them durable
 * @cache:	the cache
 * @page:	pinned
 * @set:	or clear them
 * @bit:	the first one
 * @end:	behind the last one
 *
 * Rule V1: the sectors of bits that are set are complete already. Any context.
 */
void vhdx_page_fill(struct vhdx_page_cache *cache, struct vhdx_page *page, bool set, u32 bit,
		    u32 end)
{
	unsigned long flags;

	spin_lock_irqsave(&cache->lock, flags);
	begin_change(page);
	vhdx_bitmap_fill(page->entries, set, bit, end);
	end_change(page);
	spin_unlock_irqrestore(&cache->lock, flags);
}

/**
 * vhdx_page_cache_close_transaction() - what changes from now on is part of the next one
 * @cache:	the cache; one commit at a time
 *
 * Returns its number. It is logged once cache->owed is zero, and what was taken is logged.
 */
u64 vhdx_page_cache_close_transaction(struct vhdx_page_cache *cache)
{
	u64 transaction;

	spin_lock_irq(&cache->lock);
	transaction = cache->marks.running++;
	cache->owed = cache->dirty_count;
	spin_unlock_irq(&cache->lock);
	return transaction;
}

/**
 * vhdx_page_cache_take_dirty() - copy the pages that have been dirty for longest
 * @cache:	the cache
 * @copies:	receives offsets; each sector buffer receives a copy (rule V3)
 * @pages:	receives the pages; give them to vhdx_page_cache_applied()
 * @max:	length of both
 *
 * The pages are clean afterwards, and may become dirty again for the next transaction
 * while this one is under way. Returns how many.
 */
unsigned int vhdx_page_cache_take_dirty(struct vhdx_page_cache *cache, struct vhdx_log_page *copies,
					struct vhdx_page **pages, unsigned int max)
{
	struct vhdx_page *page;
	unsigned int n;

	for (n = 0; n < max; n++) {
		spin_lock_irq(&cache->lock);
		page = list_first_entry_or_null(&cache->dirty, struct vhdx_page, link);
		if (page) {
			list_del_init(&page->link);
			cache->dirty_count--;
			page->dirty = false;
			if (page->dirty_since < cache->marks.running)
				cache->owed--;
			copies[n].file_offset = page->index * VHDX_PAGE;
			memcpy(copies[n].sector, page->entries, VHDX_PAGE);
			pages[n] = page;
		}
		spin_unlock_irq(&cache->lock);
		if (!page)
			break;
	}
	return n;
}

/**
 * vhdx_page_cache_applied() - pages were written in place, too: each may be dropped again
 * @cache:	the cache
 * @pages:	from vhdx_page_cache_take_dirty()
 * @count:	how many
 *
 * Not before: a page that is read again must read as what it was.
 */
void vhdx_page_cache_applied(struct vhdx_page_cache *cache, struct vhdx_page **pages,
			     unsigned int count)
{
	unsigned int i;

	spin_lock_irq(&cache->lock);
	for (i = 0; i < count; i++)
		unpin_locked(cache, pages[i]);
	spin_unlock_irq(&cache->lock);
}

/* ---- reclaim ------------------------------------------------------------------ */

/*
 * Memory reclaim may have to write to this disk, and leaves some pages for that; to write to
 * /proc/sys/vm/drop_caches drops all that are clean.
 */
static unsigned long kept(void)
{
	return current->flags & PF_MEMALLOC ? VHDX_PAGES_KEPT : 0;
}

static unsigned long count_clean(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct vhdx_page_cache *cache = compat_shrinker_object(shrinker);
	unsigned long count = READ_ONCE(cache->clean_count);

	return count > kept() ? count - kept() : SHRINK_EMPTY;
}

static unsigned long free_clean(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct vhdx_page_cache *cache = compat_shrinker_object(shrinker);
	unsigned long scanned, freed = 0;

	for (scanned = 0; scanned < sc->nr_to_scan; scanned++) {
		if (READ_ONCE(cache->clean_count) <= kept())
			break;
		if (kept() && second_chance(cache))
			continue;
		if (!evict(cache))
			break;
		freed++;
	}
	return scanned ? freed : SHRINK_STOP;
}

/* ---- life ------------------------------------------------------------------ */

/**
 * vhdx_page_cache_init() - an empty cache
 * @cache:	zeroed
 * @ops:	of the container
 * @most:	pages that there may be
 * @written:	pages will be changed
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_page_cache_init(struct vhdx_page_cache *cache, const struct vhdx_page_cache_ops *ops,
			 u64 most, bool written)
{
	int i, err;

	spin_lock_init(&cache->lock);
	mutex_init(&cache->reserve_lock);
	mutex_init(&cache->together);
	INIT_LIST_HEAD(&cache->clean);
	INIT_LIST_HEAD(&cache->dirty);
	cache->marks.running = 1;
	for (i = 0; i < VHDX_PAGES_LOADERS; i++)
		mutex_init(&cache->loaders[i]);
	cache->chain_bits = clamp(ilog2(most), 1, VHDX_PAGES_CHAIN_BITS);
	cache->chains = kvcalloc(1 << cache->chain_bits, sizeof(*cache->chains), GFP_KERNEL);
	if (!cache->chains)
		return -ENOMEM;
	err = mempool_init(&cache->pool, written ? VHDX_PAGES_RESERVE : VHDX_PAGES_AT_ONCE,
			   pool_alloc, pool_free, NULL);
	if (err)
		goto fail_chains;
	err = compat_shrinker_register(&cache->shrinker, cache, count_clean, free_clean,
				       "vhdx-metadata");
	if (err)
		goto fail_pool;
	cache->ops = ops;
	return 0;

fail_pool:
	mempool_exit(&cache->pool);
fail_chains:
	kvfree(cache->chains);
	cache->chains = NULL;
	return err;
}

/**
 * vhdx_page_cache_destroy() - free every page; harmless where there is no cache
 * @cache:	without pins, and no task looks anything up
 */
void vhdx_page_cache_destroy(struct vhdx_page_cache *cache)
{
	struct vhdx_page *page;
	struct hlist_node *next;
	unsigned int i;

	if (!cache->ops)
		return;
	compat_shrinker_unregister(&cache->shrinker);
	rcu_barrier();
	for (i = 0; i < 1 << cache->chain_bits; i++) {
		hlist_for_each_entry_safe(page, next, &cache->chains[i], chain)
			page_free(page);
	}
	atomic_long_sub(cache->count, &all_pages);
	mempool_exit(&cache->pool);
	kvfree(cache->chains);
	cache->chains = NULL;
	cache->count = 0;
	cache->ops = NULL;
}
