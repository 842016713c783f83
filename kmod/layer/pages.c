// SPDX-License-Identifier: GPL-2.0-only
#include "pages.h"
#include "layer.h"

#include <linux/hash.h>
#include <linux/log2.h>
#include <linux/slab.h>

/* ---- pages ------------------------------------------------------------------ */

static void *pool_alloc(gfp_t gfp, void *unused)
{
	struct vhdx_meta_page *page = kmalloc(sizeof(*page), gfp);

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
	struct vhdx_meta_page *page = element;

	kfree(page->entries);
	kfree(page);
}

static void page_free(struct vhdx_meta_page *page)
{
	mempool_free(page, &page->meta->pool);
}

static void page_free_rcu(struct rcu_head *rcu)
{
	page_free(container_of(rcu, struct vhdx_meta_page, rcu));
}

/* With the lock; not pinned, on no list. */
static void drop(struct vhdx_meta_page *page)
{
	hlist_del_rcu(&page->chain);
	call_rcu(&page->rcu, page_free_rcu);
}

/* Take the clean page that was used least lately out of the cache; false: there is none. */
static bool evict(struct vhdx_meta *meta)
{
	struct vhdx_meta_page *page;

	spin_lock(&meta->lock);
	page = list_first_entry_or_null(&meta->clean, struct vhdx_meta_page, link);
	if (page) {
		list_del_init(&page->link);
		meta->clean_count--;
		drop(page);
	}
	spin_unlock(&meta->lock);
	return page;
}

static void starve(struct vhdx_meta *meta, int by)
{
	spin_lock(&meta->lock);
	meta->starving += by;
	spin_unlock(&meta->lock);
}

/*
 * Without memory, and with the reserve in use, a page comes back to the reserve a grace
 * period after nobody needs it any more. All that a dirty one needs for that is a commit,
 * which takes no page.
 */
static struct vhdx_meta_page *page_alloc_slowly(struct vhdx_meta *meta)
{
	struct vhdx_meta_page *page;

	starve(meta, 1);
	if (!evict(meta))
		vhdx_journal_hurry(&meta->layer->writer.journal);
	page = mempool_alloc(&meta->pool, GFP_NOIO);
	starve(meta, -1);
	return page;
}

static struct vhdx_meta_page *page_alloc(struct vhdx_meta *meta)
{
	struct vhdx_meta_page *page = mempool_alloc(&meta->pool, GFP_NOWAIT | __GFP_NOWARN);
	__le64 *entries;

	if (!page)
		page = page_alloc_slowly(meta);
	entries = page->entries;
	memset(page, 0, sizeof(*page));
	page->meta = meta;
	page->entries = entries;
	return page;
}

/* Rule V6: an entry that is wrong by itself makes its block unusable, no more. */
static void judge_entries(struct vhdx_open_layer *layer, struct vhdx_meta_page *page)
{
	const struct vhdx_geometry *geo = &layer->image.geo;
	u64 first = (page->index * VHDX_PAGE - geo->bat_offset) / sizeof(u64);
	/* A log that is replayed in memory may say that the container is longer. */
	u64 size = max(layer->store->size, READ_ONCE(layer->container.size));
	struct vhdx_diag diag;
	unsigned int i;

	for (i = 0; i < VHDX_META_ENTRIES && first + i < geo->bat_entry_count; i++) {
		diag.text[0] = 0;
		if (!vhdx_bat_check(&layer->image, first + i, le64_to_cpu(page->entries[i]),
				    size, &diag))
			continue;
		page->odd++;
		__set_bit(i, page->bad);
		vhdx_allocator_refuse(&layer->writer.space, diag.text);
	}
}

static struct vhdx_meta_page *page_load(struct vhdx_open_layer *layer, u64 index)
{
	struct vhdx_meta_page *page = page_alloc(&layer->pages);
	int err;

	INIT_LIST_HEAD(&page->link);
	page->index = index;
	page->pins = 1;
	err = layer->store->read(layer->store, index * VHDX_PAGE, page->entries, VHDX_PAGE);
	if (vhdx_layer_is_lost(layer))
		err = -EIO;
	if (err) {
		page_free(page);
		return ERR_PTR(err);
	}
	judge_entries(layer, page);
	return page;
}

