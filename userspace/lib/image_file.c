// SPDX-License-Identifier: LGPL-2.1-or-later
#include "image_file.h"

struct vhdx_store *image_store(struct image_file *image)
{
	return image->image.log.dirty ? &image->overlay.store : &image->file.store;
}

static int load(struct image_file *image, struct vhdx_diag *diag)
{
	struct vhdx_store *store = &image->file.store;
	int err;

	err = vhdx_image_open_to_read(&image->image, store, NULL, diag);
	if (err)
		return err;
	if (image->image.log.dirty) {
		err = vhdx_overlay_init(&image->overlay, store, &image->image, diag);
		if (err)
			return err;
	}
	return vhdx_image_load(&image->image, image_store(image), diag);
}

int open_image(struct image_file *image, const struct container *container)
{
	struct vhdx_diag diag = { 0 };
	int err;

	memset(image, 0, sizeof(*image));
	err = file_store_init(&image->file, container->fd);
	if (err)
		return fail_errno(err, "%s", container->path);
	err = load(image, &diag);
	return err ? fail_kernel(err, diag.reason, container->path, diag.text) : 0;
}

unsigned int disk_flags_of(const struct container *container, const struct image_file *image)
{
	return (image->image.geo.fixed ? VHDX_DISK_FIXED : 0) |
	       (image->image.log.dirty ? VHDX_DISK_REPLAYED : 0) |
	       (image->image.log.unwritten ? VHDX_DISK_LOG_UNWRITTEN : 0) |
	       (is_block(container) ? VHDX_DISK_BLOCK : 0);
}

void close_image(struct image_file *image)
{
	vhdx_overlay_release(&image->overlay);
	vhdx_image_release(&image->image);
}
