// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "cli.h"
#include "json.h"
#include "monotonic.h"

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
 * struct attachment - a disk, and none that gets its number later
 * @index:	N of /dev/vhdxN
 * @disk_seq:	tells it from the others
 */
struct attachment {
	int index;
	uint64_t disk_seq;
};

/**
 * struct disks - some attached disks
 * @list:	of @count
 * @count:	how many
 */
struct disks {
	struct attachment *list;
	size_t count;
};

/**
 * struct detaching - how far it is
 * @left:	still attached
 * @gone:	detached
 * @failed:	neither: it was said; or somebody else detaches it
 * @one:	a single one is wanted, and its reply is no list
 * @failures:	with --json: what was said, an object for each that failed
 */
struct detaching {
	struct disks left;
	struct disks gone;
	struct disks failed;
	bool one;
	struct json_object *failures;
};

static bool has(const struct disks *disks, const struct attachment *disk)
{
	size_t i;

	for (i = 0; i < disks->count; i++)
		if (disks->list[i].index == disk->index &&
		    disks->list[i].disk_seq == disk->disk_seq)
			return true;
	return false;
}

static int add(struct disks *disks, const struct attachment *disk)
{
	struct attachment *longer;

	if (has(disks, disk))
		return 0;
	longer = realloc(disks->list, (disks->count + 1) * sizeof(*longer));
	if (!longer)
		return -ENOMEM;
	disks->list = longer;
	disks->list[disks->count++] = *disk;
	return 0;
}

static int add_status(void *context, const struct vhdx_status *status)
{
	struct attachment disk = { .index = status->index, .disk_seq = status->disk_seq };
	struct detaching *detaching = context;

	return has(&detaching->failed, &disk) ? 0 : add(&detaching->left, &disk);
}

/* Of a path it counts where it leads once the number's disk is known. */
static int find(const char *name, struct attachment *disk)
{
	struct vhdx_status status = { .size = sizeof(status) };
	int err;

	err = vhdx_find(name, &disk->index);
	if (!err)
		err = vhdx_get_status(disk->index, &status);
	disk->disk_seq = status.disk_seq;
	if (!err)
		err = vhdx_find(name, &disk->index);
	return err;
}

static int find_all(struct detaching *detaching, int count, char **names)
{
	struct attachment disk;
	int err = 0;
	int i;

	if (wanted.all)
		return vhdx_list(sizeof(struct vhdx_status), add_status, detaching);
	for (i = 0; i < count && !err; i++) {
		err = find(names[i], &disk);
		if (!err)
			err = add(&detaching->left, &disk);
	}
	return err;
}

/* The first parent that has no name left. */
static int note_gone(void *context, const struct vhdx_chain_layer *parent)
{
	char *gone = context;

	if (parent->unlinked && !gone[0])
		snprintf(gone, VHDX_PATH_TEXT, "%s", parent->path);
	return 0;
}

/* Whether files have a name still is asked before: afterwards there is nobody to ask. */
static int detach_once(const struct attachment *disk)
{
	struct vhdx_status status = { .size = sizeof(status) };
	char gone[VHDX_PATH_TEXT] = "";
	bool removed;
	int err;

	removed = !vhdx_get_status(disk->index, &status) && status.container_deleted &&
		  status.disk_seq == disk->disk_seq;
	vhdx_list_parents(disk->index, sizeof(struct vhdx_chain_layer), note_gone, gone);
	err = vhdx_detach_attached(disk->index, disk->disk_seq, 0);
	if (!err && vhdx_error_message()[0])
		complain("warning: %s", vhdx_error_message());
	if (!err && removed && status.container_unlinked)
		complain("warning: %s: %s had been removed, or another file renamed over it: what was on the disk is gone; next time, copy the disk before you detach it",
			 status.device, status.container);
	else if (!err && removed)
		complain("warning: %s: %s had been removed, or another file renamed over it; the file has other names, and what was on the disk is there",
			 status.device, status.container);
	if (!err && gone[0])
		complain("warning: %s: its parent %s had been removed, or another file renamed over it: unless a file of the same content is there now, it can't be attached again; next time, copy the disk before you detach it",
			 status.device, gone);
	return err;
}

