/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Reading the ring: shared by the scan and the walk.
 */
#ifndef VHDX_CORE_LOG_PRIVATE_H
#define VHDX_CORE_LOG_PRIVATE_H

#include "private.h"
#include "log.h"

#define VHDX_LOG_WINDOW		(64U * 1024)

/**
 * struct vhdx_log_ring - the log, read through a window
 * @offset:	of the log in the container
 * @length:	of the log
 * @window:	VHDX_LOG_WINDOW bytes of it
 * @position:	of the window in the log; @length while nothing was read
 *
 * Sectors in order cost one read per window.
 */
struct vhdx_log_ring {
	struct vhdx_store *store;
	struct vhdx_diag *diag;
	u64 offset;
	u32 length;
	u32 position;
	u8 *window;
};

int vhdx_log_ring_init(struct vhdx_log_ring *ring, struct vhdx_store *store,
		       const struct vhdx_header *header, struct vhdx_diag *diag);
void vhdx_log_ring_release(struct vhdx_log_ring *ring);

/* The sector at @position of the log, good until the next call. 0 or -errno. */
int vhdx_log_ring_sector(struct vhdx_log_ring *ring, u32 position, const void **sector);

/* @bytes is at most the ring's length. */
static inline u32 vhdx_log_ring_advance(const struct vhdx_log_ring *ring, u32 position, u32 bytes)
{
	u32 rest = ring->length - position;

	return bytes < rest ? position + bytes : bytes - rest;
}

/* From @from forward to @to. */
static inline u32 vhdx_log_ring_distance(const struct vhdx_log_ring *ring, u32 from, u32 to)
{
	return to >= from ? to - from : ring->length - from + to;
}

/**
 * struct vhdx_log_head - header of an entry that makes sense by itself
 * @position:	of the entry in the log
 */
struct vhdx_log_head {
	u32 position;
	u32 length;
	u32 tail;
	u32 descriptor_count;
	u64 sequence;
	u64 flushed_file_offset;
	u64 last_file_offset;
};

/*
 * Decode and judge the header in the first sector of an entry: right signature and
 * GUID, lengths and offsets that fit this ring, descriptors that fit the entry.
 */
bool vhdx_log_head_decode(struct vhdx_log_head *head, const struct vhdx_log_ring *ring,
			  u32 position, const vhdx_guid *guid, const void *sector);

/* Sectors that the header and @count descriptors fill. */
static inline u32 vhdx_log_descriptor_sectors(u32 count)
{
	return DIV_ROUND_UP(sizeof(struct vhdx_ondisk_log_header) / 32 + (u64)count,
			    VHDX_LOG_SECTOR / 32);
}

/* Where in its sector descriptor number @index lies. */
static inline u32 vhdx_log_descriptor_place(u32 index)
{
	return (sizeof(struct vhdx_ondisk_log_header) + (u64)index * 32) % VHDX_LOG_SECTOR;
}

static inline bool vhdx_log_is_data(const union vhdx_ondisk_log_descriptor *descriptor)
{
	return vhdx_has_signature(descriptor->signature, VHDX_LOG_DATA_SIGNATURE,
				  sizeof(descriptor->signature));
}

static inline bool vhdx_log_is_zero(const union vhdx_ondisk_log_descriptor *descriptor)
{
	return vhdx_has_signature(descriptor->signature, VHDX_LOG_ZERO_SIGNATURE,
				  sizeof(descriptor->signature));
}

#endif
