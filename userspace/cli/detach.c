// SPDX-License-Identifier: GPL-2.0-only
#include "cli.h"
#include "json.h"

static const struct cli_option options[] = {
	JSON_OPTION,
	{ 0 }
};

static int print_json(int index)
{
	struct json_object *reply = json_reply();

	json_disk(reply, index);
	return json_finish(reply);
}

static int detach(int count, char **arguments)
{
	int index;
	int err;

	(void)count;
	err = vhdx_find(arguments[0], &index);
	if (!err)
		err = vhdx_detach(arguments[0], DETACH_PATIENCE_MS);
	if (err)
		return report(err);
	return output.json ? print_json(index) : EXIT_DONE;
}

const struct command detach_command = {
	.name = "detach",
	.summary = "Close a disk cleanly and remove its device",
	.arguments = "DISK",
	.minimum = 1,
	.maximum = 1,
	.options = options,
	.run = detach,
	.notes = "A disk that is open or mounted is tried again for 5 seconds, then refused.",
};
