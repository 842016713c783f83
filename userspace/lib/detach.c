// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "internal.h"

#define PAUSE_MS	50

static int explain(int err, const struct vhdx_detach *detach, const char *device,
		   const char *message)
{
	char holder[MESSAGE_SIZE];

	switch (err) {
	case -EBUSY:
		if (vhdx_is_held(detach->index, holder, sizeof(holder)))
			return fail(err, VHDX_REASON_IN_USE, "%s: busy: %s", device, holder);
		return fail(err, VHDX_REASON_IN_USE,
			    "%s: busy: it, or a partition of it, is open or mounted (see `lsblk %s`, `fuser -v %s`)",
			    device, device, device);
	case -EPERM:
		return fail(err, VHDX_REASON_NONE, "%s: detaching needs root (CAP_SYS_ADMIN)",
			    device);
	default:
		return fail_kernel(err, detach->reason, device, message);
	}
}

/*
 * The disk that has this name now is meant, however long it stays busy. A number is what
 * it says; of a path it counts where it leads after the number's disk is known.
 */
static int find_attachment(const char *name, struct vhdx_detach *detach)
{
	int before;
	int err;

	err = vhdx_find(name, &before);
	if (err)
		return err;
	detach->disk_seq = sysfs_disk_seq(before);
	err = vhdx_find(name, &detach->index);
	if (!err && (detach->index != before || !detach->disk_seq))
		err = fail(-ENODEV, VHDX_REASON_NONE, "%s: it was detached just now", name);
	return err;
}

int detach_attachment(struct vhdx_detach *detach, unsigned int timeout_ms)
{
	static const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
	char device[VHDX_DEVICE_NAME];
	char holder[MESSAGE_SIZE];
	char message[MESSAGE_SIZE];
	int control;
	int err;

	detach->size = sizeof(*detach);
	device_name(detach->index, device, sizeof(device));
	control = open_control();
	if (control < 0)
		return control;
	for (;;) {
		err = request(control, device, VHDX_DETACH, detach, message);
		if (err != -EBUSY || timeout_ms < PAUSE_MS ||
		    vhdx_is_held(detach->index, holder, sizeof(holder)))
			break;
		nanosleep(&pause, NULL);
		timeout_ms -= PAUSE_MS;
	}
	close(control);
	if (err)
		return explain(err, detach, device, message);
	clear_error();
	if (message[0])
		fail(0, detach->reason, "%s: %s", device, message);
	return 0;
}

int vhdx_detach_attached(int index, uint64_t disk_seq, unsigned int timeout_ms)
{
	struct vhdx_detach detach = { .index = index, .disk_seq = disk_seq };

	clear_error();
	return detach_attachment(&detach, timeout_ms);
}

int vhdx_detach(const char *name, unsigned int timeout_ms)
{
	struct vhdx_detach detach = { 0 };
	int err;

	err = find_attachment(name, &detach);
	return err ? err : detach_attachment(&detach, timeout_ms);
}
