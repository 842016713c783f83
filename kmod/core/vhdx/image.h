/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * A VHDX container as a whole: its current header, its regions, what its
 * metadata says. Reading and judging only; nothing here writes.
 *
 * Order of an attach:
 *	vhdx_image_open()	identifier, headers, raw regions, log scan
 *	replay, if log.dirty:	on disk (log.h, vhdx_log_replay) or in memory
 *				(overlay.h); the log region was checked first
 *	vhdx_image_load()	regions again, metadata, geometry: all that an
 *				attach checks
 */
#ifndef VHDX_CORE_IMAGE_H
#define VHDX_CORE_IMAGE_H

#include "core/diag.h"
#include "core/guid.h"

/**
 * struct vhdx_header - the current header, MS-VHDX 2.2.2, in host byte order
 * @slot:	0 or 1: which copy it came from; the next update goes to the other
 */
struct vhdx_header {
	u64 sequence;
	vhdx_guid file_write_guid;
	vhdx_guid data_write_guid;
	vhdx_guid log_guid;
	u32 log_length;
	u64 log_offset;
	unsigned int slot;
};

/* An extent of the container that holds a structure, not payload. */
struct vhdx_extent {
	u64 offset;
	u64 length;
};

/**
 * struct vhdx_geometry - what the metadata region says, and what follows from it
 * @block_count:	payload blocks, the last one possibly partial
 * @chunk_ratio:	payload blocks per sector bitmap block
 * @bat_entry_count:	entries in use, sector bitmap entries included
 * @bat_offset:		container offset of the BAT
 * @fixed:		LeaveBlockAllocated
 */
struct vhdx_geometry {
	u64 disk_size;
	vhdx_guid disk_id;
	u32 block_size;
	u32 block_shift;
	u32 logical_sector_size;
	u32 physical_sector_size;
	u32 chunk_ratio;
	u64 block_count;
	u64 bat_entry_count;
	u64 bat_offset;
	bool fixed;
	bool has_parent;
};

/**
 * struct vhdx_log_scan - what vhdx_log_scan() found, MS-VHDX 2.3.3
 * @dirty:	there is something to replay
 * @tail:	offset within the log of the first entry to replay
 * @head:	offset within the log just behind the last one
 * @entry_count: entries from @tail to @head
 * @sequence:	SequenceNumber of the last one
 */
struct vhdx_log_scan {
	bool dirty;
	u32 tail;
	u32 head;
	u32 entry_count;
	u64 sequence;
	u64 flushed_file_offset;
	u64 last_file_offset;
};

/**
 * struct vhdx_image - see the file comment
 * @extents:	headers, log, BAT, metadata, and unknown optional regions,
 *		ascending, not overlapping
 */
struct vhdx_image {
	struct vhdx_header header;
	struct vhdx_log_scan log;
	struct vhdx_geometry geo;
	struct vhdx_extent *extents;
	unsigned int extent_count;
};

/**
 * vhdx_image_open() - first half of an attach: who is it, is its log dirty
 * @image:	filled in; vhdx_image_release() it whatever this returns
 * @store:	the container's own bytes
 * @diag:	what is wrong
 *
 * Returns 0, -EMEDIUMTYPE (not a VHDX), -EUCLEAN, -EOPNOTSUPP, or -EIO/-ENOMEM.
 */
int vhdx_image_open(struct vhdx_image *image, struct vhdx_store *store, struct vhdx_diag *diag);

/**
 * vhdx_image_load() - second half, once the log is replayed
 * @store:	the container's bytes, or the overlay of a replay in memory
 */
int vhdx_image_load(struct vhdx_image *image, struct vhdx_store *store, struct vhdx_diag *diag);

void vhdx_image_release(struct vhdx_image *image);

/* Encode @header into the 4096 bytes at @buf, aligned to 8, checksum included. */
void vhdx_header_encode(const struct vhdx_header *header, void *buf);

/* Do the 4096 bytes at @buf hold this very header, checksum included? */
bool vhdx_header_is_in(const struct vhdx_header *header, const void *buf);

/* Container offset of header slot 0 or 1. */
u64 vhdx_header_offset(unsigned int slot);

#endif
