/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * What the bytes of a sidecar mean; Documentation/sidecar.rst tells it in words.
 *
 * Blocks of 4 KiB. Two slots for the header, two for tokens, the coarse area; the rest is
 * found from the header only, every reference with the checksum of what it refers to:
 *
 *	header ─┬─ root ── tables of points; each ── the delta that leads to it
 *	        └─ the checkpoint: what was saved of the live delta
 *	any delta ── root ── tables of entries; each ── a leaf, one bit per unit
 *
 * All numbers are little endian. Checksums are CRC-32C, over a block but where it is said.
 */
#ifndef VHDX_CORE_SIDECAR_ONDISK_H
#define VHDX_CORE_SIDECAR_ONDISK_H

#include "core/guid.h"

#define VHDX_SIDECAR_BLOCK		4096U
#define VHDX_SIDECAR_BLOCK_SHIFT	12
#define VHDX_SIDECAR_SLOTS		2U	/* of the header, from block 0 on */
#define VHDX_SIDECAR_TOKEN_BLOCK	2U	/* where the two slots of the token are */
#define VHDX_SIDECAR_COARSE_BLOCK	4U	/* where the coarse area begins */

#define VHDX_SIDECAR_MAGIC		"vhdxlrct"
#define VHDX_SIDECAR_VERSION		2U
#define VHDX_SIDECAR_ROOT_MAGIC		0x544f4f52U	/* "ROOT" */
#define VHDX_SIDECAR_POINTS_MAGIC	0x53544e50U	/* "PNTS" */
#define VHDX_SIDECAR_INDEX_MAGIC	0x58444e49U	/* "INDX" */
#define VHDX_SIDECAR_COARSE_MAGIC	0x53524f43U	/* "CORS" */
#define VHDX_SIDECAR_TOKEN_MAGIC	0x4e4b4f54U	/* "TOKN" */

/* All that are allocated, by their bits in incompat_features. */
#define VHDX_SIDECAR_FEATURE_COARSE	0x1U	/* the coarse area counts */
#define VHDX_SIDECAR_FEATURE_DERIVED	0x2U	/* deltas that layers of the disk hold */
#define VHDX_SIDECAR_FEATURE_STRICT	0x4U	/* the tokens count */

/* What is known here. */
#define VHDX_SIDECAR_COMPAT		0U
#define VHDX_SIDECAR_RO_COMPAT		0U
#define VHDX_SIDECAR_INCOMPAT		(VHDX_SIDECAR_FEATURE_COARSE | VHDX_SIDECAR_FEATURE_STRICT)

/* Bits of any field of flags that a reader has to know, to use what they are said of. */
#define VHDX_SIDECAR_FLAGS_NEEDED	0xffffU

/**
 * struct vhdx_sidecar_ref - a table in two levels
 * @block:	its root; zero where there are no records
 * @crc:	checksum of the root
 * @count:	records in all of it
 */
struct vhdx_sidecar_ref {
	__le64 block;
	__le32 crc;
	__le32 count;
};

#define VHDX_SIDECAR_DELTA_COARSE	0x1U
#define VHDX_SIDECAR_DELTA_DERIVED	0x2U

/**
 * struct vhdx_sidecar_delta - one delta
 * @index:	its entries
 * @flags:	VHDX_SIDECAR_DELTA_*
 * @gap_reason:	VHDX_REASON_* of the gap in it, or zero
 * @gap_time_ns: when that was noticed; zero: not known
 * @changed_units: sum over the entries
 */
struct vhdx_sidecar_delta {
	struct vhdx_sidecar_ref index;
	__le32 flags;
	__le32 gap_reason;
	__le64 gap_time_ns;
	__le64 changed_units;
	__u8 reserved[8];
};

/* @state and @flags of the header. */
#define VHDX_SIDECAR_STATE_ON		1U
#define VHDX_SIDECAR_STATE_DISABLED	2U
#define VHDX_SIDECAR_FLAG_CLOSED	0x1U	/* nothing changes under current_guid */

/**
 * struct vhdx_sidecar_header - one of the two slots
 * @sequence:	the valid slot with the larger one counts
 * @state:	VHDX_SIDECAR_STATE_*
 * @next_point_sequence: of the next point; larger than that of any point so far
 * @block_count: every reference is to a block before this one
 * @live:	the checkpoint; the live delta is that and every unit of the regions that are
 *		set in the coarse area
 * @flags:	VHDX_SIDECAR_FLAG_*
 * @region_shift: log2 of the bytes that a bit of the coarse area stands for
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
	__le32 flags;
	__le32 region_shift;
	__u8 reserved[3908];
	__le32 crc;
};

/**
 * struct vhdx_sidecar_head - begins a root and each table
 * @magic:	VHDX_SIDECAR_ROOT_MAGIC, or what the records are
 * @count:	how many records follow; at least one
 */
