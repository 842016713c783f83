// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "core/vhdx/log.h"
#include "core/vhdx/private.h"
#include "place.h"

#define METADATA_LENGTH	VHDX_MIB
#define CHUNK		VHDX_MIB	/* the BAT is written in these */

/* ---- What is asked for ---------------------------------------------------------------------- */

static bool is_sector_size(u32 size)
{
	return size == 512 || size == 4096;
}

static int check_sizes(const struct vhdx_recipe *recipe, struct vhdx_diag *diag)
{
	const struct vhdx_geometry *geo = &recipe->geo;
	u32 log_length = recipe->header.log_length;

	if (!is_sector_size(geo->logical_sector_size))
		return vhdx_bad_argument(diag, "a logical sector size of %u, must be 512 or 4096",
					 geo->logical_sector_size);
	if (!is_sector_size(geo->physical_sector_size))
		return vhdx_bad_argument(diag, "a physical sector size of %u, must be 512 or 4096",
					 geo->physical_sector_size);
	if (geo->block_size < VHDX_BLOCK_SIZE_MIN || geo->block_size > VHDX_BLOCK_SIZE_MAX ||
	    !is_power_of_2(geo->block_size))
		return vhdx_bad_argument(diag, "a block size of %u, must be a power of two between 1 MiB and 256 MiB",
					 geo->block_size);
	if (!geo->disk_size || geo->disk_size > VHDX_DISK_SIZE_MAX)
		return vhdx_bad_argument(diag, "a size of %llu bytes, must be more than nothing and at most 64 TiB",
					 geo->disk_size);
	if (geo->disk_size % geo->logical_sector_size)
		return vhdx_bad_argument(diag, "a size of %llu bytes, must be a multiple of the logical sector size %u",
					 geo->disk_size, geo->logical_sector_size);
	if (!log_length || log_length % VHDX_MIB || log_length > VHDX_LOG_LENGTH_MAX)
		return vhdx_bad_argument(diag, "a log of %u bytes, must be a multiple of 1 MiB, from 1 MiB to 1 GiB",
					 log_length);
	return 0;
}

/* Log, metadata, BAT, blocks: as Windows has them. */
static void lay_out(struct vhdx_recipe *recipe)
{
	struct vhdx_geometry *geo = &recipe->geo;
	u64 needed;

	geo->block_shift = ilog2(geo->block_size);
	vhdx_geometry_derive(geo);
	needed = geo->bat_entry_count * VHDX_BAT_ENTRY_SIZE;

	recipe->header.log_offset = VHDX_HEADER_SECTION;
	recipe->metadata_offset = VHDX_HEADER_SECTION + recipe->header.log_length;
	geo->bat_offset = recipe->metadata_offset + METADATA_LENGTH;
	recipe->bat_length = DIV_ROUND_UP(needed, VHDX_MIB) * VHDX_MIB;
	recipe->blocks_offset = geo->bat_offset + recipe->bat_length;
	recipe->size = recipe->blocks_offset;
	if (geo->fixed)
		recipe->size += geo->block_count << geo->block_shift;
}

int vhdx_recipe_check(struct vhdx_recipe *recipe, struct vhdx_diag *diag)
{
	int err = check_sizes(recipe, diag);

	if (!err && recipe->locator_length > VHDX_RECIPE_LOCATOR_MAX)
		err = vhdx_bad_argument(diag, "a parent locator of %u bytes, at most %u fit",
					recipe->locator_length, VHDX_RECIPE_LOCATOR_MAX);
	if (!err)
		lay_out(recipe);
	return err;
}

/* ---- Writing it ----------------------------------------------------------------------------- */

/**
 * struct maker - a container being made
 * @buf:	CHUNK bytes, zero between two uses
 */
struct maker {
	const struct vhdx_recipe *recipe;
	struct vhdx_store *store;
	struct vhdx_diag *diag;
	u8 *buf;
};

static int put(struct maker *maker, u64 offset, size_t length, const char *what)
{
	int err = maker->store->write(maker->store, offset, maker->buf, length);

	memset(maker->buf, 0, length);
	if (!err)
		return 0;
	return vhdx_io_failed(maker->diag, err, "writing the %s at 0x%llx failed (error %d)", what,
			      offset, -err);
}

