/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A descriptor as kmod/core sees bytes.
 */
#ifndef LIBVHDX_FILE_STORE_H
#define LIBVHDX_FILE_STORE_H

#include <core/platform.h>

/**
 * struct file_store - the bytes of a descriptor; written only where that is open for it
 * @direct:	past the page cache: of a block device it may be older than the disk
 */
struct file_store {
	struct vhdx_store store;
	int fd;
	bool direct;
};

/* The descriptor stays the caller's. 0 or -errno. */
int file_store_init(struct file_store *file, int fd);

#endif
