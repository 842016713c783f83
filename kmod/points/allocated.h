/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VHDX_GET_ALLOCATED_RANGES, see the uapi header.
 */
#ifndef VHDX_ALLOCATED_H
#define VHDX_ALLOCATED_H

struct vhdx_cdev;
struct vhdx_diag;
struct vhdx_get_allocated_ranges;
struct vhdx_query_sink;

int vhdx_query_allocated(struct vhdx_cdev *cdev, struct vhdx_get_allocated_ranges *args,
			 struct vhdx_query_sink *sink, struct vhdx_diag *diag);

#endif
