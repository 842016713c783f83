// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damage to a container, structure by structure; and its checksums made right again, so
 * that damage is found by what judges a structure and not by the checksum before it.
 */
#include <stdlib.h>
#include <string.h>

#include "core/platform.h"
#include "core/vhdx/bat.h"
#include "core/vhdx/ondisk.h"
#include "victim.h"

/**
 * damage_field() - another number in one of the fields of a structure
 * @v:		a container
 * @base:	where the structure is
 * @fields:	of it
 * @count:	how many
 */
void damage_field(struct victim *v, uint64_t base, const struct field *fields, unsigned int count)
{
	const struct field *f = &fields[random_below(count)];
	uint64_t now = victim_get(v, base + f->offset, f->width);

	victim_put(v, base + f->offset, f->width, interesting(v, f->width, now));
}

/* ---- headers and region tables: two copies, both if it is to be believed ----------- */

static void to_other_copy(struct victim *v, uint64_t from, uint64_t to, uint64_t length)
{
	if (victim_has(v, from, length) && victim_has(v, to, length))
		memcpy(v->bytes + to, v->bytes + from, length);
}

static void damage_header(struct victim *v)
{
	static const struct field fields[] = {
		{ 0, 4 }, { 8, 8 }, { 16, 8 }, { 32, 8 }, { 48, 8 }, { 64, 2 }, { 66, 2 },
		{ 68, 4 }, { 72, 8 }, { 68, 4 }, { 72, 8 }, { 80, 4 },
	};
	uint64_t one = VHDX_HEADER_OFFSET_1, other = VHDX_HEADER_OFFSET_2;

	if (one_in(2))
		swap(one, other);
	DAMAGE_FIELD(v, one, fields);
	if (!one_in(3))
		to_other_copy(v, one, other, VHDX_HEADER_SIZE);
}

static void damage_regions(struct victim *v)
{
	static const struct field table[] = { { 0, 4 }, { 8, 4 }, { 8, 4 }, { 12, 4 } };
	static const struct field entry[] = {
		{ 0, 8 }, { 8, 8 }, { 16, 8 }, { 16, 8 }, { 24, 4 }, { 24, 4 }, { 28, 4 },
	};
	uint64_t one = VHDX_REGION_TABLE_OFFSET_1, other = VHDX_REGION_TABLE_OFFSET_2;
	uint64_t first = one + 16 + 32 * random_below(3);

	if (one_in(4))
		DAMAGE_FIELD(v, one, table);
	else if (one_in(4))
		to_other_copy(v, first, one + 16 + 32 * random_below(4), 32);
	else
		DAMAGE_FIELD(v, first, entry);
	if (!one_in(4))
		to_other_copy(v, one, other, VHDX_TABLE_SIZE);
}

/* ---- metadata ------------------------------------------------------------------------ */

static void damage_metadata(struct victim *v)
{
	static const struct field table[] = { { 0, 8 }, { 8, 2 }, { 10, 2 }, { 10, 2 }, { 12, 4 } };
	static const struct field entry[] = {
		{ 0, 8 }, { 8, 8 }, { 16, 4 }, { 16, 4 }, { 20, 4 }, { 24, 4 }, { 28, 4 },
	};
	uint64_t at = v->metadata + 32 + 32 * random_below(6);
	uint64_t value = v->metadata + victim_get(v, at + 16, 4);

	switch (random_below(8)) {
	case 0:
		DAMAGE_FIELD(v, v->metadata, table);
		break;
	case 1:
		to_other_copy(v, at, v->metadata + 32 + 32 * random_below(6), 32);
		break;
	case 2:
	case 3:
		DAMAGE_FIELD(v, at, entry);
		break;
	default:
		victim_put(v, value, 4, interesting(v, 4, victim_get(v, value, 4)));
		break;
	case 7:
		/* The second half: flags of the parameters, the size's upper end. */
		victim_put(v, value + 4, 4, interesting(v, 4, victim_get(v, value + 4, 4)));
		break;
	}
}

/* ---- BAT ------------------------------------------------------------------------------- */

static uint64_t some_bat_entry(const struct victim *v)
{
	uint64_t entries = v->bat_length / VHDX_BAT_ENTRY_SIZE;

	if (!entries)
		return v->bat;
	/* What is behind the last block of a small disk is never looked at. */
	if (!one_in(8))
		entries = min(entries, one_in(4) ? 24ULL : 8ULL);
	return v->bat + random_below(entries) * VHDX_BAT_ENTRY_SIZE;
}

