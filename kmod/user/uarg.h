/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Arguments of ioctls: structures that begin with their size and may grow. What every
 * ioctl of this driver does before and after its work is a row of a table, and is done
 * here once.
 */
#ifndef VHDX_UARG_H
#define VHDX_UARG_H

#include "core/argument.h"

struct file;
struct vhdx_disk;
struct vhdx_cdev;

/**
 * struct vhdx_call - one ioctl under way
 * @file:	that it was called on
 * @cdev:	of that file; NULL on the control device
 * @disk:	for rows that need one: entered for as long as the work takes
 * @diag:	what is wrong; becomes the argument's reason and message
 */
struct vhdx_call {
	struct file *file;
	struct vhdx_cdev *cdev;
	struct vhdx_disk *disk;
	struct vhdx_diag diag;
};

/**
 * struct vhdx_ioctl - one row of a table of ioctls
 * @argument:		its number, and what is known of its argument without its meaning
 * @needs_disk:		the work needs the disk, and does not touch user memory
 * @needs_write:	the descriptor must be open for writing
 * @needs_admin:	CAP_SYS_ADMIN
 * @run:		does the work on the structure in kernel memory. 0 or -errno
 */
struct vhdx_ioctl {
	const struct vhdx_argument *argument;
	bool needs_disk;
	bool needs_write;
	bool needs_admin;
	int (*run)(struct vhdx_call *call, void *arg);
};

long vhdx_uarg_dispatch(const struct vhdx_ioctl *table, unsigned int count,
			struct vhdx_call *call, unsigned int command, unsigned long user);
int vhdx_uarg_check_stride(u32 size, u32 first_size, const char *name, struct vhdx_diag *diag);
int vhdx_uarg_put_array(u64 user, u32 user_size, const void *array, u32 size, u32 count);

#endif
