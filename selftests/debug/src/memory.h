/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that no caller should hand to the kernel.
 */
#ifndef VHDX_FUZZ_MEMORY_H
#define VHDX_FUZZ_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* What fits into each kind of memory. */
#define MEMORY_MAX	(16 * 4096)

void memory_setup(void);
void memory_new_thread(void);
uint64_t memory_any(const void *content, size_t length);

#endif
