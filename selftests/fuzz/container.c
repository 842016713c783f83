// SPDX-License-Identifier: GPL-2.0-only
/*
 * A container, from its identifier to its BAT. Built once for each parser: FOCUS says
 * whose pages are mutated. Checksums are made right again, most of the time.
 */
#include "core/offline/content.h"
#include "core/vhdx/private.h"
#include "core/vhdx/bitmap.h"
#include "core/vhdx/overlay.h"
#include "core/vhdx/space.h"
#include "sparse.h"

enum part { PART_HEADER, PART_REGION, PART_METADATA, PART_BAT, PART_LOG, PART_IMAGE };

static u32 get32(const u8 *raw)
{
	__le32 value;

	memcpy(&value, raw, sizeof(value));
	return le32_to_cpu(value);
}

static void put_crc(u8 *page, u32 crc)
{
	__le32 value = cpu_to_le32(crc);

	memcpy(page + 4, &value, sizeof(value));
}

/* ---- what must hold ---- */

static void check_extents(const struct vhdx_image *image, u64 size)
{
	u64 end = 0;

	for (unsigned int i = 0; i < image->extent_count; i++) {
		MUST(image->extents[i].offset >= end);
		MUST(image->extents[i].offset <= size);
		MUST(image->extents[i].length <= size - image->extents[i].offset);
		end = image->extents[i].offset + image->extents[i].length;
	}
}

/* MS-VHDX 2.6.2: what the sizes may be, and that the BAT is there. */
static void check_geometry(const struct vhdx_geometry *geo, u64 size)
{
	MUST(geo->block_size >= VHDX_MIB && geo->block_size <= 256 * VHDX_MIB);
	MUST(geo->block_size == 1U << geo->block_shift);
	MUST(geo->logical_sector_size == 512 || geo->logical_sector_size == 4096);
	MUST(geo->physical_sector_size == 512 || geo->physical_sector_size == 4096);
	MUST(geo->disk_size && geo->disk_size <= 64ULL << 40);
	MUST(!(geo->disk_size % geo->logical_sector_size));
	MUST(geo->block_count == DIV_ROUND_UP(geo->disk_size, geo->block_size));
	MUST(geo->bat_entry_count >= geo->block_count);
	MUST(geo->bat_offset <= size && geo->bat_entry_count * 8 <= size - geo->bat_offset);
}

/* Whatever byte of the disk is asked for, its entries and its bit are where they may be. */
static void check_child(const struct vhdx_image *image)
{
	const struct vhdx_geometry *geo = &image->geo;
	u64 offset, index;

	if (!geo->has_parent)
		return;
	MUST(!vhdx_guid_is_zero(&image->locator.linkage) ||
	     !vhdx_guid_is_zero(&image->locator.linkage2));
	MUST(vhdx_bitmap_index(geo, geo->block_count - 1) < geo->bat_entry_count);
	for (offset = geo->disk_size - 1;; offset /= 2) {
		index = vhdx_bitmap_index(geo, offset >> geo->block_shift);
		MUST(vhdx_bat_index_is_bitmap(geo, index));
		MUST(vhdx_bitmap_page(geo, offset) <= VHDX_BITMAP_BLOCK_SIZE - VHDX_PAGE);
		MUST(vhdx_bitmap_bit(geo, offset) < VHDX_BITMAP_PAGE_BITS);
		if (!offset)
			return;
	}
}

static void check_entry(const struct vhdx_image *image, u64 index, u64 raw, u64 size)
{
	struct vhdx_bat_slot slot = vhdx_bat_slot(&image->geo, index);
	struct vhdx_bat_entry entry = vhdx_bat_decode(raw);

	if (!slot.used || !vhdx_bat_is_allocated(entry))
		return;
	MUST(entry.offset <= size && slot.needed <= size - entry.offset);
	for (unsigned int i = 0; i < image->extent_count; i++)
		MUST(entry.offset >= image->extents[i].offset + image->extents[i].length ||
		     entry.offset + slot.length <= image->extents[i].offset);
}

