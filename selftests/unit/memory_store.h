/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A container in memory, which counts how it is used and fails on demand.
 */
#ifndef VHDX_UNIT_MEMORY_STORE_H
#define VHDX_UNIT_MEMORY_STORE_H

#include "core/platform.h"

/**
 * struct memory_store - bytes that the core takes for a container
 * @length:	how many there are; store.size stays as it was at memory_store_open()
 * @bytes_read:	by the core, so far
 * @bytes_written: by the core, so far
 * @fail_at:	reads and writes that touch this byte fail with @error
 */
struct memory_store {
	struct vhdx_store store;
	u8 *bytes;
	u64 length;
	u64 bytes_read;
	u64 bytes_written;
	u64 fail_at;
	int error;
};

void memory_store_open(struct memory_store *memory, u64 length);
void memory_store_close(struct memory_store *memory);

/* Grow or cut; store.size follows. New bytes are zero. */
void memory_store_resize(struct memory_store *memory, u64 length);

/* The same bytes again, counters at zero. */
void memory_store_copy(struct memory_store *copy, const struct memory_store *original);

#endif
