// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "changes.h"
#include "cli.h"
#include "json.h"

static struct {
	const char *since;
	const char *target;
	uint64_t offset;
	uint64_t length;
	uint64_t granularity;
	uint64_t min_gap;
	const char *sidecar;
	bool map;
	bool summary;
} wanted = { .length = VHDX_TO_END };

static const struct cli_option options[] = {
	{ "since", "ID", "changes since this point (needed)", OPTION_TEXT, &wanted.since },
	{ "target", "ID", "changes until this point (default: until now)",
	  OPTION_TEXT, &wanted.target },
	{ "offset", "SIZE", "where to begin (default: 0)", OPTION_BYTES, &wanted.offset },
	{ "length", "SIZE", "how much to look at (default: to the end)",
	  OPTION_BYTES, &wanted.length },
	{ "granularity", "SIZE", "what counts as changed as a whole (default: the unit)",
	  OPTION_BYTES, &wanted.granularity },
	{ "min-gap", "SIZE", "join ranges that are closer to each other",
	  OPTION_BYTES, &wanted.min_gap },
	{ "map", NULL, "draw where on the disk the changes are", OPTION_FLAG, &wanted.map },
	{ "summary", NULL, "print sums, not ranges", OPTION_FLAG, &wanted.summary },
	{ "sidecar", "FILE|BLOCKDEV", "sidecar of a file that is not attached (default: FILE.lrct)",
	  OPTION_FILE, &wanted.sidecar },
	TABLE_OPTIONS,
	{ 0 }
};

enum { OFFSET, LENGTH, COLUMN_COUNT };

static const struct column columns[COLUMN_COUNT] = {
	[OFFSET] = { "OFFSET", .right = true },
	[LENGTH] = { "LENGTH", .right = true },
};

static int keep(void *context, const struct vhdx_range *range)
{
	struct answer *answer = context;
	struct vhdx_range *longer;

	if (answer->count == answer->capacity) {
		answer->capacity = answer->capacity ? 2 * answer->capacity : 1024;
		longer = realloc(answer->ranges, answer->capacity * sizeof(*longer));
		if (!longer)
			return ENOMEM;
		answer->ranges = longer;
	}
	answer->ranges[answer->count++] = *range;
	return 0;
}

/* Scripts keep ids in files: a damaged id is no wrong usage, but needs a full backup. */
static int parse_ids(struct vhdx_changes *changes)
{
	int err = vhdx_id_parse(wanted.since, &changes->limit);

	if (!err && wanted.target)
		err = vhdx_id_parse(wanted.target, &changes->target);
	return err;
}

static int ask(const char *name, struct answer *answer)
{
	struct vhdx_disk *disk;
	int err;

	answer->changes = (struct vhdx_changes) {
		.size = sizeof(answer->changes),
		.offset = wanted.offset,
		.length = wanted.length,
		.range_size = sizeof(struct vhdx_range),
		.granularity = wanted.granularity,
		.min_gap = wanted.min_gap,
		.flags = wanted.summary ? VHDX_CHANGES_COUNT : 0,
	};
	answer->info.size = sizeof(answer->info);
	err = vhdx_disk_open(name, wanted.sidecar, 0, &disk);
	if (err)
		return err;
	err = parse_ids(&answer->changes);
	if (!err)
		err = vhdx_disk_get_info(disk, &answer->info);
	if (!err)
		err = vhdx_disk_get_changes(disk, &answer->changes,
					    wanted.summary ? NULL : keep, answer);
	vhdx_disk_close(disk);
	return err > 0 ? -err : err;
}

static int print_json(const struct answer *answer)
{
	const struct vhdx_changes *changes = &answer->changes;
	struct json_object *reply = json_reply();
	size_t i;

	json_identity(reply, answer->info.virtual_disk_id, answer->info.disk_seq);
	json_id(reply, "limit", &changes->limit);
	json_id(reply, "target", &changes->target);
	json_bytes(reply, "offset", changes->offset);
	json_bytes(reply, "length", changes->processed);
	json_bytes(reply, "processed", changes->processed);
	json_bytes(reply, "size", changes->disk_size);
	json_bytes(reply, "unit", changes->unit);
	json_flag(reply, "coarse", changes->answer_flags & VHDX_ANSWER_COARSE);
	json_flag(reply, "derived", changes->answer_flags & VHDX_ANSWER_DERIVED);
	json_bytes(reply, "changed_bytes", changes->changed_bytes);
	if (wanted.summary)
		return json_finish(reply);
	json_begin_long_list(reply, "ranges");
	for (i = 0; i < answer->count; i++)
		printf("%s{\"offset\":%llu,\"length\":%llu}", i ? "," : "",
		       answer->ranges[i].byte_offset, answer->ranges[i].byte_length);
	return json_end_long_list();
}

static int print_table(const struct answer *answer)
{
	struct table *table = table_new(columns, COLUMN_COUNT);
	const char *cells[COLUMN_COUNT];
	char offset[SIZE_TEXT];
	char length[SIZE_TEXT];
	size_t i;

	if (!table)
		return EXIT_USAGE;
	for (i = 0; i < answer->count; i++) {
		cells[OFFSET] = offset_text(answer->ranges[i].byte_offset, offset);
		cells[LENGTH] = size_text(answer->ranges[i].byte_length, length);
		table_row(table, cells);
	}
	return table_finish(table);
}

static int print_summary(const struct answer *answer)
{
	const struct vhdx_changes *changes = &answer->changes;
	char text[SIZE_TEXT];

	printf("%-12s %s\n", "Changed:", size_text(changes->changed_bytes, text));
	printf("%-12s %s\n", "Looked at:", size_text(changes->processed, text));
	printf("%-12s %s\n", "Unit:", size_text(changes->unit, text));
	return EXIT_DONE;
}

/* Only a whole answer is printed: half of one looks like a whole one to a pipe. */
static int print(const struct answer *answer)
{
	const unsigned int flags = answer->changes.answer_flags;

	if (flags & VHDX_ANSWER_COARSE && flags & VHDX_ANSWER_DERIVED)
		complain("note: all of the layer that the target is a point of counts as changed, or after a crash whole regions");
	else if (flags & VHDX_ANSWER_COARSE)
		complain("note: after a crash whole regions count as changed");
	if (output.json)
		return print_json(answer);
	if (wanted.summary)
		return print_summary(answer);
	return wanted.map ? print_map(answer) : print_table(answer);
}

static int changes(int count, char **arguments)
{
	struct answer answer = { 0 };
	int code;
	int err;

	(void)count;
	if (!wanted.since)
		return usage_error("--since ID is needed: `vhdxctl points` lists the ids");
	if (wanted.map && output.json)
		return usage_error("--map and --json exclude each other");
	if (wanted.map && wanted.summary)
		return usage_error("--map and --summary exclude each other");
	err = ask(arguments[0], &answer);
	code = err ? report_history(err) : print(&answer);
	free(answer.ranges);
	return code;
}

const struct command changes_command = {
	.name = "changes",
	.summary = "Print the byte ranges that changed since a point",
	.arguments = "DISK|FILE",
	.minimum = 1,
	.maximum = 1,
	.options = options,
	.run = changes,
	.notes = "Columns: OFFSET LENGTH, in bytes; LENGTH with a suffix on a terminal.",
};
