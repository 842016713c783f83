// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "core/vhdx/bitmap.h"
#include "core/vhdx/private.h"
#include "content.h"

/* What a layer says of a range. */
enum found {
	FOUND_HERE,
	FOUND_ZERO,
	FOUND_BELOW,	/* its parent has it */
};

int vhdx_content_init(struct vhdx_content *content, u32 most, struct vhdx_diag *diag)
{
	content->count = 0;
	content->layers = vhdx_alloc(most * sizeof(*content->layers));
	return content->layers ? 0 : vhdx_no_memory(diag);
}

void vhdx_content_add(struct vhdx_content *content, const struct vhdx_image *image,
		      struct vhdx_store *store)
{
	struct vhdx_content_layer *layer = &content->layers[content->count++];

	layer->image = image;
	layer->store = store;
}

void vhdx_content_release(struct vhdx_content *content)
{
	u32 i;

	for (i = 0; i < content->count; i++) {
		vhdx_free(content->layers[i].bat.bytes);
		vhdx_free(content->layers[i].bitmap.bytes);
	}
	vhdx_free(content->layers);
	memset(content, 0, sizeof(*content));
}

/* What is asked for is asked for in the disk's order: the newest page has it, mostly. */
static int load_page(struct vhdx_content_page *page, struct vhdx_store *store, u64 offset,
		     const char *what, struct vhdx_diag *diag)
{
	void *bytes = page->bytes;
	int err;

	if (bytes && page->offset == offset)
		return 0;
	if (!bytes)
		bytes = vhdx_alloc(VHDX_PAGE);
	if (!bytes)
		return vhdx_no_memory(diag);
	page->bytes = bytes;
	err = vhdx_read(store, offset, bytes, VHDX_PAGE, what, diag);
	/* After a failure there is nothing in it that may be taken for anything. */
	page->offset = err ? ~0ULL : offset;
	return err;
}

static int load_entry(struct vhdx_content_layer *layer, u64 index, struct vhdx_bat_entry *entry,
		      struct vhdx_diag *diag)
{
	u64 offset = vhdx_bat_entry_offset(&layer->image->geo, index);
	u32 within = offset % VHDX_PAGE;
	const __le64 *entries;
	u64 raw;
	int err;

	err = load_page(&layer->bat, layer->store, offset - within, "BAT", diag);
	if (err)
		return err;
	entries = layer->bat.bytes;
	raw = le64_to_cpu(entries[within / VHDX_BAT_ENTRY_SIZE]);
	*entry = vhdx_bat_decode(raw);
	return vhdx_bat_check(layer->image, index, raw, layer->store->size, diag);
}

static void shorten(struct vhdx_piece *piece, u64 length)
{
	piece->length = min(piece->length, length);
}

/* Of a block that is partially present: sectors that are here, or that are in the parent. */
static int look_into_bitmap(struct vhdx_content_layer *layer, u64 offset, struct vhdx_piece *piece,
			    struct vhdx_diag *diag)
{
	const struct vhdx_geometry *geo = &layer->image->geo;
	u64 index = vhdx_bitmap_index(geo, offset >> geo->block_shift);
	u32 bit = vhdx_bitmap_bit(geo, offset);
	struct vhdx_bat_entry bitmap;
	u64 sectors;
	bool here;
	u32 end;
	int err;

	err = load_entry(layer, index, &bitmap, diag);
	if (err)
		return err;
	if (bitmap.state != VHDX_BLOCK_FULLY_PRESENT)
		return vhdx_damaged(diag, "BAT entry %llu at 0x%llx: no sector bitmap, which the partially present block %llu needs",
				    index, vhdx_bat_entry_offset(geo, index),
				    offset >> geo->block_shift);
	err = load_page(&layer->bitmap, layer->store,
			bitmap.offset + vhdx_bitmap_page(geo, offset), "sector bitmap", diag);
	if (err)
		return err;
	sectors = piece->length / geo->logical_sector_size;
	end = min_t(u64, bit + sectors, VHDX_BITMAP_PAGE_BITS);
	here = vhdx_bitmap_test(layer->bitmap.bytes, bit);
	end = vhdx_bitmap_find(layer->bitmap.bytes, !here, bit, end);
	shorten(piece, (u64)(end - bit) * geo->logical_sector_size);
	return here ? FOUND_HERE : FOUND_BELOW;
}

