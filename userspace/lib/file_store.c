// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "file_store.h"

/* What is behind the end reads as zero. */
static int read_fully(int fd, u64 offset, void *buf, size_t length)
{
	ssize_t got;

	while (length) {
		got = pread(fd, buf, length, offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		buf = (char *)buf + got;
		offset += got;
		length -= got;
	}
	memset(buf, 0, length);
	return 0;
}

/* Direct I/O wants whole sectors of the device, which may be larger than asked for. */
static int read_aligned(int fd, u64 offset, void *buf, size_t length)
{
	u64 start = offset & ~(u64)(VHDX_PAGE - 1);
	size_t lead = offset - start;
	size_t span = (lead + length + VHDX_PAGE - 1) & ~(size_t)(VHDX_PAGE - 1);
	void *bounce = vhdx_alloc(span);
	int err;

	if (!bounce)
		return -ENOMEM;
	err = read_fully(fd, start, bounce, span);
	if (!err)
		memcpy(buf, (char *)bounce + lead, length);
	vhdx_free(bounce);
	return err;
}

static int file_store_read(struct vhdx_store *store, u64 offset, void *buf, size_t length)
{
	struct file_store *file = container_of(store, struct file_store, store);

	if (offset > LLONG_MAX - length)
		return -EINVAL;
	return file->direct ? read_aligned(file->fd, offset, buf, length) :
			      read_fully(file->fd, offset, buf, length);
}

/* Whoever writes does so in whole pages: direct I/O has what it wants. */
static int file_store_write(struct vhdx_store *store, u64 offset, const void *buf, size_t length)
{
	struct file_store *file = container_of(store, struct file_store, store);
	ssize_t done;

	if (offset > LLONG_MAX - length)
		return -EFBIG;
	while (length) {
		done = pwrite(file->fd, buf, length, offset);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -EIO;
		buf = (const char *)buf + done;
		offset += done;
		length -= done;
	}
	return 0;
}

static int file_store_flush(struct vhdx_store *store)
{
	struct file_store *file = container_of(store, struct file_store, store);

	return fsync(file->fd) ? -errno : 0;
}

int file_store_init(struct file_store *file, int fd)
{
	struct stat st;
	off_t end;

	memset(file, 0, sizeof(*file));
	file->fd = fd;
	file->store.read = file_store_read;
	file->store.write = file_store_write;
	file->store.flush = file_store_flush;
	if (fstat(fd, &st))
		return -errno;
	end = lseek(fd, 0, SEEK_END);	/* of a block device fstat() tells no size */
	if (end < 0)
		return -errno;
	file->store.size = end;
	if (S_ISBLK(st.st_mode)) {
		if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_DIRECT))
			return -errno;
		file->direct = true;
	}
	return 0;
}
