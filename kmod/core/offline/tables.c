// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "core/vhdx/private.h"
#include "tables.h"

static const vhdx_guid bat_region = VHDX_REGION_BAT;
static const vhdx_guid metadata_region = VHDX_REGION_METADATA;

struct vhdx_table_region vhdx_tables_region(const struct vhdx_tables *tables, unsigned int index)
{
	const struct vhdx_ondisk_region_entry *entry = &tables->region_table->entries[index];
	struct vhdx_table_region region = {
		.guid = entry->guid,
		.extent.offset = le64_to_cpu(entry->file_offset),
		.extent.length = le32_to_cpu(entry->length),
		.required = le32_to_cpu(entry->required) & VHDX_REGION_REQUIRED,
	};

	if (vhdx_guid_equal(&entry->guid, &bat_region))
		region.name = "BAT";
	else if (vhdx_guid_equal(&entry->guid, &metadata_region))
		region.name = "metadata";
	return region;
}

struct vhdx_table_item vhdx_tables_item(const struct vhdx_tables *tables, unsigned int index)
{
	const struct vhdx_ondisk_metadata_entry *entry = &tables->item_table->entries[index];
	u32 flags = le32_to_cpu(entry->flags);
	struct vhdx_table_item item = {
		.guid = entry->item_id,
		.extent.length = le32_to_cpu(entry->length),
		.user = flags & VHDX_METADATA_IS_USER,
		.virtual_disk = flags & VHDX_METADATA_IS_VIRTUAL_DISK,
		.required = flags & VHDX_METADATA_IS_REQUIRED,
		.name = vhdx_metadata_item_name(entry),
	};

	if (item.extent.length)
		item.extent.offset = tables->metadata.offset + le32_to_cpu(entry->offset);
	return item;
}

struct vhdx_extent vhdx_tables_find(const struct vhdx_tables *tables, const vhdx_guid *guid)
{
	struct vhdx_table_region region = { };
	unsigned int i;

	for (i = 0; i < tables->region_count; i++) {
		region = vhdx_tables_region(tables, i);
		if (vhdx_guid_equal(&region.guid, guid))
			return region.extent;
	}
	return (struct vhdx_extent) { };
}

int vhdx_tables_load(struct vhdx_tables *tables, struct vhdx_store *store,
		     struct vhdx_diag *diag)
{
	unsigned int number;
	int err;

	memset(tables, 0, sizeof(*tables));
	tables->region_table = vhdx_alloc(VHDX_TABLE_SIZE);
	tables->item_table = vhdx_alloc(VHDX_TABLE_SIZE);
	if (!tables->region_table || !tables->item_table)
		return vhdx_no_memory(diag);
	err = vhdx_region_table_read(store, tables->region_table, &number, diag);
	if (err == -ENODATA)
		return vhdx_damaged(diag, "no valid region table");
	if (err)
		return err;
	tables->region_count = le32_to_cpu(tables->region_table->entry_count);
	tables->metadata = vhdx_tables_find(tables, &metadata_region);
	err = vhdx_read(store, tables->metadata.offset, tables->item_table, VHDX_TABLE_SIZE,
			"metadata table", diag);
	if (!err)
		tables->item_count = min_t(u32, le16_to_cpu(tables->item_table->entry_count),
					   VHDX_TABLE_ENTRIES_MAX);
	return err;
}

void vhdx_tables_release(struct vhdx_tables *tables)
{
	vhdx_free(tables->item_table);
	vhdx_free(tables->region_table);
	memset(tables, 0, sizeof(*tables));
}
