// SPDX-License-Identifier: GPL-2.0-only
#include "test_image.h"

void put_bytes(struct test_image *image, u64 offset, const void *bytes, size_t length)
{
	assert(offset + length <= image->memory.length);
	memcpy(image->memory.bytes + offset, bytes, length);
}

static void put_number(struct test_image *image, u64 offset, u64 value, unsigned int bytes)
{
	u8 raw[8];
	unsigned int i;

	for (i = 0; i < bytes; i++)
		raw[i] = value >> (8 * i);
	put_bytes(image, offset, raw, bytes);
}

void put16(struct test_image *image, u64 offset, u16 value)
{
	put_number(image, offset, value, 2);
}

void put32(struct test_image *image, u64 offset, u32 value)
{
	put_number(image, offset, value, 4);
}

void put64(struct test_image *image, u64 offset, u64 value)
{
	put_number(image, offset, value, 8);
}

u64 get64(const struct test_image *image, u64 offset)
{
	u64 value = 0;
	int i;

	for (i = 7; i >= 0; i--)
		value = value << 8 | image->memory.bytes[offset + i];
	return value;
}

void put_guid(struct test_image *image, u64 offset, const char *text)
{
	vhdx_guid guid;

	assert(!vhdx_guid_parse(&guid, text));
	put_bytes(image, offset, &guid, sizeof(guid));
}

static void seal(struct test_image *image, u64 offset, u32 length)
{
	put32(image, offset + 4, 0);
	put32(image, offset + 4, ~vhdx_crc32c(~0U, image->memory.bytes + offset, length));
}

void seal_header(struct test_image *image, unsigned int slot)
{
	seal(image, HEADER_AT(slot), 4096);
}

void seal_table(struct test_image *image, unsigned int copy)
{
	seal(image, TABLE_AT(copy), 64 * KIB);
}

void put_headers(struct test_image *image, const vhdx_guid *log_guid)
{
	unsigned int slot;

	for (slot = 0; slot < 2; slot++) {
		u64 at = HEADER_AT(slot);

		memset(image->memory.bytes + at, 0, 4096);
		put_bytes(image, at, "head", 4);
		put64(image, at + 8, 1 + slot);
		put_guid(image, at + 16, "f11e0000-0000-0000-0000-000000000001");
		put_guid(image, at + 32, GUID_DATA);
		if (log_guid)
			put_bytes(image, at + 48, log_guid, 16);
		put16(image, at + 64, 0);
		put16(image, at + 66, 1);
		put32(image, at + 68, image->log_length);
		put64(image, at + 72, IMAGE_LOG);
		seal_header(image, slot);
	}
}

void put_region(struct test_image *image, unsigned int n, const char *guid, u64 offset, u32 length,
		u32 required)
{
	unsigned int copy;

	for (copy = 0; copy < 2; copy++) {
		u64 table = TABLE_AT(copy);
		u64 at = REGION_ENTRY(copy, n);

		put_bytes(image, table, "regi", 4);
		put32(image, table + 8, max_t(u32, get64(image, table + 8), n + 1));
		put_guid(image, at, guid);
		put64(image, at + 16, offset);
		put32(image, at + 24, length);
		put32(image, at + 28, required);
		seal_table(image, copy);
	}
}

void put_item(struct test_image *image, unsigned int n, const char *guid, u32 offset, u32 length,
	      u32 flags)
{
	u64 at = METADATA_ENTRY(n);

	put16(image, IMAGE_METADATA + 10, max_t(u16, get64(image, IMAGE_METADATA + 10), n + 1));
	put_guid(image, at, guid);
	put32(image, at + 16, offset);
	put32(image, at + 20, length);
	put32(image, at + 24, flags);
}

static void put_metadata(struct test_image *image)
{
	static const struct {
		const char *guid;
		u32 length;
		u32 flags;
	} items[] = {
		[ITEM_PARAMETERS] = { GUID_PARAMETERS, 8, 4 },
		[ITEM_SIZE] = { GUID_SIZE, 8, 6 },
		[ITEM_ID] = { GUID_ID, 16, 6 },
		[ITEM_LOGICAL] = { GUID_LOGICAL, 4, 6 },
		[ITEM_PHYSICAL] = { GUID_PHYSICAL, 4, 6 },
	};
	unsigned int n;

	put_bytes(image, IMAGE_METADATA, "metadata", 8);
	for (n = 0; n < ITEM_COUNT; n++)
		put_item(image, n, items[n].guid, ITEM_AT(n) - IMAGE_METADATA, items[n].length,
			 items[n].flags);
	put32(image, ITEM_AT(ITEM_PARAMETERS), 1 * MIB);
	put64(image, ITEM_AT(ITEM_SIZE), 64 * MIB);
	put_guid(image, ITEM_AT(ITEM_ID), GUID_DISK);
	put32(image, ITEM_AT(ITEM_LOGICAL), 512);
	put32(image, ITEM_AT(ITEM_PHYSICAL), 4096);
}

u32 put_locator(struct test_image *image, const char *const *pairs)
{
	u32 count = 0;
	u32 length;
	u32 i;

	while (pairs[count])
		count++;
	length = 20 + 12 * (count / 2);
	put_guid(image, LOCATOR_AT, GUID_LOCATOR_TYPE);
	put16(image, LOCATOR_AT + 18, count / 2);
	for (i = 0; i < count; i++) {
		const char *c;

		put32(image, LOCATOR_ENTRY(i / 2) + 4 * (i % 2), length);
		put16(image, LOCATOR_ENTRY(i / 2) + 8 + 2 * (i % 2), 2 * strlen(pairs[i]));
		for (c = pairs[i]; *c; c++, length += 2)
			put16(image, LOCATOR_AT + length, *c);
	}
	put_item(image, ITEM_COUNT, GUID_LOCATOR, LOCATOR_AT - IMAGE_METADATA, length, 4);
	put32(image, ITEM_AT(ITEM_PARAMETERS) + 4, 2);
	return length;
}

void test_image_make(struct test_image *image)
{
	memset(image, 0, sizeof(*image));
	memory_store_open(&image->memory, IMAGE_BLOCKS);
	image->log_length = 1 * MIB;
	put_bytes(image, 0, "vhdxfile", 8);
	put_headers(image, NULL);
	put_region(image, 0, GUID_BAT, IMAGE_BAT, 1 * MIB, 1);
	put_region(image, 1, GUID_METADATA, IMAGE_METADATA, 1 * MIB, 1);
	put_metadata(image);
}

void test_image_free(struct test_image *image)
{
	memory_store_close(&image->memory);
}
