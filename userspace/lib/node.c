// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Device nodes: opening them, and what to say where they are missing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
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

/*
 * Whoever wrote to the name before the device was there made a file of it, which stays: to take
 * it for the device would be to write into a file system in memory. @number: the attribute that
 * tells which device it has to be.
 */
static int check_node(int fd, const char *node, mode_t kind, const char *number)
{
	char is[32], want[32];
	struct stat st;
	bool same;

	if (fstat(fd, &st))
		return fail_errno(-errno, "%s", node);
	same = (st.st_mode & S_IFMT) == kind;
	snprintf(is, sizeof(is), "%u:%u", major(st.st_rdev), minor(st.st_rdev));
	if (same && (sysfs_read_path(number, want, sizeof(want)) || !strcmp(is, want)))
		return 0;
	return fail(-ENODEV, VHDX_REASON_NONE,
		    "%s: not the device that belongs there, but %s: `rm %s`, and attach again (or load the module again)",
		    node, same ? "another one" : "something else of that name", node);
}

static int checked(int fd, const char *node, mode_t kind, const char *number)
{
	int err = check_node(fd, node, kind, number);

	if (!err)
		return fd;
	close(fd);
	return err;
}

int open_control(void)
{
	int fd = open(CONTROL_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return checked(fd, CONTROL_DEVICE, S_IFCHR, "/sys/class/misc/vhdx-control/dev");
	if (errno == ENOENT || errno == ENXIO || errno == ENODEV)
		return fail(-ENODEV, VHDX_REASON_NONE,
			    CONTROL_DEVICE " is not there: load the module with `modprobe vhdx`");
	return explain_open(-errno, CONTROL_DEVICE, true);
}

int open_node(const char *kind, int index, int flags)
{
	static const struct timespec pause = { .tv_nsec = NODE_PAUSE_NS };
	char node[VHDX_DEVICE_NAME];
	char number[64];
	int try;
	int fd;

	snprintf(node, sizeof(node), "/dev/vhdx%s%d", kind, index);
	snprintf(number, sizeof(number), "%s/vhdx%s%d/dev", *kind ? "/sys/class/vhdx" : SYS_BLOCK,
		 kind, index);
	for (try = 0; ; try++) {
		fd = open(node, flags | O_CLOEXEC);
		if (fd >= 0)
			return checked(fd, node, *kind ? S_IFCHR : S_IFBLK, number);
		if ((errno == ENOENT || errno == ENXIO) && !sysfs_exists(index))
			return fail(-ENODEV, VHDX_REASON_NONE, "%s: it was detached", node);
		if (errno != ENOENT || try == NODE_TRIES)
			return explain_open(-errno, node, (flags & O_ACCMODE) != O_RDONLY);
		nanosleep(&pause, NULL);
	}
}
