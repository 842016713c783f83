// SPDX-License-Identifier: GPL-2.0-only
/*
 * Is a delta whole? An old image, with what the delta names copied into it, has to be the disk: so
 * whatever the delta does not name has to be as it was.
 */
#include <errno.h>
#include <stdio.h>
#include "changes.h"
#include "compare.h"
#include "json.h"

static struct {
	const char *base;
	const char *since;
	const char *target;
	const char *sidecar;
} wanted;

static const struct cli_option options[] = {
	{ "base", "RAW", "raw image of the disk as it was at the point (needed)",
	  OPTION_FILE, &wanted.base },
	{ "since", "ID", "the point (needed)", OPTION_TEXT, &wanted.since },
	{ "target", "ID", "changes until this point, after which nothing was written",
	  OPTION_TEXT, &wanted.target },
	{ "sidecar", "FILE|BLOCKDEV", "sidecar of a file that is not attached (default: FILE.lrct)",
	  OPTION_FILE, &wanted.sidecar },
	JSON_OPTION,
	BYTES_OPTION,
	{ 0 }
};

/**
 * struct verification - of what is told as changed
 * @comparison:	with the image, of all else; what differs there is missed
 */
struct verification {
	struct vhdx_info info;
	struct vhdx_changes delta;
	struct ranges changed;
	struct comparison comparison;
};

static int ask(struct verification *verification, struct ranges *changed)
{
	struct vhdx_changes *delta = &verification->delta;
	int err;

	*delta = (struct vhdx_changes) {
		.size = sizeof(*delta),
		.length = VHDX_TO_END,
		.range_size = VHDX_RANGE_SIZE_VER0,
		.progress = progress_tell,
	};
	err = parse_points(wanted.since, wanted.target, delta);
	if (!err)
		err = vhdx_disk_get_changes(verification->comparison.disk, delta, ranges_keep,
					    changed);
	return err == ENOMEM ? no_memory(&verification->comparison) : err;
}

/* What was written while it was compared is told by now. */
static int look_again(struct verification *verification)
{
	struct comparison *comparison = &verification->comparison;
	struct ranges changed = { 0 };
	int err;

	if (!comparison->different.count || wanted.target)
		return 0;
	err = ask(verification, &changed);
	if (!err && ranges_subtract(&comparison->different, &changed))
		err = no_memory(comparison);
	ranges_release(&changed);
	return err;
}

static int verify_disk(struct verification *verification)
{
	int err;

	progress_begin("verify", PROGRESS_PATIENCE_MS);
	err = ask(verification, &verification->changed);
	if (!err)
		err = compare(&verification->comparison, &verification->changed);
	if (!err)
		err = look_again(verification);
	progress_end();
	return err;
}

static int print_json(const struct verification *verification)
{
	const struct ranges *missed = &verification->comparison.different;
	struct json_object *reply = json_reply();

	json_identity(reply, verification->info.virtual_disk_id, verification->info.disk_seq);
	json_id(reply, "limit", &verification->delta.limit);
	json_id(reply, "target", &verification->delta.target);
	json_bytes(reply, "size", verification->info.virtual_disk_size);
	json_bytes(reply, "changed_bytes", verification->delta.changed_bytes);
	json_bytes(reply, "compared_bytes", verification->comparison.compared);
	json_flag(reply, "complete", !missed->count);
	return json_ranges(reply, missed);
}

static int print_complete(const struct verification *verification)
{
	char changed[SIZE_TEXT];
	char compared[SIZE_TEXT];

	printf("complete: %s may have changed, and the other %s are as they were\n",
	       size_text(verification->delta.changed_bytes, changed),
	       size_text(verification->comparison.compared, compared));
	return EXIT_DONE;
}

static int tell(const struct verification *verification, const char *name)
{
	const struct ranges *missed = &verification->comparison.different;

	if (missed->count)
		complain("%s: at offset %llu it differs from %s, and the changes since %s have nothing there%s",
			 name, missed->list[0].byte_offset, wanted.base, wanted.since,
			 missed->count > 1 ? "; there is more" : "");
	if (output.json)
		print_json(verification);
	else if (missed->count)
		print_ranges(missed, false);
	else
		print_complete(verification);
	return missed->count ? EXIT_FAILED : EXIT_DONE;
}

static int report_failure(const struct verification *verification, const char *name, int err)
{
	const char *fault = verification->comparison.fault;

	if (err == PROGRESS_ENDED)
		return progress_report_end(name, "not all of it was looked at");
	if (*fault)
		return report_own(-err, err == -EINVAL ? VHDX_REASON_ARGUMENT : VHDX_REASON_NONE,
				  fault);
	return report_history(err);
}

static int verify(int count, char **arguments)
{
	struct verification verification = {
		.info = { .size = sizeof(verification.info) },
		.comparison = { .fd = -1 },
	};
	struct vhdx_disk *disk;
	int code;
	int err;

	(void)count;
	if (!wanted.base)
		return usage_error("--base RAW is needed: an image of the disk as it was");
	if (!wanted.since)
		return usage_error("--since ID is needed: `vhdxctl points` lists the ids");
	err = vhdx_disk_open(arguments[0], wanted.sidecar, 0, &disk);
	if (err)
		return report(err);
	err = vhdx_disk_get_info(disk, &verification.info);
	if (!err)
		err = open_image(&verification.comparison, wanted.base, disk,
				 verification.info.virtual_disk_size);
	if (!err)
		err = verify_disk(&verification);
	code = err ? report_failure(&verification, arguments[0], err) :
		     tell(&verification, arguments[0]);
	close_image(&verification.comparison);
	vhdx_disk_close(disk);
	ranges_release(&verification.changed);
	return code;
}

const struct command verify_command = {
	.name = "verify",
	.summary = "See that all that differs from an old image is told as changed",
	.arguments = "DISK|FILE",
	.minimum = 1,
	.maximum = 1,
	.options = options,
	.run = verify,
	.notes = "Prints the ranges that differ and are not told of: exit status 1.",
};
