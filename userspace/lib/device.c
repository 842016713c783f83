// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * An attached disk: the driver answers.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "internal.h"

static int device_call(struct vhdx_disk *disk, unsigned long request, void *argument)
{
	return ioctl(disk->fd, request, argument) ? -errno : 0;
}

static int device_sidecar(struct vhdx_disk *disk, char **path)
{
	struct vhdx_status status = { .size = sizeof(status) };
	int err;

	err = vhdx_get_status(disk->index, &status);
	if (err || !status.sidecar[0])
		return err;
	*path = strdup(status.sidecar);
	return *path ? 0 : fail_errno(-ENOMEM, "%s", disk->name);
}

static void device_close(struct vhdx_disk *disk)
{
	if (disk->fd >= 0)
		close(disk->fd);
	free(disk);
}

static const struct disk_ops device_ops = {
	.call = device_call,
	.sidecar = device_sidecar,
	.close = device_close,
};

int open_device(int index, bool write, struct vhdx_disk **out)
{
	char name[VHDX_DEVICE_NAME];
	struct vhdx_disk *disk;
	int err;

	device_name(index, name, sizeof(name));
	disk = calloc(1, sizeof(*disk));
	if (!disk)
		return fail_errno(-ENOMEM, "%s", name);
	err = disk_init(disk, &device_ops, name);
	if (err)
		goto out_close;
	disk->index = index;
	disk->fd = open_node("c", index, write ? O_RDWR : O_RDONLY);
	if (disk->fd < 0) {
		err = disk->fd;
		goto out_close;
	}
	*out = disk;
	return 0;

out_close:
	vhdx_disk_close(disk);
	return err;
}
