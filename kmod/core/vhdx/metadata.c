// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Metadata region, MS-VHDX 2.6: the table of its items, and the geometry that the
 * known ones describe.
 */
#include "private.h"

enum known {
	FILE_PARAMETERS,
	VIRTUAL_DISK_SIZE,
	VIRTUAL_DISK_ID,
	LOGICAL_SECTOR_SIZE,
	PHYSICAL_SECTOR_SIZE,
	PARENT_LOCATOR,
	KNOWN_COUNT
};

static const struct known_item {
	vhdx_guid id;
	const char *name;
	u32 length;		/* 0: varies */
} known_items[KNOWN_COUNT] = {
	[FILE_PARAMETERS] = { VHDX_ITEM_FILE_PARAMETERS, "file parameters", 8 },
	[VIRTUAL_DISK_SIZE] = { VHDX_ITEM_VIRTUAL_DISK_SIZE, "virtual disk size", 8 },
	[VIRTUAL_DISK_ID] = { VHDX_ITEM_VIRTUAL_DISK_ID, "virtual disk id", 16 },
	[LOGICAL_SECTOR_SIZE] = { VHDX_ITEM_LOGICAL_SECTOR_SIZE, "logical sector size", 4 },
	[PHYSICAL_SECTOR_SIZE] = { VHDX_ITEM_PHYSICAL_SECTOR_SIZE, "physical sector size", 4 },
	[PARENT_LOCATOR] = { VHDX_ITEM_PARENT_LOCATOR, "parent locator", 0 },
};

/* The region under examination, and where its known items lie. */
struct metadata {
	struct vhdx_store *store;
	const struct vhdx_extent *region;
	struct vhdx_diag *diag;
	struct vhdx_ondisk_metadata_table *table;
	u8 *page;
	bool found[KNOWN_COUNT];
	struct vhdx_extent items[KNOWN_COUNT];	/* in the container */
};