struct vhdx_sidecar_head {
	__le32 magic;
	__le32 count;
	__u8 reserved[8];
};

/**
 * struct vhdx_sidecar_table - record of a root: one table
 * @block:	where it is
 * @crc:	its checksum
 * @first:	of an index: the first leaf in it; ascends. Of points: zero
 * @count:	records in it; at least one
 */
struct vhdx_sidecar_table {
	__le64 block;
	__le32 crc;
	__le16 first;
	__le16 count;
};

#define VHDX_SIDECAR_POINT_ISSUED	0x1U
#define VHDX_SIDECAR_POINT_HAS_DATA	0x2U
#define VHDX_SIDECAR_LABEL		64

/* A point: struct vhdx_timeline_point. */
struct vhdx_sidecar_point {
	vhdx_guid guid;
	__le64 sequence;
	__le64 time_ns;
	__le32 kind;
	__le32 flags;
	struct vhdx_sidecar_delta before;
	__le64 disk_size;
	__le32 layer;
	__le32 label_length;
	__u8 label[VHDX_SIDECAR_LABEL];
	__u8 reserved[24];
};

/**
 * struct vhdx_sidecar_entry - one leaf of a delta
 * @leaf:	which one; entries ascend, what is not listed did not change
 * @units:	how many of its units changed; at least one
 * @crc:	checksum of @block; zero where there is none
 * @block:	where the leaf is, or all ones: every unit of it changed
 */
struct vhdx_sidecar_entry {
	__le16 leaf;
	__le16 units;
	__le32 crc;
	__le64 block;
};

#define VHDX_COARSE_SECTOR		512U
#define VHDX_COARSE_BYTES		488U
#define VHDX_COARSE_BITS		(8 * VHDX_COARSE_BYTES)

/**
 * struct vhdx_coarse_sector - some regions of the coarse area, written in one piece
 * @crc:	of the sector, with its own number in the area in place of this field
 * @generation:	sequence of the header that was the newest durable one
 * @commit:	of the coarse area, counted
 * @bits:	one per region, bit 0 of byte 0 first
 */
struct vhdx_coarse_sector {
	__le32 magic;
	__le32 crc;
	__le64 generation;
	__le64 commit;
	__u8 bits[VHDX_COARSE_BYTES];
};

#define VHDX_TOKEN_SECTORS	512U

/**
 * struct vhdx_sidecar_token - how far the container's header has got; one of two slots
 * @commit:	of the coarse area, counted with its sectors
 * @container_sequence: the header of the container may have this SequenceNumber from now on
 * @sectors:	one bit for each sector of the coarse area that was written with it
 * @crc:	of the bytes before it
 */
struct vhdx_sidecar_token {
	__le32 magic;
	__u8 reserved[4];
	__le64 commit;
	__le64 container_sequence;
	__u8 sectors[VHDX_TOKEN_SECTORS / 8];
	__u8 reserved2[4004];
	__le32 crc;
};

#define VHDX_SIDECAR_RECORDS(type) \
	((VHDX_SIDECAR_BLOCK - sizeof(struct vhdx_sidecar_head)) / sizeof(type))
#define VHDX_SIDECAR_TABLES	VHDX_SIDECAR_RECORDS(struct vhdx_sidecar_table)

static_assert(sizeof(struct vhdx_sidecar_ref) == 16);
static_assert(sizeof(struct vhdx_sidecar_delta) == 48);
static_assert(sizeof(struct vhdx_sidecar_header) == VHDX_SIDECAR_BLOCK);
static_assert(sizeof(struct vhdx_sidecar_head) == 16);
static_assert(sizeof(struct vhdx_sidecar_table) == 16);
static_assert(sizeof(struct vhdx_sidecar_point) == 192);
static_assert(sizeof(struct vhdx_sidecar_entry) == 16);
static_assert(sizeof(struct vhdx_coarse_sector) == VHDX_COARSE_SECTOR);
static_assert(sizeof(struct vhdx_sidecar_token) == VHDX_SIDECAR_BLOCK);
static_assert(VHDX_SIDECAR_TABLES == 255);
static_assert(VHDX_SIDECAR_RECORDS(struct vhdx_sidecar_point) == 21);
static_assert(VHDX_SIDECAR_RECORDS(struct vhdx_sidecar_entry) == 255);

#endif
