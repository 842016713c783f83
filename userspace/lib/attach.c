// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Attaching: everything that can be found wrong without the driver is found before
 * anything is renamed, and everything before anything is written.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "image_file.h"
#include "internal.h"

#define KERNEL_FLAGS	(VHDX_ATTACH_READ_ONLY | VHDX_ATTACH_NO_TRACK | \
			 VHDX_ATTACH_FAIL_TRACKING | VHDX_ATTACH_STRICT | VHDX_ATTACH_AUTOCLEAR)
#define KNOWN_FLAGS	(KERNEL_FLAGS | VHDX_ATTACH_TRACK | VHDX_ATTACH_RETIRE_RCT | \
			 VHDX_ATTACH_FORCE)
#define UNDO_TIMEOUT_MS	5000

/**
 * struct attaching - an attach under way
 * @parents:	of a differencing disk
 * @unwritten:	of the container and its parents, the first with a log that was never begun; NULL:
 *		none
 * @sidecar_fd:	-1: none, or none that can be opened
 * @file_write_guid: as it was before; it changes before anything else is written
 * @info:	of the disk, once it is attached
 */
struct attaching {
	const struct vhdx_attach_options *options;
	struct vhdx_attached *attached;
	struct container container;
	struct parents parents;
	char *unwritten;
	struct windows_rct rct;
	vhdx_guid file_write_guid;
	struct vhdx_info info;
	int control;
	int sidecar_fd;
};

static bool wants(const struct attaching *attaching, unsigned int flag)
{
	return attaching->options->flags & flag;
}

static int check_options(const char *path, const struct vhdx_attach_options *options)
{
	const unsigned int flags = options->flags;
	const char *what = NULL;

	if (flags & ~KNOWN_FLAGS)
		what = "unknown flags";
	else if (flags & VHDX_ATTACH_TRACK && flags & VHDX_ATTACH_NO_TRACK)
		what = "to track and not to track exclude each other";
	else if (flags & VHDX_ATTACH_STRICT && flags & VHDX_ATTACH_NO_TRACK)
		what = "strict tracking and not to track exclude each other";
	else if (flags & VHDX_ATTACH_FAIL_TRACKING && flags & VHDX_ATTACH_NO_TRACK)
		what = "to fail untracked writes and not to track exclude each other";
	else if (flags & VHDX_ATTACH_TRACK && flags & VHDX_ATTACH_READ_ONLY)
		what = "tracking cannot be enabled on a read-only disk";
	else if (options->unit && !(flags & VHDX_ATTACH_TRACK))
		what = "a unit is chosen when tracking is enabled, not later";
	return what ? fail(-EINVAL, VHDX_REASON_ARGUMENT, "%s: %s", path, what) : 0;
}

static void warn(struct attaching *attaching, const char *text)
{
	struct vhdx_attached *attached = attaching->attached;
	const size_t length = strlen(attached->warning);

	snprintf(attached->warning + length, sizeof(attached->warning) - length, "%s%s",
		 length ? "; " : "", text);
}

static const char *subject(const struct attaching *attaching, const char *text)
{
	return subject_of(text, attaching->options->sidecar, attaching->container.path);
}

/* As an error of the container, or of its sidecar, would be worded. */
static void warn_of(struct attaching *attaching, unsigned int reason, const char *text)
{
	fail_kernel(0, reason, subject(attaching, text), text);
	warn(attaching, vhdx_error_message());
}

/* What is wrong with the sidecar was noted, and what that means for the disk is this. */
static void warn_of_none(struct attaching *attaching)
{
	fail(0, vhdx_error_reason(), "%s: attached without a sidecar, so changes are not tracked",
	     vhdx_error_message());
	warn(attaching, vhdx_error_message());
}

/* The driver would refuse the whole attach; its claims are not for us to see. */
static int refuse_used_sidecar(const char *path, int fd, bool write)
{
	struct vhdx_status status = { .size = sizeof(status) };
	struct stat st;
	int index;

	if (fstat(fd, &st) || find_by_sidecar(&st, write, &index) ||
	    vhdx_get_status(index, &status))
		return 0;
	return fail(-EBUSY, VHDX_REASON_IN_USE,
		    "%s: in use, as the sidecar of %s, whose container is %s%s: detach that disk, or name another sidecar (--sidecar)",
		    path, status.device, status.container,
		    status.container_deleted ? " (removed)" : "");
}

