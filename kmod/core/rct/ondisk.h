/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * What the bytes of a sidecar mean; Documentation/sidecar.rst tells it in words.
 *
 * Blocks of 4 KiB. Blocks 0 and 1 are two slots for the header; the rest is found
 * from the header only, every reference with the checksum of what it refers to:
 *
 *	header ─┬─ chain of points; each of them ── the delta that leads to it
 *	        └─ the live delta, as saved
 *	any delta ── its index, a chain of entries; each ── a leaf, one bit per unit
 *
 * All numbers are little endian. Checksums are CRC-32C over a block.
 */
#ifndef VHDX_CORE_SIDECAR_ONDISK_H
#define VHDX_CORE_SIDECAR_ONDISK_H

#include "core/guid.h"

#define VHDX_SIDECAR_BLOCK		4096U
#define VHDX_SIDECAR_BLOCK_SHIFT	12
#define VHDX_SIDECAR_SLOTS		2U	/* blocks of the fixed area */

#define VHDX_SIDECAR_MAGIC		"vhdxlrct"
#define VHDX_SIDECAR_VERSION		1U
#define VHDX_SIDECAR_POINTS_MAGIC	0x53544e50U	/* "PNTS" */
#define VHDX_SIDECAR_INDEX_MAGIC	0x58444e49U	/* "INDX" */

/* None yet. */
#define VHDX_SIDECAR_COMPAT		0U
#define VHDX_SIDECAR_RO_COMPAT		0U
#define VHDX_SIDECAR_INCOMPAT		0U

/**
 * struct vhdx_sidecar_ref - a chain of blocks that hold records
 * @block:	the first block; zero where there are no records
 * @crc:	checksum of that block
 * @count:	records in the whole chain
 */
struct vhdx_sidecar_ref {
	__le64 block;
	__le32 crc;
	__le32 count;
};

/**
 * struct vhdx_sidecar_delta - one delta
 * @index:	its entries
 * @flags:	VHDX_DELTA_*
 * @gap_reason:	VHDX_REASON_* of the gap in it, or zero
 */
struct vhdx_sidecar_delta {
	struct vhdx_sidecar_ref index;
	__le32 flags;
	__le32 gap_reason;
	__u8 reserved[8];
};

/**
 * struct vhdx_sidecar_header - one of the two slots
 * @sequence:	the valid slot with the larger one counts
 * @state:	enum vhdx_sidecar_state
 * @next_point_sequence: of the next point; larger than that of any point so far
 * @block_count: every reference is to a block before this one
 * @coarse_offset: with the two fields behind it kept for a map of regions that may
 *		have been written since the live delta was saved; zero
 * @crc:	of the bytes before it
 */
struct vhdx_sidecar_header {
	__u8 magic[8];
	__le32 version;
	__le32 compat_features;
	__le32 ro_compat_features;
	__le32 incompat_features;
	__le64 sequence;
	vhdx_guid disk_id;
	__le64 disk_size;
	__le32 unit_shift;
	__le32 state;
	vhdx_guid current_guid;
	vhdx_guid next_guid;
	__le64 next_point_sequence;
	__le64 block_count;
	struct vhdx_sidecar_ref points;
	struct vhdx_sidecar_delta live;
	__le64 coarse_offset;
	__le64 coarse_length;
	__le32 coarse_region_shift;
	__u8 reserved[3912];
	__le32 crc;
};

/**
 * struct vhdx_sidecar_link - begins each block of a chain
 * @magic:	what the records are
 * @count:	how many are in this block; all that fit, but in the last one
 * @next:	the next block, or zero
 * @next_crc:	its checksum
 */
struct vhdx_sidecar_link {
	__le32 magic;
	__le32 count;
	__le64 next;
	__le32 next_crc;
	__u8 reserved[12];
};

#define VHDX_SIDECAR_POINT_ISSUED	0x1U
#define VHDX_SIDECAR_LABEL		64

/* A point: struct vhdx_timeline_point. */
struct vhdx_sidecar_point {
	vhdx_guid guid;
	__le64 sequence;
	__le64 time_ns;
	__le32 kind;
	__le32 flags;
	struct vhdx_sidecar_delta before;
	__le32 label_length;
	__u8 reserved[4];
	__u8 label[VHDX_SIDECAR_LABEL];
	__u8 reserved2[48];
};

/**
 * struct vhdx_sidecar_entry - one leaf of a delta
 * @leaf:	which one; entries ascend, what is not listed did not change
 * @crc:	checksum of @block; zero where there is none
 * @block:	where the leaf is, or all ones: every unit of it changed
 */
struct vhdx_sidecar_entry {
	__le32 leaf;
	__le32 crc;
	__le64 block;
};

#define VHDX_SIDECAR_RECORDS(type) \
	((VHDX_SIDECAR_BLOCK - sizeof(struct vhdx_sidecar_link)) / sizeof(type))

static_assert(sizeof(struct vhdx_sidecar_ref) == 16);
static_assert(sizeof(struct vhdx_sidecar_delta) == 32);
static_assert(sizeof(struct vhdx_sidecar_header) == VHDX_SIDECAR_BLOCK);
static_assert(sizeof(struct vhdx_sidecar_link) == 32);
static_assert(sizeof(struct vhdx_sidecar_point) == 192);
static_assert(sizeof(struct vhdx_sidecar_entry) == 16);
static_assert(VHDX_SIDECAR_RECORDS(struct vhdx_sidecar_point) == 21);
static_assert(VHDX_SIDECAR_RECORDS(struct vhdx_sidecar_entry) == 254);

#endif
