// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "cli.h"
#include "json.h"

/* udev looks into a disk that was just attached or written. */
#define PATIENCE_MS	5000
#define PAUSE_MS	50

static struct {
	bool all;
} wanted;

static const struct cli_option options[] = {
	{ "all", NULL, "detach all disks, whatever lies on which", OPTION_FLAG, &wanted.all },
	JSON_OPTION,
	{ 0 }
};

/**
 * struct disks - some attached disks
 * @index:	N of /dev/vhdxN of each
 * @count:	how many
 */
struct disks {
	int *index;
	size_t count;
};

/**
 * struct detaching - how far it is
 * @left:	still attached
 * @gone:	detached
 * @failed:	neither: it was said
 */
struct detaching {
	struct disks left;
	struct disks gone;
	struct disks failed;
};

static bool has(const struct disks *disks, int index)
{
	size_t i;

	for (i = 0; i < disks->count; i++)
		if (disks->index[i] == index)
			return true;
	return false;
}

static int add(struct disks *disks, int index)
{
	int *longer;

	if (has(disks, index))
		return 0;
	longer = realloc(disks->index, (disks->count + 1) * sizeof(*longer));
	if (!longer)
		return -ENOMEM;
	disks->index = longer;
	disks->index[disks->count++] = index;
	return 0;
}

static int add_status(void *context, const struct vhdx_status *status)
{
	struct detaching *detaching = context;

	return has(&detaching->failed, status->index) ? 0 : add(&detaching->left, status->index);
}

static int find_all(struct detaching *detaching, int count, char **names)
{
	int index;
	int err = 0;
	int i;

	if (wanted.all)
		return vhdx_list(sizeof(struct vhdx_status), add_status, detaching);
	for (i = 0; i < count && !err; i++) {
		err = vhdx_find(names[i], &index);
		if (!err)
			err = add(&detaching->left, index);
	}
	return err;
}

static int detach_once(int index)
{
	char name[16];

	snprintf(name, sizeof(name), "vhdx%d", index);
	return vhdx_detach(name, 0);
}

/* How one ended that is not busy; an exit code. */
static int sort(struct detaching *detaching, int index, int err)
{
	/* Somebody else, or the last close, was faster. */
	if (wanted.all && err == -ENODEV)
		return EXIT_DONE;
	if (!err) {
		err = add(&detaching->gone, index);
		return err ? report(err) : EXIT_DONE;
	}
	if (add(&detaching->failed, index))
		complain("out of memory");
	report(err);
	return EXIT_FAILED;
}

/* Tries each once; those that are busy are left. Did one go? */
static bool try_all(struct detaching *detaching, int *code)
{
	struct disks *left = &detaching->left;
	size_t count = left->count;
	size_t busy = 0;
	size_t i;
	int err;

	for (i = 0; i < count; i++) {
		err = detach_once(left->index[i]);
		if (err == -EBUSY)
			left->index[busy++] = left->index[i];
		else
			*code |= sort(detaching, left->index[i], err);
	}
	left->count = busy;
	return busy < count;
}

/* As long as one goes now and then: the others may lie below it. */
static int detach_all(struct detaching *detaching)
{
	static const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
	struct disks *left = &detaching->left;
	int patience = PATIENCE_MS;
	int code = EXIT_DONE;
	size_t i;

	for (;;) {
		if (try_all(detaching, &code))
			patience = PATIENCE_MS;
		/* One may have come meanwhile. */
		if (wanted.all && vhdx_list(sizeof(struct vhdx_status), add_status, detaching))
			return report(-ENOMEM);
		if (!left->count || patience <= 0)
			break;
		nanosleep(&pause, NULL);
		patience -= PAUSE_MS;
	}
	for (i = 0; i < left->count; i++)
		code |= sort(detaching, left->index[i], detach_once(left->index[i]));
	return code;
}

static int print_json(const struct disks *gone)
{
	struct json_object *reply = json_reply();
	struct json_object *list;
	struct json_object *disk;
	size_t i;

	if (!wanted.all && gone->count == 1) {
		json_bytes(reply, "disk", gone->index[0]);
		return json_finish(reply);
	}
	list = json_list(reply, "list");
	for (i = 0; i < gone->count; i++) {
		disk = json_object_new_object();
		json_bytes(disk, "disk", gone->index[i]);
		json_object_array_add(list, disk);
	}
	return json_finish(reply);
}

static int detach(int count, char **arguments)
{
	struct detaching detaching = { 0 };
	int code;
	int err;

	if (wanted.all && count)
		return usage_error("detach: \"%s\" is in vain beside --all", arguments[0]);
	if (!wanted.all && !count)
		return usage_error("detach: too few arguments: want DISK… or --all");
	err = find_all(&detaching, count, arguments);
	code = err ? report(err) : detach_all(&detaching);
	if (!code && output.json)
		code = print_json(&detaching.gone);
	free(detaching.left.index);
	free(detaching.gone.index);
	free(detaching.failed.index);
	return code;
}

const struct command detach_command = {
	.name = "detach",
	.summary = "Close disks cleanly and remove their devices",
	.arguments = "DISK… | --all",
	.minimum = 0,
	.maximum = -1,
	.options = options,
	.run = detach,
	.notes = "A disk that is open or mounted is tried again for 5 seconds, then refused.",
};
