// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What is where in a container that is not attached.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <core/offline/census.h>
#include <core/offline/tables.h>
#include <core/utf8.h>
#include <core/vhdx/private.h>
#include "image_file.h"

/* A structure of another length than the driver's would count wrongly. */
static_assert(VHDX_STATES == VHDX_BLOCK_STATES);
static_assert(VHDX_STATE_PARTIALLY_PRESENT == VHDX_BLOCK_PARTIALLY_PRESENT);

/* Or NULL: it is attached. */
static struct image_file *image_of(struct vhdx_disk *disk, const struct container **container)
{
	clear_error();
	return disk->ops->image ? disk->ops->image(disk, container) : NULL;
}

static int refuse_attached(const struct vhdx_disk *disk)
{
	return fail(-EOPNOTSUPP, VHDX_REASON_UNSUPPORTED,
		    "%s: attached: only a container that is not can be looked into", disk->name);
}

/* What went wrong with a container, noted for the caller. */
static int failed(int err, const struct vhdx_diag *diag, const struct container *container)
{
	return fail_kernel(err, diag->reason, container->path, diag->text);
}

static void describe_header(struct vhdx_layout_header *theirs,
			    const struct vhdx_header_copy *copy, const struct vhdx_header *current)
{
	const struct vhdx_header *header = &copy->header;

	theirs->offset = vhdx_header_offset(header->slot);
	memcpy(theirs->fault, copy->fault, sizeof(theirs->fault));
	if (copy->fault[0])
		return;
	theirs->sequence = header->sequence;
	memcpy(theirs->file_write_guid, &header->file_write_guid, 16);
	memcpy(theirs->data_write_guid, &header->data_write_guid, 16);
	memcpy(theirs->log_guid, &header->log_guid, 16);
	theirs->current = header->slot == current->slot;
}

/* It may be anything, also no UTF-16; a NUL ends it. */
static void describe_creator(char text[VHDX_CREATOR_TEXT],
			     const struct vhdx_ondisk_file_identifier *identifier)
{
	const u8 *at = (const u8 *)identifier->creator;
	size_t rest = sizeof(identifier->creator);
	u32 character;
	size_t bytes;

	/* A unit of UTF-16 makes at most three bytes. */
	static_assert(3 * ARRAY_SIZE(identifier->creator) < VHDX_CREATOR_TEXT);
	for (; rest; at += bytes, rest -= bytes) {
		bytes = vhdx_utf16_decode(at, rest, &character);
		if (!bytes) {
			character = 0xfffd;
			bytes = 2;
		}
		if (!character)
			break;
		text += vhdx_utf8_encode(character, (u8 *)text);
	}
	*text = '\0';
}

static int describe_start(struct vhdx_layout *layout, struct image_file *image,
			  struct vhdx_diag *diag)
{
	struct vhdx_store *store = image_store(image);
	struct vhdx_header_copy copy;
	unsigned int slot;
	int err;
	void *buf;

	buf = vhdx_alloc(VHDX_PAGE);
	if (!buf)
		return vhdx_no_memory(diag);
	err = vhdx_read(store, 0, buf, VHDX_PAGE, "file identifier", diag);
	if (!err)
		describe_creator(layout->creator, buf);
	for (slot = 0; slot < 2 && !err; slot++) {
		err = vhdx_read(store, vhdx_header_offset(slot), buf, VHDX_HEADER_SIZE, "header",
				diag);
		if (err)
			break;
		vhdx_header_copy_decode(&copy, buf, slot);
		describe_header(&layout->headers[slot], &copy, &image->image.header);
	}
	vhdx_free(buf);
	return err;
}

static int describe_blocks(struct vhdx_layout *layout, struct image_file *image,
			   struct vhdx_diag *diag)
{
	static const vhdx_guid bat = VHDX_REGION_BAT;
	struct vhdx_census census;
	struct vhdx_tables tables;
	int err;

	err = vhdx_tables_load(&tables, image_store(image), diag);
	if (!err)
		err = vhdx_census_take(&census, image_store(image), &image->image, diag);
	if (!err) {
		layout->bat_length = vhdx_tables_find(&tables, &bat).length;
		memcpy(layout->blocks, census.blocks, sizeof(layout->blocks));
		layout->bad_entries = census.bad;
		layout->bitmap_blocks = census.bitmaps;
		layout->payload_bytes = census.payload;
	}
	vhdx_tables_release(&tables);
	return err;
}

