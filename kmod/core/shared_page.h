/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Memory of VHDX_PAGE bytes that several may hold at once: whoever made it, and those whom it was
 * lent to. The last one that lets go of it frees it, in any context.
 */
#ifndef VHDX_CORE_SHARED_PAGE_H
#define VHDX_CORE_SHARED_PAGE_H

#include "platform.h"

#if defined(__KERNEL__) && PAGE_SIZE == 4096

/* Zeroed memory. */
static inline void *vhdx_shared_new(void)
{
	return (void *)get_zeroed_page(GFP_KERNEL);
}

/* Zeroed memory without sleeping and without reserves; may well fail. */
static inline void *vhdx_shared_new_atomic(void)
{
	return (void *)get_zeroed_page(GFP_NOWAIT | __GFP_NOWARN);
}

/* One holder more; by one. */
static inline void vhdx_shared_get(void *page)
{
	get_page(virt_to_page(page));
}

static inline void vhdx_shared_put(void *page)
{
	put_page(virt_to_page(page));
}

#else

/* Where the machine's own pages are larger ones, they would be a waste. */
struct vhdx_shared_page {
	u64 holders;
	u64 words[VHDX_PAGE / sizeof(u64)];
};

static inline struct vhdx_shared_page *vhdx_shared_of(void *page)
{
	return container_of(page, struct vhdx_shared_page, words);
}

static inline void *vhdx_shared_made(struct vhdx_shared_page *shared)
{
	if (!shared)
		return NULL;
	shared->holders = 1;
	return shared->words;
}

static inline void *vhdx_shared_new(void)
{
	return vhdx_shared_made(vhdx_alloc(sizeof(struct vhdx_shared_page)));
}

static inline void *vhdx_shared_new_atomic(void)
{
	return vhdx_shared_made(vhdx_alloc_atomic(sizeof(struct vhdx_shared_page)));
}

static inline void vhdx_shared_get(void *page)
{
	vhdx_add64(&vhdx_shared_of(page)->holders, 1);
}

static inline void vhdx_shared_put(void *page)
{
	struct vhdx_shared_page *shared = vhdx_shared_of(page);

	if (!vhdx_add64(&shared->holders, -1))
		vhdx_free(shared);
}

#endif

#endif
