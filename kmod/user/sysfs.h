/* SPDX-License-Identifier: GPL-2.0-only */
/* /sys/block/vhdxN/vhdx/, and /sys/block/vhdxN/parentK/ of a differencing disk */
#ifndef VHDX_SYSFS_H
#define VHDX_SYSFS_H

#include <linux/types.h>

struct attribute_group;
struct file;
struct vhdx_disk;

/* sysfs_parents.c: all that a disk shows */
const struct attribute_group **vhdx_sysfs_make(struct vhdx_disk *disk);
void vhdx_sysfs_free(struct vhdx_disk *disk);

/* sysfs.c: what every disk shows */
extern const struct attribute_group vhdx_sysfs_group;

ssize_t vhdx_sysfs_emit_path(struct file *file, char *buf);

#endif
