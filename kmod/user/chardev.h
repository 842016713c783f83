/* SPDX-License-Identifier: GPL-2.0-only */
/* /dev/vhdxcN: the change-tracking device of one disk. */
#ifndef VHDX_CHARDEV_H
#define VHDX_CHARDEV_H

#include "disk/handle.h"

struct vhdx_disk;

int vhdx_chardev_init(void);
void vhdx_chardev_exit(void);

int vhdx_handle_create(struct vhdx_disk *disk);
void vhdx_handle_remove(struct vhdx_handle *handle);
void vhdx_handle_put(struct vhdx_handle *handle);
struct vhdx_handle *vhdx_handle_of(struct file *file);

#endif