/* ---- lookup ------------------------------------------------------------------ */

static struct hlist_head *chain_of(struct vhdx_meta *meta, u64 index)
{
	return &meta->chains[hash_64(index, meta->chain_bits)];
}

/* Under RCU, or with the lock. */
static struct vhdx_meta_page *find(struct vhdx_meta *meta, u64 index)
{
	struct vhdx_meta_page *page;

	hlist_for_each_entry_rcu(page, chain_of(meta, index), chain,
				 lockdep_is_held(&meta->lock)) {
		if (page->index == index)
			return page;
	}
	return NULL;
}

/**
 * vhdx_meta_peek() - the page of a container offset, if it is in memory
 * @meta:	the cache
 * @offset:	container offset
 *
 * Under rcu_read_lock(), which keeps the page; its entries are read with READ_ONCE().
 */
struct vhdx_meta_page *vhdx_meta_peek(struct vhdx_meta *meta, u64 offset)
{
	struct vhdx_meta_page *page = find(meta, offset / VHDX_PAGE);

	if (page && !READ_ONCE(page->used))
		WRITE_ONCE(page->used, true);
	return page;
}

static struct vhdx_meta_page *pin(struct vhdx_meta *meta, u64 index)
{
	struct vhdx_meta_page *page;

	spin_lock(&meta->lock);
	page = find(meta, index);
	if (page && !page->pins++ && !list_empty(&page->link)) {
		list_del_init(&page->link);
		meta->clean_count--;
	}
	spin_unlock(&meta->lock);
	return page;
}

/**
 * vhdx_meta_get() - the page of a container offset, read if need be, pinned
 * @meta:	the cache
 * @offset:	container offset
 *
 * May sleep. An ERR_PTR on failure. vhdx_meta_put() it.
 */
struct vhdx_meta_page *vhdx_meta_get(struct vhdx_meta *meta, u64 offset)
{
	u64 index = offset / VHDX_PAGE;
	struct mutex *loader = &meta->loaders[index % VHDX_META_LOADERS];
	struct vhdx_meta_page *page = pin(meta, index);

	if (page)
		return page;

	mutex_lock(loader);
	page = pin(meta, index);
	if (page)
		goto out;
	page = page_load(meta->layer, index);
	if (IS_ERR(page))
		goto out;
	spin_lock(&meta->lock);
	hlist_add_head_rcu(&page->chain, chain_of(meta, index));
	spin_unlock(&meta->lock);
out:
	mutex_unlock(loader);
	return page;
}

static void unpin_locked(struct vhdx_meta *meta, struct vhdx_meta_page *page)
{
	if (--page->pins)
		return;
	if (meta->starving) {
		drop(page);
		return;
	}
	list_add_tail(&page->link, &meta->clean);
	meta->clean_count++;
}

/**
 * vhdx_meta_put() - give a pin up
 * @meta:	the cache
 * @page:	from vhdx_meta_get()
 */
void vhdx_meta_put(struct vhdx_meta *meta, struct vhdx_meta_page *page)
{
	spin_lock(&meta->lock);
	unpin_locked(meta, page);
	spin_unlock(&meta->lock);
}

/**
 * vhdx_meta_hold() - an entry is busy
 * @meta:	the cache
 * @page:	pinned
 * @entry:	0 … VHDX_META_ENTRIES - 1, held by nobody else
 *
 * Whoever comes through the gate after it was flipped sees it.
 */
void vhdx_meta_hold(struct vhdx_meta *meta, struct vhdx_meta_page *page, unsigned int entry)
{
	spin_lock(&meta->lock);
	set_bit(entry, page->busy);
	WRITE_ONCE(page->odd, page->odd + 1);
	spin_unlock(&meta->lock);
}

/**
 * vhdx_meta_release() - it is not any more
 * @meta:	the cache
 * @page:	pinned
 * @entry:	held
 */
void vhdx_meta_release(struct vhdx_meta *meta, struct vhdx_meta_page *page, unsigned int entry)
{
	spin_lock(&meta->lock);
	/* Behind what was done to the entry: pairs with vhdx_meta_is_busy(). */
	clear_bit_unlock(entry, page->busy);
	smp_store_release(&page->odd, page->odd - 1);
	spin_unlock(&meta->lock);
}

