// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damage to a sidecar, and its checksums made right again: from the leaves to the
 * header, since each block's checksum lies with the reference to it.
 */
#include <stddef.h>
#include <string.h>

#include "core/platform.h"
#include "core/rct/ondisk.h"
#include "victim.h"

/* Blocks that a repair follows: damaged references may lead in circles. */
#define STEPS		256

#define HEAD_LENGTH	sizeof(struct vhdx_sidecar_head)
#define TABLE_LENGTH	sizeof(struct vhdx_sidecar_table)
#define POINT_LENGTH	sizeof(struct vhdx_sidecar_point)
#define ENTRY_LENGTH	sizeof(struct vhdx_sidecar_entry)
#define AT(type, field)	offsetof(struct vhdx_sidecar_##type, field)

static uint64_t block_count(const struct victim *v)
{
	return v->size / VHDX_SIDECAR_BLOCK;
}

static void damage_header(struct victim *v)
{
	static const struct { unsigned short at, width; } fields[] = {
		{ AT(header, version), 4 }, { AT(header, compat_features), 4 },
		{ AT(header, ro_compat_features), 4 }, { AT(header, incompat_features), 4 },
		{ AT(header, sequence), 8 }, { AT(header, disk_size), 8 },
		{ AT(header, unit_shift), 4 }, { AT(header, state), 4 },
		{ AT(header, current_guid), 8 }, { AT(header, next_guid), 8 },
		{ AT(header, next_point_sequence), 8 }, { AT(header, block_count), 8 },
		{ AT(header, points.block), 8 }, { AT(header, points.count), 4 },
		{ AT(header, live.index.block), 8 }, { AT(header, live.index.count), 4 },
		{ AT(header, live.flags), 4 }, { AT(header, live.gap_reason), 4 },
		{ AT(header, live.changed_units), 8 }, { AT(header, flags), 4 },
		{ AT(header, region_shift), 4 }, { AT(header, reserved), 4 },
	};
	unsigned int i = random_below(ARRAY_SIZE(fields));
	unsigned int slot, first = random_below(2), last = one_in(3) ? first : 1;

	for (slot = one_in(3) ? first : 0; slot <= last; slot++) {
		uint64_t at = slot * VHDX_SIDECAR_BLOCK + fields[i].at;

		victim_put(v, at, fields[i].width,
			   interesting(v, fields[i].width, victim_get(v, at, fields[i].width)));
	}
}

/* A block that is no slot of the header, of this kind if there is one. */
static uint64_t some_block(const struct victim *v, uint32_t magic)
{
	uint64_t at = 0;
	unsigned int i;

	for (i = 0; i < 32; i++) {
		at = random_below(block_count(v) + 1) * VHDX_SIDECAR_BLOCK;
		if (at >= 2 * VHDX_SIDECAR_BLOCK && victim_get(v, at, 4) == magic)
			break;
	}
	return at;
}

static void damage_head(struct victim *v)
{
	static const uint32_t kinds[] = {
		VHDX_SIDECAR_ROOT_MAGIC, VHDX_SIDECAR_POINTS_MAGIC, VHDX_SIDECAR_INDEX_MAGIC,
	};
	uint64_t at = some_block(v, kinds[random_below(ARRAY_SIZE(kinds))]);

	if (one_in(2))
		at += AT(head, count);
	victim_put(v, at, 4, interesting(v, 4, victim_get(v, at, 4)));
}

/* A record of a root. */
static void damage_table(struct victim *v)
{
	uint64_t at = some_block(v, VHDX_SIDECAR_ROOT_MAGIC) + HEAD_LENGTH +
		      random_below(3) * TABLE_LENGTH;

	switch (random_below(3)) {
	case 0:
		at += AT(table, first);
		victim_put(v, at, 2, interesting(v, 2, victim_get(v, at, 2)));
		break;
	case 1:
		at += AT(table, count);
		victim_put(v, at, 2, interesting(v, 2, victim_get(v, at, 2)));
		break;
	default:
		victim_put(v, at + AT(table, block), 8, random_below(block_count(v) + 2));
	}
}

static void damage_point(struct victim *v)
{
	static const struct { unsigned short at, width; } fields[] = {
		{ AT(point, guid), 8 }, { AT(point, sequence), 8 }, { AT(point, kind), 4 },
		{ AT(point, flags), 4 }, { AT(point, before.index.block), 8 },
		{ AT(point, before.index.count), 4 }, { AT(point, before.flags), 4 },
		{ AT(point, before.gap_reason), 4 }, { AT(point, before.changed_units), 8 },
		{ AT(point, disk_size), 8 }, { AT(point, layer), 4 },
		{ AT(point, label_length), 4 }, { AT(point, label), 4 },
		{ AT(point, reserved), 4 },
	};
	uint64_t block = some_block(v, VHDX_SIDECAR_POINTS_MAGIC);
	uint64_t at = block + HEAD_LENGTH + random_below(4) * POINT_LENGTH;
	unsigned int i = random_below(ARRAY_SIZE(fields));

	if (one_in(5) && victim_has(v, at, POINT_LENGTH)) {
		memmove(v->bytes + at, v->bytes + block + HEAD_LENGTH, POINT_LENGTH);
		return;
	}
	at += fields[i].at;
	victim_put(v, at, fields[i].width,
		   interesting(v, fields[i].width, victim_get(v, at, fields[i].width)));
}

