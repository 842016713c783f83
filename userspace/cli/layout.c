// SPDX-License-Identifier: GPL-2.0-only
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "json.h"
#include "layout.h"

int layout_gather(struct vhdx_disk *disk, struct layout *layout)
{
	int err;

	memset(layout, 0, sizeof(*layout));
	layout->summary.size = sizeof(layout->summary);
	err = vhdx_disk_get_layout(disk, &layout->summary);
	if (!err)
		err = vhdx_disk_get_parts(disk, VHDX_PART_REGION, sizeof(*layout->regions),
					  &layout->regions, &layout->region_count);
	if (!err)
		err = vhdx_disk_get_parts(disk, VHDX_PART_ITEM, sizeof(*layout->items),
					  &layout->items, &layout->item_count);
	return err;
}

void layout_release(struct layout *layout)
{
	free(layout->regions);
	free(layout->items);
}

/* ---- Names ---- */

static const struct {
	unsigned int state;
	const char *label;
	const char *key;
} states[] = {
	{ VHDX_STATE_NOT_PRESENT, "not present", "not_present" },
	{ VHDX_STATE_UNDEFINED, "undefined", "undefined" },
	{ VHDX_STATE_ZERO, "zero", "zero" },
	{ VHDX_STATE_UNMAPPED, "unmapped", "unmapped" },
	{ VHDX_STATE_FULLY_PRESENT, "present", "present" },
	{ VHDX_STATE_PARTIALLY_PRESENT, "partially present", "partially_present" },
};

#define STATE_COUNT	(sizeof(states) / sizeof(states[0]))

static const struct {
	uint32_t flag;
	const char *label;
	const char *key;
} flags[] = {
	{ VHDX_PART_REQUIRED, "required", "required" },
	{ VHDX_PART_USER, "of a user", "user" },
	{ VHDX_PART_VIRTUAL_DISK, "of the disk", "virtual_disk" },
};

#define FLAG_COUNT	(sizeof(flags) / sizeof(flags[0]))
#define PATH_OF_WINDOWS	(VHDX_PATH_TEXT + 8)

static const char *windows_path(bool present, const char *container, const char *suffix,
				char path[PATH_OF_WINDOWS])
{
	if (!present)
		return NULL;
	snprintf(path, PATH_OF_WINDOWS, "%s%s", container, suffix);
	return path;
}

/* ---- Text ---- */

#define LINE	256

static void print_header(unsigned int number, const struct vhdx_layout_header *header)
{
	static const uint8_t none[sizeof(header->log_guid)];
	char guid[VHDX_UUID_TEXT];
	char name[32];
	char text[LINE];

	snprintf(name, sizeof(name), "Header %u:", number);
	vhdx_uuid_format(header->log_guid, guid);
	if (header->fault[0])
		snprintf(text, sizeof(text), "bad: %s", header->fault);
	else
		snprintf(text, sizeof(text), "sequence %" PRIu64 "%s%s%s", header->sequence,
			 header->current ? ", current" : "",
			 memcmp(header->log_guid, none, sizeof(none)) ? ", log " : "",
			 memcmp(header->log_guid, none, sizeof(none)) ? guid : "");
	print_field(name, text);
}

static void print_log(const struct vhdx_layout *layout)
{
	char length[SIZE_TEXT];
	char offset[SIZE_TEXT];
	char text[LINE];

	if (!layout->log_length) {
		print_field("Log region:", "none");
		return;
	}
	snprintf(text, sizeof(text), "%s bytes at %s", size_text(layout->log_length, length),
		 offset_text(layout->log_offset, offset));
	print_field("Log region:", text);
	if (!layout->log_dirty)
		return;
	snprintf(text, sizeof(text), "%" PRIu32, layout->log_entries);
	print_field("Log entries:", text);
}

static void print_part(const char *kind, const struct vhdx_part *part)
{
	char length[SIZE_TEXT];
	char offset[SIZE_TEXT];
	char guid[VHDX_UUID_TEXT];
	char text[LINE];
	size_t used;
	size_t i;

	vhdx_uuid_format(part->guid, guid);
	used = snprintf(text, sizeof(text), "%s: %s bytes at %s",
			part->name[0] ? part->name : guid, size_text(part->length, length),
			offset_text(part->offset, offset));
	if (!part->name[0])
		used += snprintf(text + used, sizeof(text) - used, ", not known");
	for (i = 0; i < FLAG_COUNT; i++)
		if (part->flags & flags[i].flag)
			used += snprintf(text + used, sizeof(text) - used, ", %s",
					 flags[i].label);
	print_field(kind, text);
}