static int open_free_sidecar(const char *path, const char *given, bool write)
{
	int fd = open_sidecar(path, given, write);
	int err;

	if (fd < 0)
		return fd;
	if (is_blank_sidecar(fd))
		err = fail(-ENOENT, VHDX_REASON_NONE,
			   "%s: empty: tracking was never enabled in it", path);
	else
		err = refuse_used_sidecar(path, fd, write);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* One that lies beside a parent, and was named for the leaf, is the leaf's. */
static void take_from_parents(struct attaching *attaching)
{
	const struct parents *parents = &attaching->parents;
	struct stat ours, theirs;
	size_t i;

	if (fstat(attaching->sidecar_fd, &ours))
		return;
	for (i = 0; i < parents->count; i++) {
		if (parents->sidecars[i] < 0 || fstat(parents->sidecars[i], &theirs) ||
		    ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino)
			continue;
		close(parents->sidecars[i]);
		parents->sidecars[i] = -ENOENT;
	}
}

/*
 * Whatever is wrong with a sidecar, the disk is attached: the gap tells of it later. An
 * error is only that nobody said where to make one, that tracking was asked for, or that
 * the one that was named is another disk's.
 */
static int find_sidecar(struct attaching *attaching)
{
	const char *given = attaching->options->sidecar;
	char *path;
	int err;
	int fd;

	if (!given && is_block(&attaching->container) && !wants(attaching, VHDX_ATTACH_TRACK))
		return 0;
	err = sidecar_path(&attaching->container, given, &path);
	if (err)
		return err;
	fd = open_free_sidecar(path, given, attaching->container.write);
	free(path);
	if (fd >= 0) {
		attaching->sidecar_fd = fd;
		take_from_parents(attaching);
	} else if ((fd != -ENOENT && (wants(attaching, VHDX_ATTACH_TRACK) ||
				      wants(attaching, VHDX_ATTACH_FAIL_TRACKING))) ||
		   (fd == -EBUSY && given)) {
		return fd;
	} else if ((fd != -ENOENT && fd != -ENAMETOOLONG) ||
		   (given && !wants(attaching, VHDX_ATTACH_TRACK))) {
		warn_of_none(attaching);
	}
	return 0;
}

/* Where writes are to fail rather than go unrecorded, there is something to record them in. */
static int refuse_untracked(const struct attaching *attaching)
{
	const char *given = attaching->options->sidecar;

	if (attaching->sidecar_fd >= 0 || !attaching->container.write ||
	    !wants(attaching, VHDX_ATTACH_FAIL_TRACKING) || wants(attaching, VHDX_ATTACH_TRACK))
		return 0;
	if (given)
		return fail(-ENOENT, VHDX_REASON_NONE,
			    "%s: no sidecar that tracking was enabled in, and writes are to fail where they can't be recorded: name the right one (--sidecar), or begin one (--track)",
			    given);
	return fail(-ENOENT, VHDX_REASON_NONE,
		    "%s: it has no sidecar beside it, and writes are to fail where they can't be recorded: begin one (--track), or name it where it lies elsewhere (--sidecar)",
		    attaching->container.path);
}

/* The leaf is attached for writing: is it one, and not somebody's parent? */
static int check_leaf(struct attaching *attaching, const struct image_file *image)
{
	if (!attaching->container.write || wants(attaching, VHDX_ATTACH_FORCE) ||
	    is_block(&attaching->container))
		return 0;
	return refuse_with_children(&attaching->container, image);
}

static int note_layer(void *context, const struct container *container,
		      const struct image_file *image)
{
	struct attaching *attaching = context;

	if (!image->image.log.unwritten || attaching->unwritten)
		return 0;
	attaching->unwritten = strdup(container->path);
	return attaching->unwritten ? 0 : fail_errno(-ENOMEM, "%s", container->path);
}

/* What is wrong with the leaf itself is for the driver to say: it reads the same. */
static int find_chain(struct attaching *attaching)
{
	const struct vhdx_chain_options options = {
		.size = sizeof(options),
		.parents = attaching->options->parents,
		.path_maps = attaching->options->path_maps,
	};
	struct image_file image;
	int err;

	if (open_image(&image, &attaching->container)) {
		clear_error();
		err = 0;
	} else {
		err = check_leaf(attaching, &image);
		if (!err)
			err = open_parents_with_sidecars(&attaching->parents,
							 &attaching->container, &image,
							 &options, note_layer, attaching);
	}
	close_image(&image);
	return err;
}

static int read_file_write_guid(const struct attaching *attaching, vhdx_guid *guid)
{
	struct image_file image;
	int err;

	err = open_image(&image, &attaching->container);
	if (!err)
		*guid = image.image.header.file_write_guid;
	close_image(&image);
	return err;
}

/* With the files of Windows aside, only what the driver alone can see is left to go wrong. */
static int settle_windows_rct(struct attaching *attaching)
{
	int err;

	if (!attaching->container.write)
		return 0;
	find_windows_rct(&attaching->rct, &attaching->container);
	if (!wants(attaching, VHDX_ATTACH_RETIRE_RCT))
		return refuse_windows_rct(&attaching->rct, &attaching->container);
	if (!attaching->rct.present[0] && !attaching->rct.present[1])
		return 0;
	err = read_file_write_guid(attaching, &attaching->file_write_guid);
	return err ? err : retire_windows_rct(&attaching->rct, &attaching->container);
}

/* A refused attach leaves things as they were, provided that nothing was written. */
static void unsettle_windows_rct(struct attaching *attaching)
{
	vhdx_guid now;

	if (!read_file_write_guid(attaching, &now) &&
	    vhdx_guid_equal(&now, &attaching->file_write_guid))
		restore_windows_rct(&attaching->rct, &attaching->container);
}

/* Leaf first. Sidecars of parents are read for what they tell of the past. Returns how many. */
static unsigned int list_layers(const struct attaching *attaching,
				struct vhdx_layer layers[VHDX_LAYERS_MAX])
{
	const struct parents *parents = &attaching->parents;
	size_t i;

	layers[0] = (struct vhdx_layer) {
		.container_fd = attaching->container.fd,
		.sidecar_fd = attaching->sidecar_fd,
	};
	for (i = 0; i < parents->count; i++)
		layers[1 + i] = (struct vhdx_layer) {
			.container_fd = parents->layers[i].fd,
			.sidecar_fd = max(parents->sidecars[i], -1),
		};
	return 1 + parents->count;
}

/* What tracking is begun in comes later. */
static unsigned int kernel_flags(unsigned int flags)
{
	return (flags & KERNEL_FLAGS) |
	       (flags & VHDX_ATTACH_FAIL_TRACKING && flags & VHDX_ATTACH_TRACK ?
		VHDX_ATTACH_WILL_TRACK : 0);
}

static int call_attach(struct attaching *attaching)
{
	char message[MESSAGE_SIZE];
	struct vhdx_layer layers[VHDX_LAYERS_MAX];
	struct vhdx_attach attach = {
		.size = sizeof(attach),
		.flags = kernel_flags(attaching->options->flags),
		.layers = (uintptr_t)layers,
		.layer_count = list_layers(attaching, layers),
		.layer_size = sizeof(layers[0]),
		.index = attaching->options->index,
	};
	int err;

	err = request(attaching->control, attaching->container.path, VHDX_ATTACH, &attach, message);
	if (err == -EPERM)
		return fail(err, attach.reason, "%s: attaching needs root (CAP_SYS_ADMIN)",
			    attaching->container.path);
	if (err)
		return fail_kernel(err, attach.reason, subject(attaching, message), message);

	attaching->attached->index = attach.index;
	attaching->attached->reason = attach.reason;
	attaching->attached->disk_seq = attach.disk_seq;
	device_name(attach.index, attaching->attached->device,
		    sizeof(attaching->attached->device));
	if (message[0])
		warn_of(attaching, attach.reason, message);
	return 0;
}

/*
 * The nodes are there when the ioctl returns; udev may still be busy with its own. Leaves
 * the change-tracking device open: whatever follows is said to this disk and to no other.
 */
static int open_nodes(struct attaching *attaching, bool write, struct vhdx_disk **disk)
{
	struct vhdx_attached *attached = attaching->attached;
	struct vhdx_info *info = &attaching->info;
	int err;
	int fd;

	fd = open_node("", attached->index, O_RDONLY);
	if (fd < 0)
		return fd;
	close(fd);
	err = open_device(attached->index, attached->disk_seq, write, disk);
	if (err)
		return err;
	info->size = sizeof(*info);
	err = vhdx_disk_get_info(*disk, info);
	if (!err)
		memcpy(attached->virtual_disk_id, info->virtual_disk_id,
		       sizeof(attached->virtual_disk_id));
	return err;
}

static int enable_on(struct attaching *attaching, struct vhdx_disk *disk, bool in_new)
{
	const struct vhdx_attach_options *options = attaching->options;
	struct vhdx_attached *attached = attaching->attached;
	int err;

	err = vhdx_tracking_enable(disk, in_new ? options->sidecar : NULL,
				   in_new ? options->unit : 0, NULL);
	if (!err) {
		attached->reason = VHDX_REASON_NONE;
		attached->warning[0] = '\0';
	}
	return err;
}

/*
 * What a sidecar holds that the driver could not use is the administrator's to give up.
 * Refused before the first write: the container still is what it was.
 */
static int refuse_unusable_sidecar(struct attaching *attaching, struct vhdx_disk *disk)
{
	const struct vhdx_attached *attached = attaching->attached;
	const char *given = attaching->options->sidecar;
	char *path;
	int err;

	if (attaching->sidecar_fd < 0)
		return 0;
	/* A reset would refuse it, too. */
	err = sidecar_path(&attaching->container, given, &path);
	if (err)
		return err;
	err = refuse_to_overwrite(attaching->sidecar_fd, path, given, disk, &attaching->info);
	free(path);
	if (err)
		return err;
	if (!attached->warning[0])
		warn_of(attaching, attached->reason, NULL);
	/* Where the words have the way out already, a second one would only confuse. */
	if (strstr(attached->warning, "track reset"))
		return fail(-EEXIST, attached->reason, "%s", attached->warning);
	return fail(-EEXIST, attached->reason,
		    "%s; to give its points up, attach without tracking and run `vhdxctl track reset`, then make a full backup",
		    attached->warning);
}

static int enable_tracking(struct attaching *attaching, struct vhdx_disk *disk)
{
	struct vhdx_tracking_state state = { .size = sizeof(state) };
	int err;

	err = vhdx_disk_get_tracking_state(disk, &state);
	if (!err && state.state == VHDX_TRACKING_OFF)
		err = refuse_unusable_sidecar(attaching, disk);
	if (!err && state.state != VHDX_TRACKING_ON)
		err = enable_on(attaching, disk, state.state == VHDX_TRACKING_OFF);
	return err;
}

/* The error that led here is the one to report. */
static void undo(struct attaching *attaching)
{
	unsigned int reason = vhdx_error_reason();
	char *message = strdup(vhdx_error_message());
	struct vhdx_detach detach = {
		.index = attaching->attached->index,
		.disk_seq = attaching->attached->disk_seq,
	};

	if (!detach_attachment(&detach, UNDO_TIMEOUT_MS))
		unsettle_windows_rct(attaching);
	fail(0, reason, "%s", message ? message : "");
	free(message);
}

/*
 * A differencing disk has its parent's id, and so have all that were made of one. A copy of it is
 * what has its DataWriteGuid as well; once either of them is written that is not known any more.
 */
static bool is_relative(const struct attaching *attaching, int index)
{
	const struct vhdx_info *ours = &attaching->info;
	struct vhdx_info info = { .size = sizeof(info) };
	struct vhdx_disk *disk;
	int err;

	err = open_device(index, sysfs_disk_seq(index), false, &disk);
	if (!err) {
		err = vhdx_disk_get_info(disk, &info);
		vhdx_disk_close(disk);
	}
	return !err && (info.layer_count > 1 || ours->layer_count > 1) &&
	       memcmp(info.data_write_guid, ours->data_write_guid,
		      sizeof(info.data_write_guid)) != 0;
}

/*
 * Of two copies that are attached, one is likely to be written by mistake. Two that read one
 * file are no copies, nor are relatives.
 */
static void warn_of_copy(struct attaching *attaching)
{
	char original[VHDX_DEVICE_NAME];
	int index;

	if (sysfs_read(attaching->attached->index, "vhdx/copy_of", original, sizeof(original)))
		return;
	index = index_from_name(original);
	if (index < 0 || is_container(index, &attaching->container.st) ||
	    is_relative(attaching, index))
		return;
	fail(0, VHDX_REASON_NONE,
	     "%s: it has the VirtualDiskId of /dev/%s: one is a copy of the other, and links in /dev/disk/by-id stay with /dev/%s",
	     attaching->container.path, original, original);
	warn(attaching, vhdx_error_message());
}

/* Without a sidecar, or in a new one, nobody will ever find the history in the old one. */
static void warn_of_stray(struct attaching *attaching)
{
	const char *path = attaching->container.path;
	char name[NAME_MAX + 1];

	if (attaching->sidecar_fd >= 0 || wants(attaching, VHDX_ATTACH_NO_TRACK) ||
	    is_block(&attaching->container))
		return;
	switch (find_stray_sidecar(&attaching->container, &attaching->info, name)) {
	case OF_THIS_STATE:
		fail(0, VHDX_REASON_NONE,
		     "%s: attached without %s, which lies beside it and belongs to this disk: to go on with it, detach, then name it (--sidecar) or rename it like the container",
		     path, name);
		break;
	case OF_ANOTHER_STATE:
		fail(0, VHDX_REASON_NONE,
		     "%s: attached without %s, which lies beside it and has its VirtualDiskId, but belongs to a copy of it, or to what it was before: leave it to that one",
		     path, name);
		break;
	default:
		return;
	}
	warn(attaching, vhdx_error_message());
}

/* The driver attaches it for reading; one that is written it has refused. */
static void warn_of_log(struct attaching *attaching)
{
	char *word;

	if (!attaching->unwritten)
		return;
	word = shell_word(attaching->unwritten);
	fail(0, VHDX_REASON_NONE,
	     "%s: its header names a log of which nothing was ever written, as where QEMU is killed; it is read as it is, and `vhdxctl check --repair %s` closes the log, once it is detached",
	     attaching->unwritten, word ?: "FILE");
	free(word);
	warn(attaching, vhdx_error_message());
}

/* What their points are the disk does without. */
static void warn_of_parents(struct attaching *attaching)
{
	const struct parents *parents = &attaching->parents;
	size_t i;

	for (i = 0; i < parents->count; i++) {
		if (parents->sidecars[i] >= 0 || parents->sidecars[i] == -ENOENT)
			continue;
		fail_errno(parents->sidecars[i],
			   "%s" SIDECAR_SUFFIX ": the points in it are not known, it cannot be opened",
			   parents->layers[i].path);
		warn(attaching, vhdx_error_message());
	}
}

/* What is not written leaves none. */
static void warn_of_gap(struct attaching *attaching)
{
	if (attaching->container.write)
		warn_of(attaching, VHDX_REASON_DISABLED,
			"writes are not tracked: the sidecar will have a gap here, and the next backup has to be a full one");
}

static int finish(struct attaching *attaching)
{
	struct vhdx_attached *attached = attaching->attached;
	bool track = wants(attaching, VHDX_ATTACH_TRACK);
	struct vhdx_disk *disk = NULL;
	int err;

	err = open_nodes(attaching, track, &disk);
	if (!err && track)
		err = enable_tracking(attaching, disk);
	vhdx_disk_close(disk);
	if (err) {
		undo(attaching);
		return err;
	}
	if (wants(attaching, VHDX_ATTACH_NO_TRACK) && attaching->sidecar_fd >= 0)
		warn_of_gap(attaching);
	else if (attached->reason && !attached->warning[0])
		warn_of(attaching, attached->reason, NULL);
	warn_of_parents(attaching);
	warn_of_log(attaching);
	warn_of_stray(attaching);
	warn_of_copy(attaching);
	return 0;
}

static int attach(struct attaching *attaching, const char *path)
{
	int err;

	attaching->control = open_control();
	if (attaching->control < 0)
		return attaching->control;
	err = open_container(&attaching->container, path, !wants(attaching, VHDX_ATTACH_READ_ONLY));
	if (err)
		return err;
	err = find_chain(attaching);
	if (!err)
		err = find_sidecar(attaching);
	if (!err)
		err = refuse_untracked(attaching);
	if (!err)
		err = settle_windows_rct(attaching);
	if (err)
		return err;
	err = call_attach(attaching);
	if (err) {
		unsettle_windows_rct(attaching);
		return err;
	}
	return finish(attaching);
}

static int check_sizes(const struct vhdx_attach_options *options,
		       struct vhdx_attach_options *known, const struct vhdx_attached *attached)
{
	int err = 0;

	if (options)
		err = take_sized(known, sizeof(*known), options, VHDX_ATTACH_OPTIONS_SIZE_VER0,
				 "vhdx_attach_options");
	if (!err && attached)
		err = check_sized(attached, VHDX_ATTACHED_SIZE_VER0, "vhdx_attached");
	return err;
}

int vhdx_attach(const char *container, const struct vhdx_attach_options *options,
		struct vhdx_attached *attached)
{
	static const struct vhdx_attach_options defaults = {
		.size = sizeof(defaults),
		.index = VHDX_INDEX_ANY,
	};
	struct vhdx_attached result = { .size = sizeof(result) };
	struct vhdx_attach_options known;
	struct attaching attaching = {
		.options = options ? &known : &defaults,
		.attached = &result,
		.container = CONTAINER_NONE,
		.control = -1,
		.sidecar_fd = -1,
	};
	int err;

	clear_error();
	err = check_name(container);
	if (!err)
		err = check_sizes(options, &known, attached);
	if (!err)
		err = check_options(container, attaching.options);
	if (!err)
		err = attach(&attaching, container);
	if (!err && attached)
		give_sized(attached, &result, sizeof(result));
	if (attaching.sidecar_fd >= 0)
		close(attaching.sidecar_fd);
	release_parents(&attaching.parents);
	free(attaching.unwritten);
	close_container(&attaching.container);
	if (attaching.control >= 0)
		close(attaching.control);
	return err;
}
