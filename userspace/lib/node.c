// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Device nodes: opening them, and what to say where they are missing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "internal.h"

/* devtmpfs has the nodes at once; a /dev that udev keeps by itself may take a while. */
#define NODE_TRIES	100
#define NODE_PAUSE_NS	50000000L

void device_name(int index, char *text, size_t size)
{
	snprintf(text, size, "/dev/vhdx%d", index);
}

bool module_is_loaded(void)
{
	return !access("/sys/module/vhdx", F_OK) || !access(CONTROL_DEVICE, F_OK);
}

static int explain_open(int err, const char *node)
{
	if (err == -EACCES || err == -EPERM)
		return fail(err, VHDX_REASON_NONE,
			    "%s: permission denied: be root, or a member of the group that owns it",
			    node);
	return fail_errno(err, "%s", node);
}

int open_control(void)
{
	int fd = open(CONTROL_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENXIO || errno == ENODEV)
		return fail(-ENODEV, VHDX_REASON_NONE,
			    CONTROL_DEVICE " is not there: load the module with `modprobe vhdx`");
	return explain_open(-errno, CONTROL_DEVICE);
}

int open_node(const char *kind, int index, int flags)
{
	static const struct timespec pause = { .tv_nsec = NODE_PAUSE_NS };
	char node[VHDX_DEVICE_NAME];
	int try;
	int fd;

	snprintf(node, sizeof(node), "/dev/vhdx%s%d", kind, index);
	for (try = 0; ; try++) {
		fd = open(node, flags | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		if (errno != ENOENT || !sysfs_exists(index) || try == NODE_TRIES)
			return explain_open(-errno, node);
		nanosleep(&pause, NULL);
	}
}
