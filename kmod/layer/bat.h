/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Entries of the Block Allocation Table, for those who know which one they want.
 */
#ifndef VHDX_LAYER_BAT_H
#define VHDX_LAYER_BAT_H

#include "core/vhdx/bat.h"
#include "core/vhdx/bitmap.h"
#include "layer.h"

extern const struct vhdx_page_kind vhdx_bat_page;
extern const struct vhdx_page_kind vhdx_bitmap_kind;

bool vhdx_bat_is_sound(const struct vhdx_open_layer *layer, const struct vhdx_container *container,
		       u64 index, u64 raw);

/* Where an entry is in its page, by its offset in the container. */
static inline unsigned int vhdx_bat_slot_of(u64 entry_offset)
{
	return entry_offset % VHDX_PAGE / sizeof(__le64);
}

/* Where the entry is in the container that names the block of a byte of the disk. */
static inline u64 vhdx_bat_entry_of(const struct vhdx_open_layer *layer, u64 offset)
{
	const struct vhdx_geometry *geo = &layer->image.geo;

	return vhdx_bat_entry_offset(geo, vhdx_bat_index(geo, offset >> geo->block_shift));
}

/* And the one that names the sector bitmap block with its bit. */
static inline u64 vhdx_bat_bitmap_entry_of(const struct vhdx_open_layer *layer, u64 offset)
{
	const struct vhdx_geometry *geo = &layer->image.geo;

	return vhdx_bat_entry_offset(geo, vhdx_bitmap_index(geo, offset >> geo->block_shift));
}

static inline struct vhdx_bat_entry vhdx_bat_read(const struct vhdx_page *page, unsigned int slot)
{
	return vhdx_bat_decode(le64_to_cpu(READ_ONCE(page->entries[slot])));
}

/* unmap.c */
u64 vhdx_unmap_whole(const struct vhdx_open_layer *layer, u64 offset, u64 length);
int vhdx_unmap_hold(struct vhdx_open_layer *layer, u64 offset, u64 length, struct vhdx_pin *pin,
		    bool *taken);
void vhdx_unmap_release(struct vhdx_open_layer *layer, u64 offset, u64 length,
			struct vhdx_pin *pin);
void vhdx_unmap(struct vhdx_open_layer *layer, u64 offset, u64 length, struct vhdx_pin *pin,
		enum vhdx_unmapped what);

#endif
