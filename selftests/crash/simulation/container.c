// SPDX-License-Identifier: GPL-2.0-only
#include "simulation.h"
#include "core/vhdx/overlay.h"

/*
 * Units that are neighbours in a region, on both sides of regions, sectors and blocks of the coarse
 * area, of leaves, and at both ends of the disk. And what they are blocks of.
 */
static const u32 units[UNITS] = {
	0, 1, 2, 4, 15615, 15616, 32767, 32768, 32769, 124927, 124928, 131071, 131072, 139263,
};

static const u32 numbers[BLOCKS] = {
	0, 1, 2, 7807, 7808, 16383, 16384, 62463, 62464, 65535, 65536, 69631,
};

static const u32 pages[PAGES] = { 0, 15, 32, 122, 128, 136 };

static struct vhdx_extent structures[] = { { 0, PAYLOAD_OFFSET } };

struct vhdx_image image = {
	.geo = {
		.disk_size = DISK_SIZE,
		.block_size = BLOCK_BYTES,
		.block_shift = BLOCK_SHIFT,
		.logical_sector_size = 512,
		.chunk_ratio = 2048,
		.block_count = 69632,
		.bat_entry_count = 69632 + 34,
		.bat_offset = BAT_OFFSET,
	},
	.extents = structures,
	.extent_count = ARRAY_SIZE(structures),
};

/* ---- what is where ---- */

u64 unit_offset(u32 unit)
{
	return units[unit] * UNIT_BYTES;
}

u32 block_of(u32 unit)
{
	u32 block = 0;

	while (numbers[block] != units[unit] / 2)
		block++;
	return block;
}

u32 half_of(u32 unit)
{
	return units[unit] % 2;
}

u32 unit_in(u32 block, u32 half)
{
	u32 unit;

	for (unit = 0; unit < UNITS; unit++)
		if (units[unit] == 2 * numbers[block] + half)
			return unit;
	return NOBODY;
}

unit_mask units_in_block(u32 block)
{
	unit_mask mask = 0;
	u32 unit;

	for (unit = 0; unit < UNITS; unit++)
		if (units[unit] / 2 == numbers[block])
			mask |= 1U << unit;
	return mask;
}

u64 block_offset(u32 block)
{
	return numbers[block] * BLOCK_BYTES;
}

unit_mask neighbours(unit_mask mask)
{
	unit_mask all = 0;
	u32 i, j;

	for (i = 0; i < UNITS; i++)
		for (j = 0; mask >> i & 1 && j < UNITS; j++)
			if (units[i] / 4 == units[j] / 4)
				all |= 1U << j;
	return all;
}

static u64 entry_of(u32 block)
{
	return vhdx_bat_entry_offset(&image.geo, vhdx_bat_index(&image.geo, numbers[block]));
}

u32 page_of(u32 block)
{
	u32 page = 0;

	while (page_offset(page) != entry_of(block) / VHDX_PAGE * VHDX_PAGE)
		page++;
	return page;
}

u32 slot_of(u32 block)
{
	return entry_of(block) % VHDX_PAGE / sizeof(u64);
}

u64 page_offset(u32 page)
{
	return BAT_OFFSET + (u64)pages[page] * VHDX_PAGE;
}

u64 page_first_index(u32 page)
{
	return (u64)pages[page] * (VHDX_PAGE / sizeof(u64));
}

bool is_next_block(u32 block)
{
	return block + 1 < BLOCKS && numbers[block + 1] == numbers[block] + 1 &&
	       page_of(block) == page_of(block + 1);
}

/* ---- close together ---- */

#define LOG_AT		(2 * VHDX_PAGE)
#define BAT_AT		(LOG_AT + LOG_LENGTH)
#define PAYLOAD_AT	(BAT_AT + PAGES * VHDX_PAGE)
#define BLOCK_LENGTH	(2 * UNIT_LENGTH)

static u64 squeeze(u64 offset)
{
	u32 page = 0;

	if (offset >= PAYLOAD_OFFSET) {
		offset -= PAYLOAD_OFFSET;
		return PAYLOAD_AT + offset / BLOCK_BYTES * BLOCK_LENGTH +
		       offset % BLOCK_BYTES / UNIT_BYTES * UNIT_LENGTH + offset % UNIT_BYTES;
	}
	if (offset < LOG_OFFSET)
		return offset < vhdx_header_offset(1) ? 0 : VHDX_PAGE;
	if (offset < BAT_OFFSET)
		return LOG_AT + offset - LOG_OFFSET;
	while (page_offset(page) != offset)
		page++;
	return BAT_AT + (u64)page * VHDX_PAGE;
}

u64 view_length(u64 size)
{
	return PAYLOAD_AT + (size - PAYLOAD_OFFSET) / BLOCK_BYTES * BLOCK_LENGTH;
}

int container_write_fua(u64 offset, const void *buf, size_t length)
{
	return fake_store_write_fua(&sim.container, squeeze(offset), buf, length);
}

static struct view *to_view(struct vhdx_store *store)
{
	return container_of(store, struct view, store);
}

static int view_read(struct vhdx_store *store, u64 offset, void *buf, size_t length)
{
	struct vhdx_store *below = to_view(store)->below;

	return below->read(below, squeeze(offset), buf, length);
}

static int view_write(struct vhdx_store *store, u64 offset, const void *buf, size_t length)
{
	struct vhdx_store *below = to_view(store)->below;

	return below->write(below, squeeze(offset), buf, length);
}

static int view_flush(struct vhdx_store *store)
{
	return to_view(store)->below->flush(to_view(store)->below);
}

