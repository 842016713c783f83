/* SPDX-License-Identifier: GPL-2.0-only */
/* /sys/block/vhdxN/vhdx/ */
#ifndef VHDX_SYSFS_H
#define VHDX_SYSFS_H

struct attribute_group;

extern const struct attribute_group *vhdx_sysfs_groups[];

#endif
