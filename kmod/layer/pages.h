/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Metadata pages: a cache of 4 KiB pages of the container, loaded on demand, clean
 * ones reclaimable. The BAT of a 64 TB disk never needs to be in memory at once.
 *
 * Lookups from the fast path take RCU only. A page that is dirty, or pinned, stays.
 *
 * While memory is reclaimed through the disk (rule K3), a page is still to be had: some
 * are kept in reserve, and pages that no task needs make room for others. To find a page
 * takes no memory.
 *
 * Reclaim is not the only bound: the pages of all disks together are a part of the machine's
 * memory at most, as whoever reads all over a large disk does not pay for them. Beyond that, each
 * page that is loaded takes the place of one of its cache that nobody needs.
 */
#ifndef VHDX_PAGES_H
#define VHDX_PAGES_H

#include "compat.h"
#include "core/vhdx/log.h"

#include <linux/mempool.h>
#include <linux/mutex.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>

struct vhdx_container;
struct vhdx_page;
struct vhdx_page_cache;

#define VHDX_PAGE_ENTRIES	(VHDX_PAGE / sizeof(u64))
#define VHDX_PAGES_LOADERS	16
/* Pages that are kept in reserve by a disk that is written. */
#define VHDX_PAGES_RESERVE	8
/* And at least: what a task needs at once to find a sector that is partially present. */
#define VHDX_PAGES_AT_ONCE	3
/* Clean pages that reclaim leaves: those that it will need to go on. */
#define VHDX_PAGES_KEPT		32
/* All caches together have 1 / (1 << this) of the machine's memory. */
#define VHDX_PAGES_SHARE_SHIFT	4
/* More chains than this are not worth their memory. */
#define VHDX_PAGES_CHAIN_BITS	12

/**
 * struct vhdx_page_kind - what the entries of a page are
 * @judge:	count those in page->odd, and have a bit in page->bad, that must not be used; the
 *		page was just read from the container, and is in no list yet. NULL: whatever they
 *		are, they can be used
 */
struct vhdx_page_kind {
	void (*judge)(struct vhdx_page *page, const struct vhdx_container *container);
};

/**
 * struct vhdx_page_cache_ops - what a cache wants of the container that it is of
 * @read:	read the page at @offset through that descriptor of it. Sleeps; 0 or -errno
 * @reserve:	write it as it is, for room. Sleeps; 0 or -errno. NULL: there is room
 * @hurry:	commit dirty pages now: there is no memory for others. NULL: none ever is
 */
struct vhdx_page_cache_ops {
	int (*read)(struct vhdx_page_cache *cache, struct vhdx_container *container, u64 offset,
		    void *buf);
	int (*reserve)(struct vhdx_page_cache *cache, u64 offset, const void *buf);
	void (*hurry)(struct vhdx_page_cache *cache);
};

/**
 * struct vhdx_page - one page
 * @cache:	whose it is
 * @index:	container offset / 4096
 * @chain:	in cache->chains
 * @link:	in cache->clean (unpinned and clean) or cache->dirty, or in neither
 * @pins:	users that need it to stay; the journal's included
 * @dirty:	has changes that no transaction has picked up
 * @changed_in:	the last transaction that has changes of it: durable once that is logged (rule V4)
 * @dirty_since: the first one that has changes of it that were not picked up
 * @reserved:	writing it in place can't run out of space
 * @used:	looked at since reclaim last came by
 * @odd:	how many bits @bad and @busy have
 * @bad:	one bit for each entry that must not be used (rule V6)
 * @busy:	one for each that an operation is under way on: see block_op.h
 * @entries:	the page, as it is on disk
 */
struct vhdx_page {
	struct vhdx_page_cache *cache;
	u64 index;
	struct hlist_node chain;
	struct list_head link;
	unsigned int pins;
	u64 changed_in;
	u64 dirty_since;
	bool dirty;
	bool reserved;
	bool used;
	unsigned int odd;
	DECLARE_BITMAP(bad, VHDX_PAGE_ENTRIES);
	DECLARE_BITMAP(busy, VHDX_PAGE_ENTRIES);
	__le64 *entries;
	struct rcu_head rcu;
};

/**
 * struct vhdx_watermarks - how far transactions have come, by their numbers
 * @running:	what changes is part of this one
 * @logged:	this one, and all before it, survive power loss
 * @applied:	and are in place
 */
struct vhdx_watermarks {
	u64 running;
	u64 logged;
	u64 applied;
};

