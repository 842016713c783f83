// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../lib/print_escaped.h"
#include "chain.h"
#include "cli.h"
#include "json.h"
#include "layout.h"

static const char *sidecar;

static const struct cli_option options[] = {
	{ "sidecar", "FILE|BLOCKDEV", "sidecar of a file that is not attached (default: FILE.lrct)",
	  OPTION_FILE, &sidecar },
	PARENT_OPTIONS,
	JSON_OPTION,
	BYTES_OPTION,
	{ 0 }
};

/**
 * struct facts - all that is known of a disk
 * @name:	of the disk; where a VHD Set was named, of the file that this says
 * @set:	the VHD Set; or NULL
 * @status:	only of an attached one
 * @is_told:	@state is known
 * @point_count: as many as `points` lists
 * @sidecar:	in use, or what a file that is not attached is asked with; or NULL
 * @active:	@name, where a set says it
 * @layout:	only of a file that is not attached
 */
struct facts {
	const char *name;
	const char *set;
	bool attached;
	struct vhdx_status status;
	struct vhdx_info info;
	struct vhdx_tracking_state state;
	bool is_told;
	size_t point_count;
	char *sidecar;
	char *active;
	struct layout layout;
	struct chain chain;
};

/* Of a file, what is wrong with the sidecar keeps nobody from the rest. */
static int gather_state(struct vhdx_disk *disk, struct facts *facts)
{
	int err = vhdx_disk_get_tracking_state(disk, &facts->state);

	facts->is_told = !err;
	if (!err || facts->attached)
		return err;
	complain("warning: %s", vhdx_error_message());
	return 0;
}

/*
 * The state counts those of the leaf alone. Where they can't be listed it is left at that: `points`
 * says why.
 */
static void count_points(struct vhdx_disk *disk, struct facts *facts)
{
	struct vhdx_point *list;

	if (vhdx_disk_get_points(disk, sizeof(*list), &list, &facts->point_count))
		facts->point_count = facts->state.point_count;
	else
		free(list);
}

static int gather_from(struct vhdx_disk *disk, struct facts *facts)
{
	int index = vhdx_disk_index(disk);
	int err = 0;

	facts->attached = index >= 0;
	if (facts->attached)
		err = vhdx_get_status(index, &facts->status);
	if (!err)
		err = vhdx_disk_get_info(disk, &facts->info);
	if (!err)
		err = gather_state(disk, facts);
	if (!err && facts->is_told && points_are_known(&facts->state))
		count_points(disk, facts);
	if (!err)
		err = vhdx_disk_get_sidecar(disk, &facts->sidecar);
	if (!err)
		err = facts->attached ? chain_gather_attached(disk, &facts->chain) :
					layout_gather(disk, &facts->layout);
	/* The status is that of a number, which may have become another disk's. */
	if (!err && facts->attached && facts->status.disk_seq != facts->info.disk_seq)
		err = -ENODEV;
	return err;
}

/*
 * What is wrong with a parent keeps nobody from the rest either; but one that is named for nothing
 * is a mistake of the user. The disk is closed: the file is read once more.
 */
static int gather_chain(struct facts *facts)
{
	int err;

	if (facts->attached)
		return 0;
	err = chain_gather(facts->name, &facts->chain);
	if (!facts->chain.count || err == -EINVAL || err == -ENOMEM)
		return err;
	if (facts->chain.fault)
		complain("warning: %s", facts->chain.fault);
	return 0;
}

static int gather(const char *name, struct facts *facts)
{
	struct vhdx_disk *disk;
	int err;

	facts->name = facts->set ? facts->active : name;
	facts->status.size = sizeof(facts->status);
	facts->info.size = sizeof(facts->info);
	facts->state.size = sizeof(facts->state);
	err = vhdx_disk_open(name, sidecar, 0, &disk);
	if (err)
		return err;
	err = gather_from(disk, facts);
	vhdx_disk_close(disk);
	return err ? err : gather_chain(facts);
}

static const char *type_name(const struct facts *facts)
{
	if (facts->info.layer_count > 1 || facts->layout.summary.has_parent)
		return "differencing";
	return facts->info.disk_flags & VHDX_DISK_FIXED ? "fixed" : "dynamic";
}

static const char *container_path(const struct facts *facts)
{
	return facts->attached ? facts->status.container : facts->name;
}

static const char *io_of(const struct facts *facts)
{
	return facts->attached ? facts->status.io : NULL;
}

static const char *scan_of(const struct facts *facts)
{
	return facts->attached && facts->status.scan[0] ? facts->status.scan : NULL;
}

static bool has(const struct facts *facts, unsigned int flag)
{
	return facts->info.disk_flags & flag;
}

