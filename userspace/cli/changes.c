// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "changes.h"
#include "csi.h"
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
	RANGE_FORMAT_OPTIONS,
	TABLE_OPTIONS,
	{ 0 }
};

int parse_points(const char *since, const char *target, struct vhdx_changes *changes)
{
	int err = vhdx_id_parse(since, &changes->limit);

	if (!err && target)
		err = vhdx_id_parse(target, &changes->target);
	return err;
}

/* Otherwise nobody need look for them, and ranges stay whole. */
static bool wants_zeroes(void)
{
	return output.json || (output.columns && strcasestr(output.columns, "ZERO"));
}

static int ask(const char *name, struct answer *answer)
{
	struct vhdx_disk *disk;
	int err;

	answer->changes = (struct vhdx_changes) {
		.size = sizeof(answer->changes),
		.offset = wanted.offset,
		.length = wanted.length,
		.range_size = wants_zeroes() ? sizeof(struct vhdx_range) : VHDX_RANGE_SIZE_VER0,
		.granularity = wanted.granularity,
		.min_gap = wanted.min_gap,
		.flags = wanted.summary ? VHDX_CHANGES_COUNT : 0,
		.progress = progress_tell,
	};
	answer->ranges.flagged = wants_zeroes();
	answer->info.size = sizeof(answer->info);
	err = vhdx_disk_open(name, wanted.sidecar, 0, &disk);
	if (err)
		return err;
	err = parse_points(wanted.since, wanted.target, &answer->changes);
	if (!err)
		err = vhdx_disk_get_info(disk, &answer->info);
	if (!err)
		err = vhdx_disk_get_changes(disk, &answer->changes,
					    wanted.summary ? NULL : ranges_keep, &answer->ranges);
	vhdx_disk_close(disk);
	return err == ENOMEM ? -ENOMEM : err;
}

static int print_json(const struct answer *answer)
{
	const struct vhdx_changes *changes = &answer->changes;
	struct json_object *reply = json_reply();

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
	return wanted.summary ? json_finish(reply) : json_ranges(reply, &answer->ranges);
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
	if (range_format.csi)
		return csi_print(&answer->ranges, answer->changes.disk_size);
	if (output.json)
		return print_json(answer);
	if (wanted.summary)
		return print_summary(answer);
	return wanted.map ? print_map(answer) : print_ranges(&answer->ranges, false);
}

static int check_options(void)
{
	const char *format = range_format.name ? "--format" : "--json";
	int code = take_range_format();

	if (code)
		return code;
	if (!wanted.since)
		return usage_error("--since ID is needed: `vhdxctl points` lists the ids");
	if (wanted.map && (output.json || range_format.csi))
		return usage_error("--map and %s exclude each other", format);
	if (wanted.summary && range_format.csi)
		return usage_error("--summary and --format csi exclude each other");
	if (wanted.map && wanted.summary)
		return usage_error("--map and --summary exclude each other");
	return 0;
}

static int changes(int count, char **arguments)
{
	struct answer answer = { 0 };
	struct extent extent;
	int code;
	int err;

	(void)count;
	code = check_options();
	if (code)
		return code;
	progress_begin("changes", PROGRESS_PATIENCE_MS);
	err = ask(arguments[0], &answer);
	progress_end();
	extent = (struct extent) { wanted.offset, wanted.length, answer.changes.disk_size };
	code = err ? report_ranges(err, arguments[0], &extent, true) : print(&answer);
	ranges_release(&answer.ranges);
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
	.notes = "Columns: OFFSET LENGTH ZERO, in bytes; LENGTH with a suffix on a terminal. ZERO\n"
		 "says whether a range reads as zeroes now.",
};