/**
 * struct vhdx_page_cache - the cache of one container
 * @pool:	what pages are made of
 * @chains:	the pages, by a hash of their index; 1 << @chain_bits lists
 * @lock:	everything below, @chains, and the contents of pages while they change; a block is
 *		mapped wherever its data is found to be complete: any context
 * @count:	of all pages that can be found
 * @owed:	how many of @dirty have changes of a transaction that was closed
 * @marks:	of its transactions: @running under @lock, the others under journal->lock
 * @starving:	how many wait for a page: what is not needed any more goes back at once
 * @reserve_lock: one page at a time is reserved
 * @together:	taken by a task that waits for memory for a page while it holds another one: pages
 *		that all others hold are given up without any wait for more of this cache
 * @loaders:	one of these is held while a page is read, chosen by its index: two
 *		copies of one page never come to be
 */
struct vhdx_page_cache {
	const struct vhdx_page_cache_ops *ops;
	mempool_t pool;
	struct hlist_head *chains;
	unsigned int chain_bits;
	spinlock_t lock;
	struct list_head clean;
	struct list_head dirty;
	unsigned long count;
	unsigned long clean_count;
	unsigned long dirty_count;
	unsigned long owed;
	struct vhdx_watermarks marks;
	unsigned int starving;
	struct mutex reserve_lock;
	struct mutex together;
	struct mutex loaders[VHDX_PAGES_LOADERS];
	struct compat_shrinker shrinker;
};

int vhdx_page_cache_init(struct vhdx_page_cache *cache, const struct vhdx_page_cache_ops *ops,
			 u64 most, bool written);
void vhdx_page_cache_destroy(struct vhdx_page_cache *cache);

struct vhdx_page *vhdx_page_peek(struct vhdx_page_cache *cache, u64 offset);
struct vhdx_page *vhdx_page_pin(struct vhdx_page_cache *cache, u64 offset);
struct vhdx_page *vhdx_page_get(struct vhdx_page_cache *cache, const struct vhdx_page_kind *kind,
				struct vhdx_container *container, u64 offset, bool wait);
void vhdx_page_put(struct vhdx_page_cache *cache, struct vhdx_page *page);
void vhdx_page_hold(struct vhdx_page_cache *cache, struct vhdx_page *page, unsigned int entry);
void vhdx_page_release(struct vhdx_page_cache *cache, struct vhdx_page *page, unsigned int entry);
int vhdx_page_reserve(struct vhdx_page_cache *cache, struct vhdx_page *page);
void vhdx_page_set(struct vhdx_page_cache *cache, struct vhdx_page *page, unsigned int entry,
		   u64 value);
void vhdx_page_set_last(struct vhdx_page_cache *cache, struct vhdx_page *page,
			unsigned int entry, u64 value);
void vhdx_page_fill(struct vhdx_page_cache *cache, struct vhdx_page *page, bool set, u32 bit,
		    u32 end);

u64 vhdx_page_cache_close_transaction(struct vhdx_page_cache *cache);
unsigned int vhdx_page_cache_take_dirty(struct vhdx_page_cache *cache, struct vhdx_log_page *copies,
					struct vhdx_page **pages, unsigned int max);
void vhdx_page_cache_applied(struct vhdx_page_cache *cache, struct vhdx_page **pages,
			     unsigned int count);

/* May it change? See vhdx_page_reserve(). */
static inline bool vhdx_page_is_reserved(const struct vhdx_page *page)
{
	return READ_ONCE(page->reserved) || !page->cache->ops->reserve;
}

/* How much memory the pages of a cache take: of one that was never made, none. */
static inline u64 vhdx_page_cache_bytes(const struct vhdx_page_cache *cache)
{
	return (u64)READ_ONCE(cache->count) * (VHDX_PAGE + sizeof(struct vhdx_page));
}

/* Is everything durable that was seen in it? Read after the entry, with smp_rmb() in between. */
static inline bool vhdx_page_is_durable(const struct vhdx_page *page)
{
	return READ_ONCE(page->changed_in) <= READ_ONCE(page->cache->marks.logged);
}

/* Is an operation under way on this entry? If not, what the last one changed is seen. */
static inline bool vhdx_page_is_busy(const struct vhdx_page *page, unsigned int entry)
{
	/* Pairs with vhdx_page_release(). */
	return unlikely(smp_load_acquire(&page->odd)) && test_bit(entry, page->busy);
}

static inline bool vhdx_page_is_bad(const struct vhdx_page *page, unsigned int entry)
{
	return unlikely(READ_ONCE(page->odd)) && test_bit(entry, page->bad);
}

#endif
