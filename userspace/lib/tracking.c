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

/* Path of the sidecar of an attached disk, and whose it is to be. free() the path. */
static int place_sidecar(struct vhdx_disk *disk, const char *given, struct stat *owner,
			 char **path)
{
	struct container container = CONTAINER_NONE;
	int err;

	err = locate_container(&container, disk->name);
	if (err && given) {
		/* Then the sidecar is its maker's. */
		memset(&container.st, 0, sizeof(container.st));
		err = 0;
	}
	if (!err)
		err = sidecar_path(&container, given, path);
	*owner = container.st;
	close_container(&container);
	return err;
}

static int enable_in_new(struct vhdx_disk *disk, const char *path, const struct stat *owner,
			 struct vhdx_tracking_enable *enable)
{
	int err;

	enable->sidecar_fd = create_sidecar(path, owner);
	if (enable->sidecar_fd < 0)
		return enable->sidecar_fd;
	err = call_enable(disk, enable);
	close(enable->sidecar_fd);
	if (err)
		unlink(path);
	return err ? err : sync_directory(path);
}

static int enable_in_file(struct vhdx_disk *disk, const char *given, bool create,
			  struct vhdx_tracking_enable *enable)
{
	struct stat owner;
	char *path;
	int err;

	err = place_sidecar(disk, given, &owner, &path);
	if (err)
		return err;
	enable->sidecar_fd = open_sidecar(path, given, true);
	if (enable->sidecar_fd >= 0) {
		err = call_enable(disk, enable);
		close(enable->sidecar_fd);
	} else if (enable->sidecar_fd == -ENOENT && create) {
		err = enable_in_new(disk, path, &owner, enable);
	} else {
		err = enable->sidecar_fd;
	}
	free(path);
	return err;
}

/* What is there is used as it is: to ignore a wish in silence would mislead. */
static int refuse_choice(struct vhdx_disk *disk, const char *sidecar, uint32_t unit)
{
	if (!sidecar && !unit)
		return 0;
	return fail(-EINVAL, VHDX_REASON_ARGUMENT,
		    "%s: it has a sidecar, so neither sidecar nor unit can be chosen now",
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

	err = enable_in_file(disk, sidecar, false, &enable);
	*first_point = enable.first_point;
	if (err == -ENOENT)
		return fail(-EOPNOTSUPP, VHDX_REASON_DISABLED,
			    "%s: there is no sidecar to reset: enable tracking (`vhdxctl track enable`)",
			    disk->name);
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
