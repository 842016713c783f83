// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <string.h>
#include "cli.h"
#include "json.h"

static const struct cli_option options[] = {
	TABLE_OPTIONS,
	{ 0 }
};

enum {
	DISK, DEVICE, SIZE, RO, TRACKING, REASON, UNIT, IO, SCAN, SIDECAR, PARENT, CONTAINER,
	COLUMN_COUNT
};

static const struct column columns[COLUMN_COUNT] = {
	[DISK] = { "DISK", .right = true, .hidden = true },
	[DEVICE] = { "DEVICE" },
	[SIZE] = { "SIZE", .right = true },
	[RO] = { "RO", .right = true },
	[TRACKING] = { "TRACKING" },
	[REASON] = { "REASON" },
	[UNIT] = { "UNIT", .right = true, .hidden = true },
	[IO] = { "IO", .hidden = true },
	[SCAN] = { "SCAN", .hidden = true },
	[SIDECAR] = { "SIDECAR", .hidden = true, .wrap = true },
	[PARENT] = { "PARENT", .hidden = true, .wrap = true },
	[CONTAINER] = { "CONTAINER", .wrap = true },
};

#define REMOVED		" (removed)"
#define NOT_USED	" (not used)"
#define PARENT_LOST	" (parent lost)"
#define MARKED_PATH	(VHDX_PATH_TEXT + sizeof(PARENT_LOST))

/* The name may be another file's by now. */
static const char *marked(const char *path, const char *mark, char text[MARKED_PATH])
{
	if (!*path)
		return NULL;
	snprintf(text, MARKED_PATH, "%s%s", path, mark);
	return text;
}

static const char *mark_of(bool removed, const char *otherwise)
{
	return removed ? REMOVED : otherwise;
}

/**
 * struct parents - of a disk
 * @parent:	path of its own one; empty: it has none
 * @deleted:	that one was removed
 * @lost:	one of them is lost
 */
struct parents {
	char parent[VHDX_PATH_TEXT];
	bool deleted;
	bool lost;
};

static int add_parent(void *context, const struct vhdx_chain_layer *layer)
{
	struct parents *parents = context;

	if (!parents->parent[0]) {
		snprintf(parents->parent, sizeof(parents->parent), "%s", layer->path);
		parents->deleted = layer->deleted;
	}
	parents->lost = parents->lost || layer->disk_flags & VHDX_DISK_LOST;
	return 0;
}

static int find_parents(const struct vhdx_status *status, struct parents *parents)
{
	memset(parents, 0, sizeof(*parents));
	return vhdx_list_parents(status->index, sizeof(struct vhdx_chain_layer), add_parent,
				 parents);
}

static int add_row(void *context, const struct vhdx_status *status)
{
	char container[MARKED_PATH];
	char parent[MARKED_PATH];
	char sidecar[MARKED_PATH];
	const char *cells[COLUMN_COUNT];
	const char *otherwise;
	struct parents parents;
	char size[SIZE_TEXT];
	char unit[SIZE_TEXT];
	char disk[16];
	int err;

	err = find_parents(status, &parents);
	if (err)
		return err;
	snprintf(disk, sizeof(disk), "%d", status->index);
	cells[DISK] = disk;
	cells[DEVICE] = status->device;
	cells[SIZE] = size_text(status->disk_size, size);
	cells[RO] = status->read_only ? "1" : "0";
	cells[TRACKING] = tracking_name(status->tracking);
	cells[REASON] = reason_or_null(status->reason);
	cells[UNIT] = status->unit ? size_text(status->unit, unit) : NULL;
	cells[IO] = status->io;
	cells[SCAN] = status->scan;
	cells[SIDECAR] = marked(status->sidecar, mark_of(status->sidecar_deleted, ""), sidecar);
	if (!cells[SIDECAR])
		cells[SIDECAR] = marked(status->former_sidecar,
					mark_of(status->former_sidecar_deleted, NOT_USED), sidecar);
	cells[PARENT] = marked(parents.parent, mark_of(parents.deleted, ""), parent);
	otherwise = parents.lost ? PARENT_LOST : "";
	cells[CONTAINER] = marked(status->container,
				  mark_of(status->container_deleted, otherwise), container);
	table_row(context, cells);
	return 0;
}

static int add_object(void *context, const struct vhdx_status *status)
{
	struct json_object *disk;
	struct parents parents;
	int err;

	err = find_parents(status, &parents);
	if (err)
		return err;
	disk = json_object_new_object();
	json_disk(disk, status->index);
	json_identity(disk, status->virtual_disk_id, status->disk_seq);
	json_text(disk, "container", text_or_null(status->container));
	json_flag(disk, "container_deleted", status->container_deleted);
	json_text(disk, "parent", text_or_null(parents.parent));
	json_flag(disk, "parent_deleted", parents.deleted);
	json_flag(disk, "parent_lost", parents.lost);
	json_text(disk, "sidecar", text_or_null(status->sidecar));
	json_flag(disk, "sidecar_deleted", status->sidecar_deleted);
	json_text(disk, "former_sidecar", text_or_null(status->former_sidecar));
	json_flag(disk, "read_only", status->read_only);
	json_bytes(disk, "size", status->disk_size);
	json_text(disk, "tracking", tracking_name(status->tracking));
	json_reason(disk, "reason", status->reason);
	json_positive(disk, "unit", status->unit);
	json_text(disk, "io", text_or_null(status->io));
	json_text(disk, "scan", text_or_null(status->scan));
	json_object_array_add(context, disk);
	return 0;
}

static int list_json(void)
{
	struct json_object *reply = json_reply();
	int err;

	err = vhdx_list(sizeof(struct vhdx_status), add_object, json_list(reply, "list"));
	if (!err)
		return json_finish(reply);
	json_object_put(reply);
	return report(err);
}

static int list_table(void)
{
	struct table *table = table_new(columns, COLUMN_COUNT);
	int err;

	if (!table)
		return EXIT_USAGE;
	err = vhdx_list(sizeof(struct vhdx_status), add_row, table);
	if (!err)
		return table_finish(table);
	table_free(table);
	return report(err);
}

static int list(int count, char **arguments)
{
	(void)count;
	(void)arguments;
	return output.json ? list_json() : list_table();
}

const struct command list_command = {
	.name = "list",
	.summary = "List attached disks",
	.minimum = 0,
	.maximum = 0,
	.options = options,
	.run = list,
	.notes = "Columns: DISK DEVICE SIZE RO TRACKING REASON UNIT IO SCAN SIDECAR PARENT CONTAINER",
};
