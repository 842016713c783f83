// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads all, writes some, seals, asks, forgets; and judges the answers.
 *
 * Any block may be unreadable and any call may fail: the container is damaged. What may
 * not happen is a wrong answer, so a read after a write gives what was written, and a
 * question since a point that was there before a write has that write in its answer.
 */
#include "exercise.h"
#include "victim.h"
#include "watch.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/vhdx.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CHUNK		(256 * KIB)
#define POINTS		64
#define RANGES		64
#define WRITES		16

/* A disk that is open. */
struct disk {
	int node, changes, control;
	struct vhdx_info info;
	struct vhdx_point points[POINTS];
	unsigned int point_count;
	/* Writes that succeeded, and what of them each point doesn't contain. */
	struct vhdx_range writes[WRITES];
	unsigned int write_count;
	unsigned int first_write[POINTS];
	/* The same of the newest point, which may be one that there was no room for. */
	unsigned int newest_first_write;
};

static unsigned char *buffer(void)
{
	static unsigned char *memory;

	if (!memory && posix_memalign((void **)&memory, PAGE, 2 * CHUNK))
		err(2, "memory");
	return memory;
}

static int control(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/dev/vhdx-control", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(2, "/dev/vhdx-control");
	return fd;
}

/* ---- attach, detach ------------------------------------------------------------------ */

/**
 * attach_disk() - attach it, or don't
 * @container:	path
 * @sidecar:	path, or NULL
 * @parent:	path of what must be its only parent, or NULL
 * @read_only:	or for writing
 *
 * Returns the index, or -errno.
 */