static int put_headers(struct maker *maker)
{
	struct vhdx_header header = maker->recipe->header;
	unsigned int slot;
	int err = 0;

	for (slot = 0; slot < 2 && !err; slot++) {
		header.sequence = slot + 1;
		vhdx_header_encode(&header, maker->buf);
		err = put(maker, vhdx_header_offset(slot), VHDX_HEADER_SIZE, "header");
	}
	return err;
}

static void set_region(struct vhdx_ondisk_region_entry *entry, const vhdx_guid *guid, u64 offset,
		       u32 length)
{
	entry->guid = *guid;
	entry->file_offset = cpu_to_le64(offset);
	entry->length = cpu_to_le32(length);
	entry->required = cpu_to_le32(VHDX_REGION_REQUIRED);
}

static int put_region_tables(struct maker *maker)
{
	static const vhdx_guid metadata = VHDX_REGION_METADATA;
	static const vhdx_guid bat = VHDX_REGION_BAT;
	const struct vhdx_recipe *recipe = maker->recipe;
	struct vhdx_ondisk_region_table *table = (void *)maker->buf;
	unsigned int copy;
	int err = 0;

	for (copy = 0; copy < 2 && !err; copy++) {
		memcpy(table->signature, VHDX_REGION_TABLE_SIGNATURE, sizeof(table->signature));
		table->entry_count = cpu_to_le32(2);
		set_region(&table->entries[0], &bat, recipe->geo.bat_offset, recipe->bat_length);
		set_region(&table->entries[1], &metadata, recipe->metadata_offset,
			   METADATA_LENGTH);
		table->checksum = cpu_to_le32(vhdx_checksum(table, sizeof(*table)));
		err = put(maker, vhdx_region_table_offset(copy), sizeof(*table), "region table");
	}
	return err;
}

/* Items follow each other without a gap, as others write them. */
static void add_item(struct maker *maker, const vhdx_guid *id, u32 flags, const void *value,
		     u32 length)
{
	struct vhdx_ondisk_metadata_table *table = (void *)maker->buf;
	u32 index = le16_to_cpu(table->entry_count);
	struct vhdx_ondisk_metadata_entry *entry = &table->entries[index];
	u32 offset = VHDX_TABLE_SIZE;

	if (index)
		offset = le32_to_cpu(entry[-1].offset) + le32_to_cpu(entry[-1].length);
	entry->item_id = *id;
	entry->offset = cpu_to_le32(offset);
	entry->length = cpu_to_le32(length);
	entry->flags = cpu_to_le32(flags);
	memcpy(maker->buf + offset, value, length);
	table->entry_count = cpu_to_le16(index + 1);
}

static int put_metadata(struct maker *maker)
{
	static const vhdx_guid physical_id = VHDX_ITEM_PHYSICAL_SECTOR_SIZE;
	static const vhdx_guid logical_id = VHDX_ITEM_LOGICAL_SECTOR_SIZE;
	static const vhdx_guid parameters_id = VHDX_ITEM_FILE_PARAMETERS;
	static const vhdx_guid size_id = VHDX_ITEM_VIRTUAL_DISK_SIZE;
	static const vhdx_guid locator_id = VHDX_ITEM_PARENT_LOCATOR;
	static const vhdx_guid disk_id = VHDX_ITEM_VIRTUAL_DISK_ID;
	const u32 of_disk = VHDX_METADATA_IS_VIRTUAL_DISK | VHDX_METADATA_IS_REQUIRED;
	const struct vhdx_recipe *recipe = maker->recipe;
	const struct vhdx_geometry *geo = &recipe->geo;
	struct vhdx_ondisk_metadata_table *table = (void *)maker->buf;
	struct vhdx_ondisk_file_parameters parameters = {
		.block_size = cpu_to_le32(geo->block_size),
		.flags = cpu_to_le32((geo->fixed ? VHDX_PARAMETER_LEAVE_BLOCK_ALLOCATED : 0) |
				     (geo->has_parent ? VHDX_PARAMETER_HAS_PARENT : 0)),
	};
	__le32 physical = cpu_to_le32(geo->physical_sector_size);
	__le32 logical = cpu_to_le32(geo->logical_sector_size);
	__le64 size = cpu_to_le64(geo->disk_size);

	memcpy(table->signature, VHDX_METADATA_SIGNATURE, sizeof(table->signature));
	add_item(maker, &parameters_id, VHDX_METADATA_IS_REQUIRED, &parameters, sizeof(parameters));
	add_item(maker, &size_id, of_disk, &size, sizeof(size));
	add_item(maker, &disk_id, of_disk, &geo->disk_id, sizeof(geo->disk_id));
	add_item(maker, &logical_id, of_disk, &logical, sizeof(logical));
	add_item(maker, &physical_id, of_disk, &physical, sizeof(physical));
	if (geo->has_parent)
		add_item(maker, &locator_id, VHDX_METADATA_IS_REQUIRED, recipe->locator,
			 recipe->locator_length);
	/* Behind the items all is zero, and may stay as it is. */
	return put(maker, recipe->metadata_offset,
		   2 * VHDX_TABLE_SIZE + VHDX_RECIPE_LOCATOR_MAX, "metadata");
}

