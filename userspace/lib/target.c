// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <core/vhdx/ondisk.h>
#include "target.h"

#define STEP_OF_SPACE	(256ULL << 20)
#define STEP_OF_ZEROES	(4ULL << 20)

/* ---- Opening it ---- */

static int explain_existing(const char *path)
{
	return fail(-EEXIST, VHDX_REASON_NONE,
		    "%s: it is there already, and is never overwritten: choose another name, or remove it first",
		    path);
}

static int open_new_file(struct target *target, mode_t mode)
{
	struct container *container = &target->container;

	container->fd = open(target->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (container->fd < 0)
		return errno == EEXIST ? explain_existing(target->path) :
		       fail_errno(-errno, "%s: cannot make it", target->path);
	target->made = true;
	return 0;
}

/* Exclusively: not while it is mounted, nor while another of its kind has it. */
static int open_device_for_it(struct target *target)
{
	struct container *container = &target->container;

	container->fd = open_for(target->path, true, O_EXCL);
	if (container->fd == -EBUSY)
		return fail(-EBUSY, VHDX_REASON_IN_USE,
			    "%s: in use: mounted, or a part of something else (swap, device mapper, md): end that, or choose another device",
			    target->path);
	if (container->fd < 0)
		return fail_errno(container->fd, "%s: cannot open it for writing", target->path);
	/* What its name leads to may be another's to change: a file is never written over. */
	if (!fstat(container->fd, &container->st) && is_block(container))
		return 0;
	return fail(-EBUSY, VHDX_REASON_IN_USE,
		    "%s: it was a block device, and is none any more: somebody changed it just now",
		    target->path);
}

int open_target(struct target *target, const char *path, mode_t mode)
{
	struct container *container = &target->container;
	int err;

	target->path = path;
	target->sector = 512;
	container->write = true;
	if (!stat(path, &container->st) && is_block(container))
		err = open_device_for_it(target);
	else
		err = open_new_file(target, mode);
	if (!err && fstat(container->fd, &container->st))
		err = fail_errno(-errno, "%s", path);
	if (!err)
		err = lock_container(container->fd, true, path);
	if (err)
		return err;
	err = file_store_init(&target->file, container->fd);
	return err ? fail_errno(err, "%s", path) : 0;
}

/* Nobody can say what else is on a device: only one that was cleared is written. */
static int check_blank(struct target *target)
{
	struct vhdx_store *store = &target->file.store;
	u8 *start = vhdx_alloc(VHDX_HEADER_SECTION);
	int err;
	u32 i;

	if (!start)
		return fail_errno(-ENOMEM, "%s", target->path);
	err = store->read(store, 0, start, VHDX_HEADER_SECTION);
	for (i = 0; !err && i < VHDX_HEADER_SECTION && !start[i]; i++)
		;
	vhdx_free(start);
	if (err)
		return fail_errno(err, "%s: cannot read it", target->path);
	if (i == VHDX_HEADER_SECTION)
		return 0;
	return fail(-EEXIST, VHDX_REASON_NONE,
		    "%s: something is on this device (at 0x%x): to give it up, clear its first MiB: dd if=/dev/zero of=%s bs=1M count=1",
		    target->path, i, target->path);
}

int check_target_device(struct target *target, u64 size, u32 sector)
{
	int has;

	if (!is_block(&target->container))
		return 0;
	if (ioctl(target->container.fd, BLKSSZGET, &has))
		return fail_errno(-errno, "%s: it does not tell its sector size", target->path);
	if (has > sector)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: sectors of %d bytes, which a disk with sectors of %u can't be on: choose a file or another device, or a new disk with sectors of %d",
			    target->path, has, sector, has);
	target->sector = has;
	if (target->file.store.size < size)
		return fail(-ENOSPC, VHDX_REASON_HOST_FULL,
			    "%s: it has %llu bytes, and %llu are needed", target->path,
			    target->file.store.size, size);
	return check_blank(target);
}