/* @disk: NULL where it is none of them that failed. */
static int note_failure(struct detaching *detaching, const struct attachment *disk, int err)
{
	struct json_object *failure = output.json ? json_object_new_object() : NULL;

	if (failure)
		json_disk(failure, disk ? disk->index : -1);
	report_one_of(failure, err);
	if (failure)
		json_object_array_add(detaching->failures, failure);
	return EXIT_FAILED;
}

/* How one ended that is not busy; an exit code. */
static int sort(struct detaching *detaching, const struct attachment *disk, int err)
{
	/* Somebody else, or the last close, was faster. If its container hangs it is listed. */
	if (wanted.all && err == -ENODEV) {
		err = add(&detaching->failed, disk);
		return err ? note_failure(detaching, NULL, err) : EXIT_DONE;
	}
	if (!err) {
		err = add(&detaching->gone, disk);
		return err ? note_failure(detaching, NULL, err) : EXIT_DONE;
	}
	note_failure(detaching, disk, err);
	err = add(&detaching->failed, disk);
	return err ? note_failure(detaching, NULL, err) : EXIT_FAILED;
}

static bool is_held(const struct attachment *disk)
{
	char holder[256];

	return vhdx_is_held(disk->index, holder, sizeof(holder));
}

/* Of those that are made side by side: what became of them is told in their order. */
struct turn {
	pthread_mutex_t lock;
	pthread_cond_t passed;
	size_t number;
};

/**
 * struct attempt - to detach a disk, once
 * @detaching:	of the command
 * @turn:	when it is told what became of it
 * @number:	its place among the others
 * @disk:	which one
 * @last:	no other attempt follows
 * @held:	all that are left were held before this: where this one is still, no other follows
 * @busy:	it did not succeed, and another one follows
 * @code:	for the command
 * @threaded:	by @thread
 */
struct attempt {
	struct detaching *detaching;
	struct turn *turn;
	size_t number;
	struct attachment disk;
	bool last;
	bool held;
	bool busy;
	int code;
	bool threaded;
	pthread_t thread;
};

static void *try_once(void *context)
{
	struct attempt *attempt = context;
	struct turn *turn = attempt->turn;
	int err;

	/* What went wrong is known to this thread alone. */
	err = detach_once(&attempt->disk);
	attempt->busy = err == -EBUSY && !attempt->last &&
			!(attempt->held && is_held(&attempt->disk));
	pthread_mutex_lock(&turn->lock);
	while (turn->number != attempt->number)
		pthread_cond_wait(&turn->passed, &turn->lock);
	if (!attempt->busy)
		attempt->code = sort(attempt->detaching, &attempt->disk, err);
	turn->number++;
	pthread_cond_broadcast(&turn->passed);
	pthread_mutex_unlock(&turn->lock);
	return NULL;
}

/*
 * Tries each once, in turn; but those that are held all together, since a kernel module has seconds
 * to let go of each. Those that are busy are left, unless it is the @last time, or all were @held
 * and this one still is. Did one go?
 */
