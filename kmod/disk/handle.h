/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an open /dev/vhdxcN refers to. It never keeps the disk from being detached: it
 * holds this handle, which outlives the disk (rule K4).
 */
#ifndef VHDX_HANDLE_H
#define VHDX_HANDLE_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

struct vhdx_diag;
struct vhdx_disk;

/**
 * struct vhdx_handle - see the file comment
 * @dev:	counts references; also the entry in sysfs
 * @cdev:	the device number
 * @lock:	@disk and @users
 * @disk:	NULL once detached
 * @users:	who works with @disk now: for a bounded time, and never across access to
 *		user memory. Detach waits for them.
 * @wait:	woken when @disk becomes NULL, when @users then becomes zero, and when
 *		the generation of the disk's points becomes another one
 */
struct vhdx_handle {
	struct device dev;
	struct cdev cdev;
	spinlock_t lock;
	struct vhdx_disk *disk;
	unsigned int users;
	wait_queue_head_t wait;
};

void vhdx_handle_init(struct vhdx_handle *handle, struct vhdx_disk *disk);
struct vhdx_disk *vhdx_handle_enter(struct vhdx_handle *handle);
void vhdx_handle_leave(struct vhdx_handle *handle);
void vhdx_handle_detach(struct vhdx_handle *handle);
int vhdx_handle_is_gone(struct vhdx_diag *diag);

#endif
