/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What something is made in: a file that is not there yet, or a block device that was cleared.
 */
#ifndef LIBVHDX_TARGET_H
#define LIBVHDX_TARGET_H

#include <core/diag.h>
#include "file_store.h"
#include "internal.h"

/**
 * struct target - a file or device that is written from its beginning, by nobody else meanwhile
 * @file:	its bytes
 * @sector:	what a device is written in at least; of a file 512
 * @made:	the file is ours, or what was written to the device is
 */
struct target {
	const char *path;
	struct container container;
	struct file_store file;
	u32 sector;
	bool made;
};

#define TARGET_NONE	{ .container = CONTAINER_NONE }

/*
 * Make the file, or open the device exclusively; nobody else gets at it until it is closed.
 * close_target() it whatever this returns. @mode: the file's, but for what the umask takes. 0 or
 * -errno, noted: -EEXIST where something is there already.
 */
int open_target(struct target *target, const char *path, mode_t mode);
/*
 * A device has to be blank, to have @size bytes or more, and sectors of @sector bytes at most. Of a
 * file there is nothing to check. 0 or -errno, noted.
 */
int check_target_device(struct target *target, u64 size, u32 sector);
void close_target(struct target *target);

/* What was never written to it reads as zeroes. */
static inline bool target_is_zero(const struct target *target)
{
	return !is_block(&target->container);
}

/* The size of a file. 0 or -errno, noted. */
int set_target_size(struct target *target, u64 size);

/*
 * Give a piece of it space, at most @rest bytes, which then read as zeroes. Returns how long the
 * piece is: so that somebody who looks on sees it move, and can end it. Or -errno, not noted.
 */
s64 provide_piece(struct target *target, u64 offset, u64 rest);
/* On a device: these bytes become zero. 0 or -errno, not noted. */
int clear_target(struct target *target, u64 offset, u64 length);

/* There is no room for @size bytes, which @err says. Notes that; returns @err. */
int space_failed(const struct target *target, int err, u64 size);
/* Writing failed, as @diag says; or @diag is NULL. Notes that; returns @err. */
int write_failed(const struct target *target, int err, const struct vhdx_diag *diag);

/* It is whole, and all of it durable; of a file its name, too. 0 or -errno, noted. */
int settle_target(struct target *target);
/*
 * It failed: the file is removed, or the beginning of the device cleared. What is noted of the
 * failure stays.
 */
void take_back(struct target *target);

#endif
