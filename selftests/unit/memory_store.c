// SPDX-License-Identifier: GPL-2.0-only
#include <sys/mman.h>

#include "memory_store.h"

#define NOWHERE	(~0ULL)

static u64 room_of(u64 length)
{
	return length ? length : 1;
}

/*
 * Memory of its own, not of malloc(): a container is tens of MiB, most of which nobody touches,
 * and the sanitizer's would touch a byte of its own for every eight, thousands of times.
 */
static void grow(struct memory_store *memory, u64 length)
{
	u64 whole = (length + 4095) & ~4095ULL;

	/* What is cut off in the middle of a page is zero when it is there again. */
	if (length < memory->length)
		memset(memory->bytes + length, 0, min(whole, memory->length) - length);
	if (!memory->bytes)
		memory->bytes = mmap(NULL, room_of(length), PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	else
		memory->bytes = mremap(memory->bytes, room_of(memory->length), room_of(length),
				       MREMAP_MAYMOVE);
	assert(memory->bytes != MAP_FAILED);
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
	if (memory->bytes)
		munmap(memory->bytes, room_of(memory->length));
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
