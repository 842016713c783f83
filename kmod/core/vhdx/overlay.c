// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "private.h"
#include "overlay.h"

/*
 * A logged sector. Its data sector in the log is the page, without the bytes that its
 * descriptor has: these are in leading and trailing.
 */
struct vhdx_overlay_page {
	u64 offset;
	u64 log_offset;
	u32 order;			/* later effects have a greater one */
	u8 leading[VHDX_LOG_LEADING];
	u8 trailing[VHDX_LOG_TRAILING];
};

struct vhdx_overlay_zero {
	u64 offset;
	u64 length;
	u32 order;
};

#define FEW_PAGES	256U

/**
 * struct gathering - while the log is walked
 * @overlay:	is filled
 * @page_capacity: there is room for so many pages
 * @pages_max:	there are no more of them
 * @order:	of the next effect
 * @diag:	what is wrong
 */
struct gathering {
	struct vhdx_overlay *overlay;
	unsigned int page_capacity;
	unsigned int pages_max;
	u32 order;
	struct vhdx_diag *diag;
};

static int too_many(const struct gathering *gathering, const char *what, unsigned int most)
{
	return vhdx_unsupported(gathering->diag, "the log has more than %u %s, too many to replay in memory: attach read-write to replay it on disk",
				most, what);
}

/* A header may claim a log of any length, and a chain has many: room is for what is in it. */
static int make_room(struct gathering *gathering)
{
	struct vhdx_overlay *overlay = gathering->overlay;
	struct vhdx_overlay_page *pages;
	unsigned int capacity;

	if (overlay->page_count < gathering->page_capacity)
		return 0;
	if (gathering->page_capacity == gathering->pages_max)
		return too_many(gathering, "data descriptors", gathering->pages_max);
	capacity = min(max(2 * gathering->page_capacity, FEW_PAGES), gathering->pages_max);
	pages = vhdx_alloc(capacity * sizeof(*pages));
	if (!pages)
		return vhdx_no_memory(gathering->diag);
	if (overlay->page_count)
		memcpy(pages, overlay->pages, overlay->page_count * sizeof(*pages));
	vhdx_free(overlay->pages);
	overlay->pages = pages;
	gathering->page_capacity = capacity;
	return 0;
}

static int gather(void *context, u64 offset, const void *sector, u64 length, u64 log_offset)
{
	struct gathering *gathering = context;
	struct vhdx_overlay *overlay = gathering->overlay;
	struct vhdx_overlay_page *page;
	struct vhdx_overlay_zero *zero;
	int err;

	if (!sector) {
		if (overlay->zero_count == VHDX_OVERLAY_ZEROES_MAX)
			return too_many(gathering, "zero descriptors", VHDX_OVERLAY_ZEROES_MAX);
		zero = &overlay->zeroes[overlay->zero_count++];
		zero->offset = offset;
		zero->length = length;
		zero->order = gathering->order++;
		return 0;
	}
	err = make_room(gathering);
	if (err)
		return err;
	page = &overlay->pages[overlay->page_count++];
	page->offset = offset;
	page->log_offset = log_offset;
	page->order = gathering->order++;
	memcpy(page->leading, sector, VHDX_LOG_LEADING);
	memcpy(page->trailing, (const u8 *)sector + VHDX_PAGE - VHDX_LOG_TRAILING,
	       VHDX_LOG_TRAILING);
	return 0;
}

/* By offset, the newest of one offset first. */
static int compare_pages(const void *a, const void *b)
{
	const struct vhdx_overlay_page *one = a;
	const struct vhdx_overlay_page *other = b;

	if (one->offset != other->offset)
		return one->offset < other->offset ? -1 : 1;
	if (one->order != other->order)
		return one->order > other->order ? -1 : 1;
	return 0;
}

static bool is_zeroed_later(const struct vhdx_overlay *overlay,
			    const struct vhdx_overlay_page *page)
{
	unsigned int i;

	for (i = 0; i < overlay->zero_count; i++) {
		const struct vhdx_overlay_zero *zero = &overlay->zeroes[i];

		if (zero->order > page->order && page->offset >= zero->offset &&
		    page->offset - zero->offset < zero->length)
			return true;
	}
	return false;
}

/*
 * Keep what the last effect on each page says: then pages go before zeroes, and
 * their order need not be known any more.
 */
static int settle(struct vhdx_overlay *overlay)
{
	struct vhdx_overlay_page *pages = overlay->pages;
	unsigned int kept = 0;
	u64 last = ~0ULL;
	unsigned int i;

	sort(pages, overlay->page_count, sizeof(*pages), compare_pages, NULL);
	for (i = 0; i < overlay->page_count; i++) {
		if (i % 1024 == 0) {
			vhdx_breathe();
			if (vhdx_interrupted())
				return -EINTR;
		}
		if (pages[i].offset == last)
			continue;
		last = pages[i].offset;
		overlay->store.size = max(overlay->store.size, last + VHDX_PAGE);
		if (!is_zeroed_later(overlay, &pages[i]))
			pages[kept++] = pages[i];
	}
	overlay->page_count = kept;
	return 0;
}

