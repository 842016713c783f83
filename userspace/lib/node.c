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

/* Of the two groups that may be joined, the one that can write no disk is enough to read. */
static int explain_open(int err, const char *node, bool write)
{
	if (err != -EACCES && err != -EPERM)
		return fail_errno(err, "%s", node);
	if (write)
		return fail(err, VHDX_REASON_NONE,
			    "%s: permission denied: sealing, forgetting and switching tracking need root, or the group that owns it (who is in group vhdx-backup may ask and copy)",
			    node);
	return fail(err, VHDX_REASON_NONE,
		    "%s: permission denied: be root, or a member of group vhdx-backup, which may ask and copy (see vhdx(4))",
		    node);
}

int open_control(void)
{
	int fd = open(CONTROL_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENXIO || errno == ENODEV)
		return fail(-ENODEV, VHDX_REASON_NONE,
			    CONTROL_DEVICE " is not there: load the module with `modprobe vhdx`");
	return explain_open(-errno, CONTROL_DEVICE, true);
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
			return explain_open(-errno, node, (flags & O_ACCMODE) != O_RDONLY);
		nanosleep(&pause, NULL);
	}
}
