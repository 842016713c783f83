// SPDX-License-Identifier: LGPL-2.1-or-later
#include "image_file.h"

static int load(struct image_file *image, struct vhdx_diag *diag)
{
	struct vhdx_store *store = &image->file.store;
	int err;

	err = vhdx_image_open(&image->image, store, diag);
	if (err)
		return err;
	if (image->image.log.dirty) {
		err = vhdx_overlay_init(&image->overlay, store, &image->image, diag);
		if (err)
			return err;
		store = &image->overlay.store;
	}
	err = vhdx_image_load(&image->image, store, diag);
	if (!err && image->image.geo.has_parent)
		err = vhdx_unsupported(diag,
				       "a differencing disk (.avhdx), which is not supported yet: make a disk without a parent of it on its Hyper-V host (Convert-VHD)");
	return err;
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

void close_image(struct image_file *image)
{
	vhdx_overlay_release(&image->overlay);
	vhdx_image_release(&image->image);
}
