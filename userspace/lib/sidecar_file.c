// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The file that holds a disk's change tracking: where it is, opening, making.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "internal.h"

static char *add_suffix(const char *path)
{
	char *text;

	return asprintf(&text, "%s" SIDECAR_SUFFIX, path) < 0 ? NULL : text;
}

int sidecar_path(const struct container *container, const char *given, char **path)
{
	if (!given && is_block(container))
		return fail(-ENOENT, VHDX_REASON_NONE,
			    "%s: a block device has no file beside it: name its sidecar (--sidecar FILE|BLOCKDEV)",
			    container->path);
	*path = given ? strdup(given) : add_suffix(container->path);
	return *path ? 0 : fail_errno(-ENOMEM, "%s", container->path);
}

/* A link that leads nowhere is not nothing: what it leads to may have been unmounted. */
static int explain_none(int err, const char *path, bool given)
{
	char target[VHDX_PATH_TEXT];

	if (err == -ENAMETOOLONG && !given)
		return fail(err, VHDX_REASON_NONE,
			    "%s: too long a name for a file: name the sidecar (--sidecar FILE|BLOCKDEV)",
			    path);
	if (!leads_nowhere(path, target))
		return fail_errno(err, "%s", path);
	return fail(-ELOOP, VHDX_REASON_NONE, "%s: a symbolic link to %s, which is not there%s",
		    path, target, given ? ": remove the link, or bring back what it leads to" :
		    ", and links are not followed here: remove it, or name the sidecar itself (--sidecar)");
}

int open_sidecar(const char *path, bool given, bool write)
{
	struct stat st;
	int fd;

	if (stat(path, &st))
		return explain_none(-errno, path, given);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: neither a regular file nor a block device", path);
	fd = open_for(path, write, given ? 0 : O_NOFOLLOW);
	if (fd == -ELOOP)
		return fail(-ELOOP, VHDX_REASON_NONE,
			    "%s: a symbolic link is not followed here: name the sidecar itself (--sidecar)",
			    path);
	return fd < 0 ? fail_errno(fd, "%s: cannot open it for %s", path,
				   write ? "writing" : "reading") : fd;
}

static bool begins_with(const char *text, const char *start)
{
	return !strncmp(text, start, strlen(start));
}

const char *subject_of(const char *message, const char *given, const char *otherwise)
{
	return given && message && begins_with(message, "sidecar") ? given : otherwise;
}

const char *name_file(const struct vhdx_disk *disk, const char *message, char text[NAMED_SIZE])
{
	struct vhdx_status status = { .size = sizeof(status) };
	const char *path;

	if (disk->sidecar || disk->index < 0 ||
	    (!begins_with(message, "sidecar: ") && !begins_with(message, "container: ")) ||
	    vhdx_get_status(disk->index, &status))
		return message;
	path = *message == 'c' ? status.container :
	       status.sidecar[0] ? status.sidecar : status.former_sidecar;
	if (!*path)
		return message;
	snprintf(text, NAMED_SIZE, "%s (%s)", message, path);
	return text;
}

static bool is_named(int fd, const char *path)
{
	struct stat there, ours;

	return !fstat(fd, &ours) && !lstat(path, &there) && there.st_dev == ours.st_dev &&
	       there.st_ino == ours.st_ino;
}

/*
 * As soon as it has a name, others may open it, and enable tracking in it. While we have the lease
 * nobody else has it open, and who comes waits; then a disk that uses it, by our descriptor, is one
 * that is told. A kernel that has no leases leaves it at that. But a file system that gives none
 * says the same as where others have it open: NFS, whose others are on other hosts, and SMB.
 */
int remove_made_sidecar(int fd, const char *path, int err)
{
	struct stat st;
	int index;

	/* Who waits is announced by a signal, whose default must be to do nothing. */
	fcntl(fd, F_SETSIG, SIGURG);
	if (fcntl(fd, F_SETLEASE, F_WRLCK) && (errno == EAGAIN || errno == EBUSY))
		return fail(err, vhdx_error_reason(),
			    "%s; %s was made for it and stays, others may have it open: to enable again goes on with it",
			    vhdx_error_message(), path);
	if (is_named(fd, path) && !fstat(fd, &st) &&
	    find_by_sidecar(&st, true, &index) == -ENODEV)
		unlink(path);
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return err;
}

int create_sidecar(const char *path, const struct stat *container)
{
	int err;
	int fd;

	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail_errno(-errno, "%s: cannot make the sidecar", path);
	if (S_ISREG(container->st_mode) &&
	    (fchown(fd, container->st_uid, container->st_gid) ||
	     fchmod(fd, container->st_mode & 0666))) {
		err = fail_errno(-errno, "%s: cannot give it the container's owner and mode", path);
		err = remove_made_sidecar(fd, path, err);
		close(fd);
		return err;
	}
	return fd;
}

int sync_directory(const char *path)
{
	char *directory = strdup(path);
	char *slash;
	int err = 0;
	int fd;

	if (!directory)
		return fail_errno(-ENOMEM, "%s", path);
	slash = strrchr(directory, '/');
	if (slash)
		slash[slash == directory] = '\0';
	fd = open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd))
		err = fail_errno(-errno, "%s: cannot make its name durable", path);
	if (fd >= 0)
		close(fd);
	free(directory);
	return err;
}
