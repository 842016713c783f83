// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Byte-range locks as QEMU takes them on images, so that its tools and an attached
 * disk refuse each other.
 *
 * Every permission on an image has two bytes: a user holds a shared lock on the
 * first one if it makes use of the permission, and on the second one if it does not
 * tolerate that others do. Whoever comes takes its own locks and then looks
 * whether somebody holds an opposite one. The locks are of the "open file
 * description" kind: they stay for as long as the kernel keeps the file open.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "internal.h"

#define USED_BASE	100	/* first byte of each permission */
#define REFUSED_BASE	200	/* second byte of each permission */

#define PERM_CONSISTENT_READ	(1U << 0)
#define PERM_WRITE		(1U << 1)
#define PERM_WRITE_UNCHANGED	(1U << 2)
#define PERM_RESIZE		(1U << 3)
#define PERM_COUNT		4

/* Nobody may write or resize what we read; what a running machine of QEMU asks for. */
#define REFUSED		(PERM_WRITE | PERM_RESIZE)
#define USED_BY_READER	PERM_CONSISTENT_READ
#define USED_BY_WRITER	(PERM_CONSISTENT_READ | PERM_WRITE | PERM_RESIZE)

static int lock_bytes(int fd, off_t base, unsigned int permissions)
{
	unsigned int bit;

	for (bit = 0; bit < PERM_COUNT; bit++) {
		struct flock lock = {
			.l_type = F_RDLCK,
			.l_whence = SEEK_SET,
			.l_start = base + bit,
			.l_len = 1,
		};

		if (permissions & 1U << bit && fcntl(fd, F_OFD_SETLK, &lock))
			return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
	}
	return 0;
}

static int look_for_others(int fd, off_t base, unsigned int permissions)
{
	unsigned int bit;

	for (bit = 0; bit < PERM_COUNT; bit++) {
		struct flock lock = {
			.l_type = F_WRLCK,
			.l_whence = SEEK_SET,
			.l_start = base + bit,
			.l_len = 1,
		};

		if (!(permissions & 1U << bit))
			continue;
		if (fcntl(fd, F_OFD_GETLK, &lock))
			return -errno;
		if (lock.l_type != F_UNLCK)
			return -EBUSY;
	}
	return 0;
}

static int take_locks(int fd, unsigned int used)
{
	int err;

	err = lock_bytes(fd, USED_BASE, used);
	if (!err)
		err = lock_bytes(fd, REFUSED_BASE, REFUSED);
	if (!err)
		err = look_for_others(fd, REFUSED_BASE, used);
	if (!err)
		err = look_for_others(fd, USED_BASE, REFUSED);
	return err;
}

int lock_container(int fd, bool write, const char *path)
{
	int err = take_locks(fd, write ? USED_BY_WRITER : USED_BY_READER);

	if (!err)
		return 0;
	if (err == -EBUSY)
		return fail(err, VHDX_REASON_IN_USE,
			    "%s: in use by another process (QEMU, vhdxctl, another attach), which holds a lock on it; stop that first%s",
			    path, write ? ", or attach read-only if it only reads" : "");
	return fail_errno(err, "%s: cannot lock it as QEMU does", path);
}
