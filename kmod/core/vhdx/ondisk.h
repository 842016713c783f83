/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * The layout of a VHDX container, after MS-VHDX 8.0. Layout only: what the fields
 * may hold is judged where they are read.
 */
#ifndef VHDX_CORE_ONDISK_H
#define VHDX_CORE_ONDISK_H

#include "core/guid.h"

/* A GUID from the numbers of its text form. */
#define VHDX_GUID(a, b, c, d0, d1, d2, d3, d4, d5, d6, d7)			\
	{ { (a) & 0xff, ((a) >> 8) & 0xff, ((a) >> 16) & 0xff, ((a) >> 24) & 0xff,	\
	    (b) & 0xff, ((b) >> 8) & 0xff, (c) & 0xff, ((c) >> 8) & 0xff,	\
	    d0, d1, d2, d3, d4, d5, d6, d7 } }

/* 2.2 The header section: all below 1 MiB. */
#define VHDX_HEADER_SECTION		(1U << 20)
#define VHDX_HEADER_OFFSET_1		(64U * 1024)
#define VHDX_HEADER_OFFSET_2		(128U * 1024)
#define VHDX_REGION_TABLE_OFFSET_1	(192U * 1024)
#define VHDX_REGION_TABLE_OFFSET_2	(256U * 1024)

/* 2.2.1 File identifier */
#define VHDX_FILE_SIGNATURE	"vhdxfile"

struct vhdx_ondisk_file_identifier {
	u8	signature[8];
	__le16	creator[256];		/* UTF-16; for people only */
};

/* 2.2.2 Header */
#define VHDX_HEADER_SIGNATURE	"head"
#define VHDX_HEADER_SIZE	4096U
#define VHDX_VERSION		1
#define VHDX_LOG_VERSION	0

struct vhdx_ondisk_header {
	u8		signature[4];
	__le32		checksum;	/* of all 4096 bytes */
	__le64		sequence_number;
	vhdx_guid	file_write_guid;
	vhdx_guid	data_write_guid;
	vhdx_guid	log_guid;
	__le16		log_version;
	__le16		version;
	__le32		log_length;
	__le64		log_offset;
	u8		reserved[4016];
};

/* 2.2.3 Region table */
#define VHDX_REGION_TABLE_SIGNATURE	"regi"
#define VHDX_TABLE_SIZE			(64U * 1024)	/* the metadata table's too */
#define VHDX_TABLE_ENTRIES_MAX		2047U		/* the metadata table's too */

struct vhdx_ondisk_region_entry {
	vhdx_guid	guid;
	__le64		file_offset;
	__le32		length;
	__le32		required;
};

#define VHDX_REGION_REQUIRED	BIT(0)

struct vhdx_ondisk_region_table {
	u8	signature[4];
	__le32	checksum;		/* of all 64 KiB */
	__le32	entry_count;
	__le32	reserved;
	struct vhdx_ondisk_region_entry entries[VHDX_TABLE_ENTRIES_MAX];
	u8	unused[16];
};

#define VHDX_REGION_BAT							\
	VHDX_GUID(0x2dc27766, 0xf623, 0x4200,				\
		  0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08)
#define VHDX_REGION_METADATA						\
	VHDX_GUID(0x8b7ca206, 0x4790, 0x4b9a,				\
		  0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e)

/* 2.3.1.1 Log entry header */
#define VHDX_LOG_ENTRY_SIGNATURE	"loge"
#define VHDX_LOG_SECTOR			4096U

struct vhdx_ondisk_log_header {
	u8		signature[4];
	__le32		checksum;	/* of the whole entry */
	__le32		entry_length;
	__le32		tail;
	__le64		sequence_number;
	__le32		descriptor_count;
	__le32		reserved;
	vhdx_guid	log_guid;
	__le64		flushed_file_offset;
	__le64		last_file_offset;
};

/* 2.3.1.2 and 2.3.1.3 Descriptors: same size, told apart by their signature */
#define VHDX_LOG_ZERO_SIGNATURE		"zero"
#define VHDX_LOG_DATA_SIGNATURE		"desc"
#define VHDX_LOG_LEADING		8U
#define VHDX_LOG_TRAILING		4U

struct vhdx_ondisk_log_zero {
	u8	signature[4];
	__le32	reserved;
	__le64	zero_length;
	__le64	file_offset;
	__le64	sequence_number;
};

struct vhdx_ondisk_log_data {
	u8	signature[4];
	u8	trailing[VHDX_LOG_TRAILING];
	u8	leading[VHDX_LOG_LEADING];
	__le64	file_offset;
	__le64	sequence_number;
};

union vhdx_ondisk_log_descriptor {
	u8	signature[4];
	struct vhdx_ondisk_log_zero zero;
	struct vhdx_ondisk_log_data data;
};

/* 2.3.1.4 Data sector: the page without its first 8 and its last 4 bytes */
#define VHDX_LOG_SECTOR_SIGNATURE	"data"

struct vhdx_ondisk_log_sector {
	u8	signature[4];
	__le32	sequence_high;
	u8	data[4084];
	__le32	sequence_low;
};

/* 2.5.1 BAT entry: a __le64 */
#define VHDX_BAT_STATE_MASK	0x7ULL
#define VHDX_BAT_RESERVED_MASK	0xffff8ULL
#define VHDX_BAT_OFFSET_MASK	(~0xfffffULL)
#define VHDX_BAT_ENTRY_SIZE	8U

