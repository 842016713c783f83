/* SPDX-License-Identifier: GPL-2.0-only */
/* /dev/vhdxcN: the change-tracking device of one disk. */
#ifndef VHDX_CHARDEV_H
#define VHDX_CHARDEV_H

#include "disk/cdev.h"

struct vhdx_disk;

int vhdx_chardev_init(void);
void vhdx_chardev_exit(void);

int vhdx_cdev_create(struct vhdx_disk *disk);
void vhdx_cdev_remove(struct vhdx_cdev *cdev);
void vhdx_cdev_put(struct vhdx_cdev *cdev);
struct vhdx_cdev *vhdx_cdev_of(struct file *file);

#endif