int vhdx_disk_get_layout(struct vhdx_disk *disk, struct vhdx_layout *theirs)
{
	const struct container *container;
	struct vhdx_layout layout = { 0 };
	const struct vhdx_image *image;
	struct vhdx_diag diag = { 0 };
	struct windows_rct rct;
	struct image_file *file;
	int err;

	file = image_of(disk, &container);
	if (!file)
		return refuse_attached(disk);
	err = check_sized(theirs, VHDX_LAYOUT_SIZE_VER0, "vhdx_layout");
	if (err)
		return err;
	err = describe_start(&layout, file, &diag);
	if (!err)
		err = describe_blocks(&layout, file, &diag);
	if (err)
		return failed(err, &diag, container);

	image = &file->image;
	find_windows_rct(&rct, container);
	layout.windows_rct = rct.present[0];
	layout.windows_mrt = rct.present[1];
	layout.has_parent = image->geo.has_parent;
	layout.log_dirty = image->log.dirty;
	layout.log_entries = image->log.entry_count;
	layout.log_length = image->header.log_length;
	layout.log_offset = image->header.log_offset;
	layout.container_size = file->file.store.size;
	layout.bat_offset = image->geo.bat_offset;
	layout.bat_entries = image->geo.bat_entry_count;
	layout.block_count = image->geo.block_count;
	give_sized(theirs, &layout, sizeof(layout));
	return 0;
}

static void set_name(struct vhdx_part *part, const char *name)
{
	if (name)
		snprintf(part->name, sizeof(part->name), "%s", name);
}

static struct vhdx_part region_part(const struct vhdx_tables *tables, unsigned int index)
{
	struct vhdx_table_region region = vhdx_tables_region(tables, index);
	struct vhdx_part part = {
		.offset = region.extent.offset,
		.length = region.extent.length,
		.flags = region.required ? VHDX_PART_REQUIRED : 0,
	};

	memcpy(part.guid, &region.guid, sizeof(part.guid));
	set_name(&part, region.name);
	return part;
}

static struct vhdx_part item_part(const struct vhdx_tables *tables, unsigned int index)
{
	struct vhdx_table_item item = vhdx_tables_item(tables, index);
	struct vhdx_part part = {
		.offset = item.extent.offset,
		.length = item.extent.length,
		.flags = (item.required ? VHDX_PART_REQUIRED : 0) |
			 (item.user ? VHDX_PART_USER : 0) |
			 (item.virtual_disk ? VHDX_PART_VIRTUAL_DISK : 0),
	};

	memcpy(part.guid, &item.guid, sizeof(part.guid));
	set_name(&part, item.name);
	return part;
}

static int list_parts(const struct vhdx_tables *tables, unsigned int kind, size_t part_size,
		      struct vhdx_part **parts, size_t *count)
{
	const bool regions = kind == VHDX_PART_REGION;
	struct vhdx_part part;
	char *list;
	size_t i;

	*count = regions ? tables->region_count : tables->item_count;
	list = calloc(*count + 1, part_size);
	if (!list)
		return -ENOMEM;
	for (i = 0; i < *count; i++) {
		part = regions ? region_part(tables, i) : item_part(tables, i);
		give_element(list + i * part_size, part_size, &part, sizeof(part));
	}
	*parts = (struct vhdx_part *)list;
	return 0;
}

int vhdx_disk_get_parts(struct vhdx_disk *disk, unsigned int kind, size_t part_size,
			struct vhdx_part **parts, size_t *count)
{
	const struct container *container;
	struct vhdx_diag diag = { 0 };
	struct vhdx_tables tables;
	struct image_file *file;
	int err;

	file = image_of(disk, &container);
	if (!file)
		return refuse_attached(disk);
	err = check_sized(&part_size, VHDX_PART_SIZE_VER0, "vhdx_part");
	if (err)
		return err;
	if (kind > VHDX_PART_ITEM)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: parts of kind %u: there are regions (%u) and items (%u)",
			    disk->name, kind, VHDX_PART_REGION, VHDX_PART_ITEM);
	err = vhdx_tables_load(&tables, image_store(file), &diag);
	if (!err)
		err = list_parts(&tables, kind, part_size, parts, count);
	vhdx_tables_release(&tables);
	return err ? failed(err, &diag, container) : 0;
}
