/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VHDX_GET_VIRTUAL_DISK_CHANGES, see the uapi header. The caller's sink gets the answer: nothing
 * here touches user memory.
 */
#ifndef VHDX_QUERY_H
#define VHDX_QUERY_H

#include <linux/types.h>

struct vhdx_diag;
struct vhdx_get_virtual_disk_changes;
struct vhdx_cdev;

/**
 * struct vhdx_query_sink - where an answer goes
 * @put:	takes the next ranges, each as long as the question's range_size says, or bytes of
 *		a bitmap; NULL: so many bytes of it are zero. May take as long as it likes: neither
 *		a lock nor the disk is held (rule K4). 0 or -errno, which ends the query
 */
struct vhdx_query_sink {
	int (*put)(struct vhdx_query_sink *sink, const void *output, u32 count);
};

int vhdx_query_changes(struct vhdx_cdev *cdev, struct vhdx_get_virtual_disk_changes *args,
		       struct vhdx_query_sink *sink, struct vhdx_diag *diag);

#endif
