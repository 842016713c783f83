/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A container, made small: headers, log and BAT as they are, and of each block that is written the
 * first sectors of both its units. Offsets are those of a real one; view_init() is a store that has
 * them all close together.
 */
#ifndef VHDX_SIMULATION_CONTAINER_H
#define VHDX_SIMULATION_CONTAINER_H

#include "core/vhdx/bat.h"
#include "core/vhdx/log.h"

#define UNIT_SHIFT	20
#define UNIT_BYTES	(1ULL << UNIT_SHIFT)
#define DISK_SIZE	((136ULL << 30) - 512)
#define UNITS		14	/* that are written, by their numbers here */

#define BLOCK_SHIFT	21
#define BLOCK_BYTES	(1ULL << BLOCK_SHIFT)
#define BLOCKS		12	/* that these are in, by their numbers here */
#define PAGES		6	/* of the BAT, that name these */

#define LOG_OFFSET	VHDX_MIB
#define LOG_LENGTH	(64U * 1024)
#define BAT_OFFSET	(2 * VHDX_MIB)
#define PAYLOAD_OFFSET	(3 * VHDX_MIB)
#define ROOM_BLOCKS	16	/* a container never has more */

/* What there is of a unit. */
#define UNIT_SECTORS	2
#define UNIT_LENGTH	(UNIT_SECTORS * 512)

/* Of the units that are written, one bit each. */
typedef u32 unit_mask;

/* No half of a block, and no actor. */
#define NOBODY		~0U

extern struct vhdx_image image;		/* what is the same in all of them */

/* Which block a unit is in, and in which half of it. */
u32 block_of(u32 unit);
u32 half_of(u32 unit);
/* NOBODY: that half is no unit, and never written. */
u32 unit_in(u32 block, u32 half);
unit_mask units_in_block(u32 block);
u64 unit_offset(u32 unit);
u64 block_offset(u32 block);
/* Is it the disk's next block, and named by the same page? */
bool is_next_block(u32 block);
/* Units of the regions that these are in. */
unit_mask neighbours(unit_mask units);
/* Where the entry of a block is. */
u32 page_of(u32 block);
u32 slot_of(u32 block);
u64 page_offset(u32 page);
u64 page_first_index(u32 page);

/* A container's offsets, in a store that is small. */
struct view {
	struct vhdx_store store;
	struct vhdx_store *below;
};

void view_init(struct view *view, struct vhdx_store *below);
/* Durable when it returns, as no other write need be. 0 or -errno. */
int container_write_fua(u64 offset, const void *buf, size_t length);
/* How long the store is for a container of this size. */
u64 view_length(u64 size);

/* What is in a container, or in what a power loss makes of one. */
struct found {
	struct vhdx_header header;
	u64 size;
	struct vhdx_bat_entry entries[BLOCKS];
	u64 sectors[UNITS][UNIT_SECTORS];
	u64 content[UNITS];	/* of a unit in one number */
};

u64 content_of(const u64 *sectors);
void container_format(bool device, u32 blocks);
/* As its log says. */
void container_read(struct vhdx_store *below, struct found *found);
/* The sectors of both halves of a block that is there. */
void container_read_block(struct vhdx_store *store, u64 where, u64 sectors[2][UNIT_SECTORS]);
/* Through the driver's own tables. */
void container_see(u64 *content);

#endif
