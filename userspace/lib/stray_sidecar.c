// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A sidecar that lost its container: the one was renamed without the other, or it always
 * had another name. A container has nothing of ours in it, so its directory is looked
 * through for a sidecar that names its VirtualDiskId.
 */
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>
#include <core/sidecar.h>
#include "file_store.h"
#include "internal.h"

/* A directory may be full of other disks' sidecars. */
#define LOOKED_AT_MAX	1024

/*
 * Named like a sidecar, and nothing else is there that it could be the sidecar of: nothing, or
 * this very container, which a link has another name for.
 */
static bool is_alone(int directory, const char *name, const struct container *ours)
{
	const size_t suffix = strlen(SIDECAR_SUFFIX);
	const size_t length = strlen(name);
	char container[NAME_MAX + 1];
	struct stat st;

	if (length <= suffix || strcmp(name + length - suffix, SIDECAR_SUFFIX) != 0)
		return false;
	snprintf(container, sizeof(container), "%.*s", (int)(length - suffix), name);
	if (!strcmp(container, strrchr(ours->path, '/') + 1))
		return false;
	return fstatat(directory, container, &st, 0) ||
	       (st.st_dev == ours->st.st_dev && st.st_ino == ours->st.st_ino);
}

/* Whoever owns the directory may have put anything there: a pipe must not be waited for. */
static int open_candidate(int directory, const char *name)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	int index;

	if (fd < 0)
		return fd;
	/* What a disk uses has its container. */
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && find_by_sidecar(&st, true, &index))
		return fd;
	close(fd);
	return -1;
}

static bool belongs_to(int fd, const vhdx_guid *disk_id)
{
	struct vhdx_diag diag = { 0 };
	struct vhdx_sidecar sidecar;
	struct file_store file;
	bool belongs;

	if (file_store_init(&file, fd))
		return false;
	/* Damaged or not: of a header that can't be read no id is kept. */
	vhdx_sidecar_load(&sidecar, &file.store, true, true, &diag);
	belongs = vhdx_guid_equal(&sidecar.disk_id, disk_id);
	vhdx_sidecar_release(&sidecar);
	return belongs;
}

static bool is_stray(int directory, const char *name, const vhdx_guid *disk_id)
{
	int fd = open_candidate(directory, name);
	bool found;

	if (fd < 0)
		return false;
	found = belongs_to(fd, disk_id);
	close(fd);
	return found;
}

bool find_stray_sidecar(const struct container *container, const vhdx_guid *disk_id,
			char name[NAME_MAX + 1])
{
	char *path = strdup(container->path);
	struct dirent *entry;
	bool found = false;
	int looked_at = 0;
	DIR *directory;

	if (!path)
		return false;
	strrchr(path, '/')[1] = '\0';
	directory = opendir(path);
	free(path);
	if (!directory)
		return false;
	while (!found && looked_at < LOOKED_AT_MAX && (entry = readdir(directory))) {
		if (!is_alone(dirfd(directory), entry->d_name, container))
			continue;
		looked_at++;
		found = is_stray(dirfd(directory), entry->d_name, disk_id);
		if (found)
			snprintf(name, NAME_MAX + 1, "%s", entry->d_name);
	}
	closedir(directory);
	return found;
}
