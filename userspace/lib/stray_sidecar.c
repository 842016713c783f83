// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A sidecar that lost its container: the one was renamed without the other, or it always
 * had another name. A container has nothing of ours in it, so its directory is looked
 * through for a sidecar that names its VirtualDiskId.
 */
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>
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

enum ownership find_stray_sidecar(const struct container *container,
				  const struct vhdx_info *info, char name[NAME_MAX + 1])
{
	enum ownership found = OF_NOBODY;
	char *path = strdup(container->path);
	enum ownership ownership;
	struct dirent *entry;
	int looked_at = 0;
	DIR *directory;
	int fd;

	if (!path)
		return OF_NOBODY;
	strrchr(path, '/')[1] = '\0';
	directory = opendir(path);
	free(path);
	if (!directory)
		return OF_NOBODY;
	while (found != OF_THIS_STATE && looked_at < LOOKED_AT_MAX &&
	       (entry = readdir(directory))) {
		if (!is_alone(dirfd(directory), entry->d_name, container))
			continue;
		looked_at++;
		fd = open_candidate(dirfd(directory), entry->d_name);
		if (fd < 0)
			continue;
		ownership = sidecar_ownership(fd, info);
		close(fd);
		if (ownership <= OF_ANOTHER_DISK || ownership <= found)
			continue;
		found = ownership;
		snprintf(name, NAME_MAX + 1, "%s", entry->d_name);
	}
	closedir(directory);
	return found;
}
