/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The change-tracking device of a disk, /dev/vhdxcN. An open descriptor keeps the device, which
 * outlives the disk, and not the disk itself: that can be detached at any time (rule K4).
 */
#ifndef VHDX_CDEV_H
#define VHDX_CDEV_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

struct vhdx_diag;
struct vhdx_disk;

/**
 * struct vhdx_cdev - see the file comment
 * @dev:	counts references; also the entry in sysfs
 * @cdev:	the device number
 * @lock:	@disk and @users
 * @disk:	NULL once detached
 * @users:	how many tasks work with @disk now: each for a bounded time, and never across
 *		access to user memory. Detach waits for them
 * @wait:	woken when @disk becomes NULL, when @users then becomes zero, and when
 *		the generation of the disk's points becomes another one
 */
struct vhdx_cdev {
	struct device dev;
	struct cdev cdev;
	spinlock_t lock;
	struct vhdx_disk *disk;
	unsigned int users;
	wait_queue_head_t wait;
};

void vhdx_cdev_init(struct vhdx_cdev *cdev, struct vhdx_disk *disk);
struct vhdx_disk *vhdx_cdev_enter(struct vhdx_cdev *cdev);
void vhdx_cdev_leave(struct vhdx_cdev *cdev);
void vhdx_cdev_hold(struct vhdx_cdev *cdev);
void vhdx_cdev_drop(struct vhdx_cdev *cdev);
void vhdx_cdev_detach(struct vhdx_cdev *cdev);
int vhdx_cdev_is_gone(struct vhdx_diag *diag);

#endif
