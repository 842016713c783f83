// SPDX-License-Identifier: GPL-2.0-only
#include "calls.h"
#include "exercise.h"
#include "memory.h"
#include "victim.h"
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/vhdx.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- descriptors ------------------------------------------------------------------------ */

/* Numbers are never given back, only what is behind them: see dup3(). */
static _Atomic int fds[SHARED_FDS];

static int open_something(void)
{
	static const char *const paths[] = {
		"/dev/vhdx-control", "/dev/vhdxc0", "/dev/vhdxc0", "/dev/vhdxc0", "/dev/vhdxc1",
		"/dev/vhdxc1", "/dev/vhdx0", "/dev/vhdx1", "/dev/null", "/proc/self/status",
		"/sys/block/vhdx0/size", "/",
	};
	int mode = one_in(4) ? O_RDONLY : O_RDWR;
	const char *path = paths[random_below(sizeof(paths) / sizeof(*paths))];
	int pair[2];

	switch (random_below(24)) {
	case 0:
		return memfd_create("fuzz", MFD_CLOEXEC);
	case 1:
		if (pipe2(pair, O_CLOEXEC | O_NONBLOCK))
			return -1;
		close(pair[0]);
		return pair[1];
	case 2:
		return dup(container_fd(random_below(DISKS)));
	case 3:
		return dup(sidecar_fd(random_below(DISKS)));
	case 4:
		return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	case 5:
		mode = O_PATH;
		break;
	case 6:
		mode |= O_APPEND;
		break;
	}
	return WATCHED("open", open(path, mode | O_CLOEXEC | O_NONBLOCK));
}

/**
 * shared_fd() - one that may be about to be closed
 */
int shared_fd(void)
{
	return fds[random_below(SHARED_FDS)];
}

/**
 * replace_shared_fd() - close one, and put something else in its place
 */
void replace_shared_fd(void)
{
	unsigned int i = random_below(SHARED_FDS);
	int fd = open_something(), old = fds[i];

	if (fd < 0)
		return;
	if (old <= 0) {
		fds[i] = fd;
		return;
	}
	WATCHED("dup3", dup3(fd, old, O_CLOEXEC));
	close(fd);
}

/**
 * close_shared_fds() - all of them, when nobody calls any more
 */
void close_shared_fds(void)
{
	unsigned int i;

	for (i = 0; i < SHARED_FDS; i++)
		if (fds[i] > 0)
			WATCHED("close", close(fds[i]));
}

static int any_fd_number(void)
{
	switch (random_below(12)) {
	case 0:
		return interesting(&(struct victim){ }, 4, 3);
	case 1:
		return container_fd(random_below(DISKS));
	case 2:
	case 3:
		return sidecar_fd(random_below(DISKS));
	default:
		return shared_fd();
	}
}

/* ---- arguments ----------------------------------------------------------------------------- */

/* Ids that exist, or did: whoever gets to know one leaves it here. */
static struct vhdx_point_id known_ids[16];

static struct vhdx_point_id any_id(void)
{
	struct vhdx_point_id id = known_ids[random_below(16)];

	if (one_in(8))
		id.guid[random_below(16)] ^= 1 << random_below(8);
	if (one_in(16))
		id.kind = random_below(5);
	if (one_in(16))
		id.sequence = interesting(&(struct victim){ }, 8, id.sequence);
	if (one_in(8))
		memset(&id, 0, sizeof(id));
	return id;
}

static void learn(const struct vhdx_point_id *id)
{
	if (id->kind)
		known_ids[random_below(16)] = *id;
}

static uint32_t some_count(uint32_t usual)
{
	return one_in(8) ? interesting(&(struct victim){ }, 4, usual) : random_below(usual + 1);
}

static uint32_t some_flags(uint32_t known)
{
	return one_in(16) ? 1U << random_below(32) : random_next() & known;
}

