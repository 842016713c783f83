// SPDX-License-Identifier: GPL-2.0-only
#include "meta.h"
#include "disk.h"

#include <linux/slab.h>

/* ---- pages ------------------------------------------------------------------ */

static void page_free(struct vhdx_meta_page *page)
{
	if (!page)
		return;
	kfree(page->bad);
	kfree(page->entries);
	kfree(page);
}

static void page_free_rcu(struct rcu_head *rcu)
{
	page_free(container_of(rcu, struct vhdx_meta_page, rcu));
}

/* Rule V6: an entry that is wrong by itself makes its block unusable, no more. */
static int judge_entries(struct vhdx_disk *disk, struct vhdx_meta_page *page)
{
	const struct vhdx_geometry *geo = &disk->image.geo;
	u64 first = (page->index * VHDX_PAGE - geo->bat_offset) / sizeof(u64);
	/* A log that is replayed in memory may say that the container is longer. */
	u64 size = max(disk->store->size, READ_ONCE(disk->container.size));
	struct vhdx_diag diag;
	unsigned int i;

	for (i = 0; i < VHDX_META_ENTRIES && first + i < geo->bat_entry_count; i++) {
		diag.text[0] = 0;
		if (!vhdx_bat_check(&disk->image, first + i, le64_to_cpu(page->entries[i]),
				    size, &diag))
			continue;
		if (!page->bad)
			page->bad = kcalloc(BITS_TO_LONGS(VHDX_META_ENTRIES), sizeof(long),
					    GFP_KERNEL);
		if (!page->bad)
			return -ENOMEM;
		__set_bit(i, page->bad);
		vhdx_allocator_refuse(&disk->allocator, diag.text);
	}
	return 0;
}

static struct vhdx_meta_page *page_load(struct vhdx_disk *disk, u64 index)
{
	struct vhdx_meta_page *page = kzalloc(sizeof(*page), GFP_KERNEL);
	int err = -ENOMEM;

	if (!page)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&page->link);
	page->index = index;
	page->pins = 1;
	page->entries = kmalloc(VHDX_PAGE, GFP_KERNEL);
	if (!page->entries)
		goto fail;
	err = disk->store->read(disk->store, index * VHDX_PAGE, page->entries, VHDX_PAGE);
	if (vhdx_loss_found(disk))
		err = -EIO;
	if (err)
		goto fail;
	err = judge_entries(disk, page);
	if (err)
		goto fail;
	return page;

fail:
	page_free(page);
	return ERR_PTR(err);
}

/* ---- lookup ------------------------------------------------------------------ */

/**
 * vhdx_meta_peek() - the page of a container offset, if it is in memory
 * @meta:	the cache
 * @offset:	container offset
 *
 * Under rcu_read_lock(), which keeps the page; its entries are read with READ_ONCE().
 */
struct vhdx_meta_page *vhdx_meta_peek(struct vhdx_meta *meta, u64 offset)
{
	return xa_load(&meta->pages, offset / VHDX_PAGE);
}

static struct vhdx_meta_page *pin(struct vhdx_meta *meta, u64 index)
{
	struct vhdx_meta_page *page;

	spin_lock(&meta->lock);
	page = xa_load(&meta->pages, index);
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
	int err;

	if (page)
		return page;

	mutex_lock(loader);
	page = pin(meta, index);
	if (page)
		goto out;
	page = page_load(meta->disk, index);
	if (IS_ERR(page))
		goto out;
	err = xa_insert(&meta->pages, index, page, GFP_KERNEL);
	if (err) {
		page_free(page);
		page = ERR_PTR(err);
	}
out:
	mutex_unlock(loader);
	return page;
}

static void unpin_locked(struct vhdx_meta *meta, struct vhdx_meta_page *page)
{
	if (--page->pins)
		return;
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
	struct mutex *loader = &meta->loaders[page->index % VHDX_META_LOADERS];
	struct vhdx_container *c = &meta->disk->container;
	int err = 0;

	if (READ_ONCE(page->reserved) || c->bdev)
		return 0;
	/* One of those who come at once: once it is reserved the page may change. */
	mutex_lock(loader);
	if (!page->reserved)
		err = c->store.write(&c->store, page->index * VHDX_PAGE, page->entries, VHDX_PAGE);
	if (!err)
		WRITE_ONCE(page->reserved, true);
	mutex_unlock(loader);
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

static unsigned long count_clean(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct vhdx_meta *meta = compat_shrinker_object(shrinker);
	unsigned long count = READ_ONCE(meta->clean_count);

	return count ?: SHRINK_EMPTY;
}

static unsigned long free_clean(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct vhdx_meta *meta = compat_shrinker_object(shrinker);
	struct vhdx_meta_page *page;
	unsigned long freed = 0;

	while (freed < sc->nr_to_scan) {
		spin_lock(&meta->lock);
		page = list_first_entry_or_null(&meta->clean, struct vhdx_meta_page, link);
		if (page) {
			list_del_init(&page->link);
			meta->clean_count--;
			xa_erase(&meta->pages, page->index);
		}
		spin_unlock(&meta->lock);
		if (!page)
			break;
		call_rcu(&page->rcu, page_free_rcu);
		freed++;
	}
	return freed ?: SHRINK_STOP;
}

/* ---- life ------------------------------------------------------------------ */

/**
 * vhdx_meta_init() - an empty cache
 * @meta:	zeroed
 * @disk:	whose container and geometry are known
 */
int vhdx_meta_init(struct vhdx_meta *meta, struct vhdx_disk *disk)
{
	int i, err;

	meta->disk = disk;
	xa_init(&meta->pages);
	spin_lock_init(&meta->lock);
	INIT_LIST_HEAD(&meta->clean);
	INIT_LIST_HEAD(&meta->dirty);
	for (i = 0; i < VHDX_META_LOADERS; i++)
		mutex_init(&meta->loaders[i]);
	err = compat_shrinker_register(&meta->shrinker, meta, count_clean, free_clean,
				       "vhdx-metadata");
	if (err)
		meta->disk = NULL;
	return err;
}

/**
 * vhdx_meta_destroy() - free every page; harmless where there is no cache
 * @meta:	nobody uses it any more
 */
void vhdx_meta_destroy(struct vhdx_meta *meta)
{
	struct vhdx_meta_page *page;
	unsigned long index;

	if (!meta->disk)
		return;
	compat_shrinker_unregister(&meta->shrinker);
	rcu_barrier();
	xa_for_each(&meta->pages, index, page)
		page_free(page);
	xa_destroy(&meta->pages);
	meta->disk = NULL;
}