/* One whose block is in the container, if it does not take many tries to find it. */
static uint64_t some_present_block(const struct victim *v)
{
	uint64_t at = some_bat_entry(v);
	unsigned int i;

	for (i = 0; i < 16; i++) {
		if ((victim_get(v, at, 8) & VHDX_BAT_STATE_MASK) == VHDX_BLOCK_FULLY_PRESENT)
			break;
		at = some_bat_entry(v);
	}
	return at;
}

static void damage_bat(struct victim *v)
{
	uint64_t at = some_bat_entry(v), entry = victim_get(v, at, 8);
	uint64_t state = random_below(8);

	switch (random_below(7)) {
	case 0:
		entry = interesting(v, 8, entry);
		break;
	case 1:
		entry = (entry & ~VHDX_BAT_STATE_MASK) | state;
		break;
	case 2:
		/* Two blocks in one place, or one partly in the other's. */
		entry = victim_get(v, some_present_block(v), 8);
		if (one_in(2))
			entry += MIB * (random_below(5) - 2);
		break;
	case 3:
		entry = random_below(v->size / MIB + 2) * MIB + state;
		break;
	case 4:
		entry = ((entry & VHDX_BAT_OFFSET_MASK) + MIB * (random_below(5) - 2)) |
			VHDX_BLOCK_FULLY_PRESENT;
		break;
	case 5:
		/* In a structure, or partly. */
		entry = (victim_place(v) & VHDX_BAT_OFFSET_MASK) + MIB * (random_below(3) - 1);
		entry |= VHDX_BLOCK_FULLY_PRESENT;
		break;
	default:
		entry ^= one_in(2) ? 1ULL << random_below(20) : 1ULL << random_below(64);
	}
	victim_put(v, at, 8, entry);
}

/* ---- log ------------------------------------------------------------------------------- */

static bool is_entry(const struct victim *v, uint64_t at)
{
	return victim_has(v, at, VHDX_LOG_SECTOR) &&
	       !memcmp(v->bytes + at, VHDX_LOG_ENTRY_SIGNATURE, 4);
}

static uint64_t some_log_sector(const struct victim *v)
{
	uint64_t sectors = v->log_length / VHDX_LOG_SECTOR;

	if (!sectors)
		return v->log;
	if (!one_in(8))
		sectors = min(sectors, 16ULL);
	return v->log + random_below(sectors) * VHDX_LOG_SECTOR;
}

static void damage_log(struct victim *v)
{
	static const struct field header[] = {
		{ 0, 4 }, { 8, 4 }, { 12, 4 }, { 16, 8 }, { 24, 4 }, { 28, 4 }, { 32, 8 },
		{ 48, 8 }, { 56, 8 }, { 8, 4 }, { 12, 4 }, { 24, 4 },
	};
	static const struct field descriptor[] = {
		{ 0, 4 }, { 4, 4 }, { 8, 8 }, { 8, 8 }, { 16, 8 }, { 16, 8 }, { 24, 8 },
	};
	static const struct field sector[] = { { 0, 4 }, { 4, 4 }, { 4092, 4 }, { 8, 8 } };
	uint64_t at = some_log_sector(v);
	unsigned int i;

	/* Rather one that is in use. */
	for (i = 0; i < 16 && !is_entry(v, at); i++)
		at = some_log_sector(v);
	switch (random_below(4)) {
	case 0:
		DAMAGE_FIELD(v, at, header);
		break;
	case 1:
	case 2:
		DAMAGE_FIELD(v, at + 64 + 32 * random_below(3), descriptor);
		break;
	default:
		at = some_log_sector(v);
		if (one_in(2))
			DAMAGE_FIELD(v, at, sector);
		else
			to_other_copy(v, some_log_sector(v), at, VHDX_LOG_SECTOR);
	}
}

static void put_descriptor(struct victim *v, uint64_t at, uint64_t sequence, bool zero)
{
	uint64_t target = interesting(v, 8, v->bat) & (one_in(4) ? ~0ULL : ~(PAGE - 1));

	memcpy(v->bytes + at, zero ? VHDX_LOG_ZERO_SIGNATURE : VHDX_LOG_DATA_SIGNATURE, 4);
	victim_put(v, at + 4, 4, zero ? 0 : random_next());
	victim_put(v, at + 8, 8, zero ? interesting(v, 8, PAGE) & ~(PAGE - 1) : random_next());
	victim_put(v, at + 16, 8, target);
	victim_put(v, at + 24, 8, sequence);
}

