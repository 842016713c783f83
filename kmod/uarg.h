/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Arguments of ioctls: structures that begin with their size and may grow. What every
 * ioctl of this driver does before and after its work is written here once.
 */
#ifndef VHDX_UARG_H
#define VHDX_UARG_H

#include <linux/types.h>

struct vhdx_diag;

#define VHDX_UARG_MAX	512

/**
 * struct vhdx_ioctl - one row of a table of ioctls
 * @command:	its number
 * @size:	sizeof its structure; also the first published size
 * @write:	the descriptor must be open for writing
 * @run:	does the work on the structure in kernel memory
 */
struct vhdx_ioctl {
	unsigned int command;
	u32 size;
	bool write;
	int (*run)(void *context, void *arg);
};

#define VHDX_IOCTL(cmd, type, writes, function)	\
	{ .command = (cmd), .size = sizeof(type), .write = (writes), .run = (function) }

long vhdx_uarg_dispatch(const struct vhdx_ioctl *table, unsigned int count, void *context,
			bool writable, unsigned int command, unsigned long user);
void vhdx_uarg_message(u64 user, u32 capacity, const struct vhdx_diag *diag);

#endif
