// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Composing log entries, MS-VHDX 2.3.1. Each page gives its first 8 and last 4 bytes
 * to its descriptor, to make room for what lets a torn sector be noticed.
 */
#include "private.h"
#include "log.h"

static_assert(sizeof(struct vhdx_ondisk_log_header) +
	      VHDX_LOG_PAGES_MAX * sizeof(struct vhdx_ondisk_log_data) == VHDX_LOG_SECTOR);

static struct vhdx_ondisk_log_data *descriptors_of(const void *first_sector)
{
	return (struct vhdx_ondisk_log_data *)((u8 *)first_sector +
					       sizeof(struct vhdx_ondisk_log_header));
}

static u8 *trailing_of(void *sector)
{
	return (u8 *)sector + VHDX_LOG_SECTOR - VHDX_LOG_TRAILING;
}

static void seal_page(struct vhdx_ondisk_log_data *descriptor, const struct vhdx_log_page *page,
		      u64 sequence)
{
	struct vhdx_ondisk_log_sector *sector = page->sector;

	memcpy(descriptor->signature, VHDX_LOG_DATA_SIGNATURE, sizeof(descriptor->signature));
	memcpy(descriptor->leading, page->sector, VHDX_LOG_LEADING);
	memcpy(descriptor->trailing, trailing_of(page->sector), VHDX_LOG_TRAILING);
	descriptor->file_offset = cpu_to_le64(page->file_offset);
	descriptor->sequence_number = cpu_to_le64(sequence);

	memcpy(sector->signature, VHDX_LOG_SECTOR_SIGNATURE, sizeof(sector->signature));
	sector->sequence_high = cpu_to_le32(sequence >> 32);
	sector->sequence_low = cpu_to_le32((u32)sequence);
}

void vhdx_log_entry_seal(void *first_sector, const struct vhdx_log_entry *entry,
			 struct vhdx_log_page *pages, unsigned int count)
{
	struct vhdx_ondisk_log_header *header = first_sector;
	unsigned int i;
	u32 crc;

	memset(first_sector, 0, VHDX_LOG_SECTOR);
	memcpy(header->signature, VHDX_LOG_ENTRY_SIGNATURE, sizeof(header->signature));
	header->entry_length = cpu_to_le32((1 + count) * VHDX_LOG_SECTOR);
	header->tail = cpu_to_le32(entry->tail);
	header->sequence_number = cpu_to_le64(entry->sequence);
	header->descriptor_count = cpu_to_le32(count);
	header->log_guid = entry->log_guid;
	header->flushed_file_offset = cpu_to_le64(entry->flushed_file_offset);
	header->last_file_offset = cpu_to_le64(entry->last_file_offset);
	for (i = 0; i < count; i++)
		seal_page(&descriptors_of(first_sector)[i], &pages[i], entry->sequence);

	crc = vhdx_checksum_begin(first_sector, VHDX_LOG_SECTOR);
	for (i = 0; i < count; i++)
		crc = vhdx_crc32c(crc, pages[i].sector, VHDX_LOG_SECTOR);
	header->checksum = cpu_to_le32(~crc);
}

void vhdx_log_entry_unseal(const void *first_sector, struct vhdx_log_page *pages,
			   unsigned int count)
{
	const struct vhdx_ondisk_log_data *descriptors = descriptors_of(first_sector);
	unsigned int i;

	for (i = 0; i < count; i++) {
		memcpy(pages[i].sector, descriptors[i].leading, VHDX_LOG_LEADING);
		memcpy(trailing_of(pages[i].sector), descriptors[i].trailing, VHDX_LOG_TRAILING);
	}
}
