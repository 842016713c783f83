// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * An open disk: the questions that the driver and a file answer alike.
 */
#include <core/argument.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "internal.h"

int disk_init(struct vhdx_disk *disk, const struct disk_ops *ops, const char *name)
{
	disk->ops = ops;
	disk->index = -1;
	disk->fd = -1;
	disk->data_fd = -1;
	disk->name = strdup(name);
	return disk->name ? 0 : fail_errno(-ENOMEM, "%s", name);
}

/* Of the last message. */
static const char *subject(const struct vhdx_disk *disk)
{
	return disk->subject ?: subject_of(disk->message, disk->sidecar, disk->name);
}

int disk_call(struct vhdx_disk *disk, unsigned long command, void *argument)
{
	const struct vhdx_argument *known = vhdx_argument_of(command);
	char text[NAMED_SIZE];
	const char *message;
	unsigned int reason;
	int err;

	clear_error();
	err = disk->ops->call(disk, command, argument);
	if (!err)
		return 0;
	reason = *vhdx_argument_reason(known, argument);
	if (disk->unreadable)
		return fail(err, reason, "%s", disk->unreadable);
	message = name_file(disk, disk->message, text);
	if (command == VHDX_GET_VIRTUAL_DISK_CHANGES || command == VHDX_GET_POINTS)
		return fail_history(err, reason, subject(disk), message);
	return fail_kernel(err, reason, subject(disk), message);
}

/* Only the size of an answer is the caller's; the rest may be anything. */
static int ask(struct vhdx_disk *disk, unsigned long command, void *answer)
{
	const struct vhdx_argument *known = vhdx_argument_of(command);
	__u32 *size = answer;
	const __u32 given = *size;

	clear_error();
	if (given < known->first_size)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: %s: size is to be set to the sizeof of the structure, at least %u",
			    disk->name, known->name, known->first_size);
	memset(answer, 0, given);
	*size = given;
	return disk_call(disk, command, answer);
}

/*
 * @name had this index a moment ago. A number is what it says; but a path may have been
 * detached since, and its number may be another disk's: which one was opened is known
 * only when the name still leads to it.
 */
static int open_attached(const char *name, int index, bool write, struct vhdx_disk **disk)
{
	uint64_t disk_seq = sysfs_disk_seq(index);
	int now;
	int err;

	err = find_disk(name, &now);
	if (err < 0)
		return err;
	if (err || now != index)
		return fail(-ENODEV, VHDX_REASON_NONE, "%s: it was detached just now", name);
	return open_device(index, disk_seq, write, disk);
}

int vhdx_disk_open(const char *name, const char *sidecar, unsigned int flags,
		   struct vhdx_disk **disk)
{
	int index;
	int err;

	clear_error();
	err = check_name(name);
	if (err)
		return err;
	if (flags & ~(VHDX_OPEN_WRITE | VHDX_OPEN_ATTACHED))
		return fail(-EINVAL, VHDX_REASON_ARGUMENT, "%s: unknown flags 0x%x", name, flags);
	err = find_disk(name, &index);
	if (err < 0)
		return err;
	if (!err)
		return open_attached(name, index, flags & VHDX_OPEN_WRITE, disk);
	if (flags)
		return explain_no_disk(name) ?:
		       fail(-ENODEV, VHDX_REASON_NONE,
			    "%s: not attached: attach it first (`vhdxctl attach`)", name);
	err = open_offline(name, sidecar, disk);
	/* A partition may well hold a VHDX; if it does not, it was meant otherwise. */
	return err == -EMEDIUMTYPE ? explain_no_disk(name) ?: err : err;
}

void vhdx_disk_close(struct vhdx_disk *disk)
{
	if (!disk)
		return;
	free(disk->name);
	free(disk->unreadable);
	disk->ops->close(disk);
}

int vhdx_disk_index(const struct vhdx_disk *disk)
{
	return disk->index;
}

/*
 * The name is opened, and names are given out again: whose it is now, the device itself
 * says, and the descriptor from before says whose it was, or that it is gone.
 */
