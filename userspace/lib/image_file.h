/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container that is not attached, read with the driver's own code.
 */
#ifndef LIBVHDX_IMAGE_FILE_H
#define LIBVHDX_IMAGE_FILE_H

#include <core/vhdx/image.h>
#include <core/vhdx/overlay.h>
#include "file_store.h"
#include "internal.h"

/**
 * struct image_file - a container as an attach would find it
 * @file:	its bytes
 * @overlay:	the same through its dirty log, if it has one
 */
struct image_file {
	struct file_store file;
	struct vhdx_overlay overlay;
	struct vhdx_image image;
};

/* All that an attach for reading checks. Close it whatever this returns. 0 or -errno, noted. */
int open_image(struct image_file *image, const struct container *container);
/* Its bytes as they are once the log is replayed. */
struct vhdx_store *image_store(struct image_file *image);
/* VHDX_DISK_* that a file tells. */
unsigned int disk_flags_of(const struct container *container, const struct image_file *image);
void close_image(struct image_file *image);

#endif
