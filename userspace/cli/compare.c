// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "compare.h"

#define WINDOW	(1U << 20)

/* Differences closer to each other are told as one: no unit of tracking is smaller. */
#define GRAIN	VHDX_UNIT_MIN

__attribute__((format(printf, 3, 4)))
static int fail(struct comparison *comparison, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(comparison->fault, sizeof(comparison->fault), format, args);
	va_end(args);
	return -error;
}

int no_memory(struct comparison *comparison)
{
	return fail(comparison, ENOMEM, "out of memory");
}

/* ---- The image ---- */

int open_image(struct comparison *comparison, const char *path, struct vhdx_disk *disk,
	       uint64_t size)
{
	struct stat st;
	off_t end;

	comparison->disk = disk;
	comparison->size = size;
	comparison->image = path;
	comparison->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (comparison->fd < 0 || fstat(comparison->fd, &st))
		return fail(comparison, errno, "%s: it can't be opened: %s", path,
			    strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return fail(comparison, EINVAL, "%s: it is neither a file nor a block device",
			    path);
	end = lseek(comparison->fd, 0, SEEK_END);
	if (end < 0)
		return fail(comparison, errno, "%s: it does not tell its size: %s", path,
			    strerror(errno));
	if ((uint64_t)end != size)
		return fail(comparison, EINVAL,
			    "%s: it has %llu bytes, and the disk %llu: it has to be a raw image of the whole disk (`vhdxctl convert --type raw` makes one)",
			    path, (unsigned long long)end, (unsigned long long)size);
	comparison->of_image = malloc(WINDOW);
	comparison->of_disk = malloc(WINDOW);
	if (!comparison->of_image || !comparison->of_disk)
		return no_memory(comparison);
	return 0;
}

void close_image(struct comparison *comparison)
{
	if (comparison->fd >= 0)
		close(comparison->fd);
	ranges_release(&comparison->allocated);
	ranges_release(&comparison->different);
	free(comparison->of_image);
	free(comparison->of_disk);
}

/*
 * Is there anything at @at, that a hole has not? As far as *@end at most, which is where that ends.
 * What can't tell of holes has none.
 */
static bool has_data(int fd, uint64_t at, uint64_t *end)
{
	off_t data = lseek(fd, at, SEEK_DATA);
	off_t hole;

	if (data < 0)
		return errno != ENXIO;
	if ((uint64_t)data > at) {
		if (*end > (uint64_t)data)
			*end = data;
		return false;
	}
	hole = lseek(fd, at, SEEK_HOLE);
	if (hole > 0 && *end > (uint64_t)hole)
		*end = hole;
	return true;
}

static int read_image(struct comparison *comparison, uint64_t at, size_t length)
{
	char *buf = comparison->of_image;
	ssize_t got;

	while (length) {
		got = pread(comparison->fd, buf, length, at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return fail(comparison, got ? errno : EIO,
				    "%s: reading at offset %llu failed: %s", comparison->image,
				    (unsigned long long)at,
				    got ? strerror(errno) : "it was cut meanwhile");
		buf += got;
		at += got;
		length -= got;
	}
	return 0;
}

/* ---- The disk ---- */

static int ask_allocated(struct comparison *comparison)
{
	struct vhdx_allocated question = {
		.size = sizeof(question),
		.length = VHDX_TO_END,
		.progress = progress_tell,
	};
	int err = vhdx_disk_get_allocated(comparison->disk, &question, ranges_keep,
					  &comparison->allocated);

	return err == ENOMEM ? no_memory(comparison) : err;
}

/* As has_data(); asked of ascending places. */
static bool is_allocated(struct comparison *comparison, uint64_t at, uint64_t *end)
{
	const struct ranges *allocated = &comparison->allocated;
	const struct vhdx_range *range;
	uint64_t edge;
	bool is;

	while (comparison->passed < allocated->count &&
	       end_of_range(&allocated->list[comparison->passed]) <= at)
		comparison->passed++;
	if (comparison->passed == allocated->count)
		return false;
	range = &allocated->list[comparison->passed];
	is = range->byte_offset <= at;
	edge = is ? end_of_range(range) : range->byte_offset;
	if (*end > edge)
		*end = edge;
	return is;
}

/* ---- Comparing ---- */

/* 0 or ENOMEM. */
static int add_difference(struct ranges *different, uint64_t offset, uint64_t length)
{
	const struct vhdx_range range = { .byte_offset = offset, .byte_length = length };
	struct vhdx_range *last = different->count ? &different->list[different->count - 1] : NULL;

	if (!last || offset - end_of_range(last) >= GRAIN)
		return ranges_keep(different, &range);
	last->byte_length = offset + length - last->byte_offset;
	return 0;
}

/* In the windows, which @at is the offset of. 0 or ENOMEM. */
static int find_differences(struct comparison *comparison, uint64_t at, size_t length)
{
	const char *image = comparison->of_image;
	const char *disk = comparison->of_disk;
	size_t start, end, first, last;
	int err = 0;

	for (start = 0; start < length && !err; start = end) {
		end = length - start > GRAIN ? start + GRAIN : length;
		if (!memcmp(image + start, disk + start, end - start))
			continue;
		for (first = start; image[first] == disk[first]; first++)
			;
		for (last = end - 1; image[last] == disk[last]; last--)
			;
		err = add_difference(&comparison->different, at + first, last - first + 1);
	}
	return err;
}

static int compare_window(struct comparison *comparison, uint64_t at, size_t length, bool of_image,
			  bool of_disk)
{
	int err = 0;

	if (of_image)
		err = read_image(comparison, at, length);
	else
		memset(comparison->of_image, 0, length);
	if (!err && of_disk)
		err = vhdx_disk_read(comparison->disk, at, comparison->of_disk, length);
	else if (!err)
		memset(comparison->of_disk, 0, length);
	if (!err && find_differences(comparison, at, length))
		err = no_memory(comparison);
	return err;
}

static int compare_part(struct comparison *comparison, uint64_t at, uint64_t to)
{
	bool of_image, of_disk;
	uint64_t end;
	int err = 0;

	while (at < to && !err) {
		end = to;
		of_image = has_data(comparison->fd, at, &end);
		of_disk = is_allocated(comparison, at, &end);
		if (of_image || of_disk) {
			if (end - at > WINDOW)
				end = at + WINDOW;
			err = compare_window(comparison, at, end - at, of_image, of_disk);
		}
		comparison->compared += end - at;
		at = end;
		if (!err)
			err = progress_tell(NULL, at, comparison->size);
	}
	return err;
}

int compare(struct comparison *comparison, const struct ranges *left_out)
{
	uint64_t at = 0;
	size_t i;
	int err;

	err = ask_allocated(comparison);
	for (i = 0; i < left_out->count && !err; i++) {
		err = compare_part(comparison, at, left_out->list[i].byte_offset);
		at = end_of_range(&left_out->list[i]);
	}
	return err ? err : compare_part(comparison, at, comparison->size);
}