/* The first page that ends behind @offset, or page_count. */
static unsigned int first_page(const struct vhdx_overlay *overlay, u64 offset)
{
	unsigned int low = 0;
	unsigned int high = overlay->page_count;

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;

		if (overlay->pages[middle].offset + VHDX_PAGE <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* What a piece of the overlay and a request have in common; offsets in the container. */
struct overlap {
	u64 start;
	u64 end;
};

static bool overlap_of(struct overlap *overlap, u64 offset, u64 length, u64 other, u64 other_length)
{
	overlap->start = max(offset, other);
	overlap->end = min(offset + length, other + other_length);
	return overlap->start < overlap->end;
}

static int read_page(const struct vhdx_overlay *overlay, const struct vhdx_overlay_page *page,
		     u8 *buf)
{
	int err = overlay->below->read(overlay->below, page->log_offset, buf, VHDX_PAGE);

	if (err)
		return err;
	memcpy(buf, page->leading, VHDX_LOG_LEADING);
	memcpy(buf + VHDX_PAGE - VHDX_LOG_TRAILING, page->trailing, VHDX_LOG_TRAILING);
	return 0;
}

static int read_pages(const struct vhdx_overlay *overlay, u64 offset, u8 *buf, size_t length)
{
	unsigned int i = first_page(overlay, offset);
	struct overlap overlap;
	u8 *sector = NULL;
	int err = 0;

	for (; i < overlay->page_count && !err; i++) {
		const struct vhdx_overlay_page *page = &overlay->pages[i];

		if (!overlap_of(&overlap, offset, length, page->offset, VHDX_PAGE))
			break;
		if (!sector)
			sector = vhdx_alloc(VHDX_PAGE);
		err = sector ? read_page(overlay, page, sector) : -ENOMEM;
		if (!err)
			memcpy(buf + (overlap.start - offset),
			       sector + (overlap.start - page->offset),
			       overlap.end - overlap.start);
	}
	vhdx_free(sector);
	return err;
}

static int overlay_read(struct vhdx_store *store, u64 offset, void *buf, size_t length)
{
	struct vhdx_overlay *overlay = container_of(store, struct vhdx_overlay, store);
	struct overlap overlap;
	unsigned int i;
	int err;

	err = overlay->below->read(overlay->below, offset, buf, length);
	if (err)
		return err;
	for (i = 0; i < overlay->zero_count; i++) {
		const struct vhdx_overlay_zero *zero = &overlay->zeroes[i];

		if (overlap_of(&overlap, offset, length, zero->offset, zero->length))
			memset((u8 *)buf + (overlap.start - offset), 0,
			       overlap.end - overlap.start);
	}
	return read_pages(overlay, offset, buf, length);
}

int vhdx_overlay_init(struct vhdx_overlay *overlay, struct vhdx_store *below,
		      const struct vhdx_image *image, struct vhdx_diag *diag)
{
	struct gathering gathering = { .overlay = overlay, .diag = diag };
	int err;

	memset(overlay, 0, sizeof(*overlay));
	overlay->below = below;
	overlay->store.read = overlay_read;
	overlay->store.size = below->size;
	if (!image->log.dirty)
		return 0;
	overlay->store.size = max(below->size, image->log.last_file_offset);

	/* Each data descriptor has its sector in the log: that many at most. */
	gathering.pages_max = min_t(u64, image->header.log_length / VHDX_PAGE,
				    VHDX_OVERLAY_PAGES_MAX);
	overlay->zeroes = vhdx_alloc(VHDX_OVERLAY_ZEROES_MAX * sizeof(*overlay->zeroes));
	if (!overlay->zeroes)
		err = vhdx_no_memory(diag);
	else
		err = vhdx_log_walk(below, &image->header, &image->log, gather, &gathering, diag);
	if (!err)
		err = settle(overlay);
	if (err)
		vhdx_overlay_release(overlay);
	return err;
}

void vhdx_overlay_release(struct vhdx_overlay *overlay)
{
	vhdx_free(overlay->pages);
	vhdx_free(overlay->zeroes);
	overlay->pages = NULL;
	overlay->zeroes = NULL;
	overlay->page_count = 0;
	overlay->zero_count = 0;
}

void vhdx_overlay_through(struct vhdx_overlay *view, const struct vhdx_overlay *overlay,
			  struct vhdx_store *below)
{
	*view = *overlay;
	view->below = below;
}

bool vhdx_overlay_touches(const struct vhdx_overlay *overlay, u64 offset, u64 length)
{
	unsigned int i = first_page(overlay, offset);
	struct overlap overlap;

	if (i < overlay->page_count &&
	    overlap_of(&overlap, offset, length, overlay->pages[i].offset, VHDX_PAGE))
		return true;
	for (i = 0; i < overlay->zero_count; i++)
		if (overlap_of(&overlap, offset, length, overlay->zeroes[i].offset,
			       overlay->zeroes[i].length))
			return true;
	return false;
}
