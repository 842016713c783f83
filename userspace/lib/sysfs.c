// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Attached disks as /sys/block/vhdxN shows them.
 */
#include <core/guid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "internal.h"

#define SECTOR_SHIFT	9	/* the unit of /sys/block/vhdxN/size, whatever the disk's sector */

int sysfs_read_path(const char *path, char *text, size_t size)
{
	size_t length;
	ssize_t got;
	int err = 0;
	int fd;

	text[0] = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	got = read(fd, text, size - 1);
	if (got < 0)
		err = -errno;
	else
		text[got] = '\0';
	/* One line, but for a path, which may have more in it. */
	length = strlen(text);
	if (length && text[length - 1] == '\n')
		text[length - 1] = '\0';
	close(fd);
	return err;
}

int sysfs_read(int index, const char *attribute, char *text, size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), SYS_BLOCK "/vhdx%d/%s", index, attribute);
	return sysfs_read_path(path, text, size);
}

void sysfs_layer(unsigned int position, char directory[SYSFS_LAYER])
{
	if (position)
		snprintf(directory, SYSFS_LAYER, "parent%u", position);
	else
		snprintf(directory, SYSFS_LAYER, "vhdx");
}

int sysfs_read_layer(int index, unsigned int position, const char *attribute, char *text,
		     size_t size)
{
	char directory[SYSFS_LAYER];
	char name[64];

	sysfs_layer(position, directory);
	snprintf(name, sizeof(name), "%s/%s", directory, attribute);
	return sysfs_read(index, name, text, size);
}

bool sysfs_exists(int index)
{
	char path[64];

	snprintf(path, sizeof(path), SYS_BLOCK "/vhdx%d/vhdx", index);
	return !access(path, F_OK);
}

uint64_t sysfs_disk_seq(int index)
{
	char text[32];

	sysfs_read(index, "diskseq", text, sizeof(text));
	return strtoull(text, NULL, 10);
}

static int by_number(const void *a, const void *b)
{
	int left = *(const int *)a;
	int right = *(const int *)b;

	return (left > right) - (left < right);
}

int sysfs_indices(int **indices, size_t *count)
{
	struct dirent *entry;
	int *list = NULL;
	size_t used = 0;
	int err = 0;
	DIR *dir;

	dir = opendir(SYS_BLOCK);
	if (!dir)
		return fail_errno(-errno, "cannot list " SYS_BLOCK);
	while ((entry = readdir(dir))) {
		int index = strncmp(entry->d_name, "vhdx", 4) ? -1 :
			    index_from_name(entry->d_name);
		int *longer;

		if (index < 0 || !sysfs_exists(index))
			continue;
		longer = realloc(list, (used + 1) * sizeof(*list));
		if (!longer) {
			err = fail_errno(-ENOMEM, "cannot list " SYS_BLOCK);
			break;
		}
		list = longer;
		list[used++] = index;
	}
	closedir(dir);
	if (err) {
		free(list);
		return err;
	}
	if (used)
		qsort(list, used, sizeof(*list), by_number);
	*indices = list;
	*count = used;
	return 0;
}

static unsigned int tracking_from_name(const char *name)
{
	if (!strcmp(name, "on"))
		return VHDX_TRACKING_ON;
	if (!strcmp(name, "disabled"))
		return VHDX_TRACKING_DISABLED;
	return VHDX_TRACKING_OFF;
}

/* The kernel appends this to the path of a file that was removed. */
static bool take_off_deleted(char *path, bool exists)
{
	static const char mark[] = " (deleted)";
	const size_t length = strlen(path);
	const size_t rest = length - (sizeof(mark) - 1);

	if (exists || length < sizeof(mark) || strcmp(path + rest, mark) != 0)
		return false;
	path[rest] = '\0';
	return true;
}

int sysfs_container(int index, unsigned int position, char path[VHDX_PATH_TEXT], bool *deleted)
{
	int err = sysfs_read_layer(index, position, "container", path, VHDX_PATH_TEXT);
	struct stat st;

	*deleted = take_off_deleted(path, !stat(path, &st) && is_layer(index, position, &st));
	return err;
}

bool sysfs_container_unlinked(int index, unsigned int position)
{
	char text[8];

	sysfs_read_layer(index, position, "container_unlinked", text, sizeof(text));
	return text[0] != '0';
}