/* What the driver's scan accepts lies within the container and beside its structures. */
static void check_bat(const struct vhdx_image *image, struct vhdx_store *store)
{
	u64 pages = min_t(u64, DIV_ROUND_UP(image->geo.bat_entry_count, 512), 256);
	u64 *entries = vhdx_alloc(VHDX_PAGE);
	struct vhdx_diag diag = { 0 };
	struct vhdx_space space;
	int err;

	MUST(!vhdx_space_init(&space, image, store->size, &diag));
	for (u64 index = 0; index < pages * 512; index += 512) {
		MUST(!store->read(store, vhdx_bat_entry_offset(&image->geo, index), entries,
				  VHDX_PAGE));
		err = vhdx_space_add_page(&space, image, index, entries, store->size, &diag);
		MUST(!err || (err == -EUCLEAN && diag.text[0]));
		for (u32 i = 0; i < 512 && !err; i++)
			check_entry(image, index + i, le64_to_cpu((__force __le64)entries[i]),
				    store->size);
		if (err)
			break;
	}
	vhdx_space_release(&space);
	vhdx_free(entries);
}

/* Where the disk's bytes are, for who copies them: within the container, and it comes to an end. */
static void check_content(const struct vhdx_image *image, struct vhdx_store *store)
{
	u64 size = image->geo.disk_size;
	struct vhdx_content content;
	struct vhdx_diag diag = { 0 };
	struct vhdx_piece piece;
	u64 offset = 0;
	u32 pieces;
	int err = 0;

	MUST(!vhdx_content_init(&content, 1, &diag));
	vhdx_content_add(&content, image, store);
	for (pieces = 0; pieces < 512 && offset < size && !err; pieces++) {
		err = vhdx_content_find(&content, offset, &piece, &diag);
		if (err)
			break;
		MUST(piece.length && piece.length <= size - offset);
		MUST(!(piece.length % image->geo.logical_sector_size));
		if (piece.layer != VHDX_NO_LAYER)
			MUST(piece.at <= store->size && piece.length <= store->size - piece.at);
		offset += piece.length;
	}
	MUST(!err || diag.text[0]);
	vhdx_content_release(&content);
}

static void check_same(struct vhdx_store *overlay, const struct sparse *replayed,
		       const struct sparse *before)
{
	static const u8 zeroes[VHDX_PAGE];
	u8 *page = vhdx_alloc(VHDX_PAGE);

	for (size_t i = 0; i < SPARSE_PAGES; i++) {
		if (!replayed->pages[i] && !before->pages[i])
			continue;
		MUST(!overlay->read(overlay, i * VHDX_PAGE, page, VHDX_PAGE));
		MUST(!memcmp(page, replayed->pages[i] ? replayed->pages[i] : zeroes, VHDX_PAGE));
	}
	vhdx_free(page);
}

/* Replay on disk, twice, and in memory: the same bytes. */
static void check_replay(const struct vhdx_image *image, struct sparse *file,
			 struct vhdx_store *overlay)
{
	static struct sparse replayed;
	struct vhdx_diag diag = { 0 };
	int round;

	sparse_copy(&replayed, file);
	for (round = 0; round < 2; round++) {
		MUST(!vhdx_log_replay(&replayed.store, &image->header, &image->log, &diag));
		check_same(overlay, &replayed, file);
	}
	sparse_close(&replayed);
}

int LLVMFuzzerTestOneInput(const u8 *input, size_t length)
{
	static struct sparse file;
	struct vhdx_overlay overlay;
	struct vhdx_diag diag = { 0 };
	struct vhdx_image image;
	int err;

	sparse_open(&file, input, length);
	/* Whoever writes gets no further than whoever reads. */
	err = vhdx_image_open_to_read(&image, &file.store, NULL, &diag);
	if (!err && !vhdx_overlay_init(&overlay, &file.store, &image, &diag)) {
		if (image.log.dirty) {
			MUST(!vhdx_overlay_touches(&overlay, 0, VHDX_REGION_TABLE_OFFSET_1));
			MUST(!vhdx_overlay_touches(&overlay, image.header.log_offset,
						   image.header.log_length));
			check_replay(&image, &file, &overlay.store);
		}
		memset(&diag, 0, sizeof(diag));
		err = vhdx_image_load(&image, &overlay.store, &diag);
		if (!err) {
			check_extents(&image, overlay.store.size);
			check_geometry(&image.geo, overlay.store.size);
			check_child(&image);
			check_bat(&image, &overlay.store);
			check_content(&image, &overlay.store);
		}
		vhdx_overlay_release(&overlay);
	}
	MUST(!err || diag.text[0]);
	vhdx_image_release(&image);
	sparse_close(&file);
	return 0;
}

