/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A small VHDX in memory, written byte by byte from the specification's tables: it
 * shares only the checksum with the code that it tests.
 *
 * Layout: log at 1 MiB, metadata at 2 MiB (items 64 KiB into it), BAT at 3 MiB,
 * blocks from 4 MiB on.
 */
#ifndef VHDX_UNIT_TEST_IMAGE_H
#define VHDX_UNIT_TEST_IMAGE_H

#include "core/guid.h"
#include "memory_store.h"

#define KIB			1024ULL
#define MIB			(1024 * KIB)
#define GIB			(1024 * MIB)
#define TIB			(1024 * GIB)

#define IMAGE_LOG		(1 * MIB)
#define IMAGE_METADATA		(2 * MIB)
#define IMAGE_BAT		(3 * MIB)
#define IMAGE_BLOCKS		(4 * MIB)

#define HEADER_AT(slot)		((slot) ? 128 * KIB : 64 * KIB)
#define TABLE_AT(copy)		((copy) ? 256 * KIB : 192 * KIB)
#define REGION_ENTRY(copy, n)	(TABLE_AT(copy) + 16 + 32 * (n))
#define METADATA_ENTRY(n)	(IMAGE_METADATA + 32 + 32 * (n))

/* Order of the items in the metadata table, and where their values lie. */
enum { ITEM_PARAMETERS, ITEM_SIZE, ITEM_ID, ITEM_LOGICAL, ITEM_PHYSICAL, ITEM_COUNT };
#define ITEM_AT(n)		(IMAGE_METADATA + 64 * KIB + 32 * (n))

struct test_image {
	struct memory_store memory;
	u32 log_length;
};

/* A dynamic disk of 64 MiB with blocks of 1 MiB and sectors of 512; no block is present. */
void test_image_make(struct test_image *image);
void test_image_free(struct test_image *image);

/* Fields, little endian, at container offsets. */
void put16(struct test_image *image, u64 offset, u16 value);
void put32(struct test_image *image, u64 offset, u32 value);
void put64(struct test_image *image, u64 offset, u64 value);
u64 get64(const struct test_image *image, u64 offset);
void put_bytes(struct test_image *image, u64 offset, const void *bytes, size_t length);
void put_guid(struct test_image *image, u64 offset, const char *text);

/* Make the checksums right again. */
void seal_header(struct test_image *image, unsigned int slot);
void seal_table(struct test_image *image, unsigned int copy);

/* Both headers, with sequence numbers 1 and 2. */
void put_headers(struct test_image *image, const vhdx_guid *log_guid);

/* Entry @n of both region tables; the count grows to hold it. */
void put_region(struct test_image *image, unsigned int n, const char *guid, u64 offset, u32 length,
		u32 required);

/* Entry @n of the metadata table; the count grows to hold it. */
void put_item(struct test_image *image, unsigned int n, const char *guid, u32 offset, u32 length,
	      u32 flags);

/* Where put_locator() puts it: behind the builder's items. */
#define LOCATOR_AT		(IMAGE_METADATA + 128 * KIB)
#define LOCATOR_ENTRY(n)	(LOCATOR_AT + 20 + 12 * (n))

/*
 * Make it a differencing disk. @pairs: keys and values in ASCII in turn, and NULL; at most 8.
 * Texts follow the entries in that order. Returns the item's length.
 */
u32 put_locator(struct test_image *image, const char *const *pairs);

#define GUID_BAT	"2dc27766-f623-4200-9d64-115e9bfd4a08"
#define GUID_METADATA	"8b7ca206-4790-4b9a-b8fe-575f050f886e"
#define GUID_PARAMETERS	"caa16737-fa36-4d43-b3b6-33f0aa44e76b"
#define GUID_SIZE	"2fa54224-cd1b-4876-b211-5dbed83bf4b8"
#define GUID_ID		"beca12ab-b2e6-4523-93ef-c309e000c746"
#define GUID_LOGICAL	"8141bf1d-a96f-4709-ba47-f233a8faab5f"
#define GUID_PHYSICAL	"cda348c7-445d-4471-9cc9-e9885251c556"
#define GUID_LOCATOR	"a8d35f2d-b30b-454d-abf7-d3d84834ab0c"
#define GUID_LOCATOR_TYPE "b04aefb7-d19e-4a81-b789-25b8e9445913"
#define GUID_INCOMPLETE	"71cc85f0-1b69-4e28-9558-c3bf83ae75d3"
#define GUID_DISK	"11111111-2222-3333-4444-555555555555"
#define GUID_DATA	"da7a0000-0000-0000-0000-000000000001"
#define GUID_STRANGE	"01234567-89ab-cdef-0123-456789abcdef"

#endif
