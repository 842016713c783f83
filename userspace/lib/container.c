// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Opening the file or block device that holds a VHDX.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <core/vhdx/ondisk.h>
#include "internal.h"

static const char vhd_set_signature[8] = "vhdsetv1";

/*
 * What the driver would only call "not a VHDX", and what it would not even read: files of
 * /proc and /sys are regular ones, as far as they tell.
 */
static int refuse_strangers(const struct container *container)
{
	char start[8] = "";

	if (pread(container->fd, start, sizeof(start), 0) < 0)
		return fail_errno(-errno, "%s: cannot read it", container->path);
	if (!memcmp(start, vhd_set_signature, sizeof(start)))
		return fail(-EOPNOTSUPP, VHDX_REASON_UNSUPPORTED,
			    "%s: a VHD Set (.vhds), which is no disk itself: name the .avhdx that its disk is in (`vhdxctl info` tells)",
			    container->path);
	if (!memcmp(start, VHDX_FILE_SIGNATURE, sizeof(start)))
		return 0;
	return explain_foreign_image(container) ?:
	       fail(-EMEDIUMTYPE, VHDX_REASON_BAD_TYPE,
		    "%s: not a VHDX: no signature '" VHDX_FILE_SIGNATURE "' at offset 0 (of a raw disk image `vhdxctl convert --from raw` makes one)",
		    container->path);
}

char *realpath_of(int fd)
{
	char link[32];
	char path[PATH_MAX];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	if (length < 0)
		return NULL;
	path[length] = '\0';
	return strdup(path);
}

static int explain_busy(const struct container *container)
{
	struct vhdx_status status = { .size = sizeof(status) };
	char device[VHDX_DEVICE_NAME];
	int index;

	if (!find_by_container(&container->st, &index)) {
		device_name(index, device, sizeof(device));
		return fail(-EBUSY, VHDX_REASON_IN_USE, "%s: attached already, as %s",
			    container->path, device);
	}
	/* As a parent it is only read: that keeps nobody from reading. */
	if (container->write && !find_by_parent(&container->st, &index) &&
	    !vhdx_get_status(index, &status))
		return fail(-EBUSY, VHDX_REASON_IN_USE,
			    "%s: in use, as a parent of %s, whose container is %s: detach that disk first",
			    container->path, status.device, status.container);
	return -EBUSY;
}

bool leads_nowhere(const char *path, char target[VHDX_PATH_TEXT])
{
	ssize_t length = readlink(path, target, VHDX_PATH_TEXT - 1);
	struct stat st;

	if (length < 0 || !stat(path, &st) || errno != ENOENT)
		return false;
	target[length] = '\0';
	return true;
}

int explain_missing(int err, const char *path)
{
	char target[VHDX_PATH_TEXT];

	if (!*path)
		return fail(err, VHDX_REASON_NONE, "an empty name, where a disk or a file is wanted");
	if (leads_nowhere(path, target))
		return fail(err, VHDX_REASON_NONE, "%s: a symbolic link to %s, which is not there",
			    path, target);
	return fail_errno(err, "%s", path);
}

/* Opening a pipe would wait, opening a tape would wind it. */
static int check_kind_of(const char *path, const struct stat *st, const char *wanted)
{
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return 0;
	return fail(-EMEDIUMTYPE, VHDX_REASON_BAD_TYPE,
		    "%s: not a %s: neither a regular file nor a block device", path, wanted);
}

int check_kind(const char *path, const struct stat *st)
{
	return check_kind_of(path, st, "VHDX");
}

int open_for(const char *path, bool write, int flags)
{
	int fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | flags);
	struct stat st;
	int read_only;

	if (fd < 0)
		return -errno;
	/* A block device opens for writing whether or not it may be written. */
	if (!write || fstat(fd, &st) || !S_ISBLK(st.st_mode) || ioctl(fd, BLKROGET, &read_only) ||
	    !read_only)
		return fd;
	close(fd);
	return -EROFS;
}