static int print_json(const struct facts *facts)
{
	const struct vhdx_info *info = &facts->info;
	struct json_object *reply = json_reply();

	json_disk(reply, facts->attached ? info->index : -1);
	json_text(reply, "container", container_path(facts));
	json_flag(reply, "container_deleted", facts->status.container_deleted);
	json_text(reply, "vhd_set", facts->set);
	json_text(reply, "sidecar", facts->sidecar);
	json_flag(reply, "sidecar_deleted", facts->status.sidecar_deleted);
	json_text(reply, "former_sidecar", text_or_null(facts->status.former_sidecar));
	json_identity(reply, info->virtual_disk_id, info->disk_seq);
	json_uuid(reply, "data_write_guid", info->data_write_guid);
	json_text(reply, "type", type_name(facts));
	json_bytes(reply, "size", info->virtual_disk_size);
	json_bytes(reply, "block_size", info->block_size);
	json_bytes(reply, "logical_sector_size", info->logical_sector_size);
	json_bytes(reply, "physical_sector_size", info->physical_sector_size);
	json_flag(reply, "read_only", has(facts, VHDX_DISK_READ_ONLY));
	json_flag(reply, "log_replayed", has(facts, VHDX_DISK_REPLAYED));
	json_flag(reply, "log_unwritten", has(facts, VHDX_DISK_LOG_UNWRITTEN));
	json_flag(reply, "write_failed", has(facts, VHDX_DISK_POISONED));
	json_flag(reply, "container_lost", has(facts, VHDX_DISK_LOST));
	json_text(reply, "io", io_of(facts));
	json_text(reply, "scan", scan_of(facts));
	json_text(reply, "tracking", facts->is_told ? tracking_name(facts->state.state) : NULL);
	json_reason(reply, "reason", facts->state.gap_reason);
	if (facts->is_told && points_are_known(&facts->state))
		json_bytes(reply, "points", facts->point_count);
	else
		json_text(reply, "points", NULL);
	json_layout(reply, "file", facts->attached ? NULL : &facts->layout, facts->name);
	json_chain(reply, &facts->chain);
	return json_finish(reply);
}

void print_field(const char *name, const char *text)
{
	if (!text)
		return;
	printf("%-22s ", name);
	print_escaped(stdout, text);
	putchar('\n');
}

static void print_size(const char *name, uint64_t size)
{
	char text[SIZE_TEXT];

	print_field(name, size_text(size, text));
}

static void print_uuid(const char *name, const uint8_t *guid)
{
	char text[VHDX_UUID_TEXT];

	vhdx_uuid_format(guid, text);
	print_field(name, text);
}

/* Without writing, a log is replayed in memory, and stays what it is in the container. */
static const char *log_text(const struct facts *facts)
{
	if (has(facts, VHDX_DISK_LOG_UNWRITTEN))
		return UNWRITTEN_LOG;
	if (!has(facts, VHDX_DISK_REPLAYED))
		return "was empty";
	return facts->attached && !has(facts, VHDX_DISK_READ_ONLY) ? "was replayed" :
	       "not empty: replayed in memory only";
}

static void print_layers(const struct vhdx_info *info)
{
	if (info->layer_count > 1)
		printf("%-22s %u\n", "Layers:", info->layer_count);
}

static int print_text(const struct facts *facts)
{
	const struct vhdx_info *info = &facts->info;

	print_field("VHD Set:", facts->set);
	print_field("Device:", facts->attached ? facts->status.device : "not attached");
	print_field(facts->status.container_deleted ? "Container (removed):" : "Container:",
		    container_path(facts));
	print_field(facts->status.sidecar_deleted ? "Sidecar (removed):" : "Sidecar:",
		    facts->sidecar);
	print_field(facts->status.former_sidecar_deleted ? "Sidecar (removed):" :
		    "Sidecar (not used):", text_or_null(facts->status.former_sidecar));
	print_uuid("Virtual disk id:", info->virtual_disk_id);
	print_uuid("Data write GUID:", info->data_write_guid);
	print_field("Type:", type_name(facts));
	print_size("Size:", info->virtual_disk_size);
	print_size("Block size:", info->block_size);
	print_size("Logical sector size:", info->logical_sector_size);
	print_size("Physical sector size:", info->physical_sector_size);
	print_field("Read-only:", has(facts, VHDX_DISK_READ_ONLY) ? "yes" : "no");
	print_field("Log:", log_text(facts));
	print_field("I/O:", io_of(facts));
	print_field("Scan:", scan_of(facts));
	if (has(facts, VHDX_DISK_LOST))
		print_field("Reads, writes:",
			    "refused: somebody cut the container, or wrote over it (see the kernel log)");
	else if (has(facts, VHDX_DISK_POISONED))
		print_field("Writes:", "refused, after a commit failed (see the kernel log)");
	print_field("Tracking:", facts->is_told ? tracking_name(facts->state.state) : "unknown");
	print_field("Reason:", reason_or_null(facts->state.gap_reason));
	if (facts->is_told && points_are_known(&facts->state))
		printf("%-22s %zu\n", "Points:", facts->point_count);
	else if (facts->is_told)
		print_field("Points:", "unknown");
	if (facts->attached)
		print_layers(info);
	else
		print_layout(&facts->layout, facts->name);
	print_chain(&facts->chain);
	return EXIT_DONE;
}

static int info(int count, char **arguments)
{
	struct facts facts = { 0 };
	int code;
	int err;

	(void)count;
	err = check_named_parents();
	if (err)
		return err;
	err = vhdx_set_find_active(arguments[0], &facts.active);
	if (err > 0)
		facts.set = arguments[0];
	if (err >= 0)
		err = gather(arguments[0], &facts);
	if (err)
		code = report(err);
	else
		code = output.json ? print_json(&facts) : print_text(&facts);
	layout_release(&facts.layout);
	chain_release(&facts.chain);
	free(facts.sidecar);
	free(facts.active);
	return code;
}

const struct command info_command = {
	.name = "info",
	.summary = "Show what a disk is, attached or not",
	.arguments = "DISK|FILE",
	.minimum = 1,
	.maximum = 1,
	.options = options,
	.run = info,
};
