// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Switching change tracking.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "internal.h"

static int call_enable(struct vhdx_disk *disk, struct vhdx_tracking_enable *enable)
{
	int err;

	enable->size = sizeof(*enable);
	err = disk_call(disk, VHDX_TRACKING_ENABLE, enable);
	if (err && disk->message[0])
		return err;
	if (err == -EALREADY)
		return fail(err, enable->reason, "%s: change tracking is enabled already",
			    disk->name);
	if (err == -EEXIST)
		return fail(err, enable->reason,
			    "%s: the sidecar holds something that is not usable for this disk: `vhdxctl track reset` writes it anew, without its points",
			    disk->name);
	return err;
}

/**
 * struct place - where the sidecar of an attached disk is, or is to be made
 * @given:	somebody named it now; NULL: nobody did
 * @path:	what it is called, to be freed
 * @former:	the disk had it until tracking failed, or could not use it when it was attached
 * @removed:	it has no name left since then
 */
struct place {
	const char *given;
	char *path;
	bool former;
	bool removed;
};

static bool lies_beside(const char *path, const struct container *container)
{
	const size_t length = strlen(container->path);

	return !strncmp(path, container->path, length) && !strcmp(path + length, SIDECAR_SUFFIX);
}

/* What is of no use now was named when the disk was attached; FILE.lrct is found without that. */
static int find_place(struct vhdx_disk *disk, struct container *container, struct place *place)
{
	struct vhdx_status status = { .size = sizeof(status) };
	const char *named = place->given;
	int err = 0;

	if (!named && disk->index >= 0)
		err = vhdx_get_status(disk->index, &status);
	if (!err)
		err = locate_container(container, disk->name);
	if (status.former_sidecar[0] && (err || is_block(container) ||
					 !lies_beside(status.former_sidecar, container))) {
		named = status.former_sidecar;
		place->former = true;
		place->removed = status.former_sidecar_deleted;
	}
	if (err && named) {
		/* Then the sidecar is its maker's. */
		memset(&container->st, 0, sizeof(container->st));
		err = 0;
	}
	return err ? err : sidecar_path(container, named, &place->path);
}

/* To make one where the former one was would leave its points behind, without a word. */
static int refuse_to_replace(const struct vhdx_disk *disk, const struct place *place,
			     const char *what)
{
	return fail(-ENOENT, VHDX_REASON_NONE,
		    "%s: it was the sidecar of %s, and is %s now: bring it back, and enable tracking again; or, to give its points up, name it, or a new one (--sidecar)",
		    place->path, disk->name, what);
}

/*
 * A second history would be the end of the first one: the container is written without it.
 * Whoever wants that names a new sidecar.
 */
static int refuse_second_history(const struct vhdx_info *info, const struct container *container)
{
	char name[NAME_MAX + 1];

	if (find_stray_sidecar(container, info, name) != OF_THIS_STATE)
		return 0;
	return fail(-EEXIST, VHDX_REASON_NONE,
		    "%s: %s lies beside it and belongs to this disk: to go on with it, name it when you attach (--sidecar), or rename it like the container; to give it up, name a new one",
		    container->path, name);
}

static int enable_in_new(struct vhdx_disk *disk, const char *path, const struct stat *owner,
			 struct vhdx_tracking_enable *enable)
{
	int err;

	enable->sidecar_fd = create_sidecar(path, owner);
	if (enable->sidecar_fd < 0)
		return enable->sidecar_fd;
	err = call_enable(disk, enable);
	if (err)
		err = remove_made_sidecar(enable->sidecar_fd, path, err);
	close(enable->sidecar_fd);
	return err ? err : sync_directory(path);
}

static int enable_in_what_is_there(struct vhdx_disk *disk, const struct place *place,
				   const struct vhdx_info *info,
				   struct vhdx_tracking_enable *enable)
{
	const int fd = enable->sidecar_fd;
	int err;

	err = refuse_to_overwrite(fd, place->path, place->given || place->former, disk, info);
	if (!err && place->former && !place->removed && is_blank_sidecar(fd))
		err = refuse_to_replace(disk, place, "empty");
	if (!err)
		err = call_enable(disk, enable);
	close(fd);
	return err;
}

/* There is nothing: make one, if that is what the caller wants. */
static int enable_in_nothing(struct vhdx_disk *disk, const struct place *place,
			     const struct container *container, bool create,
			     struct vhdx_tracking_enable *enable)
{
	if (place->former && !place->removed)
		return refuse_to_replace(disk, place, "not there");
	if (!create)
		return fail(-EOPNOTSUPP, VHDX_REASON_DISABLED,
			    "%s: there is no sidecar of the container's name to reset: enable tracking (`vhdxctl track enable`), or name the sidecar (--sidecar)",
			    disk->name);
	return enable_in_new(disk, place->path, &container->st, enable);
}