void close_target(struct target *target)
{
	close_container(&target->container);
}

/* ---- Its space ---- */

int set_target_size(struct target *target, u64 size)
{
	if (is_block(&target->container))
		return 0;
	return ftruncate(target->container.fd, size) ? space_failed(target, -errno, size) : 0;
}

static int write_zeroes(struct target *target, u64 offset, u64 length)
{
	struct vhdx_store *store = &target->file.store;
	u8 *zeroes = vhdx_alloc(STEP_OF_ZEROES);
	int err = zeroes ? store->write(store, offset, zeroes, length) : -ENOMEM;

	vhdx_free(zeroes);
	return err;
}

/* Where the file system or the device can't do it by itself, zeroes are written. */
s64 provide_piece(struct target *target, u64 offset, u64 rest)
{
	const int fd = target->container.fd;
	u64 length = min(rest, STEP_OF_SPACE);
	uint64_t range[2] = { offset, length };
	int err;

	if (is_block(&target->container) ? !ioctl(fd, BLKZEROOUT, range) :
	    !fallocate(fd, 0, offset, length))
		return length;
	if (errno != EOPNOTSUPP && errno != EINTR)
		return -errno;
	length = min(rest, STEP_OF_ZEROES);
	err = write_zeroes(target, offset, length);
	return err ? err : (s64)length;
}

int clear_target(struct target *target, u64 offset, u64 length)
{
	s64 piece;

	for (; length; offset += piece, length -= piece) {
		piece = provide_piece(target, offset, length);
		if (piece < 0)
			return piece;
	}
	return 0;
}

/* ---- Its end ---- */

int space_failed(const struct target *target, int err, u64 size)
{
	if (err == -ENOSPC || err == -EDQUOT)
		return fail(err, VHDX_REASON_HOST_FULL, "%s: no room for %llu bytes: %s",
			    target->path, size, strerror(-err));
	return fail_errno(err, "%s: cannot make room for %llu bytes", target->path, size);
}

int write_failed(const struct target *target, int err, const struct vhdx_diag *diag)
{
	if (err == -EDQUOT)
		return fail(err, VHDX_REASON_HOST_FULL,
			    "%s: the quota is used up: choose another place, or have it raised",
			    target->path);
	if (err == -ENOSPC && is_block(&target->container))
		return fail(err, VHDX_REASON_HOST_FULL,
			    "%s: the device has only %llu bytes, and more are needed",
			    target->path, target->file.store.size);
	if (err == -ENOSPC)
		return fail(err, VHDX_REASON_HOST_FULL,
			    "%s: its file system is full: make room there, or choose another place",
			    target->path);
	if (diag)
		return fail_kernel(err, diag->reason, target->path, diag->text);
	return fail(err, VHDX_REASON_IO, "%s: cannot write it: %s", target->path, strerror(-err));
}

/* What has no name any more is gone when it is closed. */
static int check_there(const struct target *target)
{
	struct stat now;

	if (fstat(target->container.fd, &now))
		return fail_errno(-errno, "%s", target->path);
	if (now.st_nlink)
		return 0;
	return fail(-ENOENT, VHDX_REASON_NONE,
		    "%s: somebody removed it while it was written: nothing is left of it",
		    target->path);
}

int settle_target(struct target *target)
{
	struct vhdx_store *store = &target->file.store;
	int err = store->flush(store);

	if (err)
		return write_failed(target, err, NULL);
	if (is_block(&target->container))
		return 0;
	err = check_there(target);
	return err ? err : sync_directory(target->path);
}

void take_back(struct target *target)
{
	struct container *container = &target->container;
	struct stat there;

	if (!target->made)
		return;
	if (is_block(container)) {
		if (!write_zeroes(target, 0, VHDX_HEADER_SECTION))
			fsync(container->fd);
		return;
	}
	if (!lstat(target->path, &there) && there.st_dev == container->st.st_dev &&
	    there.st_ino == container->st.st_ino)
		unlink(target->path);
}
