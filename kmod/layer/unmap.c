// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks that are discarded, or zeroed as a whole: only their entries change, whatever they have.
 *
 * UNMAPPED says that nobody needs the content, ZERO that it is zeroes; without an offset both read
 * as zeroes, here and elsewhere, and in a layer with a parent both hide what that has. A sector
 * bitmap is left as it is: a block that is written afterwards is present as a whole, and its bits
 * are written anew before it is ever partially present again (rule V7).
 *
 * One operation is on blocks whose entries are in one page of the BAT: that page is all that it
 * pins, reserves and makes dirty.
 */
#include "bat.h"

#include <linux/slab.h>

static u64 page_of(const struct vhdx_open_layer *layer, u64 offset)
{
	return vhdx_bat_entry_of(layer, offset) / VHDX_PAGE;
}

/**
 * vhdx_unmap_whole() - see vhdx_mapping_ops.whole
 * @layer:	open for writing
 * @offset:	of the disk
 * @length:	in bytes, not beyond the disk's end
 */
u64 vhdx_unmap_whole(const struct vhdx_open_layer *layer, u64 offset, u64 length)
{
	const struct vhdx_geometry *geo = &layer->image.geo;
	u64 end = offset + min_t(u64, length, VHDX_UNMAP_MAX);
	u64 at;

	if (offset & (geo->block_size - 1))
		return 0;
	if (end < geo->disk_size)
		end = round_down(end, geo->block_size);
	for (at = offset; at < end; at += geo->block_size) {
		if (page_of(layer, at) != page_of(layer, offset))
			return at - offset;
	}
	return end - offset;
}

static unsigned int slot_of(const struct vhdx_open_layer *layer, u64 offset)
{
	return vhdx_bat_slot_of(vhdx_bat_entry_of(layer, offset));
}

static bool has_room(struct vhdx_bat_entry entry)
{
	return vhdx_bat_is_allocated(entry) || entry.state == VHDX_BLOCK_PARTIALLY_PRESENT;
}

/* Returns -EIO if one of them is damaged: what it has may be another block's. */
static int look(const struct vhdx_open_layer *layer, u64 offset, u64 length,
		const struct vhdx_page *page, bool *taken)
{
	unsigned int slot;
	u64 at;

	*taken = false;
	for (at = offset; at < offset + length; at += layer->image.geo.block_size) {
		slot = slot_of(layer, at);
		if (vhdx_page_is_bad(page, slot))
			return -EIO;
		*taken |= has_room(vhdx_bat_read(page, slot));
	}
	return 0;
}

/**
 * vhdx_unmap_hold() - see vhdx_mapping_ops.hold_blocks
 * @layer:	open for writing
 * @offset:	of the disk, where a block begins
 * @length:	from vhdx_unmap_whole()
 * @pin:	receives the page
 * @taken:	see there
 *
 * The page is looked at once it is pinned and all its blocks are busy (rule V1).
 */
int vhdx_unmap_hold(struct vhdx_open_layer *layer, u64 offset, u64 length, struct vhdx_pin *pin,
		    bool *taken)
{
	u32 block_size = layer->image.geo.block_size;
	int err = vhdx_writer_is_lost(layer) ? -EIO : vhdx_allocator_ready(layer);
	struct vhdx_page *page;
	u64 at;

	if (err)
		return err;
	page = vhdx_page_get(&layer->pages, &vhdx_bat_page, layer->writer.container,
			     vhdx_bat_entry_of(layer, offset), true);
	if (IS_ERR(page))
		return PTR_ERR(page);
	pin->entry = page;
	for (at = offset; at < offset + length; at += block_size)
		vhdx_page_hold(&layer->pages, page, slot_of(layer, at));
	err = look(layer, offset, length, page, taken);
	if (!err)
		err = vhdx_page_reserve(&layer->pages, page);
	if (!err && *taken)
		pin->freed = vhdx_freed_alloc(DIV_ROUND_UP_ULL(length, block_size));
	if (err)
		vhdx_unmap_release(layer, offset, length, pin);
	return err;
}

/**
 * vhdx_unmap_release() - see vhdx_mapping_ops.release_blocks
 * @layer:	open for writing
 * @offset:	of the disk, as for vhdx_unmap_hold()
 * @length:	likewise
 * @pin:	from there
 */
void vhdx_unmap_release(struct vhdx_open_layer *layer, u64 offset, u64 length,
			struct vhdx_pin *pin)
{
	u64 at;

	for (at = offset; at < offset + length; at += layer->image.geo.block_size)
		vhdx_page_release(&layer->pages, pin->entry, slot_of(layer, at));
	vhdx_page_put(&layer->pages, pin->entry);
	pin->entry = NULL;
	kvfree(pin->freed);
	pin->freed = NULL;
}

/*
 * What other programs make of UNMAPPED and UNDEFINED is up to them. All of them read what was never
 * written as zeroes, unless there is a parent.
 */
static bool must_change(const struct vhdx_open_layer *layer, struct vhdx_bat_entry entry,
			enum vhdx_unmapped what)
{
	if (entry.state == VHDX_BLOCK_NOT_PRESENT)
		return layer->image.geo.has_parent;
	return has_room(entry) ||
	       (what == VHDX_UNMAPPED_ZERO && entry.state != VHDX_BLOCK_ZERO);
}

/**
 * vhdx_unmap() - see vhdx_mapping_ops.unmap
 * @layer:	open for writing
 * @offset:	of the disk, as for vhdx_unmap_hold()
 * @length:	likewise
 * @pin:	from there
 * @what:	they are from now on
 */
void vhdx_unmap(struct vhdx_open_layer *layer, u64 offset, u64 length, struct vhdx_pin *pin,
		enum vhdx_unmapped what)
{
	struct vhdx_bat_entry entry = {
		.state = what == VHDX_UNMAPPED_ZERO ? VHDX_BLOCK_ZERO : VHDX_BLOCK_UNMAPPED,
	};
	u32 block_size = layer->image.geo.block_size;
	struct vhdx_bat_entry old;
	unsigned int slot;
	u64 at;

	for (at = offset; at < offset + length; at += block_size) {
		slot = slot_of(layer, at);
		old = vhdx_bat_read(pin->entry, slot);
		/* A last block may go on behind the container's end: its room is not whole. */
		if (pin->freed && has_room(old) &&
		    old.offset + block_size <= READ_ONCE(layer->writer.container->size))
			vhdx_freed_add(pin->freed, old.offset, block_size);
		if (must_change(layer, old, what))
			vhdx_page_set(&layer->pages, pin->entry, slot, vhdx_bat_encode(entry));
	}
	if (pin->freed && pin->freed->count) {
		vhdx_freed_give(layer, pin->freed, READ_ONCE(pin->entry->changed_in));
		pin->freed = NULL;
	}
	vhdx_journal_kick(&layer->writer.journal);
}
