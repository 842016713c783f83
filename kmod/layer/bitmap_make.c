// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a sector bitmap must be before a write makes a block partially present, or sets more bits of
 * one that is. All of it is done within an operation on the block, whose state and bits are nobody
 * else's then; one page is held at a time.
 */
#include "bat.h"
#include "core/vhdx/ondisk.h"

/**
 * vhdx_bitmaps_init() - none was made
 * @bitmaps:	zeroed
 */
void vhdx_bitmaps_init(struct vhdx_bitmaps *bitmaps)
{
	mutex_init(&bitmaps->lock);
}

/* ---- made ----------------------------------------------------------------------------------- */

static void forget_durable(struct vhdx_open_layer *layer)
{
	struct vhdx_bitmaps *bitmaps = &layer->writer.bitmaps;
	u64 logged = READ_ONCE(layer->pages.marks.logged);
	unsigned int i, kept = 0;

	lockdep_assert_held(&bitmaps->lock);
	for (i = 0; i < bitmaps->count; i++) {
		if (bitmaps->young[i].made_in > logged)
			bitmaps->young[kept++] = bitmaps->young[i];
	}
	bitmaps->count = kept;
}

static bool is_young(const struct vhdx_bitmaps *bitmaps, u64 chunk)
{
	unsigned int i;

	for (i = 0; i < bitmaps->count; i++) {
		if (bitmaps->young[i].chunk == chunk)
			return true;
	}
	return false;
}

static int make(struct vhdx_open_layer *layer, struct vhdx_page *page, u64 entry_at)
{
	struct vhdx_container *c = layer->writer.container;
	struct vhdx_bat_entry entry = { .state = VHDX_BLOCK_FULLY_PRESENT };
	bool zeroed;
	int err = vhdx_page_reserve(&layer->pages, page);

	if (!err)
		err = vhdx_allocator_take(layer, VHDX_BITMAP_BLOCK_SIZE, &entry.offset, &zeroed);
	if (err)
		return err;
	/* A commit writes in place, and what a device was told to clear may have no space. */
	if (!zeroed || !c->ops->can_grow)
		err = c->ops->zero(c, entry.offset, VHDX_BITMAP_BLOCK_SIZE, true);
	if (err) {
		vhdx_allocator_give_back(layer, entry.offset, VHDX_BITMAP_BLOCK_SIZE, err);
		return err;
	}
	vhdx_page_set(&layer->pages, page, vhdx_bat_slot_of(entry_at), vhdx_bat_encode(entry));
	vhdx_journal_kick(&layer->writer.journal);
	return 0;
}

/*
 * The sector bitmap block of a chunk. An entry of the BAT that needs it may be in another page of
 * that than its own entry, and in a log entry before that one: so it is durable first (rule V7).
 */
static int get_block(struct vhdx_open_layer *layer, struct vhdx_page *page, u64 entry_at, u64 chunk,
		     u64 *where)
{
	struct vhdx_bitmaps *bitmaps = &layer->writer.bitmaps;
	struct vhdx_bat_entry entry = vhdx_bat_read(page, vhdx_bat_slot_of(entry_at));
	int err;

	lockdep_assert_held(&bitmaps->lock);
	forget_durable(layer);
	*where = entry.offset;
	if (vhdx_bat_is_allocated(entry))
		return is_young(bitmaps, chunk) ? -EAGAIN : 0;
	if (bitmaps->count == VHDX_BITMAPS_YOUNG)
		return -EAGAIN;
	err = make(layer, page, entry_at);
	if (err)
		return err;
	bitmaps->young[bitmaps->count].chunk = chunk;
	bitmaps->young[bitmaps->count++].made_in = READ_ONCE(page->changed_in);
	return -EAGAIN;
}

/* Finds it, or makes it. Returns 0; -EAGAIN: it is there after the next commit; or -errno. */
static int find_block(struct vhdx_open_layer *layer, u64 offset, u64 *where)
{
	struct vhdx_bitmaps *bitmaps = &layer->writer.bitmaps;
	u64 entry_at = vhdx_bat_bitmap_entry_of(layer, offset);
	const struct vhdx_geometry *geo = &layer->image.geo;
	struct vhdx_page *page;
	int err = -EIO;

	page = vhdx_page_get(&layer->pages, &vhdx_bat_page, layer->writer.container, entry_at,
			     true);
	if (IS_ERR(page))
		return PTR_ERR(page);
	mutex_lock(&bitmaps->lock);
	if (!vhdx_page_is_bad(page, vhdx_bat_slot_of(entry_at)))
		err = get_block(layer, page, entry_at,
				offset >> geo->block_shift >> ilog2(geo->chunk_ratio), where);
	mutex_unlock(&bitmaps->lock);
	vhdx_page_put(&layer->pages, page);
	return err;
}