int vhdx_disk_open_data(struct vhdx_disk *disk)
{
	struct vhdx_info info = { .size = sizeof(info) };
	uint64_t disk_seq;
	int err;
	int fd;

	clear_error();
	if (disk->index < 0)
		return fail(-ENODEV, VHDX_REASON_NONE,
			    "%s: not attached: there is no block device to read", disk->name);
	fd = open_node("", disk->index, O_RDONLY | O_DIRECT);
	if (fd < 0)
		return fd;
	err = vhdx_disk_get_info(disk, &info);
	if (!err && ioctl(fd, BLKGETDISKSEQ, &disk_seq))
		err = fail_errno(-errno, "%s: it does not tell which disk it is", disk->name);
	else if (err == -ENODEV || (!err && disk_seq != info.disk_seq))
		err = fail(-ENODEV, VHDX_REASON_NONE,
			   "%s: it was detached, and another disk has its name now", disk->name);
	if (!err)
		return fd;
	close(fd);
	return err;
}

int beyond_disk(const struct vhdx_disk *disk, uint64_t offset, size_t length, uint64_t size)
{
	return fail(-EINVAL, VHDX_REASON_ARGUMENT,
		    "%s: 0x%zx bytes from offset %llu on are beyond the disk, which has %llu",
		    disk->name, length, (unsigned long long)offset, (unsigned long long)size);
}

int vhdx_disk_read(struct vhdx_disk *disk, uint64_t offset, void *buf, size_t length)
{
	clear_error();
	return disk->ops->read(disk, offset, buf, length);
}

int vhdx_disk_get_info(struct vhdx_disk *disk, struct vhdx_info *info)
{
	return ask(disk, VHDX_GET_INFO, info);
}

int vhdx_disk_get_sidecar(struct vhdx_disk *disk, char **path)
{
	clear_error();
	*path = NULL;
	return disk->ops->sidecar(disk, path);
}

int vhdx_disk_get_tracking_state(struct vhdx_disk *disk, struct vhdx_tracking_state *state)
{
	return ask(disk, VHDX_GET_TRACKING_STATE, state);
}

/**
 * struct point_list - all points, read in pages: there may be more than one call tells
 * @size:	of an element, which begins with the point's id
 * @get:	the last call
 */
struct point_list {
	char *points;
	size_t size;
	size_t capacity;
	size_t count;
	struct vhdx_get_points get;
};

/* Behind those that there are. */
static int get_points(struct vhdx_disk *disk, struct point_list *list)
{
	list->get = (struct vhdx_get_points) {
		.size = sizeof(list->get),
		.output = (uintptr_t)list->points + list->count * list->size,
		.output_capacity = list->capacity - list->count,
		.point_size = list->size,
	};
	if (list->count)
		memcpy(&list->get.after, list->points + (list->count - 1) * list->size,
		       sizeof(list->get.after));
	return disk_call(disk, VHDX_GET_POINTS, &list->get);
}

static int make_room(struct vhdx_disk *disk, struct point_list *list)
{
	/* One more than there are: room for one that is sealed right now. */
	list->capacity = (size_t)list->get.point_count + 1;
	list->count = 0;
	free(list->points);
	list->points = calloc(list->capacity, list->size);
	return list->points ? 0 : fail_errno(-ENOMEM, "%s", disk->name);
}

/* 1: others have sealed or forgotten meanwhile; 0; -errno. */
static int read_pages(struct vhdx_disk *disk, struct point_list *list)
{
	__u64 generation;
	int err;

	err = get_points(disk, list);
	generation = list->get.generation;
	while (!err) {
		list->count += list->get.output_count;
		if (list->count == list->get.point_count)
			break;
		if (!list->get.output_count || list->count == list->capacity)
			return 1;
		err = get_points(disk, list);
		if (err == -ENODATA || list->get.generation != generation)
			return 1;
	}
	return err;
}

int vhdx_disk_get_points(struct vhdx_disk *disk, size_t point_size, struct vhdx_point **points,
			 size_t *count)
{
	struct point_list list = { .size = point_size };
	int again = get_points(disk, &list);

	if (!again)
		again = 1;
	while (again > 0) {
		again = make_room(disk, &list);
		if (!again)
			again = read_pages(disk, &list);
	}
	if (again || !list.count) {
		free(list.points);
		list.points = NULL;
		list.count = 0;
	}
	if (!again && disk->message[0])
		fail(0, list.get.reason, "%s: %s", subject(disk), disk->message);
	*points = (struct vhdx_point *)list.points;
	*count = list.count;
	return again;
}

int vhdx_forget(struct vhdx_disk *disk, const struct vhdx_point_id *id)
{
	struct vhdx_forget forget = {
		.size = sizeof(forget),
		.id = *id,
	};

	return disk_call(disk, VHDX_FORGET, &forget);
}
