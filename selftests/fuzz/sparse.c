// SPDX-License-Identifier: GPL-2.0-only
#include "sparse.h"

static u64 get64(const u8 *raw)
{
	u64 value;

	memcpy(&value, raw, sizeof(value));
	return le64_to_cpu((__force __le64)value);
}

static void put64(u8 *raw, u64 value)
{
	__le64 stored = cpu_to_le64(value);

	memcpy(raw, &stored, sizeof(stored));
}

static bool is_zero(const u8 *bytes, size_t length)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, length - 1);
}

static int sparse_read(struct vhdx_store *store, u64 offset, void *buf, size_t length)
{
	struct sparse *sparse = container_of(store, struct sparse, store);
	u8 *to = buf;

	MUST(offset % 512 == 0 && length % 512 == 0 && length);
	while (length) {
		u32 within = offset % VHDX_PAGE;
		size_t chunk = min_t(size_t, length, VHDX_PAGE - within);
		u8 *page = sparse_page(sparse, offset);

		if (page)
			memcpy(to, page + within, chunk);
		else
			memset(to, 0, chunk);
		to += chunk;
		offset += chunk;
		length -= chunk;
	}
	return 0;
}

static int sparse_write(struct vhdx_store *store, u64 offset, const void *buf, size_t length)
{
	struct sparse *sparse = container_of(store, struct sparse, store);
	const u8 *from = buf;

	MUST(offset % 512 == 0 && length % 512 == 0 && length);
	while (length && offset < SPARSE_SIZE) {
		u32 within = offset % VHDX_PAGE;
		size_t chunk = min_t(size_t, length, VHDX_PAGE - within);
		u8 **page = &sparse->pages[offset / VHDX_PAGE];

		if (!*page && !is_zero(from, chunk))
			*page = calloc(1, VHDX_PAGE);
		if (*page)
			memcpy(*page + within, from, chunk);
		from += chunk;
		offset += chunk;
		length -= chunk;
	}
	return 0;
}

static int sparse_flush(struct vhdx_store *store)
{
	(void)store;
	return 0;
}

static void begin(struct sparse *sparse, u64 size)
{
	memset(sparse, 0, sizeof(*sparse));
	sparse->store.size = size;
	sparse->store.read = sparse_read;
	sparse->store.write = sparse_write;
	sparse->store.flush = sparse_flush;
}

void sparse_open(struct sparse *sparse, const u8 *input, size_t length)
{
	begin(sparse, length < 8 ? 0 : min_t(u64, get64(input), SPARSE_SIZE) & ~511ULL);
	for (size_t at = 8; at + SPARSE_RECORD <= length; at += SPARSE_RECORD) {
		u64 offset = get64(input + at) & ~(u64)(VHDX_PAGE - 1);

		if (offset < sparse->store.size)
			sparse_write(&sparse->store, offset, input + at + 8,
				     min_t(u64, VHDX_PAGE, sparse->store.size - offset));
	}
}

void sparse_copy(struct sparse *copy, const struct sparse *original)
{
	begin(copy, original->store.size);
	for (size_t i = 0; i < SPARSE_PAGES; i++)
		if (original->pages[i])
			sparse_write(&copy->store, i * VHDX_PAGE, original->pages[i], VHDX_PAGE);
}

void sparse_close(struct sparse *sparse)
{
	for (size_t i = 0; i < SPARSE_PAGES; i++)
		free(sparse->pages[i]);
}

size_t sparse_pack(const struct sparse *sparse, u8 *input, size_t max)
{
	size_t length = 8;

	if (max < length)
		return 0;
	put64(input, sparse->store.size);
	for (size_t i = 0; i < SPARSE_PAGES && length + SPARSE_RECORD <= max; i++) {
		if (!sparse->pages[i])
			continue;
		put64(input + length, i * VHDX_PAGE);
		memcpy(input + length + 8, sparse->pages[i], VHDX_PAGE);
		length += SPARSE_RECORD;
	}
	return length;
}

u8 *sparse_page(const struct sparse *sparse, u64 offset)
{
	return offset < SPARSE_SIZE ? sparse->pages[offset / VHDX_PAGE] : NULL;
}

u32 sparse_crc(const struct sparse *sparse, u64 offset, u64 length, u32 hole)
{
	static const u8 zeroes[VHDX_PAGE];
	u8 first[VHDX_PAGE];
	u32 crc = ~0U;

	for (u64 at = 0; at < length; at += VHDX_PAGE) {
		const u8 *page = sparse_page(sparse, offset + at);

		if (!at && page) {
			memcpy(first, page, VHDX_PAGE);
			memset(first + hole, 0, 4);
			page = first;
		}
		crc = vhdx_crc32c(crc, page ? page : zeroes, VHDX_PAGE);
	}
	return ~crc;
}
