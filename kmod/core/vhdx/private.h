/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * What the files of this directory share with each other only, and with those of
 * core/offline, which look at what an attach only judges.
 */
#ifndef VHDX_CORE_PRIVATE_H
#define VHDX_CORE_PRIVATE_H

#include "bat.h"
#include "ondisk.h"

/* What is left to do where a structure is no good. */
#define vhdx_damaged(diag, fmt, ...)	\
	vhdx_corrupt(diag, fmt ": restore from a copy", ##__VA_ARGS__)

/* Read @length bytes at @offset; @what names them in the message of a failure. */
static inline int vhdx_read(struct vhdx_store *store, u64 offset, void *buf, size_t length,
			    const char *what, struct vhdx_diag *diag)
{
	int err = store->read(store, offset, buf, length);

	if (err == -ENOMEM)
		return vhdx_no_memory(diag);
	if (err)
		return vhdx_io_failed(diag, err, "reading the %s at 0x%llx failed (error %d)",
				      what, offset, -err);
	return 0;
}

static inline bool vhdx_has_signature(const u8 *field, const char *signature, size_t length)
{
	return !memcmp(field, signature, length);
}

/*
 * Every checksum of MS-VHDX lies behind a four-byte signature and is computed with
 * itself zero. Begins one over the first @length bytes; vhdx_crc32c() goes on with
 * it, ~ ends it.
 */
static inline u32 vhdx_checksum_begin(const void *buf, size_t length)
{
	static const u8 zero[4];
	u32 crc = vhdx_crc32c(~0U, buf, 4);

	crc = vhdx_crc32c(crc, zero, sizeof(zero));
	return vhdx_crc32c(crc, (const u8 *)buf + 8, length - 8);
}

static inline u32 vhdx_checksum(const void *buf, size_t length)
{
	return ~vhdx_checksum_begin(buf, length);
}

/* header.c */

/**
 * struct vhdx_header_copy - one of the two copies
 * @fault:	what is wrong with it; empty where signature and checksum are right
 */
struct vhdx_header_copy {
	struct vhdx_header header;
	u16 version;
	u16 log_version;
	char fault[64];
};

/* Decode the 4096 bytes of header slot 0 or 1. */
void vhdx_header_copy_decode(struct vhdx_header_copy *copy, const struct vhdx_ondisk_header *raw,
			     unsigned int slot);

/* Is this a VHDX, which header is current, and may its log be where it says? */
int vhdx_header_load(struct vhdx_store *store, struct vhdx_header *header,
		     struct vhdx_diag *diag);

/* region.c */

/**
 * struct vhdx_regions - what lies where, payload apart
 * @extents:	the header section, the log and every region, ascending
 * @bat:	one of them
 * @metadata:	one of them
 */
struct vhdx_regions {
	struct vhdx_extent *extents;
	unsigned int extent_count;
	struct vhdx_extent bat;
	struct vhdx_extent metadata;
};

/**
 * vhdx_regions_load() - read and judge the region table
 * @header:	for the log, which regions must keep clear of
 * @limit:	where the container ends; ~0 while that can't be told yet
 * @regions:	filled in; the caller frees @regions->extents on success
 *
 * -ENODATA (and nothing noted in @diag) if neither copy of the table is valid.
 */
int vhdx_regions_load(struct vhdx_store *store, const struct vhdx_header *header, u64 limit,
		      struct vhdx_regions *regions, struct vhdx_diag *diag);

/* Container offset of copy 0 or 1 of the region table. */
u64 vhdx_region_table_offset(unsigned int copy);

/* What is wrong with a copy as a whole; NULL: nothing. */
const char *vhdx_region_table_fault(const struct vhdx_ondisk_region_table *table);

/*
 * The first valid copy. @number: which one, 0 or 1. -ENODATA, silently, where neither is.
 */
int vhdx_region_table_read(struct vhdx_store *store, struct vhdx_ondisk_region_table *table,
			   unsigned int *number, struct vhdx_diag *diag);

/* metadata.c */

/*
 * Fill in all of @geo but bat_offset, and @locator if there is a parent, from the metadata
 * region @region.
 */
int vhdx_metadata_load(struct vhdx_store *store, const struct vhdx_extent *region,
		       struct vhdx_geometry *geo, struct vhdx_locator *locator,
		       struct vhdx_diag *diag);

/* locator.c */

/* Judge the @length bytes @raw, aligned to 4, of the item at @offset of the container. */
int vhdx_locator_parse(const void *raw, u32 length, u64 offset, struct vhdx_locator *locator,
		       struct vhdx_diag *diag);

/* Fill in what follows from the sizes and @geo->has_parent, which were judged. */
void vhdx_geometry_derive(struct vhdx_geometry *geo);

/* What an item is called; NULL: it is not known. */
const char *vhdx_metadata_item_name(const struct vhdx_ondisk_metadata_entry *entry);

/* bat.c */

/**
 * struct vhdx_bat_slot - what a BAT index stands for
 * @used:	false: padding that is not read. QEMU 5.2 left something behind the
 *		last entry; a differencing disk's last chunk is rarely full.
 * @bitmap:	a sector bitmap block, not a payload block
 * @number:	which one
 * @length:	of the block in the container
 * @needed:	what of it holds the disk's bytes: less in the disk's last block
 */
struct vhdx_bat_slot {
	bool used;
	bool bitmap;
	u64 number;
	u64 length;
	u64 needed;
};

struct vhdx_bat_slot vhdx_bat_slot(const struct vhdx_geometry *geo, u64 index);

#endif
