// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "chain.h"
#include "cli.h"
#include "json.h"

static struct {
	bool read_only;
	bool track;
	bool no_track;
	bool retire_rct;
	bool strict;
	bool autoclear;
	bool force;
	uint64_t unit;
	const char *sidecar;
	const char *tracking_errors;
	int index;
} wanted = { .index = VHDX_INDEX_ANY };

static const struct cli_option options[] = {
	{ "read-only", NULL, "write neither to the container nor to the sidecar",
	  OPTION_FLAG, &wanted.read_only },
	{ "track", NULL, "enable change tracking where there is none yet",
	  OPTION_FLAG, &wanted.track },
	{ "no-track", NULL, "do not resume change tracking: leaves a gap",
	  OPTION_FLAG, &wanted.no_track },
	{ "unit", "SIZE", "granularity of tracking, with --track (4K … 1M, default 16K)",
	  OPTION_SIZE, &wanted.unit },
	{ "sidecar", "FILE|BLOCKDEV", "where changes are kept (default: FILE.lrct)",
	  OPTION_FILE, &wanted.sidecar },
	{ "strict", NULL, "find out if the sidecar alone went back in time (slower)",
	  OPTION_FLAG, &wanted.strict },
	{ "tracking-errors", "continue|fail", "where changes can't be recorded: go on, or fail writes",
	  OPTION_TEXT, &wanted.tracking_errors },
	{ "retire-windows-rct", NULL, "rename Windows' FILE.rct and FILE.mrt to *.stale",
	  OPTION_FLAG, &wanted.retire_rct },
	{ "autoclear", NULL, "detach at the last close, once it was mounted or written",
	  OPTION_FLAG, &wanted.autoclear },
	PARENT_OPTIONS,
	{ "force", NULL, "write even what a file beside it was made of, which is lost then",
	  OPTION_FLAG, &wanted.force },
	{ "index", "N", "attach as /dev/vhdxN", OPTION_NUMBER, &wanted.index },
	JSON_OPTION,
	{ 0 }
};

static bool fails_writes(void)
{
	return wanted.tracking_errors && !strcmp(wanted.tracking_errors, "fail");
}

static int check_options(void)
{
	if (wanted.track && wanted.no_track)
		return usage_error("--track and --no-track exclude each other");
	if (wanted.track && wanted.read_only)
		return usage_error("--track and --read-only exclude each other: tracking writes");
	if (wanted.strict && wanted.no_track)
		return usage_error("--strict and --no-track exclude each other");
	if (wanted.tracking_errors && !fails_writes() &&
	    strcmp(wanted.tracking_errors, "continue") != 0)
		return usage_error("--tracking-errors is \"continue\" or \"fail\", not \"%s\"",
				   wanted.tracking_errors);
	if (fails_writes() && wanted.no_track)
		return usage_error("--tracking-errors=fail and --no-track exclude each other");
	if (wanted.retire_rct && wanted.read_only)
		return usage_error("--retire-windows-rct and --read-only exclude each other");
	if (wanted.force && wanted.read_only)
		return usage_error("--force and --read-only exclude each other");
	if (wanted.unit && !wanted.track)
		return usage_error("--unit is chosen when tracking is enabled: add --track");
	if (wanted.unit && check_unit(wanted.unit))
		return EXIT_USAGE;
	return check_named_parents();
}

static unsigned int flags(void)
{
	return (wanted.read_only ? VHDX_ATTACH_READ_ONLY : 0) |
	       (wanted.no_track ? VHDX_ATTACH_NO_TRACK : 0) |
	       (wanted.track ? VHDX_ATTACH_TRACK : 0) |
	       (wanted.strict ? VHDX_ATTACH_STRICT : 0) |
	       (fails_writes() ? VHDX_ATTACH_FAIL_TRACKING : 0) |
	       (wanted.retire_rct ? VHDX_ATTACH_RETIRE_RCT : 0) |
	       (wanted.force ? VHDX_ATTACH_FORCE : 0) |
	       (wanted.autoclear ? VHDX_ATTACH_AUTOCLEAR : 0);
}

static void print_json(const struct vhdx_attached *attached)
{
	struct json_object *reply = json_reply();

	json_disk(reply, attached->index);
	json_identity(reply, attached->virtual_disk_id, attached->disk_seq);
	json_reason(reply, "reason", attached->reason);
	json_text(reply, "warning", attached->warning[0] ? attached->warning : NULL);
	json_finish(reply);
}

/* The path of the sidecar that --track will make, to be freed; NULL: it makes none. */
static char *sidecar_to_make(const char *container)
{
	char *real = NULL;
	char *path = NULL;
	struct stat st;

	if (wanted.track && !vhdx_set_find_active(container, &real))
		real = realpath(container, NULL);
	if (real && wanted.sidecar)
		path = strdup(wanted.sidecar);
	else if (real && asprintf(&path, "%s.lrct", real) < 0)
		path = NULL;
	free(real);
	if (!path || lstat(path, &st))
		return path;
	free(path);
	return NULL;
}

/*
 * The device's name could not be printed: whoever attaches could not detach it. A sidecar that
 * was @made for it goes, too, unless somebody attached the container again meanwhile.
 */
static int take_back(const struct vhdx_attached *attached, const char *container, const char *made)
{
	int index;
	int err;

	err = vhdx_detach(attached->device, DETACH_PATIENCE_MS);
	if (err)
		return report(err);
	if (made && vhdx_find(container, &index) == -ENODEV)
		unlink(made);
	complain("%s is detached again", attached->device);
	return EXIT_FAILED;
}

static int attach(int count, char **arguments)
{
	struct vhdx_attached attached = { .size = sizeof(attached) };
	struct vhdx_attach_options how;
	char *to_make;
	int err;

	(void)count;
	err = check_options();
	if (err)
		return err;
	how = (struct vhdx_attach_options) {
		.size = sizeof(how),
		.sidecar = wanted.sidecar,
		.flags = flags(),
		.index = wanted.index,
		.unit = wanted.unit,
		.parents = named_parents.parents,
		.path_maps = named_parents.path_maps,
	};
	to_make = sidecar_to_make(arguments[0]);
	err = vhdx_attach(arguments[0], &how, &attached);
	if (err) {
		free(to_make);
		return report(err);
	}
	if (attached.warning[0])
		complain("warning: %s", attached.warning);
	if (output.json)
		print_json(&attached);
	else
		puts(attached.device);
	err = output_is_lost() ? take_back(&attached, arguments[0], to_make) : EXIT_DONE;
	free(to_make);
	return err;
}

const struct command attach_command = {
	.name = "attach",
	.summary = "Attach a VHDX as a block device and print its path",
	.arguments = "FILE|BLOCKDEV",
	.minimum = 1,
	.maximum = 1,
	.options = options,
	.run = attach,
	.notes = "Of a VHD Set (.vhds), the file is attached that its disk is in.",
};