/* It is open: whatever is in it, may it be used? */
static int take(struct container *container, const char *path)
{
	int err;

	if (fstat(container->fd, &container->st))
		return fail_errno(-errno, "%s", path);
	err = check_kind(path, &container->st);
	if (err)
		return err;
	container->path = realpath_of(container->fd);
	if (!container->path)
		return fail_errno(-errno, "%s: cannot tell its path (is /proc mounted?)", path);
	err = lock_container(container->fd, container->write, container->path);
	return err == -EBUSY ? explain_busy(container) : err;
}

/* And is it a container? Closes it where that fails. */
static int settle(struct container *container, const char *path)
{
	int err = take(container, path);

	if (!err)
		err = refuse_strangers(container);
	if (err)
		close_container(container);
	return err;
}

/* It can't be opened: with advice where it was for writing. */
static int explain_open(int err, const char *path, bool write)
{
	if (write && (err == -EROFS || err == -EACCES || err == -EPERM))
		return fail_errno(err,
				  "%s: cannot open it for writing (a read-only attach%s may do)",
				  path, geteuid() ? " by root" : "");
	return fail_errno(err, "%s", path);
}

int open_container(struct container *container, const char *path, bool write)
{
	int err;

	container->write = write;
	if (stat(path, &container->st))
		return explain_missing(-errno, path);
	err = check_kind(path, &container->st);
	if (err)
		return err;

	container->fd = open_for(path, write, 0);
	return container->fd < 0 ? explain_open(container->fd, path, write) :
				   settle(container, path);
}

int open_raw(struct container *container, const char *path)
{
	int err;

	container->write = false;
	if (stat(path, &container->st))
		return explain_missing(-errno, path);
	err = check_kind_of(path, &container->st, "raw image");
	if (err)
		return err;
	container->fd = open_for(path, false, is_block(container) ? O_EXCL : 0);
	if (container->fd == -EBUSY)
		return fail(-EBUSY, VHDX_REASON_IN_USE,
			    "%s: in use: mounted, or a part of something else (swap, device mapper, md): end that, or take a snapshot and read that",
			    path);
	if (container->fd < 0)
		return fail_errno(container->fd, "%s", path);
	err = take(container, path);
	if (err)
		close_container(container);
	return err;
}

static int reopen_for(int found, bool write)
{
	char link[32];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", found);
	return open_for(link, write, 0);
}

int reopen(int found)
{
	return reopen_for(found, false);
}

int open_found(struct container *container, int found, const char *path, bool write)
{
	int err;

	container->write = write;
	if (fstat(found, &container->st))
		return fail_errno(-errno, "%s", path);
	err = check_kind(path, &container->st);
	if (err)
		return err;
	container->fd = reopen_for(found, write);
	return container->fd < 0 ? explain_open(container->fd, path, write) :
				   settle(container, path);
}

bool is_same_file(const struct container *container, const struct stat *st)
{
	if (is_block(container))
		return S_ISBLK(st->st_mode) && container->st.st_rdev == st->st_rdev;
	return container->st.st_dev == st->st_dev && container->st.st_ino == st->st_ino;
}

void close_container(struct container *container)
{
	if (container->fd >= 0)
		close(container->fd);
	free(container->path);
	container->fd = -1;
	container->path = NULL;
}

static int locate(struct container *container, const char *path)
{
	container->path = realpath(path, NULL);
	if (!container->path || stat(container->path, &container->st))
		return explain_missing(-errno, path);
	return check_kind(path, &container->st);
}

static int locate_attached(struct container *container, int index)
{
	struct vhdx_status status = { .size = sizeof(status) };
	int err;

	err = vhdx_get_status(index, &status);
	if (!err)
		err = locate(container, status.container);
	if (!err && !is_container(index, &container->st))
		err = fail(-ENOENT, VHDX_REASON_NONE,
			   "%s: the container of %s is no longer found at this path: name its sidecar (--sidecar)",
			   status.container, status.device);
	return err;
}

int locate_container(struct container *container, const char *name)
{
	struct active_file active = ACTIVE_NONE;
	int index;
	int err;

	err = find_disk(name, &index);
	if (err < 0)
		return err;
	if (!err)
		return locate_attached(container, index);
	err = find_active(&active, name);
	if (err >= 0)
		err = locate(container, err ? active.path : name);
	release_active(&active);
	return err;
}
