// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "internal.h"

#define PAUSE_MS	50

static int detach_once(int control, struct vhdx_detach *detach)
{
	detach->size = sizeof(*detach);
	detach->reason = VHDX_REASON_NONE;
	return ioctl(control, VHDX_DETACH, detach) ? -errno : 0;
}

static int explain(int err, const struct vhdx_detach *detach, const char *device)
{
	switch (err) {
	case -EBUSY:
		return fail(err, VHDX_REASON_IN_USE,
			    "%s: busy: it, or a partition of it, is open or mounted (see `lsblk %s`, `fuser -v %s`)",
			    device, device, device);
	case -EPERM:
		return fail(err, VHDX_REASON_NONE, "%s: detaching needs root (CAP_SYS_ADMIN)",
			    device);
	case -EIO:
		return fail(err, detach->reason,
			    "%s: detached, but its container could not be closed cleanly (see the kernel log): the next attach replays its log",
			    device);
	default:
		return fail_kernel(err, detach->reason, device, NULL);
	}
}

int vhdx_detach(const char *name, unsigned int timeout_ms)
{
	static const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
	struct vhdx_detach detach = { 0 };
	char device[VHDX_DEVICE_NAME];
	int control;
	int err;

	err = vhdx_find(name, &detach.index);
	if (err)
		return err;
	device_name(detach.index, device, sizeof(device));
	control = open_control();
	if (control < 0)
		return control;
	for (;;) {
		err = detach_once(control, &detach);
		if (err != -EBUSY || timeout_ms < PAUSE_MS)
			break;
		nanosleep(&pause, NULL);
		timeout_ms -= PAUSE_MS;
	}
	close(control);
	return err ? explain(err, &detach, device) : 0;
}