#define bad_item(md, id, fmt, ...)						\
	vhdx_damaged((md)->diag, "metadata item %s at 0x%llx " fmt,		\
		     known_items[id].name, (md)->items[id].offset, ##__VA_ARGS__)

static bool is_user(const struct vhdx_ondisk_metadata_entry *entry)
{
	return le32_to_cpu(entry->flags) & VHDX_METADATA_IS_USER;
}

/* A user's item may bear any GUID: it is never one of the known items. */
static int known_index(const struct vhdx_ondisk_metadata_entry *entry)
{
	int i;

	if (is_user(entry))
		return -1;
	for (i = 0; i < KNOWN_COUNT; i++)
		if (vhdx_guid_equal(&entry->item_id, &known_items[i].id))
			return i;
	return -1;
}

const char *vhdx_metadata_item_name(const struct vhdx_ondisk_metadata_entry *entry)
{
	int known = known_index(entry);

	return known < 0 ? NULL : known_items[known].name;
}

static int refuse_required(struct metadata *md, const struct vhdx_ondisk_metadata_entry *entry)
{
	static const vhdx_guid incomplete = VHDX_ITEM_INCOMPLETE_FILE;
	char guid[VHDX_GUID_TEXT];

	if (vhdx_guid_equal(&entry->item_id, &incomplete))
		return vhdx_unsupported(md->diag, "metadata table at 0x%llx: the container is marked as incomplete: the program that was creating it did not finish; create it again",
					md->region->offset);
	vhdx_guid_format(&entry->item_id, guid);
	return vhdx_unsupported(md->diag, "metadata table at 0x%llx: item %s is marked as required, but not known here: use the program that made the container",
				md->region->offset, guid);
}

static int judge_entry(struct metadata *md, unsigned int index)
{
	const struct vhdx_ondisk_metadata_entry *entry = &md->table->entries[index];
	u32 offset = le32_to_cpu(entry->offset);
	u32 length = le32_to_cpu(entry->length);
	int known = known_index(entry);
	u64 where = md->region->offset;

	if (known < 0 && le32_to_cpu(entry->flags) & VHDX_METADATA_IS_REQUIRED)
		return refuse_required(md, entry);
	if (length > VHDX_METADATA_ITEM_MAX)
		return vhdx_damaged(md->diag, "metadata table at 0x%llx, entry %u: length %u, at most 1 MiB is allowed",
				    where, index, length);
	if (!length && offset)
		return vhdx_damaged(md->diag, "metadata table at 0x%llx, entry %u: an empty item with offset 0x%x, must be 0",
				    where, index, offset);
	if (length && (offset < VHDX_TABLE_SIZE || (u64)offset + length > md->region->length))
		return vhdx_damaged(md->diag, "metadata table at 0x%llx, entry %u: %u bytes at offset 0x%x are not between the table and the region's end at 0x%llx",
				    where, index, length, offset, md->region->length);
	if (known < 0)
		return 0;
	if (known_items[known].length && length != known_items[known].length)
		return vhdx_damaged(md->diag, "metadata table at 0x%llx, entry %u: the %s has %u bytes, must have %u",
				    where, index, known_items[known].name, length,
				    known_items[known].length);
	md->found[known] = true;
	md->items[known].offset = where + offset;
	md->items[known].length = length;
	return 0;
}

static int compare_identities(const void *a, const void *b)
{
	const struct vhdx_ondisk_metadata_entry *one = a;
	const struct vhdx_ondisk_metadata_entry *other = b;
	int order = memcmp(&one->item_id, &other->item_id, sizeof(one->item_id));

	return order ? order : is_user(one) - is_user(other);
}

static int compare_offsets(const void *a, const void *b)
{
	const struct vhdx_ondisk_metadata_entry *one = a;
	const struct vhdx_ondisk_metadata_entry *other = b;
	u32 one_offset = le32_to_cpu(one->offset);
	u32 other_offset = le32_to_cpu(other->offset);

	if (one_offset != other_offset)
		return one_offset < other_offset ? -1 : 1;
	return 0;
}

/* Reorders the entries. */
static int check_unique(struct metadata *md, unsigned int count)
{
	struct vhdx_ondisk_metadata_entry *entries = md->table->entries;
	char guid[VHDX_GUID_TEXT];
	unsigned int i;

	sort(entries, count, sizeof(*entries), compare_identities, NULL);
	for (i = 1; i < count; i++) {
		if (compare_identities(&entries[i - 1], &entries[i]))
			continue;
		vhdx_guid_format(&entries[i].item_id, guid);
		return vhdx_damaged(md->diag, "metadata table at 0x%llx: item %s occurs twice",
				    md->region->offset, guid);
	}
	return 0;
}

/*
 * Reorders the entries. Offset and length were judged: nothing here can wrap, and
 * empty items, which have no offset, come first and end at 0.
 */
static int check_disjoint(struct metadata *md, unsigned int count)
{
	struct vhdx_ondisk_metadata_entry *entries = md->table->entries;
	unsigned int i;
	u32 end = 0;

	sort(entries, count, sizeof(*entries), compare_offsets, NULL);
	for (i = 0; i < count; i++) {
		u32 offset = le32_to_cpu(entries[i].offset);

		if (offset < end)
			return vhdx_damaged(md->diag, "metadata table at 0x%llx: the item at offset 0x%x begins within another one that ends at 0x%x",
					    md->region->offset, offset, end);
		end = offset + le32_to_cpu(entries[i].length);
	}
	return 0;
}

static int load_table(struct metadata *md)
{
	struct vhdx_ondisk_metadata_table *table = md->table;
	unsigned int users = 0;
	unsigned int count;
	unsigned int i;
	int err;

	err = vhdx_read(md->store, md->region->offset, table, sizeof(*table), "metadata table",
			md->diag);
	if (err)
		return err;
	if (!vhdx_has_signature(table->signature, VHDX_METADATA_SIGNATURE,
				sizeof(table->signature)))
		return vhdx_damaged(md->diag, "metadata table at 0x%llx: no signature 'metadata'",
				    md->region->offset);
	count = le16_to_cpu(table->entry_count);
	if (count > VHDX_TABLE_ENTRIES_MAX)
		return vhdx_damaged(md->diag, "metadata table at 0x%llx: %u entries, at most %u are allowed",
				    md->region->offset, count, VHDX_TABLE_ENTRIES_MAX);
	for (i = 0; i < count; i++) {
		err = judge_entry(md, i);
		if (err)
			return err;
		users += is_user(&table->entries[i]);
	}
	if (users > VHDX_METADATA_USER_ITEMS_MAX)
		return vhdx_damaged(md->diag, "metadata table at 0x%llx: %u user items, at most %u are allowed",
				    md->region->offset, users, VHDX_METADATA_USER_ITEMS_MAX);
	err = check_unique(md, count);
	if (!err)
		err = check_disjoint(md, count);
	return err;
}

/* Items lie at any byte: a short one may straddle two sectors. */
static int read_item(struct metadata *md, enum known id, void *value, size_t length)
{
	u64 offset = md->items[id].offset;
	u64 start = offset & ~511ULL;
	int err;

	if (!md->found[id])
		return vhdx_damaged(md->diag, "metadata table at 0x%llx: the %s is missing",
				    md->region->offset, known_items[id].name);
	err = vhdx_read(md->store, start, md->page, 1024, known_items[id].name, md->diag);
	if (err)
		return err;
	memcpy(value, md->page + (offset - start), length);
	return 0;
}

static int load_file_parameters(struct metadata *md, struct vhdx_geometry *geo)
{
	struct vhdx_ondisk_file_parameters parameters;
	u32 flags;
	int err;

	err = read_item(md, FILE_PARAMETERS, &parameters, sizeof(parameters));
	if (err)
		return err;
	geo->block_size = le32_to_cpu(parameters.block_size);
	if (geo->block_size < VHDX_BLOCK_SIZE_MIN || geo->block_size > VHDX_BLOCK_SIZE_MAX ||
	    !is_power_of_2(geo->block_size))
		return bad_item(md, FILE_PARAMETERS, "give a block size of %u, must be a power of two between 1 MiB and 256 MiB",
				geo->block_size);
	geo->block_shift = ilog2(geo->block_size);
	flags = le32_to_cpu(parameters.flags);
	geo->has_parent = flags & VHDX_PARAMETER_HAS_PARENT;
	geo->fixed = !geo->has_parent && flags & VHDX_PARAMETER_LEAVE_BLOCK_ALLOCATED;
	if (geo->has_parent && !md->found[PARENT_LOCATOR])
		return vhdx_damaged(md->diag, "metadata table at 0x%llx: a differencing disk without a parent locator",
				    md->region->offset);
	return 0;
}

static int load_sector_size(struct metadata *md, enum known id, u32 *size)
{
	__le32 value;
	int err;

	err = read_item(md, id, &value, sizeof(value));
	if (err)
		return err;
	*size = le32_to_cpu(value);
	if (*size != 512 && *size != 4096)
		return bad_item(md, id, "is %u, must be 512 or 4096", *size);
	return 0;
}

static int load_disk_size(struct metadata *md, struct vhdx_geometry *geo)
{
	__le64 value;
	int err;

	err = read_item(md, VIRTUAL_DISK_SIZE, &value, sizeof(value));
	if (err)
		return err;
	geo->disk_size = le64_to_cpu(value);
	if (geo->disk_size > VHDX_DISK_SIZE_MAX)
		return bad_item(md, VIRTUAL_DISK_SIZE, "is %llu, at most 64 TiB are allowed",
				geo->disk_size);
	if (geo->disk_size & (geo->logical_sector_size - 1))
		return bad_item(md, VIRTUAL_DISK_SIZE, "is %llu, not a multiple of the logical sector size %u",
				geo->disk_size, geo->logical_sector_size);
	if (!geo->disk_size)
		return vhdx_unsupported(md->diag, "metadata item %s at 0x%llx is 0: there is nothing to attach",
					known_items[VIRTUAL_DISK_SIZE].name,
					md->items[VIRTUAL_DISK_SIZE].offset);
	return 0;
}

/*
 * A differencing disk's BAT ends with the entry of its last sector bitmap block,
 * another one's with that of its last payload block (MS-VHDX 2.5).
 */
void vhdx_geometry_derive(struct vhdx_geometry *geo)
{
	u32 ratio_shift = VHDX_BITMAP_BITS_SHIFT + ilog2(geo->logical_sector_size) -
			  geo->block_shift;
	u64 chunks;

	geo->chunk_ratio = 1U << ratio_shift;
	geo->block_count = (geo->disk_size + geo->block_size - 1) >> geo->block_shift;
	chunks = (geo->block_count + geo->chunk_ratio - 1) >> ratio_shift;
	if (geo->has_parent)
		geo->bat_entry_count = chunks * (geo->chunk_ratio + 1);
	else
		geo->bat_entry_count = geo->block_count + chunks - 1;
}

static int load_items(struct metadata *md, struct vhdx_geometry *geo)
{
	int err;

	err = load_file_parameters(md, geo);
	if (!err)
		err = load_sector_size(md, LOGICAL_SECTOR_SIZE, &geo->logical_sector_size);
	if (!err)
		err = load_sector_size(md, PHYSICAL_SECTOR_SIZE, &geo->physical_sector_size);
	if (!err)
		err = load_disk_size(md, geo);
	if (!err)
		err = read_item(md, VIRTUAL_DISK_ID, &geo->disk_id, sizeof(geo->disk_id));
	return err;
}

/* It is longer than the others, and is needed in one piece. */
static int load_locator(struct metadata *md, struct vhdx_locator *locator)
{
	const struct vhdx_extent *item = &md->items[PARENT_LOCATOR];
	u64 start = item->offset & ~511ULL;
	size_t span = (item->offset + item->length + 511 - start) & ~511ULL;
	u8 *raw;
	int err;

	raw = vhdx_alloc(span ? span : 512);
	if (!raw)
		return vhdx_no_memory(md->diag);
	err = span ? vhdx_read(md->store, start, raw, span, known_items[PARENT_LOCATOR].name,
			       md->diag) : 0;
	if (!err) {
		memmove(raw, raw + (item->offset - start), item->length);
		err = vhdx_locator_parse(raw, item->length, item->offset, locator, md->diag);
	}
	vhdx_free(raw);
	return err;
}

int vhdx_metadata_load(struct vhdx_store *store, const struct vhdx_extent *region,
		       struct vhdx_geometry *geo, struct vhdx_locator *locator,
		       struct vhdx_diag *diag)
{
	struct metadata md = { .store = store, .region = region, .diag = diag };
	int err;

	md.table = vhdx_alloc(sizeof(*md.table));
	md.page = vhdx_alloc(VHDX_PAGE);
	if (!md.table || !md.page)
		err = vhdx_no_memory(diag);
	else
		err = load_table(&md);
	if (!err)
		err = load_items(&md, geo);
	if (!err)
		vhdx_geometry_derive(geo);
	if (!err && geo->has_parent)
		err = load_locator(&md, locator);
	vhdx_free(md.page);
	vhdx_free(md.table);
	return err;
}