/* A block that is there in part only is not there. */
void view_init(struct view *view, struct vhdx_store *below)
{
	*view = (struct view) {
		.store.read = view_read, .store.write = view_write, .store.flush = view_flush,
		.below = below,
		.store.size = PAYLOAD_OFFSET +
			      (below->size - PAYLOAD_AT) / BLOCK_LENGTH * BLOCK_BYTES,
	};
}

/* ---- what is in it ---- */

/* On a device there is something already, on which its BAT says nothing. */
void container_format(bool device, u32 blocks)
{
	u64 length = view_length(PAYLOAD_OFFSET + blocks * BLOCK_BYTES), at;
	struct fake_store *fake = &sim.container;
	struct vhdx_header header = {
		.sequence = 1, .data_write_guid = new_guid(),
		.log_offset = LOG_OFFSET, .log_length = LOG_LENGTH,
	};

	fake_store_init(fake, device ? length : 0, length);
	fake->keeps_size = true;
	vhdx_header_encode(&header, fake->bytes);
	fake->length = device ? length : view_length(PAYLOAD_OFFSET);
	for (at = PAYLOAD_AT; at < fake->length; at += sizeof(u64))
		memset(fake->bytes + at, 0xee, sizeof(u64));
	memcpy(fake->durable, fake->bytes, fake->length);
	fake->durable_length = fake->length;
	fake_store_reopen(fake);
}

/* What a torn write left is like nothing that was ever written. */
u64 content_of(const u64 *sectors)
{
	return sectors[0] == sectors[1] ? sectors[0] :
					  1ULL << 63 | sectors[0] << 32 | sectors[1];
}

void container_read_block(struct vhdx_store *store, u64 where, u64 sectors[2][UNIT_SECTORS])
{
	u8 bytes[BLOCK_LENGTH];
	u32 half, sector;

	store->read(store, where, bytes, sizeof(bytes));
	for (half = 0; half < 2; half++)
		for (sector = 0; sector < UNIT_SECTORS; sector++)
			memcpy(&sectors[half][sector],
			       bytes + half * UNIT_LENGTH + sector * 512, sizeof(u64));
}

static void read_header(struct vhdx_store *store, struct vhdx_header *header)
{
	static u64 bytes[2][VHDX_PAGE / sizeof(u64)];
	const void *copies[2] = { bytes[0], bytes[1] };
	u32 slot;

	for (slot = 0; slot < 2; slot++)
		store->read(store, vhdx_header_offset(slot), bytes[slot], VHDX_PAGE);
	if (!vhdx_header_choose(copies, header))
		wrong("the container has no header", 0, 0, 0);
}

/* Two blocks are never in one place, and what is named is there. */
static void judge_entry(const struct found *found, u32 block)
{
	struct vhdx_bat_entry entry = found->entries[block];
	u32 i;

	if (entry.state != VHDX_BLOCK_FULLY_PRESENT)
		return;
	if (entry.offset < PAYLOAD_OFFSET || (entry.offset - PAYLOAD_OFFSET) % BLOCK_BYTES ||
	    entry.offset + BLOCK_BYTES > found->size)
		wrong("a block is nowhere in the container", block, entry.offset, found->size);
	for (i = 0; i < block; i++)
		if (found->entries[i].state == VHDX_BLOCK_FULLY_PRESENT &&
		    found->entries[i].offset == entry.offset)
			wrong("two blocks are in one place", i, block, entry.offset);
}

static void read_entries(struct vhdx_store *store, struct found *found)
{
	u64 raw[VHDX_PAGE / sizeof(u64)];
	u32 block, loaded = PAGES;

	for (block = 0; block < BLOCKS; block++) {
		if (loaded != page_of(block)) {
			loaded = page_of(block);
			store->read(store, page_offset(loaded), raw, sizeof(raw));
		}
		found->entries[block] = vhdx_bat_decode(raw[slot_of(block)]);
		judge_entry(found, block);
	}
}

static void read_sectors(struct vhdx_store *store, struct found *found)
{
	u64 sectors[2][UNIT_SECTORS];
	u32 block, half, unit;

	for (block = 0; block < BLOCKS; block++) {
		memset(sectors, 0, sizeof(sectors));
		if (found->entries[block].state == VHDX_BLOCK_FULLY_PRESENT)
			container_read_block(store, found->entries[block].offset, sectors);
		for (half = 0; half < 2; half++) {
			unit = unit_in(block, half);
			if (unit != NOBODY)
				memcpy(found->sectors[unit], sectors[half], sizeof(sectors[half]));
			else if (sectors[half][0] || sectors[half][1])
				wrong("what was never written is not zero", block, half,
				      sectors[half][0]);
		}
	}
	for (unit = 0; unit < UNITS; unit++)
		found->content[unit] = content_of(found->sectors[unit]);
}

void container_read(struct vhdx_store *below, struct found *found)
{
	struct vhdx_image of = { };
	struct vhdx_overlay overlay;
	struct vhdx_diag diag = { };
	struct view view;

	memset(found, 0, sizeof(*found));
	view_init(&view, below);
	read_header(&view.store, &of.header);
	found->header = of.header;
	if (sim.wrong[0])
		return;
	if (vhdx_log_scan(&view.store, &of.header, &of.log, &diag) ||
	    vhdx_overlay_init(&overlay, &view.store, &of, &diag)) {
		wrong(diag.text, 0, 0, 0);
		return;
	}
	found->size = overlay.store.size;
	read_entries(&overlay.store, found);
	if (!sim.wrong[0])
		read_sectors(&overlay.store, found);
	vhdx_overlay_release(&overlay);
}

void container_see(u64 *content)
{
	struct found found = { .size = sim.layer.size };
	u32 block;

	for (block = 0; block < BLOCKS; block++)
		found.entries[block] = layer_entry(block);
	read_sectors(&sim.view.store, &found);
	memcpy(content, found.content, sizeof(found.content));
}