static void put_data_sector(struct victim *v, uint64_t at, uint64_t sequence)
{
	/* What it replaces, or a page of something else: a BAT for a header, say. */
	uint64_t from = interesting(v, 8, v->bat) & ~(PAGE - 1);

	if (victim_has(v, from, VHDX_LOG_SECTOR))
		memmove(v->bytes + at, v->bytes + from, VHDX_LOG_SECTOR);
	memcpy(v->bytes + at, VHDX_LOG_SECTOR_SIGNATURE, 4);
	victim_put(v, at + 4, 4, sequence >> 32);
	victim_put(v, at + 4092, 4, sequence);
}

/* A valid entry that wants pages of the container's own structures overwritten. */
static void plant_log_entry(struct victim *v)
{
	uint64_t at = some_log_sector(v), sequence = random_next() >> 1;
	unsigned int i, count = random_below(5), data = 0;
	uint64_t length;

	if (!victim_has(v, at, 6 * VHDX_LOG_SECTOR) ||
	    at + 6 * VHDX_LOG_SECTOR > v->log + v->log_length)
		return;
	memset(v->bytes + at, 0, VHDX_LOG_SECTOR);
	for (i = 0; i < count; i++) {
		bool zero = one_in(3);

		put_descriptor(v, at + 64 + 32 * i, sequence, zero);
		if (!zero)
			put_data_sector(v, at + ++data * VHDX_LOG_SECTOR, sequence);
	}
	length = (1 + data) * VHDX_LOG_SECTOR;
	memcpy(v->bytes + at, VHDX_LOG_ENTRY_SIGNATURE, 4);
	victim_put(v, at + 8, 4, length);
	victim_put(v, at + 12, 4, at - v->log);
	victim_put(v, at + 16, 8, sequence);
	victim_put(v, at + 24, 4, count);
	for (i = 0; i < 2; i++)
		victim_put(v, at + 32 + 8 * i, 8, random_next());
	victim_put(v, at + 48, 8, one_in(4) ? interesting(v, 8, v->size) : v->size & ~(MIB - 1));
	victim_put(v, at + 56, 8, one_in(4) ? interesting(v, 8, v->size) : v->size & ~(MIB - 1));
	to_other_copy(v, at + 32, VHDX_HEADER_OFFSET_1 + 48, 16);
	to_other_copy(v, at + 32, VHDX_HEADER_OFFSET_2 + 48, 16);
}

/* ---- all --------------------------------------------------------------------------------- */

/**
 * damage_container() - one change to one structure
 * @v:	a container
 */
void damage_container(struct victim *v)
{
	static void (*const ways[])(struct victim *) = {
		damage_header, damage_regions, damage_metadata, damage_bat, damage_bat, damage_bat,
		damage_log, damage_log, plant_log_entry, damage_anything,
	};

	if (v->locator && one_in(2))
		damage_child(v);
	else
		ways[random_below(ARRAY_SIZE(ways))](v);
}

static void repair_block(struct victim *v, uint64_t at, uint64_t length)
{
	if (!victim_has(v, at, length))
		return;
	victim_put(v, at + 4, 4, 0);
	victim_put(v, at + 4, 4, ~vhdx_crc32c(~0U, v->bytes + at, length));
}

/* An entry may go round the ring's end. */
static void repair_entry(struct victim *v, uint64_t at)
{
	uint64_t length = victim_get(v, at + 8, 4), done = 0;
	uint64_t end = v->log + v->log_length;
	u32 crc = ~0U;

	if (!length || length > v->log_length || !victim_has(v, v->log, v->log_length))
		return;
	victim_put(v, at + 4, 4, 0);
	while (done < length) {
		uint64_t from = at + done < end ? at + done : at + done - v->log_length;
		uint64_t here = min(length - done, end - from);

		crc = vhdx_crc32c(crc, v->bytes + from, here);
		done += here;
	}
	victim_put(v, at + 4, 4, ~crc);
}

/**
 * repair_container() - make all checksums right
 * @v:	a container
 */
void repair_container(struct victim *v)
{
	uint64_t at;

	repair_block(v, VHDX_HEADER_OFFSET_1, VHDX_HEADER_SIZE);
	repair_block(v, VHDX_HEADER_OFFSET_2, VHDX_HEADER_SIZE);
	repair_block(v, VHDX_REGION_TABLE_OFFSET_1, VHDX_TABLE_SIZE);
	repair_block(v, VHDX_REGION_TABLE_OFFSET_2, VHDX_TABLE_SIZE);
	for (at = v->log; at < v->log + v->log_length; at += VHDX_LOG_SECTOR) {
		if (is_entry(v, at))
			repair_entry(v, at);
	}
}