static void damage_entry(struct victim *v)
{
	uint64_t at = some_block(v, VHDX_SIDECAR_INDEX_MAGIC) + HEAD_LENGTH +
		      random_below(3) * ENTRY_LENGTH;

	if (one_in(3))
		victim_put(v, at, 2, interesting(v, 2, victim_get(v, at, 2)));
	else if (one_in(2))
		victim_put(v, at + AT(entry, units), 2,
			   interesting(v, 2, victim_get(v, at + AT(entry, units), 2)));
	else
		victim_put(v, at + AT(entry, block), 8,
			   one_in(3) ? interesting(v, 8, 0) : random_below(block_count(v) + 2));
}

/* Of a reference to what another one refers to. */
static void damage_root(struct victim *v)
{
	uint64_t slot = random_below(2) * VHDX_SIDECAR_BLOCK;

	victim_put(v, slot + (one_in(2) ? AT(header, points.block) : AT(header, live.index.block)),
		   8, random_below(block_count(v) + 1));
}

/* Regions, or of when they are. */
static void damage_sector(struct victim *v)
{
	uint64_t at = VHDX_SIDECAR_COARSE_BLOCK * VHDX_SIDECAR_BLOCK +
		      random_below(9) * VHDX_COARSE_SECTOR;
	uint64_t field = at + offsetof(struct vhdx_coarse_sector, bits) + random_below(61) * 8;

	if (one_in(4))
		field = at + random_below(4) * 8;
	victim_put(v, field, 8, interesting(v, 8, victim_get(v, field, 8)));
}

/**
 * damage_sidecar() - one change to one structure
 * @v:	a sidecar
 */
void damage_sidecar(struct victim *v)
{
	static void (*const ways[])(struct victim *) = {
		damage_header, damage_header, damage_head, damage_table, damage_point,
		damage_entry, damage_root, damage_sector, damage_anything,
	};

	ways[random_below(ARRAY_SIZE(ways))](v);
}

/* ---- repair ------------------------------------------------------------------------------ */

static u32 crc_of(const struct victim *v, uint64_t at, uint64_t length)
{
	return ~vhdx_crc32c(~0U, v->bytes + at, length);
}

static u32 repair_block(struct victim *v, uint64_t block, u32 crc, unsigned int *steps);

/* @at: where a block is named, in eight bytes; its checksum comes behind them */
static void repair_ref(struct victim *v, uint64_t at, unsigned int *steps)
{
	uint64_t crc = at + AT(ref, crc);

	static_assert(AT(ref, crc) == AT(table, crc));
	victim_put(v, crc, 4,
		   repair_block(v, victim_get(v, at, 8), victim_get(v, crc, 4), steps));
}

static void repair_entry(struct victim *v, uint64_t at)
{
	uint64_t block = victim_get(v, at + AT(entry, block), 8);

	if (block < block_count(v))
		victim_put(v, at + AT(entry, crc), 4,
			   crc_of(v, block * VHDX_SIDECAR_BLOCK, VHDX_SIDECAR_BLOCK));
}

static u32 length_of(u32 magic)
{
	return magic == VHDX_SIDECAR_POINTS_MAGIC ? POINT_LENGTH : ENTRY_LENGTH;
}

static u32 repair_block(struct victim *v, uint64_t block, u32 crc, unsigned int *steps)
{
	uint64_t at = block * VHDX_SIDECAR_BLOCK;
	u32 i, count, magic;

	static_assert(TABLE_LENGTH == ENTRY_LENGTH);
	if (block < VHDX_SIDECAR_SLOTS || block >= block_count(v) || !*steps)
		return crc;
	--*steps;
	magic = victim_get(v, at, 4);
	count = min(victim_get(v, at + AT(head, count), 4),
		    (VHDX_SIDECAR_BLOCK - HEAD_LENGTH) / length_of(magic));
	for (i = 0; i < count; i++) {
		uint64_t record = at + HEAD_LENGTH + i * length_of(magic);

		if (magic == VHDX_SIDECAR_ROOT_MAGIC)
			repair_ref(v, record, steps);
		else if (magic == VHDX_SIDECAR_POINTS_MAGIC)
			repair_ref(v, record + AT(point, before.index), steps);
		else
			repair_entry(v, record);
	}
	return crc_of(v, at, VHDX_SIDECAR_BLOCK);
}

static void repair_sectors(struct victim *v)
{
	uint64_t at = VHDX_SIDECAR_COARSE_BLOCK * VHDX_SIDECAR_BLOCK;
	uint32_t number;

	for (number = 0; victim_has(v, at, VHDX_COARSE_SECTOR) &&
	     victim_get(v, at, 4) == VHDX_SIDECAR_COARSE_MAGIC; number++) {
		victim_put(v, at + 4, 4, number);
		victim_put(v, at + 4, 4, crc_of(v, at, VHDX_COARSE_SECTOR));
		at += VHDX_COARSE_SECTOR;
	}
}

/**
 * repair_sidecar() - make all checksums right
 * @v:	a sidecar
 */
void repair_sidecar(struct victim *v)
{
	uint64_t slot;

	repair_sectors(v);
	for (slot = 0; slot < VHDX_SIDECAR_SLOTS; slot++) {
		uint64_t at = slot * VHDX_SIDECAR_BLOCK;
		unsigned int steps = STEPS;

		if (!victim_has(v, at, VHDX_SIDECAR_BLOCK))
			return;
		repair_ref(v, at + AT(header, points), &steps);
		repair_ref(v, at + AT(header, live.index), &steps);
		victim_put(v, at + AT(header, crc), 4, crc_of(v, at, AT(header, crc)));
	}
}
