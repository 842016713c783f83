/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a path means to the Windows method, and to jobs.
 */
#ifndef LIBVHDX_METHOD_H
#define LIBVHDX_METHOD_H

#include "internal.h"

/* Absolute, and no path of Windows. 0 or -errno, noted. */
int check_method_path(const char *path);
/* Attached, by its device or by its leaf; or the file itself. 0 or -errno, noted. */
int open_method_disk(const char *path, struct vhdx_disk **disk);

/* Of a set: are the snapshots that are asked for in its chain? 0 or -errno, noted. */
int check_snapshots(const char *path, const struct vhdx_changes *question);

#endif
