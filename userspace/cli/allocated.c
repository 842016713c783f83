// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include "csi.h"
#include "json.h"

static struct {
	uint64_t offset;
	uint64_t length;
	uint64_t min_gap;
	bool zeroes;
} wanted = { .length = VHDX_TO_END };

static const struct cli_option options[] = {
	{ "offset", "SIZE", "where to begin (default: 0)", OPTION_BYTES, &wanted.offset },
	{ "length", "SIZE", "how much to look at (default: to the end)",
	  OPTION_BYTES, &wanted.length },
	{ "min-gap", "SIZE", "join ranges that are closer to each other",
	  OPTION_BYTES, &wanted.min_gap },
	{ "zeroes", NULL, "tell what reads as zeroes, too", OPTION_FLAG, &wanted.zeroes },
	RANGE_FORMAT_OPTIONS,
	TABLE_OPTIONS,
	{ 0 }
};

/**
 * struct found - all that a disk has
 */
struct found {
	struct vhdx_info info;
	struct vhdx_allocated question;
	struct ranges ranges;
};

static int ask(const char *name, struct found *found)
{
	struct vhdx_disk *disk;
	int err;

	found->question = (struct vhdx_allocated) {
		.size = sizeof(found->question),
		.flags = wanted.zeroes ? VHDX_ALLOCATED_ZEROES : 0,
		.offset = wanted.offset,
		.length = wanted.length,
		.min_gap = wanted.min_gap,
		.progress = progress_tell,
	};
	found->ranges.flagged = true;
	found->info.size = sizeof(found->info);
	err = vhdx_disk_open(name, NULL, 0, &disk);
	if (err)
		return err;
	err = vhdx_disk_get_info(disk, &found->info);
	if (!err)
		err = vhdx_disk_get_allocated(disk, &found->question, ranges_keep, &found->ranges);
	vhdx_disk_close(disk);
	return err == ENOMEM ? -ENOMEM : err;
}

static uint64_t sum_of(const struct ranges *ranges)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < ranges->count; i++)
		if (!(ranges->list[i].flags & VHDX_RANGE_ZERO))
			sum += ranges->list[i].byte_length;
	return sum;
}

static int print_json(const struct found *found)
{
	const struct vhdx_allocated *question = &found->question;
	struct json_object *reply = json_reply();

	json_identity(reply, found->info.virtual_disk_id, found->info.disk_seq);
	json_bytes(reply, "offset", question->offset);
	json_bytes(reply, "length", question->processed);
	json_bytes(reply, "size", question->disk_size);
	json_bytes(reply, "allocated_bytes", sum_of(&found->ranges));
	return json_ranges(reply, &found->ranges);
}

static int print(const struct found *found)
{
	if (range_format.csi)
		return csi_print(&found->ranges, found->question.disk_size);
	return output.json ? print_json(found) : print_ranges(&found->ranges, wanted.zeroes);
}

static int check_options(void)
{
	int code = take_range_format();

	if (code)
		return code;
	if (wanted.zeroes && wanted.min_gap)
		return usage_error("--zeroes and --min-gap exclude each other: there is no gap");
	if (wanted.zeroes && range_format.csi)
		return usage_error("--zeroes and --format csi exclude each other");
	return 0;
}

static int allocated(int count, char **arguments)
{
	struct found found = { 0 };
	struct extent extent;
	int code;
	int err;

	(void)count;
	code = check_options();
	if (code)
		return code;
	progress_begin("allocated", PROGRESS_PATIENCE_MS);
	err = ask(arguments[0], &found);
	progress_end();
	extent = (struct extent) { wanted.offset, wanted.length, found.question.disk_size };
	code = err ? report_ranges(err, arguments[0], &extent, false) : print(&found);
	ranges_release(&found.ranges);
	return code;
}

const struct command allocated_command = {
	.name = "allocated",
	.summary = "Print the byte ranges that a first, full backup has to copy",
	.arguments = "DISK|FILE",
	.minimum = 1,
	.maximum = 1,
	.options = options,
	.run = allocated,
	.notes = "Columns: OFFSET LENGTH ZERO, in bytes; LENGTH with a suffix on a terminal.",
};
