// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Region table, MS-VHDX 2.2.3: which parts of the container hold structures.
 */
#include "private.h"

#define HEADER_NAME	"the header section"
#define LOG_NAME	"the log"
#define BAT_NAME	"the BAT region"
#define METADATA_NAME	"the metadata region"

/* An extent and the region that it is of; @name is NULL for regions of unknown GUID. */
struct region {
	struct vhdx_extent extent;
	vhdx_guid guid;
	const char *name;
};

/* Where messages about the table point. */
struct table_copy {
	struct vhdx_ondisk_region_table *table;
	unsigned int number;
	u64 offset;
};

#define REGION_NAME	64

static const char *region_name(const struct region *region, char buf[REGION_NAME])
{
	char guid[VHDX_GUID_TEXT];

	if (region->name)
		return region->name;
	vhdx_guid_format(&region->guid, guid);
	snprintf(buf, REGION_NAME, "region %s", guid);
	return buf;
}

static const char *known_region(const vhdx_guid *guid)
{
	static const vhdx_guid bat = VHDX_REGION_BAT;
	static const vhdx_guid metadata = VHDX_REGION_METADATA;

	if (vhdx_guid_equal(guid, &bat))
		return BAT_NAME;
	if (vhdx_guid_equal(guid, &metadata))
		return METADATA_NAME;
	return NULL;
}

u64 vhdx_region_table_offset(unsigned int copy)
{
	return copy ? VHDX_REGION_TABLE_OFFSET_2 : VHDX_REGION_TABLE_OFFSET_1;
}

const char *vhdx_region_table_fault(const struct vhdx_ondisk_region_table *table)
{
	if (!vhdx_has_signature(table->signature, VHDX_REGION_TABLE_SIGNATURE,
				sizeof(table->signature)))
		return "no signature 'regi'";
	if (le32_to_cpu(table->checksum) != vhdx_checksum(table, sizeof(*table)))
		return "a wrong checksum";
	if (le32_to_cpu(table->entry_count) > VHDX_TABLE_ENTRIES_MAX)
		return "more than 2047 entries";
	return NULL;
}

int vhdx_region_table_read(struct vhdx_store *store, struct vhdx_ondisk_region_table *table,
			   unsigned int *number, struct vhdx_diag *diag)
{
	unsigned int i;
	int err;

	for (i = 0; i < 2; i++) {
		err = vhdx_read(store, vhdx_region_table_offset(i), table, VHDX_TABLE_SIZE,
				"region table", diag);
		if (err)
			return err;
		if (!vhdx_region_table_fault(table)) {
			*number = i;
			return 0;
		}
	}
	return -ENODATA;
}

/*
 * Whether known regions are marked as required says nothing: QEMU leaves the mark
 * out, Windows sets it.
 */
static int decode_entry(const struct table_copy *copy, u32 index, u64 limit,
			struct region *region, struct vhdx_diag *diag)
{
	const struct vhdx_ondisk_region_entry *entry = &copy->table->entries[index];
	char buf[REGION_NAME];
	const char *name;

	region->extent.offset = le64_to_cpu(entry->file_offset);
	region->extent.length = le32_to_cpu(entry->length);
	region->guid = entry->guid;
	region->name = known_region(&entry->guid);
	name = region_name(region, buf);

	if (!region->name && le32_to_cpu(entry->required) & VHDX_REGION_REQUIRED)
		return vhdx_unsupported(diag, "region table %u at 0x%llx, entry %u: %s is marked as required, but not known here: use the program that made the container",
					copy->number, copy->offset, index, name);
	if (region->extent.offset % VHDX_MIB || region->extent.offset < VHDX_HEADER_SECTION)
		return vhdx_damaged(diag, "region table %u at 0x%llx, entry %u: %s at 0x%llx, not at a multiple of 1 MiB from 1 MiB on",
				    copy->number, copy->offset, index, name,
				    region->extent.offset);
	if (!region->extent.length || region->extent.length % VHDX_MIB)
		return vhdx_damaged(diag, "region table %u at 0x%llx, entry %u: %s has 0x%llx bytes, not a positive multiple of 1 MiB",
				    copy->number, copy->offset, index, name,
				    region->extent.length);
	if (region->extent.offset > limit || region->extent.length > limit - region->extent.offset)
		return vhdx_damaged(diag, "region table %u at 0x%llx, entry %u: %s at 0x%llx, 0x%llx bytes, ends behind the container's end at 0x%llx: truncated",
				    copy->number, copy->offset, index, name,
				    region->extent.offset, region->extent.length, limit);
	return 0;
}

static int compare_guids(const void *a, const void *b)
{
	const struct region *one = a;
	const struct region *other = b;

	return memcmp(&one->guid, &other->guid, sizeof(one->guid));
}

