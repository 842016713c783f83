// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damage to what only a child has: the parent locator, sector bitmaps, and blocks that are there
 * in part.
 */
#include <string.h>

#include "core/platform.h"
#include "core/vhdx/bat.h"
#include "core/vhdx/ondisk.h"
#include "victim.h"

/* Where the value of a metadata item is; zero: there is no such item. */
static uint64_t find_item(const struct victim *v, const vhdx_guid *id, uint64_t *length)
{
	uint64_t at = v->metadata + 32;
	unsigned int i;

	for (i = 0; i < victim_get(v, v->metadata + 10, 2); i++, at += 32) {
		if (!victim_has(v, at, 32) || memcmp(v->bytes + at, id, sizeof(*id)))
			continue;
		*length = victim_get(v, at + 20, 4);
		return v->metadata + victim_get(v, at + 16, 4);
	}
	return 0;
}

/**
 * survey_child() - find out what a good container has as a child
 * @v:	surveyed otherwise; of no child, nothing is found
 */
void survey_child(struct victim *v)
{
	const vhdx_guid locator = VHDX_ITEM_PARENT_LOCATOR;
	const vhdx_guid parameters = VHDX_ITEM_FILE_PARAMETERS;
	const vhdx_guid sector = VHDX_ITEM_LOGICAL_SECTOR_SIZE;
	uint64_t block_size, ratio, at, length;

	v->locator = find_item(v, &locator, &v->locator_length);
	if (!v->locator)
		return;
	block_size = victim_get(v, find_item(v, &parameters, &length), 4);
	ratio = (victim_get(v, find_item(v, &sector, &length), 4) << 23) / block_size;
	for (at = v->bat + ratio * VHDX_BAT_ENTRY_SIZE;
	     at < v->bat + v->bat_length && v->bitmap_count < VICTIM_BITMAPS;
	     at += (ratio + 1) * VHDX_BAT_ENTRY_SIZE)
		if (victim_get(v, at, 8))
			v->bitmaps[v->bitmap_count++] = at;
}

static void damage_locator(struct victim *v)
{
	static const struct field table[] = { { 0, 8 }, { 8, 8 }, { 16, 2 }, { 18, 2 }, { 18, 2 } };
	static const struct field pair[] = { { 0, 4 }, { 4, 4 }, { 8, 2 }, { 10, 2 } };
	uint64_t at = v->locator + 20 + 12 * random_below(3);

	switch (random_below(4)) {
	case 0:
		DAMAGE_FIELD(v, v->locator, table);
		break;
	case 1:
		DAMAGE_FIELD(v, at, pair);
		break;
	case 2:
		/* Of a pair, another's key or value. */
		victim_put(v, at + 4 * random_below(2), 4,
			   victim_get(v, v->locator + 20 + 4 * random_below(6), 4));
		break;
	default:
		victim_put(v, v->locator + random_below(v->locator_length), 1, random_next());
	}
}

/* Two in one place; in a payload block, or partly; in a structure; none. */
static void damage_bitmap_entry(struct victim *v)
{
	uint64_t at = v->bitmaps[random_below(v->bitmap_count)], entry = victim_get(v, at, 8);

	switch (random_below(6)) {
	case 0:
		entry = victim_get(v, v->bitmaps[random_below(v->bitmap_count)], 8);
		break;
	case 1:
		entry = victim_get(v, v->bat + random_below(16) * VHDX_BAT_ENTRY_SIZE, 8);
		entry = (entry & VHDX_BAT_OFFSET_MASK) | VHDX_BLOCK_FULLY_PRESENT;
		break;
	case 2:
		entry += MIB * (random_below(5) - 2);
		break;
	case 3:
		entry = (victim_place(v) & VHDX_BAT_OFFSET_MASK) | VHDX_BLOCK_FULLY_PRESENT;
		break;
	case 4:
		entry = (entry & ~VHDX_BAT_STATE_MASK) | random_below(8);
		break;
	default:
		entry = one_in(2) ? 0 : interesting(v, 8, entry);
	}
	victim_put(v, at, 8, entry);
}

/* Whatever bits are, each of them says something. */
static void damage_bits(struct victim *v)
{
	uint64_t entry = victim_get(v, v->bitmaps[random_below(v->bitmap_count)], 8);
	uint64_t at = (entry & VHDX_BAT_OFFSET_MASK) + random_below(one_in(4) ? MIB : 4 * KIB);
	uint64_t length = one_in(2) ? 1 : random_below(2 * KIB);

	if (victim_has(v, at, length))
		memset(v->bytes + at, random_next(), length);
}

/* One block more that is there in part, where it was, or nowhere. */
static void damage_state(struct victim *v)
{
	uint64_t at = v->bat + random_below(16) * VHDX_BAT_ENTRY_SIZE;

	victim_put(v, at, 8, (victim_get(v, at, 8) & ~VHDX_BAT_STATE_MASK) |
			     VHDX_BLOCK_PARTIALLY_PRESENT);
}

/**
 * damage_child() - one change to what only a child has
 * @v:	a child
 */
void damage_child(struct victim *v)
{
	unsigned int way = random_below(8);

	if (way < 2 || !v->bitmap_count)
		damage_locator(v);
	else if (way < 5)
		damage_bitmap_entry(v);
	else if (way < 7)
		damage_bits(v);
	else
		damage_state(v);
}
