// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mapping through the Block Allocation Table.
 */
#include "bat.h"
#include "survey.h"

#include <linux/uuid.h>

/* A log that is replayed in memory may say that the container is longer. */
static u64 size_of(const struct vhdx_open_layer *layer, const struct vhdx_container *container)
{
	return max(layer->overlay ? layer->overlay->store.size : 0, READ_ONCE(container->size));
}

/* Rule V6: an entry that is wrong by itself makes its block unusable, no more. */
static void judge_entries(struct vhdx_page *page, const struct vhdx_container *container)
{
	struct vhdx_open_layer *layer = container_of(page->cache, struct vhdx_open_layer, pages);
	const struct vhdx_geometry *geo = &layer->image.geo;
	u64 first = (page->index * VHDX_PAGE - geo->bat_offset) / sizeof(u64);
	u64 size = size_of(layer, container);
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

/**
 * vhdx_bat_is_sound() - may an entry be used that is not in a page of the cache?
 * @layer:	whose it is
 * @container:	that it was read from
 * @index:	of the entry
 * @raw:	in host byte order
 */
bool vhdx_bat_is_sound(const struct vhdx_open_layer *layer, const struct vhdx_container *container,
		       u64 index, u64 raw)
{
	return !vhdx_bat_check(&layer->image, index, raw, size_of(layer, container), NULL);
}

const struct vhdx_page_kind vhdx_bat_page = {
	.judge = judge_entries,
};

static u64 to_end_of_span(const struct vhdx_open_layer *layer, u64 offset)
{
	return layer->span - (offset & (layer->span - 1));
}

/* Nothing of it is in the container. */
static bool is_elsewhere(const struct vhdx_mapping *extent)
{
	return extent->kind == VHDX_MAPPING_ZERO || extent->kind == VHDX_MAPPING_PARENT;
}

/* A block that is not all in this layer. */
static noinline void look_further(struct vhdx_open_layer *layer, enum vhdx_block_state state,
				  u64 offset, u64 wanted, bool write, struct vhdx_mapping *extent)
{
	/* UNDEFINED, ZERO and UNMAPPED hide what a parent has. An offset in an entry of these
	 * means nothing, and what is there may be another block's.
	 */
	extent->kind = VHDX_MAPPING_ZERO;
	if (!layer->image.geo.has_parent)
		return;
	extent->absent = state == VHDX_BLOCK_NOT_PRESENT;
	if (state == VHDX_BLOCK_PARTIALLY_PRESENT)
		vhdx_bitmap_look(layer, offset, wanted, write, extent);
	else if (state == VHDX_BLOCK_NOT_PRESENT)
		extent->kind = VHDX_MAPPING_PARENT;
	if (write)
		extent->length = min(extent->length, to_end_of_span(layer, offset));
}

/* What its slot says of a block, from this offset to its end. Under rcu_read_lock(). */
static void look_at(struct vhdx_open_layer *layer, const struct vhdx_page *page,
		    unsigned int slot, u64 offset, u64 wanted, bool write,
		    struct vhdx_mapping *extent)
{
	u64 inside = offset & (layer->image.geo.block_size - 1);
	struct vhdx_bat_entry entry;

	extent->length = layer->image.geo.block_size - inside;
	extent->kind = VHDX_MAPPING_BAD;
	if (vhdx_page_is_bad(page, slot))
		return;
	entry = vhdx_bat_read(page, slot);
	/* Pairs with vhdx_page_set(): a new entry is not taken for a durable one. */
	smp_rmb();
	extent->durable = vhdx_page_is_durable(page);
	extent->offset = entry.offset + inside;
	extent->kind = VHDX_MAPPING_DATA;
	if (unlikely(!vhdx_bat_is_allocated(entry)))
		look_further(layer, entry.state, offset, wanted, write, extent);
}

/*
 * As look_at(), without an operation on the block. To a read it does not matter whether what is
 * not in this layer comes to be in it.
 */
static void look_from_outside(struct vhdx_open_layer *layer, const struct vhdx_page *page,
			      unsigned int slot, u64 offset, u64 wanted, bool write,
			      struct vhdx_mapping *extent)
{
	bool busy = vhdx_page_is_busy(page, slot);

	look_at(layer, page, slot, offset, wanted, write, extent);
	if (unlikely(busy) && (extent->kind == VHDX_MAPPING_DATA ||
			       (write && is_elsewhere(extent))))
		extent->kind = VHDX_MAPPING_BUSY;
}

/* Nowhere as well, or just behind it in the container. */
static bool goes_on(const struct vhdx_mapping *extent, const struct vhdx_mapping *next)
{
	return next->kind == extent->kind &&
	       (is_elsewhere(extent) || next->offset == extent->offset + extent->length);
}

/* Blocks that the same page names. */
static void add_neighbours(struct vhdx_open_layer *layer, const struct vhdx_page *page,
			   u64 offset, u64 wanted, bool write, struct vhdx_mapping *extent)
{
	struct vhdx_mapping next;
	u64 at, entry;

	while (extent->length < wanted) {
		at = offset + extent->length;
		entry = vhdx_bat_entry_of(layer, at);
		if (entry / VHDX_PAGE != page->index)
			break;
		look_from_outside(layer, page, vhdx_bat_slot_of(entry), at,
				  wanted - extent->length, write, &next);
		if (!goes_on(extent, &next))
			break;
		extent->length += next.length;
		extent->durable &= next.durable;
	}
}

/* A write allocates one block at a time. */
static bool may_be_several(const struct vhdx_mapping *extent, bool write)
{
	return extent->kind == VHDX_MAPPING_DATA || (!write && is_elsewhere(extent));
}

static void bat_lookup(struct vhdx_open_layer *layer, u64 offset, u64 wanted, bool write,
		       struct vhdx_mapping *extent)
{
	u64 entry = vhdx_bat_entry_of(layer, offset);
	const struct vhdx_page *page = vhdx_page_peek(&layer->pages, entry);

	if (likely(page)) {
		look_from_outside(layer, page, vhdx_bat_slot_of(entry), offset, wanted, write,
				  extent);
		if (unlikely(extent->length < wanted) && may_be_several(extent, write))
			add_neighbours(layer, page, offset, wanted, write, extent);
	} else {
		extent->kind = VHDX_MAPPING_UNKNOWN;
		extent->length = to_end_of_span(layer, offset);
	}
}

static void bat_unload(struct vhdx_open_layer *layer, struct vhdx_pin *pin)
{
	if (pin->bitmap)
		vhdx_page_put(&layer->pages, pin->bitmap);
	if (pin->bitmap_entry)
		vhdx_page_put(&layer->pages, pin->bitmap_entry);
	if (pin->entry)
		vhdx_page_put(&layer->pages, pin->entry);
	memset(pin, 0, sizeof(*pin));
}

/* @bitmap: the sector bitmap as well, in any case; @wait: for memory also while a page is held. */
static int load_all(struct vhdx_open_layer *layer, struct vhdx_container *container, u64 offset,
		    bool bitmap, bool wait, struct vhdx_pin *pin)
{
	u64 entry = vhdx_bat_entry_of(layer, offset);
	unsigned int slot = vhdx_bat_slot_of(entry);
	struct vhdx_page *page;
	int err = 0;

	memset(pin, 0, sizeof(*pin));
	page = vhdx_page_get(&layer->pages, &vhdx_bat_page, container, entry, true);
	if (IS_ERR(page))
		return PTR_ERR(page);
	pin->entry = page;
	if (vhdx_bat_read(page, slot).state == VHDX_BLOCK_PARTIALLY_PRESENT &&
	    !vhdx_page_is_bad(page, slot))
		bitmap = true;
	if (bitmap)
		err = vhdx_bitmap_load(layer, container, offset, wait, pin);
	if (err)
		bat_unload(layer, pin);
	return err;
}

static int load(struct vhdx_open_layer *layer, struct vhdx_container *container, u64 offset,
		bool bitmap, struct vhdx_pin *pin)
{
	int err = load_all(layer, container, offset, bitmap, false, pin);

	if (err != -EAGAIN)
		return err;
	mutex_lock(&layer->pages.together);
	err = load_all(layer, container, offset, bitmap, true, pin);
	mutex_unlock(&layer->pages.together);
	return err;
}

static int bat_load(struct vhdx_open_layer *layer, struct vhdx_container *container, u64 offset,
		    struct vhdx_pin *pin)
{
	return load(layer, container, offset, false, pin);
}

static int bat_hold(struct vhdx_open_layer *layer, u64 offset, u64 length, struct vhdx_pin *pin)
{
	bool bitmap = false, whole = true;
	int err = 0;

	if (layer->image.geo.has_parent)
		err = vhdx_bitmap_prepare(layer, offset, length, &bitmap, &whole);
	if (!err)
		err = load(layer, layer->writer.container, offset, bitmap, pin);
	if (err)
		return err;
	pin->whole = whole;
	vhdx_page_hold(&layer->pages, pin->entry,
		       vhdx_bat_slot_of(vhdx_bat_entry_of(layer, offset)));
	return 0;
}

static void bat_release(struct vhdx_open_layer *layer, u64 offset, struct vhdx_pin *pin)
{
	vhdx_page_release(&layer->pages, pin->entry,
			  vhdx_bat_slot_of(vhdx_bat_entry_of(layer, offset)));
	bat_unload(layer, pin);
}

static void bat_held(struct vhdx_open_layer *layer, u64 offset, u64 length, struct vhdx_pin *pin,
		     struct vhdx_mapping *extent)
{
	unsigned int slot = vhdx_bat_slot_of(vhdx_bat_entry_of(layer, offset));

	rcu_read_lock();
	look_at(layer, pin->entry, slot, offset, length, true, extent);
	rcu_read_unlock();
}

/* What the last block has behind the disk's end is nobody's sector, and is not left as it was. */
static int zero_behind_disk(struct vhdx_open_layer *layer, u64 offset, u64 where)
{
	const struct vhdx_geometry *geo = &layer->image.geo;
	struct vhdx_container *c = layer->writer.container;
	u64 used = geo->disk_size - round_down(offset, geo->block_size);

	if (used >= geo->block_size)
		return 0;
	return c->ops->zero(c, where + used, geo->block_size - used, false);
}

/* Of a block whose other sectors are its parent's nothing is read that was not written. */
static int make_block(struct vhdx_open_layer *layer, u64 offset, const struct vhdx_pin *pin,
		      struct vhdx_room *room)
{
	u32 block_size = layer->image.geo.block_size;
	int err = vhdx_allocator_take(layer, block_size, &room->where, &room->zeroed);

	if (err)
		return err;
	room->fresh = true;
	if (!pin->whole && !room->zeroed) {
		err = zero_behind_disk(layer, offset, room->where);
		room->zeroed = true;
	}
	if (err)
		vhdx_allocator_give_back(layer, room->where, block_size, err);
	return err;
}

static void bat_abandon(struct vhdx_open_layer *layer, const struct vhdx_room *room, int err)
{
	if (room->fresh)
		vhdx_allocator_give_back(layer, room->where, layer->image.geo.block_size, err);
}

/* Room first: the allocator looks whose container it is before anything of it is written. */
static int bat_place(struct vhdx_open_layer *layer, u64 offset, struct vhdx_pin *pin,
		     struct vhdx_room *room)
{
	struct vhdx_bat_entry entry = vhdx_bat_read(pin->entry,
						    vhdx_bat_slot_of(vhdx_bat_entry_of(layer,
										       offset)));
	int err = vhdx_writer_is_lost(layer) ? -EIO : 0;

	room->fresh = false;
	room->zeroed = true;
	room->where = entry.offset;
	if (!err && entry.state != VHDX_BLOCK_PARTIALLY_PRESENT)
		err = make_block(layer, offset, pin, room);
	if (err)
		return err;
	err = vhdx_page_reserve(&layer->pages, pin->entry);
	if (!err && !pin->whole)
		err = vhdx_page_reserve(&layer->pages, pin->bitmap);
	if (err)
		bat_abandon(layer, room, err);
	return err;
}

/*
 * Of a child, only blocks that are written as a whole: for the others sectors are to be found, and
 * may have to be made.
 */
static bool bat_take(struct vhdx_open_layer *layer, u64 offset, u64 length, struct vhdx_pin *pin,
		     struct vhdx_room *room)
{
	const struct vhdx_geometry *geo = &layer->image.geo;
	bool whole = length == geo->block_size;
	u64 entry = vhdx_bat_entry_of(layer, offset);
	struct vhdx_mapping extent;

	if ((geo->has_parent && !whole) || vhdx_writer_is_lost(layer))
		return false;
	memset(pin, 0, sizeof(*pin));
	pin->entry = vhdx_page_pin(&layer->pages, entry);
	if (!pin->entry)
		return false;
	pin->whole = true;
	vhdx_page_hold(&layer->pages, pin->entry, vhdx_bat_slot_of(entry));
	bat_held(layer, offset, length, pin, &extent);
	if (!is_elsewhere(&extent) || !vhdx_page_is_reserved(pin->entry) ||
	    vhdx_bat_read(pin->entry, vhdx_bat_slot_of(entry)).state ==
	    VHDX_BLOCK_PARTIALLY_PRESENT ||
	    !vhdx_allocator_take_now(layer, geo->block_size, !whole, &room->where,
				     &room->zeroed)) {
		bat_release(layer, offset, pin);
		return false;
	}
	room->fresh = true;
	return true;
}

/*
 * Rule V7: of a block that comes to be partially present all bits are clear, but those that are set
 * here; and no log entry has it before its bits.
 */
static void publish_sectors(struct vhdx_open_layer *layer, u64 offset, u64 length,
			    const struct vhdx_room *room, struct vhdx_pin *pin)
{
	const struct vhdx_geometry *geo = &layer->image.geo;
	u32 bit = vhdx_bitmap_bit(geo, offset);
	struct vhdx_bat_entry entry = {
		.state = VHDX_BLOCK_PARTIALLY_PRESENT,
		.offset = room->where,
	};

	vhdx_page_fill(&layer->pages, pin->bitmap, true, bit,
		       bit + (u32)(length >> ilog2(geo->logical_sector_size)));
	if (room->fresh)
		vhdx_page_set_last(&layer->pages, pin->entry,
				   vhdx_bat_slot_of(vhdx_bat_entry_of(layer, offset)),
				   vhdx_bat_encode(entry));
}

static void bat_publish(struct vhdx_open_layer *layer, u64 offset, u64 length,
			const struct vhdx_room *room, struct vhdx_pin *pin)
{
	struct vhdx_bat_entry entry = {
		.state = VHDX_BLOCK_FULLY_PRESENT,
		.offset = room->where,
	};

	if (pin->whole)
		vhdx_page_set(&layer->pages, pin->entry,
			      vhdx_bat_slot_of(vhdx_bat_entry_of(layer, offset)),
			      vhdx_bat_encode(entry));
	else
		publish_sectors(layer, offset, length, room, pin);
	vhdx_journal_kick(&layer->writer.journal);
}

static int bat_prepare(struct vhdx_open_layer *layer)
{
	int err = vhdx_journal_prepare(&layer->writer.journal);

	return err ?: vhdx_layer_reserve_header(layer);
}

static int bat_begin(struct vhdx_open_layer *layer, const vhdx_guid *data_write_guid)
{
	vhdx_guid file_write_guid;

	generate_random_guid(file_write_guid.b);
	return vhdx_layer_update_header(layer, layer->writer.session.file_write_guid_renewed ?
					       NULL : &file_write_guid, data_write_guid, NULL);
}

static void bat_flush(struct vhdx_open_layer *layer, struct vhdx_commit_waiter *waiter)
{
	vhdx_journal_wait(&layer->writer.journal, waiter);
}

static int bat_commit(struct vhdx_open_layer *layer)
{
	return vhdx_journal_commit(&layer->writer.journal);
}

static int bat_retire(struct vhdx_open_layer *layer, const vhdx_guid *data_write_guid)
{
	return vhdx_journal_retire(&layer->writer.journal, data_write_guid);
}

static int bat_close(struct vhdx_open_layer *layer, const vhdx_guid *data_write_guid)
{
	static const vhdx_guid empty;

	return vhdx_layer_update_header(layer, NULL, data_write_guid, &empty);
}

static void bat_stop(struct vhdx_open_layer *layer)
{
	vhdx_allocator_stop(&layer->writer.space);
	vhdx_journal_stop(&layer->writer.journal);
}

const struct vhdx_mapping_ops vhdx_mapping_bat = {
	.lookup		= bat_lookup,
	.load		= bat_load,
	.unload		= bat_unload,
	.survey		= vhdx_survey_bat,
	.hold		= bat_hold,
	.release	= bat_release,
	.held		= bat_held,
	.place		= bat_place,
	.take		= bat_take,
	.publish	= bat_publish,
	.abandon	= bat_abandon,
	.whole		= vhdx_unmap_whole,
	.hold_blocks	= vhdx_unmap_hold,
	.release_blocks	= vhdx_unmap_release,
	.unmap		= vhdx_unmap,
	.prepare	= bat_prepare,
	.begin		= bat_begin,
	.flush		= bat_flush,
	.commit		= bat_commit,
	.verify		= vhdx_layer_verify,
	.guid		= vhdx_layer_data_write_guid,
	.distrust	= vhdx_layer_distrust,
	.invalidate	= vhdx_layer_invalidate,
	.trust		= vhdx_layer_trust,
	.keep		= vhdx_layer_keep_header,
	.announce	= vhdx_layer_announce_headers,
	.step		= vhdx_layer_step_header,
	.retire		= bat_retire,
	.close		= bat_close,
	.trim		= vhdx_allocator_trim,
	.stop		= bat_stop,
};
