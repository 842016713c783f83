// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mapping through the Block Allocation Table.
 */
#include "bat.h"
#include "layer.h"

static u64 block_of(const struct vhdx_open_layer *layer, u64 offset)
{
	return offset >> layer->image.geo.block_shift;
}

static u64 entry_offset(const struct vhdx_open_layer *layer, u64 offset)
{
	const struct vhdx_geometry *geo = &layer->image.geo;

	return vhdx_bat_entry_offset(geo, vhdx_bat_index(geo, block_of(layer, offset)));
}

static unsigned int slot_of(u64 entry_offset)
{
	return entry_offset % VHDX_PAGE / sizeof(__le64);
}

/* Rule V6: an entry that is wrong by itself makes its block unusable, no more. */
static void judge_entries(struct vhdx_page *page)
{
	struct vhdx_open_layer *layer = container_of(page->cache, struct vhdx_open_layer, pages);
	const struct vhdx_geometry *geo = &layer->image.geo;
	u64 first = (page->index * VHDX_PAGE - geo->bat_offset) / sizeof(u64);
	/* A log that is replayed in memory may say that the container is longer. */
	u64 size = max(layer->store->size, READ_ONCE(layer->container.size));
	struct vhdx_diag diag;
	unsigned int i;

	for (i = 0; i < VHDX_PAGE_ENTRIES && first + i < geo->bat_entry_count; i++) {
		diag.text[0] = 0;
		if (!vhdx_bat_check(&layer->image, first + i, le64_to_cpu(page->entries[i]),
				    size, &diag))
			continue;
		page->odd++;
		__set_bit(i, page->bad);
		vhdx_allocator_refuse(&layer->writer.space, diag.text);
	}
}

static const struct vhdx_page_kind bat_page = {
	.judge = judge_entries,
};

/* What its page says of a block. */
static enum vhdx_place look_at(const struct vhdx_open_layer *layer,
			       const struct vhdx_page *page, u64 offset,
			       struct vhdx_mapping *mapping)
{
	unsigned int slot = slot_of(entry_offset(layer, offset));
	struct vhdx_bat_entry entry;

	if (vhdx_page_is_bad(page, slot))
		return VHDX_PLACE_BAD;
	entry = vhdx_bat_decode(le64_to_cpu(READ_ONCE(page->entries[slot])));
	/* Pairs with vhdx_page_set(): a new entry is not taken for a durable one. */
	smp_rmb();
	mapping->durable = vhdx_page_is_durable(page);
	/* NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED: an offset in such an entry means nothing, and
	 * what is there may be another block's.
	 */
	if (!vhdx_bat_is_allocated(entry))
		return VHDX_PLACE_ZERO;
	mapping->offset = entry.offset + (offset & (layer->image.geo.block_size - 1));
	return VHDX_PLACE_DATA;
}

static enum vhdx_place look_at_busy(const struct vhdx_open_layer *layer,
				    const struct vhdx_page *page, u64 offset,
				    struct vhdx_mapping *mapping)
{
	enum vhdx_place place = look_at(layer, page, offset, mapping);

	mapping->zero = place == VHDX_PLACE_ZERO;
	return place == VHDX_PLACE_BAD ? place : VHDX_PLACE_BUSY;
}

static enum vhdx_place bat_lookup(struct vhdx_open_layer *layer, u64 offset,
				  struct vhdx_mapping *mapping)
{
	u64 where = entry_offset(layer, offset);
	enum vhdx_place place = VHDX_PLACE_UNKNOWN;
	const struct vhdx_page *page;

	rcu_read_lock();
	page = vhdx_page_peek(&layer->pages, where);
	if (page && vhdx_page_is_busy(page, slot_of(where)))
		place = look_at_busy(layer, page, offset, mapping);
	else if (page)
		place = look_at(layer, page, offset, mapping);
	rcu_read_unlock();
	return place;
}

static int bat_load(struct vhdx_open_layer *layer, u64 offset, void **handle)
{
	struct vhdx_page *page = vhdx_page_get(&layer->pages, &bat_page,
					       entry_offset(layer, offset));

	if (IS_ERR(page))
		return PTR_ERR(page);
	*handle = page;
	return 0;
}

static void bat_unload(struct vhdx_open_layer *layer, void *handle)
{
	vhdx_page_put(&layer->pages, handle);
}

static int bat_hold(struct vhdx_open_layer *layer, u64 offset, void **handle)
{
	int err = bat_load(layer, offset, handle);

	if (!err)
		vhdx_page_hold(&layer->pages, *handle, slot_of(entry_offset(layer, offset)));
	return err;
}

static void bat_release(struct vhdx_open_layer *layer, u64 offset, void *handle)
{
	vhdx_page_release(&layer->pages, handle, slot_of(entry_offset(layer, offset)));
	bat_unload(layer, handle);
}

static enum vhdx_place bat_held(struct vhdx_open_layer *layer, u64 offset, void *handle,
				struct vhdx_mapping *mapping)
{
	return look_at(layer, handle, offset, mapping);
}

/* Room first: the allocator looks whose container it is before anything of it is written. */
static int bat_place(struct vhdx_open_layer *layer, void *handle, u64 *where, bool *zeroed)
{
	int err = vhdx_layer_is_lost(layer) ? -EIO : vhdx_allocator_take(layer, where, zeroed);

	if (err)
		return err;
	err = vhdx_page_reserve(&layer->pages, handle);
	if (err)
		vhdx_allocator_give_back(layer, *where, err);
	return err;
}

static void bat_publish(struct vhdx_open_layer *layer, u64 offset, u64 where, void *handle)
{
	struct vhdx_bat_entry entry = {
		.state = VHDX_BLOCK_FULLY_PRESENT,
		.offset = where,
	};

	vhdx_page_set(&layer->pages, handle, slot_of(entry_offset(layer, offset)),
		      vhdx_bat_encode(entry));
	vhdx_journal_kick(&layer->writer.journal);
}

static void bat_abandon(struct vhdx_open_layer *layer, u64 where, int err)
{
	vhdx_allocator_give_back(layer, where, err);
}

const struct vhdx_map_ops vhdx_map_bat = {
	.lookup		= bat_lookup,
	.load		= bat_load,
	.unload		= bat_unload,
	.hold		= bat_hold,
	.release	= bat_release,
	.held		= bat_held,
	.place		= bat_place,
	.publish	= bat_publish,
	.abandon	= bat_abandon,
};
