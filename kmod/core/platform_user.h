/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * What platform.h takes from the kernel, for user space. Kernel names on purpose:
 * the code that uses them reads the same on both sides.
 */
#ifndef VHDX_CORE_PLATFORM_USER_H
#define VHDX_CORE_PLATFORM_USER_H

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <linux/types.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The kernel's own types: %llu prints a u64 on both sides, without a cast. */
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;

#ifndef __force
#define __force
#endif

#define likely(x)	__builtin_expect(!!(x), 1)
#ifndef __always_inline
#define __always_inline	inline __attribute__((__always_inline__))
#endif

#define cpu_to_le16(x)	((__force __le16)htole16(x))
#define cpu_to_le32(x)	((__force __le32)htole32(x))
#define cpu_to_le64(x)	((__force __le64)htole64(x))
#define le16_to_cpu(x)	((u16)le16toh((__force u16)(x)))
#define le32_to_cpu(x)	((u32)le32toh((__force u32)(x)))
#define le64_to_cpu(x)	((u64)le64toh((__force u64)(x)))

#define min(a, b)	((a) < (b) ? (a) : (b))
#define max(a, b)	((a) > (b) ? (a) : (b))
#define min_t(t, a, b)	min((t)(a), (t)(b))
#define max_t(t, a, b)	max((t)(a), (t)(b))
#define swap(a, b) \
	do { __typeof__(a) tmp_ = (a); (a) = (b); (b) = tmp_; } while (0)
#define U16_MAX		((u16)~0U)
#define BIT(n)		(1UL << (n))
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define DIV_ROUND_UP(n, d)	(((n) + (d) - 1) / (d))
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

#define READ_ONCE(x)		(*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v)	(*(volatile __typeof__(x) *)&(x) = (v))
#define smp_load_acquire(p)	__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define smp_store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)
/* Returns what was there before, as the kernel's does; full barrier. */
#define cmpxchg(p, old, new) __extension__ ({				\
	__typeof__(*(p)) old_ = (old);					\
	__atomic_compare_exchange_n(p, &old_, new, false,		\
				    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);\
	old_; })

#define check_add_overflow(a, b, d)	__builtin_add_overflow(a, b, d)
#define check_mul_overflow(a, b, d)	__builtin_mul_overflow(a, b, d)
#define BUILD_BUG_ON(c)			_Static_assert(!(c), #c)
/* The message is optional, as in the kernel; C11 alone insists on it. */
#undef static_assert
#define static_assert(c, ...)		_Static_assert(c, #c)

static inline bool is_power_of_2(u64 n)
{
	return n && !(n & (n - 1));
}

static inline int ilog2(u64 n)
{
	return 63 - __builtin_clzll(n);
}

/* Number of the lowest bit that is set; @word is not zero. */
static inline unsigned int __ffs64(u64 word)
{
	return __builtin_ctzll(word);
}

static inline unsigned int hweight64(u64 word)
{
	return __builtin_popcountll(word);
}

/* By a 64-bit divisor: the kernel's name for what 32-bit machines lack. */
static inline u64 div64_u64(u64 n, u64 d)
{
	return n / d;
}

static inline void sort(void *base, size_t num, size_t size,
			int (*cmp)(const void *, const void *), void *swap_fn)
{
	(void)swap_fn;
	if (num)
		qsort(base, num, size, cmp);
}

/* The first byte that is another one, or NULL. */
static inline const void *memchr_inv(const void *start, int c, size_t size)
{
	const u8 *byte = start;

	for (; size; size--, byte++)
		if (*byte != (u8)c)
			return byte;
	return NULL;
}

/* A program that defines it decides which allocations fail: the tests do. */
__attribute__((weak)) bool vhdx_alloc_fails(size_t size);

/* Zeroed, aligned as direct I/O wants it. */
static inline void *vhdx_alloc(size_t size)
{
	size_t rounded = (size + 4095) & ~(size_t)4095;
	void *p;

	if (rounded < size || (vhdx_alloc_fails && vhdx_alloc_fails(size)))
		return NULL;
	p = aligned_alloc(4096, rounded ? rounded : 4096);
	return p ? memset(p, 0, rounded ? rounded : 4096) : NULL;
}

static inline void *vhdx_alloc_atomic(size_t size)
{
	return vhdx_alloc(size);
}

static inline void vhdx_free(void *p)
{
	free(p);
}

static inline u64 vhdx_fetch_or64(u64 *word, u64 mask)
{
	return __atomic_fetch_or(word, mask, __ATOMIC_SEQ_CST);
}

static inline u64 vhdx_add64(u64 *word, s64 more)
{
	return __atomic_add_fetch(word, more, __ATOMIC_SEQ_CST);
}

static inline u32 vhdx_add32(u32 *word, s32 more)
{
	return __atomic_add_fetch(word, more, __ATOMIC_SEQ_CST);
}

/* The kernel's crc32c(): no inversion before or after. crc32c_user.c */
u32 vhdx_crc32c(u32 seed, const void *data, size_t length);

static inline bool vhdx_interrupted(void)
{
	return false;
}

static inline void vhdx_breathe(void)
{
}

#endif