int attach_disk(const char *container, const char *sidecar, const char *parent, bool read_only)
{
	int mode = (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
	char message[512] = "";
	struct vhdx_layer layers[2] = {
		{
			.container_fd = open(container, mode),
			.sidecar_fd = sidecar ? open(sidecar, mode) : -1,
		},
		{
			.container_fd = parent ? open(parent, O_RDONLY | O_CLOEXEC) : -1,
			.sidecar_fd = -1,
		},
	};
	struct vhdx_attach argument = {
		.size = sizeof(argument),
		.flags = read_only ? VHDX_ATTACH_READ_ONLY : 0,
		.layers = (uintptr_t)layers,
		.layer_count = parent ? 2 : 1,
		.layer_size = sizeof(layers[0]),
		.index = VHDX_INDEX_ANY,
		.message = (uintptr_t)message,
		.message_capacity = sizeof(message),
	};
	int result;

	if (layers[0].container_fd < 0 || (sidecar && layers[0].sidecar_fd < 0) ||
	    (parent && layers[1].container_fd < 0))
		err(2, "%s", container);
	result = WATCHED("ATTACH", ioctl(control(), VHDX_ATTACH, &argument)) ? -errno
									       : argument.index;
	close(layers[0].container_fd);
	if (sidecar)
		close(layers[0].sidecar_fd);
	if (parent)
		close(layers[1].container_fd);
	switch (result) {
	default:
		if (result >= 0)
			return result;
		failed("attach fails with errno %d: %s", -result, message);
		break;
	case -EINVAL:
	case -EMEDIUMTYPE:
	case -EUCLEAN:
	case -EOPNOTSUPP:
		/* One layer too many, for what says that it is no child any more. */
		if (result == -EINVAL && !parent)
			failed("attach fails with EINVAL: %s", message);
		if (!*message)
			failed("a refusal with errno %d and without a message", -result);
		break;
	case -ENOMEM:
		break;
	case -EIO:
	case -ENOSPC:
	case -EFBIG:
		/* A log that wants the container larger than its file system. */
		break;
	}
	return result;
}

/**
 * detach_disk() - once nobody has it open
 * @index:	N of /dev/vhdxN
 *
 * Returns 0 or -errno.
 */
int detach_disk(int index)
{
	struct vhdx_detach argument = { .size = sizeof(argument), .index = index };
	unsigned int tries;

	for (tries = 0; tries < 200; tries++) {
		if (!WATCHED("DETACH", ioctl(control(), VHDX_DETACH, &argument)))
			return 0;
		if (errno != EBUSY)
			return -errno;
		usleep(50000);
	}
	return -EBUSY;
}

/* ---- data ------------------------------------------------------------------------------- */

static ssize_t read_at(struct disk *d, void *to, size_t length, uint64_t offset)
{
	ssize_t done = WATCHED("read", pread(d->node, to, length, offset));

	if (done < 0 && errno != EIO && errno != ENOMEM)
		failed("a read at %#llx fails with errno %d", (unsigned long long)offset, errno);
	return done;
}

/* One that fails in a large piece may succeed in a small one, and must not hang in any. */
static void read_chunk(struct disk *d, uint64_t offset, uint64_t length)
{
	uint64_t at;

	if (read_at(d, buffer(), length, offset) == (ssize_t)length)
		return;
	for (at = 0; at + PAGE <= length; at += 16 * PAGE)
		read_at(d, buffer(), PAGE, offset + at);
}

static void read_all(struct disk *d)
{
	uint64_t offset, size = d->info.virtual_disk_size;
	uint64_t head = size < 24 * MIB ? size : 4 * MIB;
	unsigned int i;

	for (offset = 0; offset < head; offset += CHUNK)
		read_chunk(d, offset, head - offset < CHUNK ? head - offset : CHUNK);
	for (i = 0; head < size && i < 16; i++)
		read_chunk(d, random_below(size / CHUNK) * CHUNK, CHUNK);
}

static uint64_t some_offset(const struct disk *d, uint64_t length)
{
	uint64_t size = d->info.virtual_disk_size, block = d->info.block_size;
	uint64_t offset = random_below(size);

	if (size > 64 * MIB && !one_in(4))
		offset %= 8 * MIB;
	if (one_in(3))
		offset = offset / block * block;
	else if (one_in(3))
		offset = offset / block * block + block - length / 2;
	offset &= ~(PAGE - 1);
	return offset + length <= size ? offset : 0;
}

static void write_some(struct disk *d, struct attachment *a)
{
	uint64_t length = PAGE << random_below(5);
	uint64_t offset = some_offset(d, length);
	unsigned char *data = buffer(), *back = data + CHUNK;
	unsigned int fill = 1 + random_below(255);
	ssize_t done;

	if (d->write_count == WRITES || length > d->info.virtual_disk_size)
		return;
	memset(data, fill, length);
	done = WATCHED("write", pwrite(d->node, data, length, offset));
	if (done < 0 && errno != EIO && errno != ENOSPC && errno != ENOMEM)
		failed("a write at %#llx fails with errno %d", (unsigned long long)offset, errno);
	if (done <= 0)
		return;
	a->written = true;
	d->writes[d->write_count].byte_offset = offset;
	d->writes[d->write_count++].byte_length = done;
	if (read_at(d, back, done, offset) != done)
		failed("what was written at %#llx can't be read", (unsigned long long)offset);
	else if (memcmp(data, back, done))
		failed("what was written at %#llx reads as something else",
		       (unsigned long long)offset);
	if (one_in(4) && WATCHED("fsync", fsync(d->node)) && errno != EIO)
		failed("fsync fails with errno %d", errno);
}

/* ---- points and questions ------------------------------------------------------------------ */

static void get_points(struct disk *d)
{
	struct vhdx_get_points argument = {
		.size = sizeof(argument),
		.output = (uintptr_t)d->points,
		.point_size = sizeof(d->points[0]),
		.output_capacity = POINTS,
	};
	int result = WATCHED("GET_POINTS", ioctl(d->changes, VHDX_GET_POINTS, &argument));

	/* Of a sidecar that can't be used it does not say that there are none. */
	if (result && errno != ESTALE && errno != EOPNOTSUPP)
		failed("GET_POINTS fails with errno %d", errno);
	d->point_count = argument.output_count;
	if (d->point_count > POINTS || d->point_count > argument.point_count)
		failed("%u of %u points", d->point_count, argument.point_count);
}

static bool covers(const struct vhdx_range *ranges, unsigned int count,
		   const struct vhdx_range *write)
{
	uint64_t at = write->byte_offset, end = at + write->byte_length;
	unsigned int i;

	for (i = 0; i < count && at < end; i++) {
		if (ranges[i].byte_offset <= at &&
		    ranges[i].byte_offset + ranges[i].byte_length > at)
			at = ranges[i].byte_offset + ranges[i].byte_length;
	}
	return at >= end;
}

/* Ascending, within what was processed; those that touch differ in their flags. */
static void check_ranges(const struct vhdx_get_virtual_disk_changes *q,
			 const struct vhdx_range *ranges)
{
	uint64_t at = q->byte_offset, end = q->byte_offset + q->processed_byte_length;
	unsigned int i;

	if (!q->processed_byte_length || q->processed_byte_length > q->byte_length)
		failed("%llu bytes processed of %llu",
		       (unsigned long long)q->processed_byte_length,
		       (unsigned long long)q->byte_length);
	for (i = 0; i < q->output_count; i++) {
		if (!ranges[i].byte_length || ranges[i].byte_offset < at ||
		    (i && ranges[i].byte_offset == at &&
		     ranges[i].flags == ranges[i - 1].flags) ||
		    ranges[i].byte_offset + ranges[i].byte_length > end)
			failed("range %u of %u is %llu, %llu", i, q->output_count,
			       (unsigned long long)ranges[i].byte_offset,
			       (unsigned long long)ranges[i].byte_length);
		at = ranges[i].byte_offset + ranges[i].byte_length;
	}
}

/* One question, perhaps of part of the disk. Returns errno. */
static int ask(struct disk *d, const struct vhdx_point_id *limit,
	       const struct vhdx_point_id *target, unsigned int first_write)
{
	struct vhdx_range ranges[RANGES];
	struct vhdx_get_virtual_disk_changes q = {
		.size = sizeof(q),
		.limit_id = *limit,
		.byte_length = d->info.virtual_disk_size,
		.output = (uintptr_t)ranges,
		.range_size = sizeof(ranges[0]),
		.output_capacity = one_in(2) ? RANGES : 1 + random_below(4),
	};
	unsigned int i;
	int calls;

	if (target)
		q.target_id = *target;
	for (calls = 0; q.byte_length && calls < 8; calls++) {
		if (WATCHED("GET_CHANGES",
			    ioctl(d->changes, VHDX_GET_VIRTUAL_DISK_CHANGES, &q)))
			return errno;
		check_ranges(&q, ranges);
		for (i = first_write; i < d->write_count && !target; i++) {
			const struct vhdx_range *w = &d->writes[i];

			if (w->byte_offset >= q.byte_offset &&
			    w->byte_offset + w->byte_length <=
			    q.byte_offset + q.processed_byte_length &&
			    !covers(ranges, q.output_count, w))
				failed("a write at %#llx is not in the answer",
				       (unsigned long long)w->byte_offset);
		}
		q.byte_offset += q.processed_byte_length;
		q.byte_length -= q.processed_byte_length;
	}
	return 0;
}

static void ask_all(struct disk *d)
{
	unsigned int i;

	for (i = 0; i < d->point_count; i++) {
		int error = ask(d, &d->points[i].id, NULL, d->first_write[i]);

		if (error && error != ESTALE && error != ENODATA && error != EOPNOTSUPP &&
		    error != EIO && error != ENOMEM)
			failed("a question since point %u fails with errno %d", i, error);
	}
	if (d->point_count > 1)
		ask(d, &d->points[random_below(d->point_count)].id,
		    &d->points[random_below(d->point_count)].id, 0);
}

static void add_point(struct disk *d, const struct vhdx_point_id *id)
{
	d->newest_first_write = d->write_count;
	if (d->point_count < POINTS) {
		d->points[d->point_count].id = *id;
		d->first_write[d->point_count++] = d->write_count;
	}
}

static void seal(struct disk *d, struct attachment *a)
{
	struct vhdx_point_id id = { };
	__s32 fd = d->changes;
	struct vhdx_seal argument = {
		.size = sizeof(argument),
		.fds = (uintptr_t)&fd,
		.ids = (uintptr_t)&id,
		.count = 1,
		.label_length = 4,
		.label = "fuzz",
	};

	if (WATCHED("SEAL", ioctl(control(), VHDX_SEAL, &argument))) {
		if (errno != EOPNOTSUPP && errno != EIO && errno != ENOSPC && errno != ENOMEM)
			failed("SEAL fails with errno %d", errno);
		return;
	}
	a->written = true;
	add_point(d, &id);
	if (ask(d, &id, NULL, d->write_count))
		failed("a question since the point just sealed fails with errno %d", errno);
}

static void forget(struct disk *d, struct attachment *a)
{
	unsigned int i = d->point_count ? random_below(d->point_count) : 0;
	struct vhdx_forget argument = { .size = sizeof(argument), .id = d->points[i].id };
	const bool snapshot = argument.id.kind == VHDX_POINT_SNAPSHOT;

	if (!d->point_count)
		return;
	if (!WATCHED("FORGET", ioctl(d->changes, VHDX_FORGET, &argument)))
		a->written = true;
	else if (errno == EFAULT || (errno == EINVAL && !snapshot))
		failed("FORGET fails with errno %d", errno);
}

static void enable(struct disk *d, struct attachment *a)
{
	struct vhdx_tracking_enable argument = {
		.size = sizeof(argument),
		.flags = VHDX_ENABLE_OVERWRITE,
		.sidecar_fd = one_in(2) ? a->sidecar_fd : -1,
	};

	if (WATCHED("ENABLE", ioctl(d->changes, VHDX_TRACKING_ENABLE, &argument))) {
		if (errno == EFAULT || errno == ENOTTY)
			failed("ENABLE fails with errno %d", errno);
		return;
	}
	a->written = true;
	/* Points of the sidecar that was overwritten are gone. */
	d->point_count = 0;
	add_point(d, &argument.first_point);
}

static void disable_or_reset(struct disk *d, struct attachment *a)
{
	struct vhdx_tracking_disable off = { .size = sizeof(off) };
	struct vhdx_tracking_reset again = { .size = sizeof(again) };

	if (one_in(2)) {
		if (WATCHED("DISABLE", ioctl(d->changes, VHDX_TRACKING_DISABLE, &off)))
			return;
	} else {
		if (WATCHED("RESET", ioctl(d->changes, VHDX_TRACKING_RESET, &again)))
			return;
		add_point(d, &again.first_point);
	}
	a->written = true;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static void do_something(struct disk *d, struct attachment *a)
{
	switch (random_below(16)) {
	case 0 ... 6:
		write_some(d, a);
		break;
	case 7 ... 9:
		seal(d, a);
		break;
	case 10 ... 12:
		ask_all(d);
		break;
	case 13:
		forget(d, a);
		break;
	case 14:
		if (a->sidecar_fd >= 0)
			enable(d, a);
		break;
	default:
		if (one_in(4))
			disable_or_reset(d, a);
	}
}

static void check_state(struct disk *d)
{
	struct vhdx_tracking_state state = { .size = sizeof(state) };

	if (WATCHED("GET_STATE", ioctl(d->changes, VHDX_GET_TRACKING_STATE, &state)))
		failed("GET_TRACKING_STATE fails with errno %d", errno);
	if (WATCHED("GET_INFO", ioctl(d->changes, VHDX_GET_INFO, &d->info)))
		failed("GET_INFO fails with errno %d", errno);
	if (state.state == VHDX_TRACKING_ON && !state.newer_changes &&
	    d->newest_first_write < d->write_count)
		failed("no newer changes, it says, after a write");
}

static int open_device(const char *format, int index, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), format, index);
	fd = WATCHED("open", open(path, flags | O_CLOEXEC));
	if (fd < 0)
		failed("%s cannot be opened: errno %d", path, errno);
	return fd;
}

/**
 * exercise() - use an attached disk
 * @a:	how it was attached
 */
void exercise(struct attachment *a)
{
	int mode = a->read_only ? O_RDONLY : O_RDWR;
	struct disk d = { .info = { .size = sizeof(d.info) } };
	unsigned int steps = 4 + random_below(12);

	d.node = open_device("/dev/vhdx%d", a->index, mode | O_DIRECT);
	d.changes = open_device("/dev/vhdxc%d", a->index, O_RDWR);
	if (d.node >= 0 && d.changes >= 0) {
		check_state(&d);
		get_points(&d);
		read_all(&d);
		ask_all(&d);
		while (!a->read_only && steps--)
			do_something(&d, a);
		ask_all(&d);
		check_state(&d);
	}
	close(d.node);
	close(d.changes);
}
