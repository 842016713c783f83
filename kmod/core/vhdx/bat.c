// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Block Allocation Table, MS-VHDX 2.5.
 */
#include "private.h"

/*
 * A chunk is chunk_ratio payload blocks and, behind them, one sector bitmap block;
 * chunk_ratio is a power of two, so payload indices need shifts only.
 */
u64 vhdx_bat_index(const struct vhdx_geometry *geo, u64 block)
{
	return block + (block >> ilog2(geo->chunk_ratio));
}

u64 vhdx_bat_entry_offset(const struct vhdx_geometry *geo, u64 index)
{
	return geo->bat_offset + index * VHDX_BAT_ENTRY_SIZE;
}

struct vhdx_bat_slot vhdx_bat_slot(const struct vhdx_geometry *geo, u64 index)
{
	u64 chunk = div64_u64(index, geo->chunk_ratio + 1);
	struct vhdx_bat_slot slot = {
		.bitmap = index - chunk * (geo->chunk_ratio + 1) == geo->chunk_ratio,
	};

	if (slot.bitmap) {
		slot.number = chunk;
		slot.length = VHDX_BITMAP_BLOCK_SIZE;
		slot.needed = slot.length;
	} else {
		slot.number = index - chunk;
		slot.length = geo->block_size;
		slot.needed = min_t(u64, slot.length,
				    geo->disk_size - (slot.number << geo->block_shift));
	}
	/* Without a parent there are no sector bitmaps: what QEMU before 8.0 and others left
	 * in their entries means nothing.
	 */
	slot.used = index < geo->bat_entry_count &&
		    (slot.bitmap ? geo->has_parent : slot.number < geo->block_count);
	return slot;
}

bool vhdx_bat_index_is_bitmap(const struct vhdx_geometry *geo, u64 index)
{
	return vhdx_bat_slot(geo, index).bitmap;
}

struct vhdx_bat_entry vhdx_bat_decode(u64 raw)
{
	struct vhdx_bat_entry entry = {
		.state = raw & VHDX_BAT_STATE_MASK,
		.offset = raw & VHDX_BAT_OFFSET_MASK,
	};

	return entry;
}

u64 vhdx_bat_encode(struct vhdx_bat_entry entry)
{
	return entry.offset | entry.state;
}

/* An entry under examination. */
struct subject {
	const struct vhdx_image *image;
	struct vhdx_diag *diag;
	u64 index;
	u64 size;			/* of the container */
	struct vhdx_bat_slot slot;
	struct vhdx_bat_entry entry;
};

#define bad_entry(s, fmt, ...)								\
	vhdx_corrupt((s)->diag, "BAT entry %llu at 0x%llx (%s block %llu): " fmt	\
		     ": restore a copy, or attach read-only and copy the other blocks",	\
		     (s)->index, vhdx_bat_entry_offset(&(s)->image->geo, (s)->index),	\
		     (s)->slot.bitmap ? "sector bitmap" : "payload", (s)->slot.number,	\
		     ##__VA_ARGS__)

/* The last extent that begins before @end, or NULL: the only one that can collide. */
static const struct vhdx_extent *extent_before(const struct vhdx_image *image, u64 end)
{
	unsigned int low = 0;
	unsigned int high = image->extent_count;

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;

		if (image->extents[middle].offset < end)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &image->extents[low - 1] : NULL;
}

static int check_place(const struct subject *s)
{
	const struct vhdx_extent *extent;
	u64 offset = s->entry.offset;
	u64 length = s->slot.length;

	if (!offset)
		return bad_entry(s, "present, but without an offset");
	/* QEMU's fixed images end with the disk, in the middle of the last block. */
	if (offset > s->size || s->slot.needed > s->size - offset)
		return bad_entry(s, "0x%llx bytes at 0x%llx end behind the container's end at 0x%llx",
				 s->slot.needed, offset, s->size);
	extent = extent_before(s->image, offset + length);
	if (extent && extent->offset + extent->length > offset)
		return bad_entry(s, "0x%llx bytes at 0x%llx overlap the structure at 0x%llx, 0x%llx bytes",
				 length, offset, extent->offset, extent->length);
	return 0;
}

static int check_payload(const struct subject *s)
{
	switch (s->entry.state) {
	case VHDX_BLOCK_NOT_PRESENT:
	case VHDX_BLOCK_UNDEFINED:
	case VHDX_BLOCK_ZERO:
	case VHDX_BLOCK_UNMAPPED:
		return 0;
	case VHDX_BLOCK_FULLY_PRESENT:
		return check_place(s);
	case VHDX_BLOCK_PARTIALLY_PRESENT:
		if (!s->image->geo.has_parent)
			return bad_entry(s, "partially present, but the disk has no parent");
		return check_place(s);
	}
	return bad_entry(s, "state %u is reserved", s->entry.state);
}

static int check_bitmap(const struct subject *s)
{
	if (s->entry.state == VHDX_BLOCK_NOT_PRESENT)
		return 0;
	if (s->entry.state != VHDX_BLOCK_FULLY_PRESENT)
		return bad_entry(s, "state %u is reserved", s->entry.state);
	return check_place(s);
}

int vhdx_bat_check(const struct vhdx_image *image, u64 index, u64 raw, u64 size,
		   struct vhdx_diag *diag)
{
	struct subject s = {
		.image = image,
		.diag = diag,
		.index = index,
		.size = size,
		.slot = vhdx_bat_slot(&image->geo, index),
		.entry = vhdx_bat_decode(raw),
	};

	if (!s.slot.used)
		return 0;
	if (raw & VHDX_BAT_RESERVED_MASK)
		return bad_entry(&s, "0x%016llx has reserved bits set", raw);
	return s.slot.bitmap ? check_bitmap(&s) : check_payload(&s);
}
