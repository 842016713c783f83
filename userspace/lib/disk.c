// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * An open disk: the questions that the driver and a file answer alike.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

int disk_init(struct vhdx_disk *disk, const struct disk_ops *ops, const char *name)
{
	disk->ops = ops;
	disk->index = -1;
	disk->fd = -1;
	disk->name = strdup(name);
	return disk->name ? 0 : fail_errno(-ENOMEM, "%s", name);
}

int disk_call(struct vhdx_disk *disk, unsigned long request, void *argument,
	      const __u32 *reason)
{
	int err;

	clear_error();
	disk->message[0] = '\0';
	err = disk->ops->call(disk, request, argument);
	return err ? fail_kernel(err, *reason, disk->name, disk->message) : 0;
}

int vhdx_disk_open(const char *name, const char *sidecar, unsigned int flags,
		   struct vhdx_disk **disk)
{
	int index;
	int err;

	clear_error();
	if (flags & ~(VHDX_OPEN_WRITE | VHDX_OPEN_ATTACHED))
		return fail(-EINVAL, VHDX_REASON_ARGUMENT, "%s: unknown flags 0x%x", name, flags);
	err = find_disk(name, &index);
	if (err < 0)
		return err;
	if (!err)
		return open_device(index, flags & VHDX_OPEN_WRITE, disk);
	if (flags)
		return explain_node(name) ?:
		       fail(-ENODEV, VHDX_REASON_NONE,
			    "%s: not attached: attach it first (`vhdxctl attach`)", name);
	err = open_offline(name, sidecar, disk);
	/* A partition may well hold a VHDX; if it does not, it was meant otherwise. */
	return err == -EMEDIUMTYPE ? explain_node(name) ?: err : err;
}

void vhdx_disk_close(struct vhdx_disk *disk)
{
	if (!disk)
		return;
	free(disk->name);
	disk->ops->close(disk);
}

int vhdx_disk_index(const struct vhdx_disk *disk)
{
	return disk->index;
}

int vhdx_disk_open_data(struct vhdx_disk *disk)
{
	clear_error();
	if (disk->index < 0)
		return fail(-ENODEV, VHDX_REASON_NONE,
			    "%s: not attached: there is no block device to read", disk->name);
	return open_node("", disk->index, O_RDONLY | O_DIRECT);
}

int vhdx_disk_get_info(struct vhdx_disk *disk, struct vhdx_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	return disk_call(disk, VHDX_GET_INFO, info, &info->reason);
}

int vhdx_disk_get_sidecar(struct vhdx_disk *disk, char **path)
{
	clear_error();
	*path = NULL;
	return disk->ops->sidecar(disk, path);
}

int vhdx_disk_get_tracking_state(struct vhdx_disk *disk, struct vhdx_tracking_state *state)
{
	memset(state, 0, sizeof(*state));
	state->size = sizeof(*state);
	return disk_call(disk, VHDX_GET_TRACKING_STATE, state, &state->reason);
}

static int get_points(struct vhdx_disk *disk, struct vhdx_point *points, size_t first,
		      size_t capacity, struct vhdx_get_points *get)
{
	*get = (struct vhdx_get_points) {
		.size = sizeof(*get),
		.output = (uintptr_t)points,
		.output_capacity = capacity,
		.first = first,
	};
	return disk_call(disk, VHDX_GET_POINTS, get, &get->reason);
}

/* Others may seal and forget meanwhile: then the list is read once more. */
int vhdx_disk_get_points(struct vhdx_disk *disk, struct vhdx_point **points, size_t *count)
{
	struct vhdx_point *list = NULL;
	struct vhdx_get_points get;
	size_t capacity;
	int err;

	err = get_points(disk, NULL, 0, 0, &get);
	while (!err) {
		/* One more than there are: room for one that is sealed right now. */
		capacity = (size_t)get.point_count + 1;
		free(list);
		list = calloc(capacity, sizeof(*list));
		if (!list)
			return fail_errno(-ENOMEM, "%s", disk->name);
		err = get_points(disk, list, 0, capacity, &get);
		if (!err && get.output_count == get.point_count)
			break;
	}
	if (err || !get.output_count) {
		free(list);
		list = NULL;
	}
	*points = list;
	*count = err ? 0 : get.output_count;
	return err;
}

int vhdx_forget(struct vhdx_disk *disk, const struct vhdx_point_id *id)
{
	struct vhdx_forget forget = {
		.size = sizeof(forget),
		.id = *id,
	};

	return disk_call(disk, VHDX_FORGET, &forget, &forget.reason);
}