/* "25: 17 not present, 8 present" */
static void print_blocks(const struct vhdx_layout *layout)
{
	char size[SIZE_TEXT];
	char text[LINE];
	size_t used;
	size_t i;

	used = snprintf(text, sizeof(text), "%" PRIu64, layout->block_count);
	for (i = 0; i < STATE_COUNT; i++) {
		const uint64_t count = layout->blocks[states[i].state];

		if (count)
			used += snprintf(text + used, sizeof(text) - used, "%s %" PRIu64 " %s",
					 strchr(text, ':') ? "," : ":", count, states[i].label);
	}
	print_field("Blocks:", text);
	if (layout->bad_entries) {
		snprintf(text, sizeof(text), "%" PRIu64, layout->bad_entries);
		print_field("Bad BAT entries:", text);
	}
	if (layout->bitmap_blocks) {
		snprintf(text, sizeof(text), "%" PRIu64, layout->bitmap_blocks);
		print_field("Sector bitmap blocks:", text);
	}
	print_field("Payload:", size_text(layout->payload_bytes, size));
}

void print_layout(const struct layout *layout, const char *container)
{
	const struct vhdx_layout *summary = &layout->summary;
	char path[PATH_OF_WINDOWS];
	char size[SIZE_TEXT];
	unsigned int i;

	print_field("Container size:", size_text(summary->container_size, size));
	print_field("Creator:", text_or_null(summary->creator));
	for (i = 0; i < 2; i++)
		print_header(i + 1, &summary->headers[i]);
	print_log(summary);
	for (i = 0; i < layout->region_count; i++)
		print_part("Region:", &layout->regions[i]);
	for (i = 0; i < layout->item_count; i++)
		print_part("Metadata:", &layout->items[i]);
	print_blocks(summary);
	print_field("Windows' tracking:",
		    windows_path(summary->windows_rct, container, ".rct", path));
	print_field("Windows' tracking:",
		    windows_path(summary->windows_mrt, container, ".mrt", path));
}

/* ---- JSON ---- */

static struct json_object *header_object(const struct vhdx_layout_header *header)
{
	struct json_object *object = json_object_new_object();
	const bool valid = !header->fault[0];

	json_bytes(object, "offset", header->offset);
	json_flag(object, "current", header->current);
	json_text(object, "fault", text_or_null(header->fault));
	if (valid) {
		json_bytes(object, "sequence", header->sequence);
		json_uuid(object, "file_write_guid", header->file_write_guid);
		json_uuid(object, "data_write_guid", header->data_write_guid);
		json_uuid(object, "log_guid", header->log_guid);
	} else {
		json_text(object, "sequence", NULL);
		json_text(object, "file_write_guid", NULL);
		json_text(object, "data_write_guid", NULL);
		json_text(object, "log_guid", NULL);
	}
	return object;
}

static void add_parts(struct json_object *object, const char *key, const struct vhdx_part *parts,
		      size_t count, size_t flag_count)
{
	struct json_object *list = json_list(object, key);
	struct json_object *part;
	size_t i, j;

	for (i = 0; i < count; i++) {
		part = json_object_new_object();
		json_uuid(part, "guid", parts[i].guid);
		json_text(part, "name", text_or_null(parts[i].name));
		json_bytes(part, "offset", parts[i].offset);
		json_bytes(part, "length", parts[i].length);
		for (j = 0; j < flag_count; j++)
			json_flag(part, flags[j].key, parts[i].flags & flags[j].flag);
		json_object_array_add(list, part);
	}
}

static struct json_object *blocks_object(const struct vhdx_layout *layout)
{
	struct json_object *object = json_object_new_object();
	size_t i;

	json_bytes(object, "count", layout->block_count);
	for (i = 0; i < STATE_COUNT; i++)
		json_bytes(object, states[i].key, layout->blocks[states[i].state]);
	json_bytes(object, "bad", layout->bad_entries);
	json_bytes(object, "bitmaps", layout->bitmap_blocks);
	json_bytes(object, "payload_bytes", layout->payload_bytes);
	return object;
}

void json_layout(struct json_object *object, const char *key, const struct layout *layout,
		 const char *container)
{
	const struct vhdx_layout *summary;
	struct json_object *inner;
	struct json_object *list;
	char path[PATH_OF_WINDOWS];
	unsigned int i;

	if (!layout) {
		json_text(object, key, NULL);
		return;
	}
	summary = &layout->summary;
	inner = json_object_new_object();
	json_object_object_add(object, key, inner);
	json_bytes(inner, "size", summary->container_size);
	json_text(inner, "creator", text_or_null(summary->creator));
	list = json_list(inner, "headers");
	for (i = 0; i < 2; i++)
		json_object_array_add(list, header_object(&summary->headers[i]));
	json_bytes(inner, "log_offset", summary->log_offset);
	json_bytes(inner, "log_length", summary->log_length);
	json_bytes(inner, "log_entries", summary->log_entries);
	/* Regions are neither of a user nor of the disk. */
	add_parts(inner, "regions", layout->regions, layout->region_count, 1);
	add_parts(inner, "metadata", layout->items, layout->item_count, FLAG_COUNT);
	json_object_object_add(inner, "blocks", blocks_object(summary));
	json_text(inner, "windows_rct",
		  windows_path(summary->windows_rct, container, ".rct", path));
	json_text(inner, "windows_mrt",
		  windows_path(summary->windows_mrt, container, ".mrt", path));
}
