// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <core/utf8.h>
#include "cli.h"
#include "json.h"

static struct {
	const char *label;
	bool freeze;
} wanted;

static const struct cli_option options[] = {
	{ "label", "TEXT", "up to 64 bytes to know the points by", OPTION_TEXT, &wanted.label },
	{ "freeze", NULL, "not available yet: keep the file system frozen until the copy is made",
	  OPTION_FLAG, &wanted.freeze },
	JSON_OPTION,
	{ 0 }
};

static void print_ids(const struct vhdx_point_id *ids, int count)
{
	char text[VHDX_ID_TEXT];
	int i;

	for (i = 0; i < count; i++) {
		vhdx_id_format(&ids[i], text);
		puts(text);
	}
}

static void print_json(struct vhdx_disk **disks, const struct vhdx_info *infos,
		       const struct vhdx_point_id *ids, int count)
{
	struct json_object *reply = json_reply();
	struct json_object *list = json_list(reply, "points");
	struct json_object *point;
	int i;

	for (i = 0; i < count; i++) {
		point = json_object_new_object();
		json_disk(point, vhdx_disk_index(disks[i]));
		json_identity(point, infos[i].virtual_disk_id, infos[i].disk_seq);
		json_id(point, "id", &ids[i]);
		json_object_array_add(list, point);
	}
	json_finish(reply);
}

/* The ids could not be printed: nobody could ask from these points, or forget them. */
static int take_back(struct vhdx_disk **disks, const struct vhdx_point_id *ids, int count)
{
	char text[VHDX_ID_TEXT];
	int i;

	for (i = 0; i < count; i++) {
		vhdx_id_format(&ids[i], text);
		if (vhdx_forget(disks[i], &ids[i]))
			complain("%s stays: %s", text, vhdx_error_message());
		else
			complain("%s is forgotten again", text);
	}
	return EXIT_FAILED;
}

static int open_all(char **names, struct vhdx_disk **disks, int count)
{
	int err = 0;
	int i;

	for (i = 0; i < count && !err; i++)
		err = vhdx_disk_open(names[i], NULL, VHDX_OPEN_WRITE, &disks[i]);
	return err;
}

/* Before the seal: what fails after it would hide that the points exist. */
static int identify(struct vhdx_disk **disks, struct vhdx_info *infos, int count)
{
	int err = 0;
	int i;

	for (i = 0; i < count && !err; i++) {
		infos[i].size = sizeof(infos[i]);
		err = vhdx_disk_get_info(disks[i], &infos[i]);
	}
	return err;
}

static int seal_all(char **names, struct vhdx_disk **disks, struct vhdx_info *infos,
		    struct vhdx_point_id *ids, int count)
{
	int err;

	err = open_all(names, disks, count);
	if (!err)
		err = identify(disks, infos, count);
	if (!err)
		err = vhdx_seal(disks, count, wanted.label, ids, NULL);
	if (err)
		return report_history(err);
	if (output.json)
		print_json(disks, infos, ids, count);
	else
		print_ids(ids, count);
	return output_is_lost() ? take_back(disks, ids, count) : EXIT_DONE;
}

static int seal(int count, char **arguments)
{
	struct vhdx_disk **disks;
	struct vhdx_point_id *ids;
	struct vhdx_info *infos;
	int code;
	int i;

	if (wanted.freeze)
		return usage_error("--freeze is not available yet: keep the file system frozen (`fsfreeze`) until the copy is made");
	if (wanted.label && strlen(wanted.label) > VHDX_LABEL_MAX)
		return usage_error("--label: at most %d bytes", VHDX_LABEL_MAX);
	if (wanted.label && !vhdx_label_is_valid((const u8 *)wanted.label, strlen(wanted.label)))
		return usage_error("--label: not text: it must be UTF-8 without control characters");
	disks = calloc(count, sizeof(*disks));
	infos = calloc(count, sizeof(*infos));
	ids = calloc(count, sizeof(*ids));
	if (disks && infos && ids) {
		code = seal_all(arguments, disks, infos, ids, count);
		for (i = 0; i < count; i++)
			vhdx_disk_close(disks[i]);
	} else {
		code = report(-ENOMEM);
	}
	free(ids);
	free(infos);
	free(disks);
	return code;
}

const struct command seal_command = {
	.name = "seal",
	.summary = "Seal a point on each disk at the same instant and print their ids",
	.arguments = "DISK…",
	.minimum = 1,
	.maximum = -1,
	.options = options,
	.run = seal,
};
