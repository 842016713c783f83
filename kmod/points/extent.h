/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the bytes of a disk are, asked of its layers as a read asks them, by tasks that may be
 * killed.
 */
#ifndef VHDX_EXTENT_H
#define VHDX_EXTENT_H

#include "layer/mapping.h"

struct vhdx_cdev;
struct vhdx_disk;

int vhdx_extent_find(struct vhdx_cdev *cdev, struct vhdx_disk *disk, u64 offset, u64 wanted,
		     struct vhdx_mapping *extent);

#endif