/**
 * vhdx_meta_reserve() - make sure that writing a page in place does not run out of space
 * @meta:	the cache
 * @page:	pinned; not changed yet, unless it was reserved before
 *
 * It may lie in a hole of a sparse file, or be shared with a copy of it. To write what is
 * there already makes room by the way that payload takes, which waits for nobody else.
 * Sleeps. Returns 0, -ENOSPC, or -errno.
 */
int vhdx_meta_reserve(struct vhdx_meta *meta, struct vhdx_meta_page *page)
{
	struct vhdx_container *c = &meta->layer->container;
	int err = 0;

	if (READ_ONCE(page->reserved) || !c->ops->can_grow)
		return 0;
	/* One of those who come at once: once it is reserved the page may change. */
	mutex_lock(&meta->reserve_lock);
	if (!page->reserved)
		err = c->store.write(&c->store, page->index * VHDX_PAGE, page->entries, VHDX_PAGE);
	if (!err)
		WRITE_ONCE(page->reserved, true);
	mutex_unlock(&meta->reserve_lock);
	return err;
}

/* ---- changes ------------------------------------------------------------------ */

/**
 * vhdx_meta_set() - change one entry; the next commit makes it durable
 * @meta:	the cache
 * @page:	pinned
 * @entry:	0 … VHDX_META_ENTRIES - 1
 * @value:	in host byte order
 *
 * Rule V1: what the entry points to is complete already. The pin that a dirty page
 * has is the journal's.
 */
void vhdx_meta_set(struct vhdx_meta *meta, struct vhdx_meta_page *page, unsigned int entry,
		   u64 value)
{
	spin_lock(&meta->lock);
	WRITE_ONCE(page->undurable, true);
	/* Before the entry, for those who find the entry without the lock. */
	smp_wmb();
	WRITE_ONCE(page->entries[entry], cpu_to_le64(value));
	if (!page->dirty) {
		page->dirty = true;
		page->pins++;
		list_add_tail(&page->link, &meta->dirty);
		meta->dirty_count++;
	}
	spin_unlock(&meta->lock);
}

/**
 * vhdx_meta_take_dirty() - copy the pages that have been dirty for longest
 * @meta:	the cache
 * @copies:	receives offsets; each sector buffer receives a copy (rule V3)
 * @pages:	receives the pages; give them to vhdx_meta_logged()
 * @max:	length of both
 *
 * The pages are clean afterwards, and may become dirty again for the next transaction
 * while this one is under way. Returns how many.
 */
unsigned int vhdx_meta_take_dirty(struct vhdx_meta *meta, struct vhdx_log_page *copies,
				  struct vhdx_meta_page **pages, unsigned int max)
{
	struct vhdx_meta_page *page;
	unsigned int n;

	for (n = 0; n < max; n++) {
		spin_lock(&meta->lock);
		page = list_first_entry_or_null(&meta->dirty, struct vhdx_meta_page, link);
		if (page) {
			list_del_init(&page->link);
			meta->dirty_count--;
			page->dirty = false;
			copies[n].file_offset = page->index * VHDX_PAGE;
			memcpy(copies[n].sector, page->entries, VHDX_PAGE);
			pages[n] = page;
		}
		spin_unlock(&meta->lock);
		if (!page)
			break;
	}
	return n;
}

/**
 * vhdx_meta_logged() - the copies of these pages are durable in the log
 * @meta:	the cache
 * @pages:	from vhdx_meta_take_dirty()
 * @count:	how many
 */
void vhdx_meta_logged(struct vhdx_meta *meta, struct vhdx_meta_page **pages,
		      unsigned int count)
{
	unsigned int i;

	spin_lock(&meta->lock);
	for (i = 0; i < count; i++) {
		if (!pages[i]->dirty)
			WRITE_ONCE(pages[i]->undurable, false);
	}
	spin_unlock(&meta->lock);
}

/**
 * vhdx_meta_applied() - they were written in place too: a page may be dropped again
 * @meta:	the cache
 * @pages:	from vhdx_meta_take_dirty()
 * @count:	how many
 *
 * Not before: a page that is read again must read as what it was.
 */