/* ---- its bits ---------------------------------------------------------------------------- */

/* Bits of one page, from @first up to @end, of a block; the page is pinned. */
typedef int (*each_page_fn)(struct vhdx_open_layer *layer, struct vhdx_page *page, u32 first,
			    u32 end);

/* Calls @fn for bytes @from up to @to of the disk, all of one block, until it returns not 0. */
static int each_page(struct vhdx_open_layer *layer, u64 where, u64 from, u64 to, each_page_fn fn)
{
	const struct vhdx_geometry *geo = &layer->image.geo;
	struct vhdx_page *page;
	u64 end;
	u32 bit;
	int ret = 0;

	for (; from < to && !ret; from = end) {
		end = min(to, round_down(from, layer->span) + layer->span);
		page = vhdx_page_get(&layer->pages, &vhdx_bitmap_kind, layer->writer.container,
				     where + vhdx_bitmap_page(geo, from), true);
		if (IS_ERR(page))
			return PTR_ERR(page);
		bit = vhdx_bitmap_bit(geo, from);
		ret = fn(layer, page, bit,
			 bit + (u32)((end - from) >> ilog2(geo->logical_sector_size)));
		vhdx_page_put(&layer->pages, page);
	}
	return ret;
}

/* What a crash, or another program, left of a block that is not there (rule V7). */
static int clear(struct vhdx_open_layer *layer, struct vhdx_page *page, u32 first, u32 end)
{
	int err;

	if (vhdx_bitmap_find(page->entries, true, first, end) == end)
		return 0;
	err = vhdx_page_reserve(&layer->pages, page);
	if (err)
		return err;
	vhdx_page_fill(&layer->pages, page, false, first, end);
	/* The write that it is done for may fail, and then nobody else asks for a commit. */
	vhdx_journal_kick(&layer->writer.journal);
	return 0;
}

static int has_gap(struct vhdx_open_layer *layer, struct vhdx_page *page, u32 first, u32 end)
{
	return vhdx_bitmap_find(page->entries, false, first, end) < end;
}

/* ---- before a write --------------------------------------------------------------------- */

static int read_entry(struct vhdx_open_layer *layer, u64 offset, struct vhdx_bat_entry *entry)
{
	u64 entry_at = vhdx_bat_entry_of(layer, offset);
	unsigned int slot = vhdx_bat_slot_of(entry_at);
	struct vhdx_page *page;
	int err = 0;

	page = vhdx_page_get(&layer->pages, &vhdx_bat_page, layer->writer.container, entry_at,
			     true);
	if (IS_ERR(page))
		return PTR_ERR(page);
	*entry = vhdx_bat_read(page, slot);
	if (vhdx_page_is_bad(page, slot))
		err = -EIO;
	vhdx_page_put(&layer->pages, page);
	return err;
}

/**
 * vhdx_bitmap_prepare() - get the bitmap of a block ready for a write
 * @layer:	open for writing, with a parent
 * @offset:	of the disk, where the write begins
 * @length:	in bytes, within layer->span
 * @needed:	receives whether bits will be set
 * @whole:	receives whether no sector of the block is the parent's after it
 *
 * Within an operation on the block. Sleeps. Returns 0; -EAGAIN: after the next commit; -EIO: the
 * block is damaged, or the container is lost; what vhdx_allocator_take() says; or -errno.
 */
int vhdx_bitmap_prepare(struct vhdx_open_layer *layer, u64 offset, u64 length, bool *needed,
			bool *whole)
{
	const struct vhdx_geometry *geo = &layer->image.geo;
	u64 begin = round_down(offset, geo->block_size);
	u64 end = begin + geo->block_size;
	u64 used = min(end, geo->disk_size);
	struct vhdx_bat_entry entry;
	u64 where;
	int ret = vhdx_writer_is_lost(layer) ? -EIO : read_entry(layer, offset, &entry);

	if (ret)
		return ret;
	*whole = true;
	*needed = entry.state == VHDX_BLOCK_PARTIALLY_PRESENT ||
		  (entry.state == VHDX_BLOCK_NOT_PRESENT &&
		   (offset > begin || offset + length < used));
	if (!*needed)
		return 0;
	ret = vhdx_allocator_ready(layer);
	if (!ret)
		ret = find_block(layer, offset, &where);
	if (ret)
		return ret;
	if (entry.state == VHDX_BLOCK_NOT_PRESENT) {
		*whole = false;
		return each_page(layer, where, begin, end, clear);
	}
	ret = each_page(layer, where, begin, offset, has_gap);
	if (!ret)
		ret = each_page(layer, where, offset + length, used, has_gap);
	*whole = !ret;
	return min(ret, 0);
}