/* Any of the structures; what a test program could not name better. */
union argument {
	struct vhdx_attach attach;
	struct vhdx_detach detach;
	struct vhdx_seal seal;
	struct vhdx_info info;
	struct vhdx_tracking_state state;
	struct vhdx_tracking_enable enable;
	struct vhdx_tracking_disable disable;
	struct vhdx_tracking_reset reset;
	struct vhdx_get_points points;
	struct vhdx_forget forget;
	struct vhdx_get_virtual_disk_changes changes;
	struct vhdx_get_allocated_ranges allocated;
	struct vhdx_get_layers layers;
	unsigned char bytes[4 * 4096];
};

static char nothing[MEMORY_MAX];

/* The size of an element, most of the time. */
static uint32_t some_stride(uint32_t right)
{
	return one_in(8) ? some_count(right + 64) : right;
}

static size_t fill_attach(union argument *a)
{
	struct vhdx_layer layers[2] = {
		{ .container_fd = any_fd_number(), .sidecar_fd = any_fd_number(), },
		{ .container_fd = -1, .sidecar_fd = -1 },
	};

	if (one_in(3))
		layers[0].sidecar_fd = -1;
	a->attach.flags = some_flags(VHDX_ATTACH_READ_ONLY | VHDX_ATTACH_NO_TRACK);
	a->attach.layers = memory_any(layers, sizeof(layers));
	a->attach.layer_count = one_in(8) ? some_count(2) : 1;
	a->attach.layer_size = some_stride(sizeof(layers[0]));
	a->attach.index = one_in(8) ? (int)some_count(300) : (int)random_below(3) - 1;
	a->attach.message = memory_any(nothing, 512);
	a->attach.message_capacity = some_count(512);
	return sizeof(a->attach);
}

static size_t fill_seal(union argument *a)
{
	__s32 numbers[4] = { any_fd_number(), any_fd_number(), any_fd_number(), any_fd_number() };

	a->seal.flags = some_flags(0);
	a->seal.fds = memory_any(numbers, sizeof(numbers));
	a->seal.ids = memory_any(nothing, 4 * sizeof(struct vhdx_point_id));
	a->seal.count = one_in(2) ? 1 : some_count(3);
	a->seal.label_length = some_count(4);
	memset(a->seal.label, 'x', sizeof(a->seal.label));
	memset(a->seal.label + (a->seal.label_length & 63), one_in(8), 4);
	a->seal.message = memory_any(nothing, 512);
	a->seal.message_capacity = some_count(512);
	return sizeof(a->seal);
}

static size_t fill_enable(union argument *a)
{
	a->enable.flags = some_flags(VHDX_ENABLE_OVERWRITE);
	a->enable.sidecar_fd = one_in(2) ? -1 : any_fd_number();
	a->enable.unit = one_in(2) ? 0 : 1U << random_below(32);
	a->enable.message = memory_any(nothing, 512);
	a->enable.message_capacity = some_count(512);
	return sizeof(a->enable);
}

static size_t fill_points(union argument *a)
{
	a->points.flags = some_flags(0);
	a->points.output_capacity = some_count(MEMORY_MAX / sizeof(struct vhdx_point));
	a->points.output = memory_any(nothing, MEMORY_MAX);
	a->points.point_size = some_stride(sizeof(struct vhdx_point));
	if (one_in(2))
		a->points.after = any_id();
	a->points.message = memory_any(nothing, 512);
	a->points.message_capacity = some_count(512);
	return sizeof(a->points);
}