static void read_paths(int index, struct vhdx_status *status)
{
	struct stat st;

	sysfs_container(index, 0, status->container, &status->container_deleted);
	status->container_unlinked = status->container_deleted &&
				     sysfs_container_unlinked(index, 0);
	sysfs_read(index, "vhdx/sidecar", status->sidecar, sizeof(status->sidecar));
	status->sidecar_deleted = take_off_deleted(status->sidecar, !stat(status->sidecar, &st));
	sysfs_read(index, "vhdx/former_sidecar", status->former_sidecar,
		   sizeof(status->former_sidecar));
	status->former_sidecar_deleted = take_off_deleted(status->former_sidecar,
							  !stat(status->former_sidecar, &st));
}

/* Attributes that an older driver lacks stay empty: the disk itself is what must be there. */
static int read_status(int index, struct vhdx_status *status)
{
	char text[VHDX_STATE_TEXT];
	vhdx_guid id;
	int err;

	memset(status, 0, sizeof(*status));
	status->size = sizeof(*status);
	status->index = index;
	device_name(index, status->device, sizeof(status->device));

	err = sysfs_read(index, "size", text, sizeof(text));
	if (err)
		return fail_errno(-ENODEV, "%s", status->device);
	status->disk_size = strtoull(text, NULL, 10) << SECTOR_SHIFT;
	status->disk_seq = sysfs_disk_seq(index);

	read_paths(index, status);
	sysfs_read(index, "vhdx/io", status->io, sizeof(status->io));
	sysfs_read(index, "vhdx/scan", status->scan, sizeof(status->scan));
	sysfs_read(index, "vhdx/virtual_disk_id", text, sizeof(text));
	if (!vhdx_guid_parse(&id, text))
		memcpy(status->virtual_disk_id, id.b, sizeof(id.b));
	sysfs_read(index, "vhdx/read_only", text, sizeof(text));
	status->read_only = text[0] == '1';
	sysfs_read(index, "vhdx/strict", text, sizeof(text));
	status->strict = text[0] == '1';
	sysfs_read(index, "vhdx/tracking_errors", text, sizeof(text));
	status->fail_tracking = !strcmp(text, "fail");
	sysfs_read(index, "vhdx/unit", text, sizeof(text));
	status->unit = strtoul(text, NULL, 10);
	sysfs_read(index, "vhdx/tracking", text, sizeof(text));
	status->tracking = tracking_from_name(text);
	sysfs_read(index, "vhdx/reason", text, sizeof(text));
	status->reason = reason_from_name(text);
	return 0;
}

int vhdx_get_status(int index, struct vhdx_status *status)
{
	struct vhdx_status known;
	int err;

	clear_error();
	err = check_sized(status, VHDX_STATUS_SIZE_VER0, "vhdx_status");
	if (!err)
		err = read_status(index, &known);
	if (!err)
		give_sized(status, &known, sizeof(known));
	return err;
}

static int tell_status(const int *indices, size_t count, struct vhdx_status *shown,
		       vhdx_status_fn fn, void *context)
{
	struct vhdx_status status;
	size_t i;
	int err = 0;

	for (i = 0; i < count && !err; i++) {
		/* Detached since the directory was read: no longer a part of the list. */
		if (read_status(indices[i], &status))
			continue;
		give_sized(shown, &status, sizeof(status));
		err = result_of_caller(fn(context, shown));
	}
	return err;
}

int vhdx_list(size_t status_size, vhdx_status_fn fn, void *context)
{
	struct vhdx_status *shown;
	int *indices = NULL;
	size_t count = 0;
	int err;

	clear_error();
	err = check_sized(&status_size, VHDX_STATUS_SIZE_VER0, "vhdx_status");
	if (!err && !module_is_loaded())
		err = fail(-ENODEV, VHDX_REASON_NONE,
			   "the module is not loaded: `modprobe vhdx`");
	if (!err)
		err = sysfs_indices(&indices, &count);
	if (err)
		return err;
	shown = malloc(status_size);
	if (shown) {
		shown->size = status_size;
		err = tell_status(indices, count, shown, fn, context);
	} else {
		err = fail_errno(-ENOMEM, "the list of disks");
	}
	free(shown);
	free(indices);
	return err;
}
