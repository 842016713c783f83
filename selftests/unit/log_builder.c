// SPDX-License-Identifier: GPL-2.0-only
#include "test_log.h"

const vhdx_guid test_log_guid = { {
	0x10, 0x90, 0x1d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01,
} };

static u8 page_byte(u32 seed, u32 at)
{
	u32 x = (seed * 4096 + at) * 2654435761U;

	return (x ^ x >> 15) * 2246822519U >> 24;
}

void page_fill(u8 *page, u32 seed)
{
	u32 at;

	for (at = 0; at < SECTOR; at++)
		page[at] = page_byte(seed, at);
}

bool page_is(const u8 *page, u32 seed)
{
	u32 at;

	for (at = 0; at < SECTOR; at++)
		if (page[at] != page_byte(seed, at))
			return false;
	return true;
}

void test_log_begin(struct test_image *image, struct log_fields *fields, unsigned int mib)
{
	test_image_make(image);
	image->log_length = mib * MIB;
	if (mib > 1) {
		/* A longer log lies behind everything else. */
		memory_store_resize(&image->memory, (4 + mib) * MIB);
		put_region(image, 0, GUID_BAT, (2 + mib) * MIB, 1 * MIB, 1);
		put_region(image, 1, GUID_METADATA, (1 + mib) * MIB, 1 * MIB, 1);
		memcpy(image->memory.bytes + (1 + mib) * MIB, image->memory.bytes + IMAGE_METADATA,
		       MIB);
		memset(image->memory.bytes + IMAGE_METADATA, 0, MIB);
	}
	put_headers(image, &test_log_guid);
	fields->guid = test_log_guid;
	fields->flushed = image->memory.length;
	fields->last = image->memory.length;
}

u64 log_at(const struct test_image *image, u64 position)
{
	return IMAGE_LOG + position % image->log_length;
}

static u32 descriptor_sectors(unsigned int count)
{
	u32 sectors = 1;

	while (count > 126 + (sectors - 1) * 128)
		sectors++;
	return sectors;
}

void seal_entry(struct test_image *image, u32 position, u32 length)
{
	u32 crc = ~0U;
	u32 done;

	put32(image, log_at(image, position) + 4, 0);
	for (done = 0; done < length; done += SECTOR)
		crc = vhdx_crc32c(crc, image->memory.bytes + log_at(image, position + done),
				  SECTOR);
	put32(image, log_at(image, position) + 4, ~crc);
}

static bool is_zero_descriptor(const struct log_effect *effect)
{
	return effect->zeroes || effect->nothing;
}

/* One descriptor at byte @at of the log; its data sector at byte @data. */
static void put_effect(struct test_image *image, u64 at, u64 data, u64 sequence,
		       const struct log_effect *effect)
{
	u64 place = log_at(image, at);
	u8 page[SECTOR];

	put64(image, place + 16, effect->offset);
	put64(image, place + 24, sequence);
	if (is_zero_descriptor(effect)) {
		put_bytes(image, place, "zero", 4);
		put64(image, place + 8, effect->zeroes);
		return;
	}
	page_fill(page, effect->seed);
	put_bytes(image, place, "desc", 4);
	put_bytes(image, place + 4, page + 4092, 4);
	put_bytes(image, place + 8, page, 8);

	place = log_at(image, data);
	put_bytes(image, place, "data", 4);
	put32(image, place + 4, sequence >> 32);
	put_bytes(image, place + 8, page + 8, 4084);
	put32(image, place + 4092, sequence);
}

u32 put_entry(struct test_image *image, const struct log_fields *fields, u32 position, u64 sequence,
	      u32 tail, const struct log_effect *effects, unsigned int count)
{
	u32 data = descriptor_sectors(count) * SECTOR;
	u64 at = log_at(image, position);
	unsigned int i;
	u32 done;

	for (done = 0; done < data; done += SECTOR)
		memset(image->memory.bytes + log_at(image, position + done), 0, SECTOR);
	for (i = 0; i < count; i++) {
		put_effect(image, position + 64 + 32 * i, position + data, sequence, &effects[i]);
		if (!is_zero_descriptor(&effects[i]))
			data += SECTOR;
	}
	put_bytes(image, at, "loge", 4);
	put32(image, at + 8, data);
	put32(image, at + 12, tail);
	put64(image, at + 16, sequence);
	put32(image, at + 24, count);
	put_bytes(image, at + 32, &fields->guid, 16);
	put64(image, at + 48, fields->flushed);
	put64(image, at + 56, fields->last);
	seal_entry(image, position, data);
	return (position + data) % image->log_length;
}