/* ---- the mutator ---- */

/* Where log, metadata and BAT are, as far as the headers and tables still tell. */
static enum part part_of(const struct sparse *file, u64 offset)
{
	static const vhdx_guid bat = VHDX_REGION_BAT, metadata = VHDX_REGION_METADATA;
	const struct vhdx_ondisk_header *header =
		(const void *)sparse_page(file, VHDX_HEADER_OFFSET_1);
	const u8 *table = sparse_page(file, VHDX_REGION_TABLE_OFFSET_1);

	if (offset < VHDX_REGION_TABLE_OFFSET_1)
		return PART_HEADER;
	if (offset < VHDX_HEADER_SECTION)
		return PART_REGION;
	if (header && offset >= le64_to_cpu(header->log_offset) &&
	    offset - le64_to_cpu(header->log_offset) < le32_to_cpu(header->log_length))
		return PART_LOG;
	for (u32 i = 0; table && i < 8; i++) {
		const struct vhdx_ondisk_region_entry *entry = (const void *)(table + 16 + 32 * i);
		u64 start = le64_to_cpu(entry->file_offset);

		if (offset < start || offset - start >= le32_to_cpu(entry->length))
			continue;
		if (vhdx_guid_equal(&entry->guid, &bat))
			return PART_BAT;
		if (vhdx_guid_equal(&entry->guid, &metadata))
			return PART_METADATA;
	}
	return PART_IMAGE;
}

static void repair(struct sparse *file)
{
	static const u32 places[] = {
		VHDX_HEADER_OFFSET_1, VHDX_HEADER_OFFSET_2,
		VHDX_REGION_TABLE_OFFSET_1, VHDX_REGION_TABLE_OFFSET_2,
	};

	for (u32 i = 0; i < ARRAY_SIZE(places); i++) {
		u8 *page = sparse_page(file, places[i]);

		if (page)
			put_crc(page, sparse_crc(file, places[i], i < 2 ? VHDX_HEADER_SIZE :
						 VHDX_TABLE_SIZE, 4));
	}
	for (u64 i = 0; i < SPARSE_PAGES; i++) {
		u8 *page = file->pages[i];

		if (page && !memcmp(page, VHDX_LOG_ENTRY_SIGNATURE, 4) &&
		    get32(page + 8) < VHDX_MIB)
			put_crc(page, sparse_crc(file, i * VHDX_PAGE, get32(page + 8), 4));
	}
}

/*
 * Structures are short and begin with their pages' first bytes: mostly change those.
 * An offset that could be one is not found bit by bit: a third of the time put one in, of
 * a page or of what is aligned to 1 MiB.
 */
static void mutate_page(u8 *page, unsigned int seed)
{
	static const u32 sizes[] = { 64, 256, 1024, VHDX_PAGE };
	u32 chance = seed * 2654435761U >> 8;
	__le64 offset = cpu_to_le64(chance >> 23 ? (u64)(chance >> 5 & 127) * VHDX_MIB :
						   (u64)(chance >> 5 & 2047) * VHDX_PAGE);

	if (seed % 3 == 0) {
		memcpy(page + 8 * (chance & 31), &offset, sizeof(offset));
		return;
	}
	LLVMFuzzerMutate(page, sizes[seed % 4], sizes[seed % 4]);
}

size_t LLVMFuzzerCustomMutator(u8 *input, size_t length, size_t max, unsigned int seed)
{
	static struct sparse file;
	u64 wanted[SPARSE_PAGES];
	u32 count = 0;

	sparse_open(&file, input, length);
	for (u64 i = 0; i < SPARSE_PAGES; i++)
		if (file.pages[i] &&
		    (FOCUS == PART_IMAGE || part_of(&file, i * VHDX_PAGE) == FOCUS))
			wanted[count++] = i;
	if (count)
		mutate_page(file.pages[wanted[seed / 4 % count]], seed);
	if (!count || seed % 64 == 0)
		file.store.size = (seed / 64 % 64 + 1) * VHDX_MIB - (seed % 128 ? 0 : 512);
	if (seed % 16)
		repair(&file);
	length = sparse_pack(&file, input, max);
	sparse_close(&file);
	return length;
}