static bool try_all(struct detaching *detaching, bool last, bool held, int *code)
{
	struct turn turn = {
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.passed = PTHREAD_COND_INITIALIZER,
	};
	struct disks *left = &detaching->left;
	size_t count = left->count;
	struct attempt *attempts;
	size_t busy = 0;
	size_t i;

	attempts = calloc(count + 1, sizeof(*attempts));
	if (!attempts) {
		left->count = 0;
		*code |= note_failure(detaching, NULL, -ENOMEM);
		return false;
	}
	for (i = 0; i < count; i++) {
		attempts[i] = (struct attempt){
			.detaching = detaching,
			.turn = &turn,
			.number = i,
			.disk = left->list[i],
			.last = last,
			.held = held,
		};
		attempts[i].threaded = is_held(&left->list[i]) &&
				       !pthread_create(&attempts[i].thread, NULL, try_once,
						       &attempts[i]);
	}
	for (i = 0; i < count; i++) {
		if (!attempts[i].threaded)
			try_once(&attempts[i]);
	}
	for (i = 0; i < count; i++) {
		if (attempts[i].threaded)
			pthread_join(attempts[i].thread, NULL);
		if (attempts[i].busy)
			left->list[busy++] = attempts[i].disk;
		*code |= attempts[i].code;
	}
	free(attempts);
	left->count = busy;
	return busy < count;
}

/* Waiting for these would be in vain: they are mounted, say. */
static bool all_are_held(const struct disks *disks)
{
	size_t i;

	for (i = 0; i < disks->count; i++)
		if (!is_held(&disks->list[i]))
			return false;
	return true;
}

/*
 * As long as one goes now and then: the others may lie below it. With --all that is waited
 * for in any case: at a shutdown somebody is unmounting beside. A disk that a kernel module
 * holds is waited for by the kernel, each time that it is tried.
 */
static int detach_all(struct detaching *detaching)
{
	static const struct timespec pause = { .tv_nsec = PAUSE_MS * NS_PER_MS };
	struct disks *left = &detaching->left;
	uint64_t until = now_ns() + DETACH_PATIENCE_MS * NS_PER_MS;
	int code = EXIT_DONE;
	bool last, held;

	do {
		last = now_ns() >= until;
		held = !wanted.all && all_are_held(left);
		if (try_all(detaching, last, held, &code))
			until = now_ns() + DETACH_PATIENCE_MS * NS_PER_MS;
		/* One may have come meanwhile. */
		if (wanted.all && !last &&
		    vhdx_list(sizeof(struct vhdx_status), add_status, detaching))
			return note_failure(detaching, NULL, -ENOMEM);
		if (left->count)
			nanosleep(&pause, NULL);
	} while (left->count);
	return code;
}

static void add_list(struct json_object *reply, const struct disks *gone)
{
	struct json_object *list = json_list(reply, "list");
	struct json_object *disk;
	size_t i;

	for (i = 0; i < gone->count; i++) {
		disk = json_object_new_object();
		json_disk(disk, gone->list[i].index);
		json_object_array_add(list, disk);
	}
}

/* The first failure is where that of any command is; all of them are in a list beside it. */
static void print_json(const struct detaching *detaching)
{
	struct json_object *reply = json_reply();
	struct json_object *failures = detaching->failures;
	const bool failed = json_object_array_length(failures);
	struct json_object *first;

	if (failed) {
		first = json_object_array_get_idx(failures, 0);
		json_object_object_add(reply, "error",
				       json_object_get(json_object_object_get(first, "error")));
	}
	if (!detaching->one)
		add_list(reply, &detaching->gone);
	else if (!failed)
		json_disk(reply, detaching->gone.list[0].index);
	if (!detaching->one && failed)
		json_object_object_add(reply, "failed", json_object_get(failures));
	json_finish(reply);
}

static int detach_them(struct detaching *detaching)
{
	int code;

	detaching->one = !wanted.all && detaching->left.count == 1;
	if (output.json)
		detaching->failures = json_object_new_array();
	code = detach_all(detaching);
	if (output.json)
		print_json(detaching);
	json_object_put(detaching->failures);
	return code;
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
	code = err ? report(err) : detach_them(&detaching);
	free(detaching.left.list);
	free(detaching.gone.list);
	free(detaching.failed.list);
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
	.notes = "Where a name is that of no disk, none is detached.\n"
		 "A disk that is open is tried again for 5 seconds, then refused; one that is mounted, or\n"
		 "used by device mapper or as swap, at once.",
};
