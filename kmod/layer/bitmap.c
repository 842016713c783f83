// SPDX-License-Identifier: GPL-2.0-only
#include "bat.h"

/* Whatever its bits are, each of them says something. */
const struct vhdx_page_kind vhdx_bitmap_kind = { };

/* Sectors that are looked at: wanted, of the extent, and with bits in the same page. */
static u32 sectors_of(const struct vhdx_geometry *geo, u32 bit, u64 wanted, u64 length)
{
	u32 size = geo->logical_sector_size;
	u64 sectors = (min(wanted, length) + size - 1) >> ilog2(size);

	return min_t(u64, sectors, VHDX_BITMAP_PAGE_BITS - bit);
}

/* What @page says, from the bit of @offset on. A write is one piece if any bit is not set. */
static void look_at_bits(const struct vhdx_open_layer *layer, const struct vhdx_page *page,
			 u64 offset, u64 wanted, bool write, struct vhdx_mapping *extent)
{
	const struct vhdx_geometry *geo = &layer->image.geo;
	u32 bit = vhdx_bitmap_bit(geo, offset);
	u32 end = bit + sectors_of(geo, bit, wanted, extent->length);
	bool set = vhdx_bitmap_test(page->entries, bit);
	u32 other = vhdx_bitmap_find(page->entries, !set, bit, end);

	/* Pairs with vhdx_page_fill(): new bits are not taken for durable ones. */
	smp_rmb();
	extent->durable &= vhdx_page_is_durable(page);
	if (write && other < end) {
		set = false;
		other = end;
	}
	extent->kind = set ? VHDX_MAPPING_DATA : VHDX_MAPPING_PARENT;
	extent->length = min(extent->length, (u64)(other - bit) * geo->logical_sector_size);
}

/**
 * vhdx_bitmap_look() - which sectors of a block that is partially present it has itself
 * @layer:	has a parent
 * @offset:	of the disk
 * @wanted:	bytes that are asked for
 * @write:	it is written: the answer is VHDX_MAPPING_PARENT, for as much as can be published at
 *		once, unless each sector is there
 * @extent:	what the block's entry says from there to the block's end; receives how it goes on,
 *		for as long as the bits are the same
 *
 * Under rcu_read_lock(). A block without its bitmap is damaged.
 */
void vhdx_bitmap_look(struct vhdx_open_layer *layer, u64 offset, u64 wanted, bool write,
		      struct vhdx_mapping *extent)
{
	u64 entry_at = vhdx_bat_bitmap_entry_of(layer, offset);
	unsigned int slot = vhdx_bat_slot_of(entry_at);
	struct vhdx_page *page = vhdx_page_peek(&layer->pages, entry_at);
	struct vhdx_bat_entry entry;

	extent->kind = VHDX_MAPPING_UNKNOWN;
	if (!page)
		return;
	entry = vhdx_bat_read(page, slot);
	/* Pairs with vhdx_page_set(). */
	smp_rmb();
	extent->durable &= vhdx_page_is_durable(page);
	if (vhdx_page_is_bad(page, slot) || !vhdx_bat_is_allocated(entry)) {
		extent->kind = VHDX_MAPPING_BAD;
		return;
	}
	page = vhdx_page_peek(&layer->pages,
			      entry.offset + vhdx_bitmap_page(&layer->image.geo, offset));
	if (page)
		look_at_bits(layer, page, offset, wanted, write, extent);
}

/**
 * vhdx_bitmap_load() - make vhdx_bitmap_look() answer, as long as the pages are pinned
 * @layer:	has a parent
 * @container:	the caller's own descriptor
 * @offset:	of the disk
 * @wait:	for memory, see vhdx_page_get()
 * @pin:	receives the pages, also after a failure; of a bitmap that is damaged, or not there,
 *		none
 *
 * Sleeps. Returns 0, -EAGAIN, or -errno.
 */
int vhdx_bitmap_load(struct vhdx_open_layer *layer, struct vhdx_container *container, u64 offset,
		     bool wait, struct vhdx_pin *pin)
{
	u64 entry_at = vhdx_bat_bitmap_entry_of(layer, offset);
	unsigned int slot = vhdx_bat_slot_of(entry_at);
	struct vhdx_bat_entry entry;
	struct vhdx_page *page;

	page = vhdx_page_get(&layer->pages, &vhdx_bat_page, container, entry_at, wait);
	if (IS_ERR(page))
		return PTR_ERR(page);
	pin->bitmap_entry = page;
	entry = vhdx_bat_read(page, slot);
	if (vhdx_page_is_bad(page, slot) || !vhdx_bat_is_allocated(entry))
		return 0;
	page = vhdx_page_get(&layer->pages, &vhdx_bitmap_kind, container,
			     entry.offset + vhdx_bitmap_page(&layer->image.geo, offset), wait);
	if (IS_ERR(page))
		return PTR_ERR(page);
	pin->bitmap = page;
	return 0;
}
