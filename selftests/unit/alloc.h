/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Allocations that fail on demand, through the hook in platform_user.h.
 */
#ifndef VHDX_UNIT_ALLOC_H
#define VHDX_UNIT_ALLOC_H

#include "core/platform.h"

/* From the @nth allocation on (1: the next one) @count of them fail; 0: none. */
void alloc_fail(u64 nth, u64 count);
/* Allocations since then, and their bytes. */
u64 alloc_count(void);
u64 alloc_bytes(void);

#endif
