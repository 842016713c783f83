// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mapping through the Block Allocation Table.
 */
#include "bat.h"
#include "layer.h"

#include <linux/uuid.h>

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

/* What its page says of a block, from this offset to its end. */
static void look_at(const struct vhdx_open_layer *layer, const struct vhdx_page *page,
		    u64 offset, struct vhdx_mapping *extent)
{
	unsigned int slot = slot_of(entry_offset(layer, offset));
	u64 inside = offset & (layer->image.geo.block_size - 1);
	struct vhdx_bat_entry entry;

	extent->length = layer->image.geo.block_size - inside;
	extent->kind = VHDX_MAPPING_BAD;
	if (vhdx_page_is_bad(page, slot))
		return;
	entry = vhdx_bat_decode(le64_to_cpu(READ_ONCE(page->entries[slot])));
	/* Pairs with vhdx_page_set(): a new entry is not taken for a durable one. */
	smp_rmb();
	extent->durable = vhdx_page_is_durable(page);
	extent->offset = entry.offset + inside;
	/* NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED: an offset in such an entry means nothing, and
	 * what is there may be another block's.
	 */
	extent->kind = vhdx_bat_is_allocated(entry) ? VHDX_MAPPING_DATA : VHDX_MAPPING_ZERO;
}

/* As look_at(), for who does not hold the block. */
static void look_from_outside(const struct vhdx_open_layer *layer,
			      const struct vhdx_page *page, u64 offset,
			      struct vhdx_mapping *extent)
{
	bool busy = vhdx_page_is_busy(page, slot_of(entry_offset(layer, offset)));

	look_at(layer, page, offset, extent);
	if (unlikely(busy) && extent->kind != VHDX_MAPPING_BAD) {
		extent->zero = extent->kind == VHDX_MAPPING_ZERO;
		extent->kind = VHDX_MAPPING_BUSY;
	}
}

/* Blocks that the same page names, and that lie side by side in the container. */
static void add_neighbours(const struct vhdx_open_layer *layer, const struct vhdx_page *page,
			   u64 offset, u64 wanted, struct vhdx_mapping *extent)
{
	struct vhdx_mapping next;
	u64 at;

	while (extent->length < wanted) {
		at = offset + extent->length;
		if (entry_offset(layer, at) / VHDX_PAGE != page->index)
			break;
		look_from_outside(layer, page, at, &next);
		if (next.kind != VHDX_MAPPING_DATA ||
		    next.offset != extent->offset + extent->length)
			break;
		extent->length += next.length;
		extent->durable &= next.durable;
	}
}

static void bat_lookup(struct vhdx_open_layer *layer, u64 offset, u64 wanted,
		       struct vhdx_mapping *extent)
{
	u32 block_size = layer->image.geo.block_size;
	const struct vhdx_page *page;

	rcu_read_lock();
	page = vhdx_page_peek(&layer->pages, entry_offset(layer, offset));
	if (page) {
		look_from_outside(layer, page, offset, extent);
		if (unlikely(extent->length < wanted) && extent->kind == VHDX_MAPPING_DATA)
			add_neighbours(layer, page, offset, wanted, extent);
	} else {
		extent->kind = VHDX_MAPPING_UNKNOWN;
		extent->length = block_size - (offset & (block_size - 1));
	}
	rcu_read_unlock();
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

static void bat_held(struct vhdx_open_layer *layer, u64 offset, void *handle,
		     struct vhdx_mapping *extent)
{
	look_at(layer, handle, offset, extent);
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

static int bat_prepare(struct vhdx_open_layer *layer)
{
	return vhdx_journal_prepare(&layer->writer.journal);
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
	.prepare	= bat_prepare,
	.begin		= bat_begin,
	.flush		= bat_flush,
};