static size_t fill_changes(union argument *a)
{
	struct vhdx_get_virtual_disk_changes *q = &a->changes;

	q->flags = one_in(2) ? some_flags(VHDX_CHANGES_BITMAP | VHDX_CHANGES_COUNT) : 0;
	q->limit_id = any_id();
	if (one_in(2))
		q->target_id = any_id();
	q->byte_offset = one_in(4) ? interesting(&(struct victim){ .size = 16 * MIB }, 8, 0) : 0;
	q->byte_length = one_in(4) ? interesting(&(struct victim){ .size = 16 * MIB }, 8, MIB)
				   : 16 * MIB - q->byte_offset;
	if (one_in(2))
		q->granularity = one_in(8) ? random_next() : 1ULL << random_below(64);
	if (one_in(4))
		q->min_gap = random_next() >> random_below(64);
	q->output_capacity = some_count(MEMORY_MAX / sizeof(struct vhdx_range));
	q->output = memory_any(nothing, MEMORY_MAX);
	q->range_size = one_in(2) ? VHDX_RANGE_SIZE_VER0 : some_stride(sizeof(struct vhdx_range));
	if (q->flags & VHDX_CHANGES_COUNT && !one_in(4)) {
		q->output_capacity = 0;
		q->output = 0;
	}
	if (q->flags & VHDX_CHANGES_BITMAP && !one_in(4)) {
		q->output_capacity &= ~7U;
		q->range_size = 0;
		q->min_gap = 0;
	}
	q->time_limit_ms = one_in(4) ? some_count(3) : 0;
	q->message = memory_any(nothing, 512);
	q->message_capacity = some_count(512);
	return sizeof(*q);
}

static void fill_allocated(struct vhdx_get_allocated_ranges *q)
{
	q->flags = one_in(4) ? some_flags(VHDX_ALLOCATED_ZEROES) : 0;
	q->byte_offset = one_in(4) ? interesting(&(struct victim){ .size = 16 * MIB }, 8, 0) : 0;
	q->byte_length = one_in(4) ? interesting(&(struct victim){ .size = 16 * MIB }, 8, MIB)
				   : 16 * MIB - q->byte_offset;
	if (one_in(4))
		q->min_gap = random_next() >> random_below(64);
	q->output_capacity = some_count(MEMORY_MAX / sizeof(struct vhdx_range));
	q->output = memory_any(nothing, MEMORY_MAX);
	q->range_size = one_in(4) ? some_stride(sizeof(struct vhdx_range)) :
			one_in(2) ? VHDX_RANGE_SIZE_VER0 : sizeof(struct vhdx_range);
	q->time_limit_ms = one_in(4) ? some_count(3) : 0;
}

/* The numbers, and what goes with them. Returns the size of the structure. */
static size_t any_argument(union argument *a, unsigned long *command)
{
	memset(a, 0, sizeof(*a));
	switch (random_below(20)) {
	case 0:
		*command = VHDX_ATTACH;
		return fill_attach(a);
	case 1:
		*command = VHDX_DETACH;
		a->detach.index = one_in(4) ? (int)some_count(4) : (int)random_below(2);
		a->detach.disk_seq = one_in(8) ? some_count(1000) : 0;
		return sizeof(a->detach);
	case 2 ... 4:
		*command = VHDX_SEAL;
		return fill_seal(a);
	case 5:
		*command = VHDX_GET_INFO;
		return sizeof(a->info);
	case 6:
		*command = VHDX_GET_TRACKING_STATE;
		return sizeof(a->state);
	case 7 ... 8:
		*command = VHDX_GET_POINTS;
		return fill_points(a);
	case 9 ... 11:
		*command = VHDX_GET_VIRTUAL_DISK_CHANGES;
		return fill_changes(a);
	case 12:
		*command = VHDX_TRACKING_ENABLE;
		return fill_enable(a);
	case 13:
		*command = VHDX_TRACKING_DISABLE;
		return sizeof(a->disable);
	case 14:
		*command = VHDX_TRACKING_RESET;
		return sizeof(a->reset);
	case 15:
		*command = VHDX_FORGET;
		a->forget.id = any_id();
		return sizeof(a->forget);
	case 16:
		*command = VHDX_GET_ALLOCATED_RANGES;
		fill_allocated(&a->allocated);
		return sizeof(a->allocated);
	case 17:
		*command = VHDX_GET_LAYERS;
		return sizeof(a->layers);
	case 18:
		/* One that does not exist; or of another size or direction. */
		*command = VHDX_GET_INFO ^ 1UL << random_below(32);
		return sizeof(a->info);
	default:
		*command = 0;
		return sizeof(uint64_t[2]);
	}
}

