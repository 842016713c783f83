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

/* Ways to a parent, in the order of MS-VHDX 2.6.2.6.3. */
enum vhdx_locator_path {
	VHDX_LOCATOR_RELATIVE,
	VHDX_LOCATOR_VOLUME,
	VHDX_LOCATOR_ABSOLUTE,
	VHDX_LOCATOR_PATHS
};

/**
 * struct vhdx_locator - which parent a differencing disk has, MS-VHDX 2.6.2.6
 * @offset:	of the metadata item, in the container
 * @linkage:	the DataWriteGuid that the parent has; zero: @linkage2 alone counts
 * @linkage2:	another one, while the parent is merged; zero: none
 * @paths:	where their texts lie in the container; without a length: not given.
 *		Non-empty UTF-16LE without a NUL, see vhdx_locator_path()
 */
struct vhdx_locator {
	u64 offset;
	vhdx_guid linkage;
	vhdx_guid linkage2;
	struct vhdx_extent paths[VHDX_LOCATOR_PATHS];
};

/**
 * struct vhdx_log_scan - what vhdx_log_scan() found, MS-VHDX 2.3.3
 * @dirty:	there is something to replay
 * @unwritten:	the header names a log, and no entry of it was ever begun. QEMU names it first;
 *		where it is killed there, the container is as it was before
 * @tail:	offset within the log of the first entry to replay
 * @head:	offset within the log just behind the last one
 * @entry_count: entries from @tail to @head
 * @sequence:	SequenceNumber of the last one
 */
struct vhdx_log_scan {
	bool dirty;
	bool unwritten;
	u32 tail;
	u32 head;
	u32 entry_count;
	u64 sequence;
	u64 flushed_file_offset;
	u64 last_file_offset;
};

/**
 * struct vhdx_image - see the file comment
 * @locator:	of a differencing disk; zero for any other
 * @extents:	headers, log, BAT, metadata, and unknown optional regions,
 *		ascending, not overlapping
 */
struct vhdx_image {
	struct vhdx_header header;
	struct vhdx_log_scan log;
	struct vhdx_geometry geo;
	struct vhdx_locator locator;
	struct vhdx_extent *extents;
	unsigned int extent_count;
};

/**
 * vhdx_image_open() - first half of an attach: is it a VHDX, is its log dirty
 * @image:	filled in; vhdx_image_release() it whatever this returns
 * @store:	the container's own bytes
 * @diag:	what is wrong
 *
 * Returns 0, -EMEDIUMTYPE (not a VHDX), -EUCLEAN, -EOPNOTSUPP, or -EIO/-ENOMEM.
 */
int vhdx_image_open(struct vhdx_image *image, struct vhdx_store *store, struct vhdx_diag *diag);

/**
 * vhdx_image_open_to_read() - the same for whoever writes nothing
 * @unwritten:	what is wrong where image->log.unwritten: by the letter that is damage (MS-VHDX
 *		2.3.3), and whoever writes is told so; or NULL
 */
int vhdx_image_open_to_read(struct vhdx_image *image, struct vhdx_store *store,
			    struct vhdx_diag *unwritten, struct vhdx_diag *diag);

/**
 * vhdx_image_load() - second half, once the log is replayed
 * @store:	the container's bytes, or the overlay of a replay in memory
 */
int vhdx_image_load(struct vhdx_image *image, struct vhdx_store *store, struct vhdx_diag *diag);

void vhdx_image_release(struct vhdx_image *image);

/* Encode @header into the 4096 bytes at @buf, aligned to 8, checksum included. */
void vhdx_header_encode(const struct vhdx_header *header, void *buf);

/**
 * vhdx_header_choose() - the current header, MS-VHDX 2.2.2
 * @copies:	the 4096 bytes at vhdx_header_offset(0) and (1), aligned to 8
 * @header:	receives it; nothing but signature and checksum is judged
 *
 * Returns false where neither copy is valid.
 */
bool vhdx_header_choose(const void *const copies[2], struct vhdx_header *header);

/* Do they say the same, in whichever slot? */
bool vhdx_header_equal(const struct vhdx_header *one, const struct vhdx_header *other);

/* Container offset of header slot 0 or 1. */
u64 vhdx_header_offset(unsigned int slot);

#endif