static int compare_offsets(const void *a, const void *b)
{
	const struct region *one = a;
	const struct region *other = b;

	if (one->extent.offset != other->extent.offset)
		return one->extent.offset < other->extent.offset ? -1 : 1;
	return 0;
}

static int check_unique(const struct table_copy *copy, struct region *regions, u32 count,
			struct vhdx_diag *diag)
{
	char buf[REGION_NAME];
	u32 i;

	sort(regions, count, sizeof(*regions), compare_guids, NULL);
	for (i = 1; i < count; i++)
		if (vhdx_guid_equal(&regions[i - 1].guid, &regions[i].guid))
			return vhdx_damaged(diag, "region table %u at 0x%llx: %s occurs twice, at 0x%llx and at 0x%llx",
					    copy->number, copy->offset,
					    region_name(&regions[i], buf),
					    regions[i - 1].extent.offset,
					    regions[i].extent.offset);
	return 0;
}

/* Leaves @regions in ascending order. */
static int check_disjoint(const struct table_copy *copy, struct region *regions, u32 count,
			  struct vhdx_diag *diag)
{
	char buf[REGION_NAME];
	char other_buf[REGION_NAME];
	u32 i;

	sort(regions, count, sizeof(*regions), compare_offsets, NULL);
	for (i = 1; i < count; i++) {
		struct region *one = &regions[i - 1];
		struct region *other = &regions[i];

		if (other->extent.offset - one->extent.offset < one->extent.length)
			return vhdx_damaged(diag, "region table %u at 0x%llx: %s at 0x%llx, 0x%llx bytes, overlaps %s at 0x%llx",
					    copy->number, copy->offset, region_name(one, buf),
					    one->extent.offset, one->extent.length,
					    region_name(other, other_buf), other->extent.offset);
	}
	return 0;
}

static int find_known(const struct table_copy *copy, const struct region *regions, u32 count,
		      const char *name, struct vhdx_extent *extent, struct vhdx_diag *diag)
{
	u32 i;

	for (i = 0; i < count; i++) {
		if (regions[i].name == name) {
			*extent = regions[i].extent;
			return 0;
		}
	}
	return vhdx_damaged(diag, "region table %u at 0x%llx: %s is missing",
			    copy->number, copy->offset, name);
}

static int judge_table(const struct table_copy *copy, const struct vhdx_header *header, u64 limit,
		       struct region *list, struct vhdx_regions *regions,
		       struct vhdx_diag *diag)
{
	u32 count = le32_to_cpu(copy->table->entry_count);
	u32 i;
	int err;

	for (i = 0; i < count; i++) {
		err = decode_entry(copy, i, limit, &list[i], diag);
		if (err)
			return err;
	}
	err = check_unique(copy, list, count, diag);
	if (!err)
		err = find_known(copy, list, count, BAT_NAME, &regions->bat, diag);
	if (!err)
		err = find_known(copy, list, count, METADATA_NAME, &regions->metadata, diag);
	if (err)
		return err;

	list[count].name = HEADER_NAME;
	list[count].extent.offset = 0;
	list[count++].extent.length = VHDX_HEADER_SECTION;
	if (header->log_length) {
		list[count].name = LOG_NAME;
		list[count].extent.offset = header->log_offset;
		list[count++].extent.length = header->log_length;
	}
	err = check_disjoint(copy, list, count, diag);
	if (err)
		return err;

	for (i = 0; i < count; i++)
		regions->extents[i] = list[i].extent;
	regions->extent_count = count;
	return 0;
}

int vhdx_regions_load(struct vhdx_store *store, const struct vhdx_header *header, u64 limit,
		      struct vhdx_regions *regions, struct vhdx_diag *diag)
{
	struct table_copy copy = { 0 };
	struct region *list = NULL;
	unsigned int number;
	u32 most;
	int err;

	memset(regions, 0, sizeof(*regions));
	copy.table = vhdx_alloc(sizeof(*copy.table));
	if (!copy.table)
		return vhdx_no_memory(diag);
	err = vhdx_region_table_read(store, copy.table, &number, diag);
	if (err)
		goto out;
	copy.number = number + 1;
	copy.offset = vhdx_region_table_offset(number);

	/* The header section and the log as well. */
	most = le32_to_cpu(copy.table->entry_count) + 2;
	list = vhdx_alloc(most * sizeof(*list));
	regions->extents = vhdx_alloc(most * sizeof(*regions->extents));
	if (!list || !regions->extents)
		err = vhdx_no_memory(diag);
	else
		err = judge_table(&copy, header, limit, list, regions, diag);
	if (err) {
		vhdx_free(regions->extents);
		regions->extents = NULL;
	}
out:
	vhdx_free(list);
	vhdx_free(copy.table);
	return err;
}