/* FOUND_*, and @piece is shortened to what that holds for; or -errno. */
static int look(struct vhdx_content_layer *layer, u64 offset, struct vhdx_piece *piece,
		struct vhdx_diag *diag)
{
	const struct vhdx_geometry *geo = &layer->image->geo;
	u64 block = offset >> geo->block_shift;
	u64 within = offset - (block << geo->block_shift);
	struct vhdx_bat_entry entry;
	int err;

	/* A parent may be shorter than its child. */
	if (offset >= geo->disk_size)
		return FOUND_ZERO;
	shorten(piece, geo->disk_size - offset);
	shorten(piece, geo->block_size - within);
	err = load_entry(layer, vhdx_bat_index(geo, block), &entry, diag);
	if (err)
		return err;
	piece->at = entry.offset + within;
	switch (entry.state) {
	case VHDX_BLOCK_FULLY_PRESENT:
		return FOUND_HERE;
	case VHDX_BLOCK_PARTIALLY_PRESENT:
		return look_into_bitmap(layer, offset, piece, diag);
	case VHDX_BLOCK_NOT_PRESENT:
		return geo->has_parent ? FOUND_BELOW : FOUND_ZERO;
	default:
		return FOUND_ZERO;
	}
}

int vhdx_content_find(struct vhdx_content *content, u64 offset, struct vhdx_piece *piece,
		      struct vhdx_diag *diag)
{
	int found = FOUND_BELOW;
	u32 i;

	piece->length = content->layers[0].image->geo.disk_size - offset;
	for (i = 0; i < content->count && found == FOUND_BELOW; i++) {
		piece->layer = i;
		found = look(&content->layers[i], offset, piece, diag);
	}
	if (found < 0)
		return found;
	if (found == FOUND_BELOW)
		return vhdx_bad_argument(diag, "its parent is not known");
	if (found == FOUND_ZERO)
		piece->layer = VHDX_NO_LAYER;
	return 0;
}

/* Not its parent's: 1; or 0; -errno. Shortens @piece. */
static int has(struct vhdx_content_layer *layer, u64 offset, struct vhdx_piece *piece,
	       struct vhdx_diag *diag)
{
	struct vhdx_diag wrong = { };
	int found = look(layer, offset, piece, &wrong);

	if (found >= 0)
		return found != FOUND_BELOW;
	if (found == -EUCLEAN)
		return 1;
	*diag = wrong;
	return found;
}

/* The next block is asked about only if its entry is in the page that was read last. */
static bool is_at_hand(const struct vhdx_content_layer *layer, u64 offset)
{
	const struct vhdx_geometry *geo = &layer->image->geo;
	u64 index = vhdx_bat_index(geo, offset >> geo->block_shift);

	return !(offset & (geo->block_size - 1)) &&
	       vhdx_bat_entry_offset(geo, index) / VHDX_PAGE * VHDX_PAGE == layer->bat.offset;
}

int vhdx_content_has(struct vhdx_content *content, u32 layer, u64 offset, u64 *to,
		     struct vhdx_diag *diag)
{
	struct vhdx_content_layer *asked = &content->layers[layer];
	struct vhdx_piece piece = { .length = *to - offset };
	const u64 end = *to;
	int here = has(asked, offset, &piece, diag);
	int next = here;

	if (here < 0)
		return here;
	*to = offset + piece.length;
	while (*to < end && is_at_hand(asked, *to)) {
		piece.length = end - *to;
		next = has(asked, *to, &piece, diag);
		if (next != here)
			break;
		*to += piece.length;
	}
	return next < 0 ? next : here;
}