void vhdx_meta_applied(struct vhdx_meta *meta, struct vhdx_meta_page **pages,
		       unsigned int count)
{
	unsigned int i;

	spin_lock(&meta->lock);
	for (i = 0; i < count; i++)
		unpin_locked(meta, pages[i]);
	spin_unlock(&meta->lock);
}

/* ---- reclaim ------------------------------------------------------------------ */

/*
 * Memory reclaim may have to write to this disk, and leaves some pages for that; to write to
 * /proc/sys/vm/drop_caches drops all that are clean.
 */
static unsigned long kept(void)
{
	return current->flags & PF_MEMALLOC ? VHDX_META_KEPT : 0;
}

static unsigned long count_clean(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct vhdx_meta *meta = compat_shrinker_object(shrinker);
	unsigned long count = READ_ONCE(meta->clean_count);

	return count > kept() ? count - kept() : SHRINK_EMPTY;
}

/* The next page goes to the end if it was used since reclaim last came by. */
static bool second_chance(struct vhdx_meta *meta)
{
	struct vhdx_meta_page *page;
	bool used = false;

	spin_lock(&meta->lock);
	page = list_first_entry_or_null(&meta->clean, struct vhdx_meta_page, link);
	if (page && page->used) {
		WRITE_ONCE(page->used, false);
		list_move_tail(&page->link, &meta->clean);
		used = true;
	}
	spin_unlock(&meta->lock);
	return used;
}

static unsigned long free_clean(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct vhdx_meta *meta = compat_shrinker_object(shrinker);
	unsigned long scanned, freed = 0;

	for (scanned = 0; scanned < sc->nr_to_scan; scanned++) {
		if (READ_ONCE(meta->clean_count) <= kept())
			break;
		if (kept() && second_chance(meta))
			continue;
		if (!evict(meta))
			break;
		freed++;
	}
	return scanned ? freed : SHRINK_STOP;
}

/* ---- life ------------------------------------------------------------------ */

/**
 * vhdx_meta_init() - an empty cache
 * @meta:	zeroed
 * @layer:	whose container and geometry are known
 */
int vhdx_meta_init(struct vhdx_meta *meta, struct vhdx_open_layer *layer)
{
	u64 pages = DIV_ROUND_UP(layer->image.geo.bat_entry_count, VHDX_META_ENTRIES);
	int i, err;

	spin_lock_init(&meta->lock);
	mutex_init(&meta->reserve_lock);
	INIT_LIST_HEAD(&meta->clean);
	INIT_LIST_HEAD(&meta->dirty);
	for (i = 0; i < VHDX_META_LOADERS; i++)
		mutex_init(&meta->loaders[i]);
	meta->chain_bits = clamp(ilog2(pages), 1, VHDX_META_CHAIN_BITS);
	meta->chains = kvcalloc(1 << meta->chain_bits, sizeof(*meta->chains), GFP_KERNEL);
	if (!meta->chains)
		return -ENOMEM;
	err = mempool_init(&meta->pool, layer->container.read_only ? 1 : VHDX_META_RESERVE,
			   pool_alloc, pool_free, NULL);
	if (err)
		goto fail_chains;
	err = compat_shrinker_register(&meta->shrinker, meta, count_clean, free_clean,
				       "vhdx-metadata");
	if (err)
		goto fail_pool;
	meta->layer = layer;
	return 0;

fail_pool:
	mempool_exit(&meta->pool);
fail_chains:
	kvfree(meta->chains);
	meta->chains = NULL;
	return err;
}

/**
 * vhdx_meta_destroy() - free every page; harmless where there is no cache
 * @meta:	nobody uses it any more
 */
void vhdx_meta_destroy(struct vhdx_meta *meta)
{
	struct vhdx_meta_page *page;
	struct hlist_node *next;
	unsigned int i;

	if (!meta->layer)
		return;
	compat_shrinker_unregister(&meta->shrinker);
	rcu_barrier();
	for (i = 0; i < 1 << meta->chain_bits; i++) {
		hlist_for_each_entry_safe(page, next, &meta->chains[i], chain)
			page_free(page);
	}
	mempool_exit(&meta->pool);
	kvfree(meta->chains);
	meta->chains = NULL;
	meta->layer = NULL;
}
