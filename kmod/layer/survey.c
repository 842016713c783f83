// SPDX-License-Identifier: GPL-2.0-only
#include "survey.h"
#include "bat.h"

#include <linux/slab.h>

/* For less than so many pages the cache is as good. */
#define WORTH_IT	2

/**
 * vhdx_survey_release() - nothing is asked any more
 * @survey:	in use, or all zero
 */
void vhdx_survey_release(struct vhdx_survey *survey)
{
	kvfree(survey->entries);
	survey->entries = NULL;
	survey->pages = 0;
}

/* ---- read ---------------------------------------------------------------------------------- */

/* Pages that are not in memory: what is in the container is what they are. */
static u64 find_current(struct vhdx_open_layer *layer, u64 offset, u32 pages)
{
	u64 current_pages = 0;
	u32 i;

	rcu_read_lock();
	for (i = 0; i < pages; i++) {
		if (!vhdx_page_peek(&layer->pages, offset + i * VHDX_PAGE))
			current_pages |= 1ULL << i;
	}
	rcu_read_unlock();
	return current_pages;
}

static bool is_cached(struct vhdx_open_layer *layer, u64 offset)
{
	bool cached;

	rcu_read_lock();
	cached = vhdx_page_peek(&layer->pages, offset);
	rcu_read_unlock();
	return cached;
}

/* Pages from this offset on, as far as these blocks go. */
static u32 pages_wanted(const struct vhdx_open_layer *layer, const struct vhdx_survey *survey,
			u64 offset, u64 wanted)
{
	u64 first = round_down(vhdx_bat_entry_of(layer, offset), VHDX_PAGE);
	u64 last = vhdx_bat_entry_of(layer, offset + wanted - 1);

	return min_t(u64, (last - first) / VHDX_PAGE + 1, survey->most);
}

/*
 * Nothing is locked: pages that come to be in the cache meanwhile are changed, at the earliest, by
 * a write that was not acknowledged when this began.
 */
static int read(struct vhdx_open_layer *layer, struct vhdx_container *container,
		struct vhdx_survey *survey, u64 offset, u32 pages)
{
	int err;

	if (!survey->entries)
		survey->entries = kvmalloc_array(survey->most, VHDX_PAGE, GFP_KERNEL);
	if (!survey->entries)
		return -ENOMEM;
	survey->pages = 0;
	survey->current_pages = find_current(layer, offset, pages);
	/* The cache is looked at first, and then the container. */
	smp_mb();
	err = vhdx_layer_read_metadata(layer, container, offset, survey->entries,
				       (size_t)pages * VHDX_PAGE);
	if (err)
		return err;
	survey->offset = offset;
	survey->pages = pages;
	return 0;
}

/* ---- looked at ----------------------------------------------------------------------------- */

/* Of an entry, by its offset in the container: it counts. */
static bool has(const struct vhdx_survey *survey, u64 entry)
{
	u64 page = (entry - survey->offset) / VHDX_PAGE;

	return entry >= survey->offset && page < survey->pages &&
	       survey->current_pages >> page & 1;
}

static u64 raw_at(const struct vhdx_survey *survey, u64 entry)
{
	return le64_to_cpu(survey->entries[(entry - survey->offset) / sizeof(__le64)]);
}

/* As a look-up has it. Of a block that is partially present its bitmap must be asked. */
static enum vhdx_mapping_kind kind_of(const struct vhdx_open_layer *layer,
				      const struct vhdx_container *container, u64 index, u64 raw)
{
	bool has_parent = layer->image.geo.has_parent;

	if (raw && !vhdx_bat_is_sound(layer, container, index, raw))
		return VHDX_MAPPING_BAD;
	switch (vhdx_bat_decode(raw).state) {
	case VHDX_BLOCK_FULLY_PRESENT:
		return VHDX_MAPPING_DATA;
	case VHDX_BLOCK_PARTIALLY_PRESENT:
		return VHDX_MAPPING_UNKNOWN;
	case VHDX_BLOCK_NOT_PRESENT:
		return has_parent ? VHDX_MAPPING_PARENT : VHDX_MAPPING_ZERO;
	default:
		return VHDX_MAPPING_ZERO;
	}
}

/* Blocks from this one on, before @end, whose entries are zero, in the same chunk and page. */
static u64 zeroes_from(const struct vhdx_geometry *geo, const struct vhdx_survey *survey,
		       u64 block, u64 end)
{
	u64 entry = vhdx_bat_entry_offset(geo, vhdx_bat_index(geo, block));
	u64 in_page = (VHDX_PAGE - entry % VHDX_PAGE) / sizeof(__le64);
	u64 in_chunk = geo->chunk_ratio - (block & (geo->chunk_ratio - 1));
	u64 count = min3(end - block, in_page, in_chunk);
	const void *from = &survey->entries[(entry - survey->offset) / sizeof(__le64)];
	const void *other = memchr_inv(from, 0, count * sizeof(__le64));

	return other ? (other - from) / sizeof(__le64) : count;
}

/* Behind the blocks from @block on, before @end, of which the same is true as of the first one. */
static u64 run_from(const struct vhdx_open_layer *layer, const struct vhdx_container *container,
		    const struct vhdx_survey *survey, u64 block, u64 end,
		    enum vhdx_mapping_kind *kind)
{
	const struct vhdx_geometry *geo = &layer->image.geo;
	const u64 first = block;
	enum vhdx_mapping_kind next;
	u64 index, entry;

	while (block < end) {
		index = vhdx_bat_index(geo, block);
		entry = vhdx_bat_entry_offset(geo, index);
		if (!has(survey, entry))
			break;
		next = kind_of(layer, container, index, raw_at(survey, entry));
		if (block == first)
			*kind = next;
		if (next != *kind || next == VHDX_MAPPING_UNKNOWN)
			break;
		block += max(zeroes_from(geo, survey, block, end), 1ULL);
	}
	return block;
}

/**
 * vhdx_survey_bat() - &vhdx_mapping_ops.survey of a BAT
 * @layer:	whose
 * @container:	the caller's own descriptor
 * @survey:	what was read before; the call's
 * @offset:	of the disk
 * @wanted:	bytes that are asked for
 * @extent:	see there
 *
 * Sleeps.
 */
void vhdx_survey_bat(struct vhdx_open_layer *layer, struct vhdx_container *container,
		     struct vhdx_survey *survey, u64 offset, u64 wanted,
		     struct vhdx_mapping *extent)
{
	const struct vhdx_geometry *geo = &layer->image.geo;
	u64 block = offset >> geo->block_shift;
	u64 end = ((offset + wanted - 1) >> geo->block_shift) + 1;
	u64 entry = vhdx_bat_entry_of(layer, offset);
	u32 pages = pages_wanted(layer, survey, offset, wanted);

	extent->kind = VHDX_MAPPING_UNKNOWN;
	if (!has(survey, entry)) {
		/* Of a page in the cache nothing is read here: what is missing is a bitmap's. */
		if (pages < WORTH_IT || is_cached(layer, entry))
			return;
		if (read(layer, container, survey, round_down(entry, VHDX_PAGE), pages)) {
			/* Page by page it may work, or be told which one does not. */
			survey->most = 0;
			return;
		}
	}
	end = run_from(layer, container, survey, block, end, &extent->kind);
	extent->length = (end << geo->block_shift) - offset;
}