/* 2.4 Blocks */
#define VHDX_BITMAP_BLOCK_SIZE	(1024U * 1024)
#define VHDX_BITMAP_BITS_SHIFT	23	/* log2 of the sectors that it describes */

/* 2.6.1 Metadata table; items lie behind it, in the same region */
#define VHDX_METADATA_SIGNATURE		"metadata"
#define VHDX_METADATA_ITEM_MAX		(1024U * 1024)
#define VHDX_METADATA_USER_ITEMS_MAX	1024U

#define VHDX_METADATA_IS_USER		BIT(0)
#define VHDX_METADATA_IS_VIRTUAL_DISK	BIT(1)
#define VHDX_METADATA_IS_REQUIRED	BIT(2)

struct vhdx_ondisk_metadata_entry {
	vhdx_guid	item_id;
	__le32		offset;		/* from the beginning of the region */
	__le32		length;
	__le32		flags;
	__le32		reserved;
};

struct vhdx_ondisk_metadata_table {
	u8	signature[8];
	__le16	reserved;
	__le16	entry_count;
	u8	reserved2[20];
	struct vhdx_ondisk_metadata_entry entries[VHDX_TABLE_ENTRIES_MAX];
};

/* 2.6.2 Known items */
#define VHDX_ITEM_FILE_PARAMETERS					\
	VHDX_GUID(0xcaa16737, 0xfa36, 0x4d43,				\
		  0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b)
#define VHDX_ITEM_VIRTUAL_DISK_SIZE					\
	VHDX_GUID(0x2fa54224, 0xcd1b, 0x4876,				\
		  0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8)
#define VHDX_ITEM_VIRTUAL_DISK_ID					\
	VHDX_GUID(0xbeca12ab, 0xb2e6, 0x4523,				\
		  0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46)
#define VHDX_ITEM_LOGICAL_SECTOR_SIZE					\
	VHDX_GUID(0x8141bf1d, 0xa96f, 0x4709,				\
		  0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f)
#define VHDX_ITEM_PHYSICAL_SECTOR_SIZE					\
	VHDX_GUID(0xcda348c7, 0x445d, 0x4471,				\
		  0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56)
#define VHDX_ITEM_PARENT_LOCATOR					\
	VHDX_GUID(0xa8d35f2d, 0xb30b, 0x454d,				\
		  0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c)
/* Not in MS-VHDX: present while Microsoft's tools are still writing the file. */
#define VHDX_ITEM_INCOMPLETE_FILE					\
	VHDX_GUID(0x71cc85f0, 0x1b69, 0x4e28,				\
		  0x95, 0x58, 0xc3, 0xbf, 0x83, 0xae, 0x75, 0xd3)

/* 2.6.2.1 File parameters */
#define VHDX_PARAMETER_LEAVE_BLOCK_ALLOCATED	BIT(0)
#define VHDX_PARAMETER_HAS_PARENT		BIT(1)

#define VHDX_BLOCK_SIZE_MIN	(1024U * 1024)
#define VHDX_BLOCK_SIZE_MAX	(256U * 1024 * 1024)

struct vhdx_ondisk_file_parameters {
	__le32	block_size;
	__le32	flags;
};

/* 2.6.2.2 Virtual disk size */
#define VHDX_DISK_SIZE_MAX	(64ULL << 40)

/* 2.6.2.6 Parent locator; the text is behind the entries, in the same item */
#define VHDX_LOCATOR_TYPE_VHDX						\
	VHDX_GUID(0xb04aefb7, 0xd19e, 0x4a81,				\
		  0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13)

struct vhdx_ondisk_locator_entry {
	__le32	key_offset;		/* from the beginning of the item */
	__le32	value_offset;
	__le16	key_length;		/* in bytes; UTF-16LE without a NUL */
	__le16	value_length;
};

struct vhdx_ondisk_locator {
	vhdx_guid	type;
	__le16		reserved;
	__le16		entry_count;
	struct vhdx_ondisk_locator_entry entries[];
};

/* No compiler may think otherwise. */
static_assert(sizeof(struct vhdx_ondisk_file_identifier) == 520);
static_assert(sizeof(struct vhdx_ondisk_header) == VHDX_HEADER_SIZE);
static_assert(sizeof(struct vhdx_ondisk_region_entry) == 32);
static_assert(sizeof(struct vhdx_ondisk_region_table) == VHDX_TABLE_SIZE);
static_assert(sizeof(struct vhdx_ondisk_log_header) == 64);
static_assert(sizeof(struct vhdx_ondisk_log_zero) == 32);
static_assert(sizeof(struct vhdx_ondisk_log_data) == 32);
static_assert(sizeof(union vhdx_ondisk_log_descriptor) == 32);
static_assert(sizeof(struct vhdx_ondisk_log_sector) == VHDX_LOG_SECTOR);
static_assert(sizeof(struct vhdx_ondisk_metadata_entry) == 32);
static_assert(sizeof(struct vhdx_ondisk_metadata_table) == VHDX_TABLE_SIZE);
static_assert(sizeof(struct vhdx_ondisk_file_parameters) == 8);
static_assert(sizeof(struct vhdx_ondisk_locator_entry) == 12);
static_assert(sizeof(struct vhdx_ondisk_locator) == 20);

#endif