static int enable_in_file(struct vhdx_disk *disk, const char *given, bool create,
			  struct vhdx_tracking_enable *enable)
{
	struct vhdx_info info = { .size = sizeof(info) };
	struct container container = CONTAINER_NONE;
	struct place place = { .given = given };
	int err;

	disk->sidecar = given;
	err = vhdx_disk_get_info(disk, &info);
	if (!err)
		err = find_place(disk, &container, &place);
	if (!err && place.former) {
		disk->sidecar = place.path;
		/* While a write to it hangs, whoever looks into it would hang as well. */
		err = call_enable(disk, enable);
		if (!err || err == -EBUSY)
			goto out;
		clear_error();
		err = 0;
	} else if (!err && create && !given) {
		err = refuse_second_history(&info, &container);
	}
	if (err)
		goto out;
	enable->sidecar_fd = open_sidecar(place.path, given || place.former, true);
	if (enable->sidecar_fd >= 0)
		err = enable_in_what_is_there(disk, &place, &info, enable);
	else if (enable->sidecar_fd == -ENOENT)
		err = enable_in_nothing(disk, &place, &container, create, enable);
	else
		err = enable->sidecar_fd;
out:
	disk->sidecar = NULL;	/* it is the caller's, or goes */
	free(place.path);
	close_container(&container);
	return err;
}

/* What is there is used as it is: to ignore a wish in silence would mislead. */
static int refuse_choice(struct vhdx_disk *disk, const char *sidecar, uint32_t unit)
{
	if (!sidecar && !unit)
		return 0;
	return fail(-EINVAL, VHDX_REASON_ARGUMENT,
		    "%s: it has a sidecar, so neither sidecar nor unit can be chosen now: to give its points up for another one, detach, attach with --no-track, and run `vhdxctl track reset` with these options",
		    disk->name);
}

int vhdx_tracking_enable(struct vhdx_disk *disk, const char *sidecar, uint32_t unit,
			 struct vhdx_point_id *first_point)
{
	struct vhdx_tracking_enable enable = { .sidecar_fd = -1, .unit = unit };
	struct vhdx_tracking_state state = { .size = sizeof(state) };
	int err;

	err = vhdx_disk_get_tracking_state(disk, &state);
	if (err)
		return err;
	if (state.state == VHDX_TRACKING_DISABLED)
		err = refuse_choice(disk, sidecar, unit);
	if (!err && state.state == VHDX_TRACKING_OFF)
		err = enable_in_file(disk, sidecar, true, &enable);
	else if (!err)
		err = call_enable(disk, &enable);
	if (!err && first_point)
		*first_point = enable.first_point;
	return err;
}

int vhdx_tracking_disable(struct vhdx_disk *disk)
{
	struct vhdx_tracking_disable disable = { .size = sizeof(disable) };
	int err;

	err = disk_call(disk, VHDX_TRACKING_DISABLE, &disable);
	if (err == -EALREADY)
		return fail(err, disable.reason, "%s: change tracking is disabled already",
			    disk->name);
	return err;
}

static int reset_in_place(struct vhdx_disk *disk, struct vhdx_point_id *first_point)
{
	struct vhdx_tracking_reset reset = { .size = sizeof(reset) };
	int err;

	err = disk_call(disk, VHDX_TRACKING_RESET, &reset);
	*first_point = reset.first_point;
	return err;
}

static int write_anew(struct vhdx_disk *disk, const char *sidecar, uint32_t unit,
		      struct vhdx_point_id *first_point)
{
	struct vhdx_tracking_enable enable = {
		.flags = VHDX_ENABLE_OVERWRITE,
		.sidecar_fd = -1,
		.unit = unit,
	};
	int err;

	/* What is named is made if it is not there: as in vhdx_tracking_enable(). */
	err = enable_in_file(disk, sidecar, sidecar, &enable);
	*first_point = enable.first_point;
	return err;
}

int vhdx_tracking_reset(struct vhdx_disk *disk, const char *sidecar, uint32_t unit,
			struct vhdx_point_id *first_point)
{
	struct vhdx_point_id first = { .kind = VHDX_POINT_NONE };
	struct vhdx_tracking_state state = { .size = sizeof(state) };
	int err;

	err = vhdx_disk_get_tracking_state(disk, &state);
	if (err)
		return err;
	if (state.state != VHDX_TRACKING_OFF)
		err = refuse_choice(disk, sidecar, unit);
	if (!err && state.state == VHDX_TRACKING_OFF)
		err = write_anew(disk, sidecar, unit, &first);
	else if (!err)
		err = reset_in_place(disk, &first);
	if (!err && first_point)
		*first_point = first;
	return err;
}
