// SPDX-License-Identifier: GPL-2.0-only
#include "memory_store.h"

#define NOWHERE	(~0ULL)

static void grow(struct memory_store *memory, u64 length)
{
	memory->bytes = realloc(memory->bytes, length ? length : 1);
	assert(memory->bytes);
	if (length > memory->length)
		memset(memory->bytes + memory->length, 0, length - memory->length);
	memory->length = length;
}

static bool fails(const struct memory_store *memory, u64 offset, size_t length)
{
	return memory->fail_at >= offset && memory->fail_at - offset < length;
}

static int memory_read(struct vhdx_store *store, u64 offset, void *buf, size_t length)
{
	struct memory_store *memory = container_of(store, struct memory_store, store);
	u64 there = offset < memory->length ? min_t(u64, length, memory->length - offset) : 0;

	assert(offset % 512 == 0 && length % 512 == 0 && length);
	memory->bytes_read += length;
	if (fails(memory, offset, length))
		return memory->error;
	if (there)
		memcpy(buf, memory->bytes + offset, there);
	memset((u8 *)buf + there, 0, length - there);
	return 0;
}

static int memory_write(struct vhdx_store *store, u64 offset, const void *buf, size_t length)
{
	struct memory_store *memory = container_of(store, struct memory_store, store);

	assert(offset % 512 == 0 && length % 512 == 0 && length);
	memory->bytes_written += length;
	if (fails(memory, offset, length))
		return memory->error;
	if (offset + length > memory->length)
		grow(memory, offset + length);
	memcpy(memory->bytes + offset, buf, length);
	return 0;
}

static int memory_flush(struct vhdx_store *store)
{
	(void)store;
	return 0;
}

void memory_store_open(struct memory_store *memory, u64 length)
{
	memset(memory, 0, sizeof(*memory));
	memory->store.read = memory_read;
	memory->store.write = memory_write;
	memory->store.flush = memory_flush;
	memory->fail_at = NOWHERE;
	memory->error = -EIO;
	memory_store_resize(memory, length);
}

void memory_store_close(struct memory_store *memory)
{
	free(memory->bytes);
	memory->bytes = NULL;
}

void memory_store_resize(struct memory_store *memory, u64 length)
{
	grow(memory, length);
	memory->store.size = length;
}

void memory_store_copy(struct memory_store *copy, const struct memory_store *original)
{
	memory_store_open(copy, original->length);
	memcpy(copy->bytes, original->bytes, original->length);
}
