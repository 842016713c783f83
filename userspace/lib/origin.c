// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Files below a directory, and nothing else. Whoever wrote a container chose the path to its
 * parent, and may own the directory, too; who attaches may read everything.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "internal.h"

/* While somebody renames what ".." leads through, the kernel can't tell. */
#define ATTEMPTS	32

static int open_beneath(int root, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int attempt;
	int fd = -1;

	for (attempt = 0; attempt < ATTEMPTS; attempt++) {
		fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd < 0 ? -errno : fd;
}

int find_beneath(int root, const char *path)
{
	int fd = open_beneath(root, path);
	struct stat st;
	int err = 0;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = S_ISDIR(st.st_mode) ? -EISDIR : -EMEDIUMTYPE;
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* Is the container still there, or does its path lead somewhere else by now? */
static bool has(int directory, const char *name, const struct container *container)
{
	int fd = find_beneath(directory, name);
	struct stat st;
	bool same;

	if (fd < 0)
		return false;
	same = !fstat(fd, &st) && st.st_dev == container->st.st_dev &&
	       st.st_ino == container->st.st_ino;
	close(fd);
	return same;
}

int open_sidecar_beside(const struct origin *origin, const struct container *container)
{
	const char *name = strrchr(container->path, '/');
	char *path;
	int found, fd;

	if (origin->root < 0 || is_block(container) || !name)
		return -ENOENT;
	if (asprintf(&path, "%s%s%s" SIDECAR_SUFFIX, origin->directory,
		     *origin->directory ? "/" : "", name + 1) < 0)
		return -ENOMEM;
	found = find_beneath(origin->root, path);
	free(path);
	if (found < 0)
		return found == -ENAMETOOLONG ? -ENOENT : found;
	fd = reopen(found);
	close(found);
	return fd;
}

int origin_of(struct origin *origin, const struct container *container)
{
	const char *name = strrchr(container->path, '/');
	char *directory;

	origin->root = -1;
	origin->directory = strdup("");
	if (!origin->directory)
		return fail_errno(-ENOMEM, "%s", container->path);
	if (is_block(container) || !name)
		return 0;
	directory = strndup(container->path, name - container->path + 1);
	if (!directory)
		return fail_errno(-ENOMEM, "%s", container->path);
	origin->root = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(directory);
	if (origin->root >= 0 && !has(origin->root, name + 1, container)) {
		close(origin->root);
		origin->root = -1;
	}
	return 0;
}

int origin_beneath(struct origin *origin, int root, const char *path)
{
	const char *name = strrchr(path, '/');

	origin->root = root;
	origin->directory = strndup(path, name ? name - path : 0);
	return origin->directory ? 0 : fail_errno(-ENOMEM, "%s", path);
}

void release_origin(struct origin *origin)
{
	if (origin->root >= 0)
		close(origin->root);
	free(origin->directory);
	origin->root = -1;
	origin->directory = NULL;
}