static uint32_t any_size(size_t exact)
{
	switch (random_below(24)) {
	case 0:
		return random_below(exact);
	case 1:
		return exact + 8 * random_below(200);
	case 2:
		return exact + 1 + random_below(8);
	case 3:
		return interesting(&(struct victim){ }, 4, exact);
	case 4:
		return ~0U - random_below(2);
	default:
		return exact;
	}
}

/* ---- calls --------------------------------------------------------------- */

static void block_call(int fd)
{
	static const unsigned long commands[] = {
		BLKGETSIZE64, BLKROGET, BLKSSZGET, BLKPBSZGET, BLKFLSBUF, BLKRRPART, BLKDISCARD,
		BLKZEROOUT, BLKSECDISCARD, BLKBSZGET, BLKRAGET, BLKALIGNOFF, BLKROTATIONAL,
	};
	uint64_t range[2] = { random_below(4096) * PAGE, random_below(64) * PAGE };
	unsigned int which = random_below(sizeof(commands) / sizeof(*commands));

	if (one_in(4))
		range[random_below(2)] = random_next();
	WATCHED("a block ioctl", ioctl(fd, commands[which],
				       memory_any(range, sizeof(range))));
}

static void check_errno(unsigned long command)
{
	/* ERESTARTSYS and its kin, ENOTSUPP, ENOIOCTLCMD: not for user space. */
	if (errno > EHWPOISON)
		failed("ioctl %#lx fails with errno %d", command, errno);
}

static const char *name_of(unsigned long command)
{
	switch (command) {
	case VHDX_ATTACH:
		return "ATTACH";
	case VHDX_DETACH:
		return "DETACH";
	case VHDX_SEAL:
		return "SEAL";
	case VHDX_GET_POINTS:
		return "GET_POINTS";
	case VHDX_GET_VIRTUAL_DISK_CHANGES:
		return "GET_CHANGES";
	case VHDX_TRACKING_ENABLE:
		return "ENABLE";
	case VHDX_TRACKING_DISABLE:
		return "DISABLE";
	case VHDX_TRACKING_RESET:
		return "RESET";
	case VHDX_FORGET:
		return "FORGET";
	default:
		return "an ioctl";
	}
}

static void learn_from(unsigned long command, const union argument *a)
{
	const struct vhdx_point *points = (void *)(uintptr_t)a->points.output;
	unsigned int i;

	if (command == VHDX_TRACKING_ENABLE)
		learn(&a->enable.first_point);
	else if (command == VHDX_TRACKING_RESET)
		learn(&a->reset.first_point);
	else if (command == VHDX_SEAL)
		learn((void *)(uintptr_t)a->seal.ids);
	else if (command == VHDX_GET_POINTS)
		for (i = 0; i < a->points.output_count && i < 16; i++)
			learn(&points[i].id);
}

/**
 * any_call() - one system call on one of the descriptors
 */
void any_call(void)
{
	union argument a;
	unsigned long command;
	size_t exact = any_argument(&a, &command), size = any_size(exact);
	struct pollfd poll_fd = { .fd = shared_fd(), .events = POLLIN };
	uint64_t address;

	if (!command) {
		if (one_in(4))
			poll(&poll_fd, 1, 0);
		else
			block_call(poll_fd.fd);
		return;
	}
	memcpy(&a, &(uint32_t){ size }, sizeof(uint32_t));
	if (size > exact && one_in(4))
		a.bytes[exact + random_below(64)] = 1;
	if (one_in(16))
		a.bytes[4 + random_below(exact - 4)] = random_next();
	address = memory_any(&a, size < sizeof(a) ? size + 4 : sizeof(a));
	if (WATCHED(name_of(command), ioctl(poll_fd.fd, command, address)))
		check_errno(command);
	else
		learn_from(command, (void *)(uintptr_t)address);
}
