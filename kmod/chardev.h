/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /dev/vhdxcN: the change-tracking device of one disk. An open one never keeps the disk
 * from being detached: it holds this handle, which outlives the disk (rule K4).
 */
#ifndef VHDX_CHARDEV_H
#define VHDX_CHARDEV_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

struct vhdx_disk;

/**
 * struct vhdx_handle - what an open descriptor refers to
 * @dev:	counts references; also the entry in sysfs
 * @cdev:	the device number
 * @lock:	@disk and @users
 * @disk:	NULL once detached
 * @users:	who works with @disk now: for a bounded time, and never across access to
 *		user memory. Detach waits for them.
 * @gone:	woken when @disk becomes NULL, and when @users then becomes zero
 */
struct vhdx_handle {
	struct device dev;
	struct cdev cdev;
	spinlock_t lock;
	struct vhdx_disk *disk;
	unsigned int users;
	wait_queue_head_t gone;
};

int vhdx_chardev_init(void);
void vhdx_chardev_exit(void);

struct vhdx_handle *vhdx_handle_create(struct vhdx_disk *disk);
void vhdx_handle_detach(struct vhdx_handle *handle);
void vhdx_handle_remove(struct vhdx_handle *handle);

struct vhdx_disk *vhdx_handle_enter(struct vhdx_handle *handle);
void vhdx_handle_leave(struct vhdx_handle *handle);
struct vhdx_handle *vhdx_handle_of(struct file *file);

#endif