/* The blocks of a fixed disk lie in their order; another one has none yet. */
static int put_bat(struct maker *maker)
{
	const struct vhdx_recipe *recipe = maker->recipe;
	struct vhdx_bat_entry block = { .state = VHDX_BLOCK_FULLY_PRESENT };
	__le64 *entries = (__le64 *)maker->buf;
	const u64 most = CHUNK / VHDX_BAT_ENTRY_SIZE;
	struct vhdx_bat_slot slot;
	u64 first;
	int err = 0;
	u64 i;

	if (recipe->is_zero && !recipe->geo.fixed)
		return 0;
	for (first = 0; first * VHDX_BAT_ENTRY_SIZE < recipe->bat_length && !err; first += most) {
		vhdx_breathe();
		for (i = 0; i < most && recipe->geo.fixed; i++) {
			slot = vhdx_bat_slot(&recipe->geo, first + i);
			if (!slot.used)
				continue;
			block.offset = vhdx_place_of_fixed(recipe, slot.number);
			entries[i] = cpu_to_le64(vhdx_bat_encode(block));
		}
		err = put(maker, vhdx_bat_entry_offset(&recipe->geo, first), CHUNK, "BAT");
	}
	return err;
}

static int clear(struct maker *maker)
{
	if (maker->recipe->is_zero)
		return 0;
	return put(maker, 0, VHDX_HEADER_SECTION, "header section");
}

int vhdx_recipe_write(const struct vhdx_recipe *recipe, struct vhdx_store *store,
		      struct vhdx_diag *diag)
{
	struct maker maker = { .recipe = recipe, .store = store, .diag = diag };
	int err;

	maker.buf = vhdx_alloc(CHUNK);
	if (!maker.buf)
		return vhdx_no_memory(diag);
	err = clear(&maker);
	if (!err)
		err = put_bat(&maker);
	if (!err)
		err = put_metadata(&maker);
	if (!err)
		err = put_region_tables(&maker);
	if (!err)
		err = put_headers(&maker);
	vhdx_free(maker.buf);
	return err;
}

int vhdx_recipe_sign(const struct vhdx_recipe *recipe, struct vhdx_store *store,
		     struct vhdx_diag *diag)
{
	struct maker maker = { .recipe = recipe, .store = store, .diag = diag };
	struct vhdx_ondisk_file_identifier *identifier;
	unsigned int i;
	int err;

	maker.buf = vhdx_alloc(VHDX_PAGE);
	if (!maker.buf)
		return vhdx_no_memory(diag);
	identifier = (void *)maker.buf;
	memcpy(identifier->signature, VHDX_FILE_SIGNATURE, sizeof(identifier->signature));
	for (i = 0; i < ARRAY_SIZE(identifier->creator) && recipe->creator[i]; i++)
		identifier->creator[i] = cpu_to_le16(recipe->creator[i]);
	err = put(&maker, 0, VHDX_PAGE, "file identifier");
	vhdx_free(maker.buf);
	return err;
}
