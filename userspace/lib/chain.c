// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Chains for callers: what a disk that is not attached is made of.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "image_file.h"

/**
 * struct telling - of layers to a caller
 * @shown:	a layer of the caller's size
 */
struct telling {
	vhdx_chain_fn fn;
	void *context;
	struct vhdx_chain_layer *shown;
};

static int tell_layer(void *context, const struct container *container,
		      const struct image_file *image)
{
	const struct telling *telling = context;
	struct vhdx_chain_layer layer = {
		.path = container->path,
		.virtual_disk_size = image->image.geo.disk_size,
		.block_size = image->image.geo.block_size,
		.disk_flags = disk_flags_of(container, image),
	};

	memcpy(layer.virtual_disk_id, &image->image.geo.disk_id, sizeof(layer.virtual_disk_id));
	memcpy(layer.data_write_guid, &image->image.header.data_write_guid,
	       sizeof(layer.data_write_guid));
	give_sized(telling->shown, &layer, sizeof(layer));
	return result_of_caller(telling->fn(telling->context, telling->shown));
}

static int list(const char *path, const struct vhdx_chain_options *options,
		struct telling *telling)
{
	struct container leaf = CONTAINER_NONE;
	struct parents parents = { 0 };
	struct image_file image;
	int err;

	memset(&image, 0, sizeof(image));
	err = open_container(&leaf, path, false);
	if (!err)
		err = open_image(&image, &leaf);
	if (!err)
		err = open_parents(&parents, &leaf, &image, options, tell_layer, telling);
	release_parents(&parents);
	close_image(&image);
	close_container(&leaf);
	return err;
}

int vhdx_chain_list(const char *container, const struct vhdx_chain_options *options,
		    size_t layer_size, vhdx_chain_fn fn, void *context)
{
	struct vhdx_chain_options known = { .size = sizeof(known) };
	struct telling telling = { .fn = fn, .context = context };
	int err;

	clear_error();
	err = check_name(container);
	if (!err && options)
		err = take_sized(&known, sizeof(known), options, VHDX_CHAIN_OPTIONS_SIZE_VER0,
				 "vhdx_chain_options");
	if (!err)
		err = check_sized(&layer_size, VHDX_CHAIN_LAYER_SIZE_VER0, "vhdx_chain_layer");
	if (err)
		return err;
	telling.shown = malloc(layer_size);
	if (!telling.shown)
		return fail_errno(-ENOMEM, "%s", container);
	telling.shown->size = layer_size;
	err = list(container, &known, &telling);
	free(telling.shown);
	return err;
}
