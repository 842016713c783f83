// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * An attached disk: the driver answers.
 */
#include <core/argument.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "internal.h"

/* The largest sector that a disk has; what is read at a time is a multiple of it. */
#define SECTOR_MAX	4096
#define BOUNCE		(1 << 20)

static bool is_read_only(const struct vhdx_disk *disk)
{
	char text[8];

	return !sysfs_read(disk->index, "vhdx/read_only", text, sizeof(text)) && text[0] == '1';
}

/* Where nothing can be enabled, that is no advice. */
static int device_call(struct vhdx_disk *disk, unsigned long command, void *argument)
{
	const struct vhdx_argument *known = vhdx_argument_of(command);
	int err = request(disk->fd, disk->name, command, argument, disk->message);

	if (err == -EOPNOTSUPP && !disk->message[0] &&
	    *vhdx_argument_reason(known, argument) == VHDX_REASON_DISABLED && is_read_only(disk))
		snprintf(disk->message, sizeof(disk->message),
			 "change tracking is not enabled, and the disk is attached read-only: detach it and attach it for writing");
	return err;
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

/*
 * Direct I/O wants whole sectors, at an address that suits it. @bounce gets those that @length
 * bytes at @offset are in; what is beyond the end of the disk is cut.
 */
static int read_sectors(struct vhdx_disk *disk, uint64_t offset, size_t length, char *bounce)
{
	const size_t lead = offset % SECTOR_MAX;
	const size_t span = (lead + length + SECTOR_MAX - 1) & ~(size_t)(SECTOR_MAX - 1);
	const unsigned long long start = offset - lead;
	size_t done = 0;
	ssize_t got;

	while (done < lead + length) {
		got = pread(disk->data_fd, bounce + done, span - done, start + done);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fail_errno(-errno, "%s: reading 0x%zx bytes at offset %llu failed",
					  disk->name, span - done, start + done);
		if (!got)
			return beyond_disk(disk, offset, length, start + done);
		done += got;
	}
	return 0;
}

static int read_through(struct vhdx_disk *disk, uint64_t offset, char *buf, size_t length,
			char *bounce)
{
	size_t lead;
	size_t part;
	int err = 0;

	while (length && !err) {
		lead = offset % SECTOR_MAX;
		part = length < BOUNCE - lead ? length : BOUNCE - lead;
		err = read_sectors(disk, offset, part, bounce);
		if (!err)
			memcpy(buf, bounce + lead, part);
		buf += part;
		offset += part;
		length -= part;
	}
	return err;
}

static int device_read(struct vhdx_disk *disk, uint64_t offset, void *buf, size_t length)
{
	char *bounce;
	int err;

	if (disk->data_fd < 0)
		disk->data_fd = vhdx_disk_open_data(disk);
	if (disk->data_fd < 0)
		return disk->data_fd;
	bounce = aligned_alloc(SECTOR_MAX, BOUNCE);
	if (!bounce)
		return fail_errno(-ENOMEM, "%s", disk->name);
	err = read_through(disk, offset, buf, length, bounce);
	free(bounce);
	return err;
}

static void device_close(struct vhdx_disk *disk)
{
	if (disk->data_fd >= 0)
		close(disk->data_fd);
	if (disk->fd >= 0)
		close(disk->fd);
	free(disk);
}

static const struct disk_ops device_ops = {
	.call = device_call,
	.sidecar = device_sidecar,
	.read = device_read,
	.close = device_close,
};

/* The name is a number, and numbers are given out again. */
static int check_disk_seq(struct vhdx_disk *disk, uint64_t disk_seq)
{
	struct vhdx_info info = { .size = sizeof(info) };
	int err;

	if (!disk_seq)
		return 0;
	err = vhdx_disk_get_info(disk, &info);
	if (!err && info.disk_seq != disk_seq)
		err = fail(-ENODEV, VHDX_REASON_NONE,
			   "%s: it was detached, and another disk has its name now", disk->name);
	return err;
}

int open_device(int index, uint64_t disk_seq, bool write, struct vhdx_disk **out)
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
	err = check_disk_seq(disk, disk_seq);
	if (err)
		goto out_close;
	*out = disk;
	return 0;

out_close:
	vhdx_disk_close(disk);
	return err;
}
