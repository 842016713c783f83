// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * From a VHD Set to the file that its disk is in.
 *
 * As with parents: who may write a set, or its directory, may not have whoever opens it read
 * another file. The name leads to a regular file beside the set, through no symbolic link.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "file_store.h"
#include "internal.h"
#include "vhds.h"

void release_active(struct active_file *active)
{
	if (active->fd >= 0)
		close(active->fd);
	free(active->path);
	*active = (struct active_file)ACTIVE_NONE;
}

/* 1: open; 0: no regular file, or none that may be read. What is a pipe is not waited for. */
static int open_candidate(struct container *file, const char *path)
{
	if (stat(path, &file->st) || !S_ISREG(file->st.st_mode))
		return 0;
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (file->fd < 0)
		return 0;
	if (fstat(file->fd, &file->st) || !S_ISREG(file->st.st_mode))
		return 0;
	return 1;
}

static int explain_absence(int err, const struct container *file, const char *name)
{
	if (err == -EXDEV || err == -ELOOP || err == -EISDIR || err == -EMEDIUMTYPE)
		return fail(-EMEDIUMTYPE, VHDX_REASON_BAD_TYPE,
			    "%s: a VHD Set, whose disk is in %s; but that is no regular file beside it",
			    file->path, name);
	return fail_errno(err, "%s: a VHD Set, whose disk is in %s beside it", file->path, name);
}

static int name_active(struct active_file *active, const struct container *file, const char *name)
{
	const char *slash = strrchr(file->path, '/');

	if (asprintf(&active->path, "%.*s/%s", (int)(slash - file->path), file->path, name) >= 0)
		return 0;
	active->path = NULL;
	return fail_errno(-ENOMEM, "%s", file->path);
}

static int look_beside(struct active_file *active, const struct container *file, const char *name)
{
	struct origin origin = ORIGIN_NONE;
	int err;

	err = origin_of(&origin, file);
	if (err)
		goto release;
	active->fd = origin.root < 0 ? -ENOENT : find_beneath(origin.root, name);
	if (active->fd < 0)
		err = explain_absence(active->fd, file, name);
	else
		err = name_active(active, file, name);
release:
	release_origin(&origin);
	return err;
}

static int read_set(struct active_file *active, struct container *file, const char *path)
{
	struct vhdx_diag diag = { 0 };
	struct file_store store;
	struct vhds set;
	int err;

	err = file_store_init(&store, file->fd);
	if (err || !vhds_has_signature(&store.store))
		return 0;
	file->path = realpath_of(file->fd);
	if (!file->path)
		return fail_errno(-errno, "%s: cannot tell its path (is /proc mounted?)", path);
	err = vhds_read(&store.store, &set, &diag);
	if (err)
		return fail_kernel(err, diag.reason, file->path, diag.text);
	err = look_beside(active, file, set.name);
	return err ? err : 1;
}

int find_active(struct active_file *active, const char *path)
{
	struct container file = CONTAINER_NONE;
	int found;

	found = open_candidate(&file, path);
	if (found > 0)
		found = read_set(active, &file, path);
	close_container(&file);
	if (found <= 0)
		release_active(active);
	return found;
}

bool is_vhd_set(const char *path)
{
	struct container file = CONTAINER_NONE;
	struct file_store store;
	bool is;

	is = open_candidate(&file, path) && !file_store_init(&store, file.fd) &&
	     vhds_has_signature(&store.store);
	close_container(&file);
	return is;
}

int find_by_set(const char *path, int *index)
{
	struct active_file active = ACTIVE_NONE;
	struct stat st;
	int err;

	err = find_active(&active, path);
	if (err > 0)
		err = fstat(active.fd, &st) ? -errno : find_by_container(&st, index);
	else if (!err)
		err = -ENODEV;
	release_active(&active);
	return err;
}

int open_disk_file(struct container *container, const char *path, bool write)
{
	struct active_file active = ACTIVE_NONE;
	int found;
	int err;

	found = find_active(&active, path);
	if (found < 0)
		return found;
	err = found ? open_found(container, active.fd, active.path, write) :
		      open_container(container, path, write);
	release_active(&active);
	return err ? err : found;
}

int vhdx_set_find_active(const char *path, char **active)
{
	struct active_file file = ACTIVE_NONE;
	int found;

	clear_error();
	*active = NULL;
	found = check_name(path);
	if (!found)
		found = find_active(&file, path);
	if (found > 0) {
		*active = file.path;
		file.path = NULL;
	}
	release_active(&file);
	return found;
}
