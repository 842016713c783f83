// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include "cli.h"
#include "json.h"

static bool ignore_missing;

static const struct cli_option options[] = {
	{ "ignore-missing", NULL, "a point that is not there is no failure", OPTION_FLAG,
	  &ignore_missing },
	JSON_OPTION,
	{ 0 }
};

static int print_json(const struct vhdx_point_id *id)
{
	struct json_object *reply = json_reply();

	json_id(reply, "id", id);
	return json_finish(reply);
}

static int forget(int count, char **arguments)
{
	struct vhdx_point_id id;
	struct vhdx_disk *disk;
	int err;

	(void)count;
	err = vhdx_disk_open(arguments[0], NULL, VHDX_OPEN_WRITE, &disk);
	if (err)
		return report(err);
	err = vhdx_id_parse(arguments[1], &id);
	if (!err)
		err = vhdx_forget(disk, &id);
	vhdx_disk_close(disk);
	if (ignore_missing && err == -ENODATA && vhdx_error_reason() == VHDX_REASON_ID_MISSING)
		err = 0;
	if (err)
		return report(err);
	return output.json ? print_json(&id) : EXIT_DONE;
}

const struct command forget_command = {
	.name = "forget",
	.summary = "Forget a point; no change is lost for the points that remain",
	.arguments = "DISK ID",
	.minimum = 2,
	.maximum = 2,
	.options = options,
	.run = forget,
};
