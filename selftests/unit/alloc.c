// SPDX-License-Identifier: GPL-2.0-only
#include "alloc.h"

static u64 first, failures, number, bytes;

void alloc_fail(u64 nth, u64 count)
{
	first = nth;
	failures = count;
	number = 0;
	bytes = 0;
}

u64 alloc_count(void)
{
	return number;
}

u64 alloc_bytes(void)
{
	return bytes;
}

bool vhdx_alloc_fails(size_t size)
{
	u64 mine = __atomic_add_fetch(&number, 1, __ATOMIC_RELAXED);

	__atomic_add_fetch(&bytes, size, __ATOMIC_RELAXED);
	return mine >= first && mine - first < failures;
}
