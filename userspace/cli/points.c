// SPDX-License-Identifier: GPL-2.0-only
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "json.h"

static const char *sidecar;

static const struct cli_option options[] = {
	{ "sidecar", "FILE|BLOCKDEV", "sidecar of a file that is not attached (default: FILE.lrct)",
	  OPTION_FILE, &sidecar },
	TABLE_OPTIONS,
	{ 0 }
};

enum { ID, KIND, LAYER, SEQUENCE, TIME, CHANGED, GAP, LABEL, COLUMN_COUNT };

static const struct column columns[COLUMN_COUNT] = {
	[ID] = { "ID" },
	[KIND] = { "KIND", .spare = true },
	[LAYER] = { "LAYER", .right = true, .hidden = true },
	[SEQUENCE] = { "SEQUENCE", .right = true, .hidden = true },
	[TIME] = { "TIME", .spare = true },
	[CHANGED] = { "CHANGED", .right = true, .hidden = true },
	[GAP] = { "GAP" },
	[LABEL] = { "LABEL", .wrap = true },
};

/* With a NUL, which the label of the kernel has none of. */
static void copy_label(const struct vhdx_point *point, char label[VHDX_LABEL_MAX + 1])
{
	size_t length = point->label_length;

	if (length > VHDX_LABEL_MAX)
		length = VHDX_LABEL_MAX;
	memcpy(label, point->label, length);
	label[length] = '\0';
}

static void add_row(struct table *table, const struct vhdx_point *point)
{
	char label[VHDX_LABEL_MAX + 1];
	const char *cells[COLUMN_COUNT];
	char sequence[SIZE_TEXT];
	char id[VHDX_ID_TEXT];
	char time[TIME_TEXT];
	char changed[SIZE_TEXT];
	char layer[SIZE_TEXT];

	vhdx_id_format(&point->id, id);
	copy_label(point, label);
	snprintf(sequence, sizeof(sequence), "%" PRIu64, (uint64_t)point->id.sequence);
	cells[ID] = id;
	cells[KIND] = kind_name(point->id.kind);
	cells[SEQUENCE] = sequence;
	snprintf(layer, sizeof(layer), "%u", point->layer);
	cells[LAYER] = layer;
	/* Of a snapshot no container says when it was made. */
	cells[TIME] = point->time_ns ? time_text(point->time_ns, time) : NULL;
	cells[CHANGED] = point->changed_bytes == VHDX_BYTES_UNKNOWN ? NULL :
			 size_text(point->changed_bytes, changed);
	cells[GAP] = reason_or_null(point->gap_reason);
	cells[LABEL] = label[0] ? label : NULL;
	table_row(table, cells);
}

static int print_table(const struct vhdx_point *points, size_t count)
{
	struct table *table = table_new(columns, COLUMN_COUNT);
	size_t i;

	if (!table)
		return EXIT_USAGE;
	for (i = 0; i < count; i++)
		add_row(table, &points[i]);
	return table_finish(table);
}

static int print_json(const struct vhdx_info *info, const struct vhdx_point *points,
		      size_t count)
{
	struct json_object *reply = json_reply();
	char label[VHDX_LABEL_MAX + 1];
	struct json_object *object;
	struct json_object *list;
	char time[TIME_TEXT];
	size_t i;

	json_identity(reply, info->virtual_disk_id, info->disk_seq);
	list = json_list(reply, "points");
	for (i = 0; i < count; i++) {
		object = json_object_new_object();
		copy_label(&points[i], label);
		json_id(object, "id", &points[i].id);
		json_text(object, "kind", kind_name(points[i].id.kind));
		json_bytes(object, "sequence", points[i].id.sequence);
		json_text(object, "time", points[i].time_ns ?
			  time_text(points[i].time_ns, time) : NULL);
		json_text(object, "label", label[0] ? label : NULL);
		json_reason(object, "gap", points[i].gap_reason);
		json_bytes(object, "layer", points[i].layer);
		json_flag(object, "has_data", points[i].flags & VHDX_POINT_HAS_DATA);
		json_flag(object, "coarse", points[i].flags & VHDX_POINT_COARSE);
		json_flag(object, "derived", points[i].flags & VHDX_POINT_DERIVED);
		json_bytes(object, "size", points[i].virtual_disk_size);
		if (points[i].changed_bytes == VHDX_BYTES_UNKNOWN)
			json_text(object, "changed_bytes", NULL);
		else
			json_bytes(object, "changed_bytes", points[i].changed_bytes);
		json_object_array_add(list, object);
	}
	return json_finish(reply);
}

static int points(int count, char **arguments)
{
	struct vhdx_info info = { .size = sizeof(info) };
	struct vhdx_point *list;
	struct vhdx_disk *disk;
	size_t length;
	int err;
	int code;

	(void)count;
	err = vhdx_disk_open(arguments[0], sidecar, 0, &disk);
	if (err)
		return report(err);
	err = vhdx_disk_get_info(disk, &info);
	if (!err)
		err = vhdx_disk_get_points(disk, sizeof(*list), &list, &length);
	/* Whoever expected points in a file learns why there are none. */
	if (!err && *vhdx_error_message())
		complain("warning: %s", vhdx_error_message());
	vhdx_disk_close(disk);
	if (err)
		return report_history(err);
	code = output.json ? print_json(&info, list, length) : print_table(list, length);
	free(list);
	return code;
}

const struct command points_command = {
	.name = "points",
	.summary = "List the points of a disk, oldest first",
	.arguments = "DISK|FILE",
	.minimum = 1,
	.maximum = 1,
	.options = options,
	.run = points,
	.notes = "Columns: ID KIND LAYER SEQUENCE TIME CHANGED GAP LABEL. LAYER 0 is the leaf; GAP is\n"
		 "what keeps changes from being told across the time just before a point.",
};
