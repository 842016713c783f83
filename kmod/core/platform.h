/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * The only door between the pure code in this directory and its surroundings.
 * Everything here compiles into the kernel module and into user space, where
 * the tests, the fuzzers and the offline commands use it.
 *
 * Nothing in this directory sleeps other than in vhdx_alloc() and in the
 * methods of a struct vhdx_store, and nothing takes a lock: callers serialise,
 * except where a function says that it is lock-free.
 */
#ifndef VHDX_CORE_PLATFORM_H
#define VHDX_CORE_PLATFORM_H

#ifdef __KERNEL__

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/build_bug.h>
#include <linux/crc32c.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/stdarg.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/uuid.h>

/* Zeroed memory; may sleep. Workers of the driver run under memalloc_noio. */
static inline void *vhdx_alloc(size_t size)
{
	return kvzalloc(size, GFP_KERNEL);
}

/* Zeroed memory without sleeping and without reserves; may well fail. */
static inline void *vhdx_alloc_atomic(size_t size)
{
	return kzalloc(size, GFP_NOWAIT | __GFP_NOWARN);
}

static inline void vhdx_free(void *p)
{
	kvfree(p);
}

/* What was there before; full barrier. */
static inline u64 vhdx_fetch_or64(u64 *word, u64 mask)
{
	return atomic64_fetch_or((s64)mask, (atomic64_t *)word);
}

/* What is there then; full barrier. */
static inline u64 vhdx_add64(u64 *word, s64 more)
{
	return atomic64_add_return(more, (atomic64_t *)word);
}

static inline u32 vhdx_add32(u32 *word, s32 more)
{
	return (u32)atomic_add_return(more, (atomic_t *)word);
}

static inline u32 vhdx_crc32c(u32 seed, const void *data, size_t length)
{
	return crc32c(seed, data, length);
}

/* True when a long loop should give up: the caller was killed. */
static inline bool vhdx_interrupted(void)
{
	return fatal_signal_pending(current);
}

static inline void vhdx_breathe(void)
{
	cond_resched();
}

#else
#include "platform_user.h"
#endif

#define VHDX_MIB	(1024ULL * 1024)
#define VHDX_PAGE	4096U

#include "shared_page.h"

/**
 * struct vhdx_store - bytes that are kept elsewhere: a container, a sidecar, or a
 *	container seen through a log that is replayed in memory
 * @size:	length in bytes, as it was when the store was opened
 * @read:	fill buf completely; bytes at or behind the end read as zero.
 *		0 or -errno
 * @write:	write it all. 0 or -errno; -EROFS, or NULL, where the store is read-only
 * @flush:	make everything written before durable. 0 or -errno
 *
 * @offset and @length of every call are multiples of 512; buffers come from
 * vhdx_alloc() in multiples of 4096, so that direct I/O can use them.
 */
struct vhdx_store {
	u64 size;
	int (*read)(struct vhdx_store *store, u64 offset, void *buf, size_t length);
	int (*write)(struct vhdx_store *store, u64 offset, const void *buf, size_t length);
	int (*flush)(struct vhdx_store *store);
};

#endif
