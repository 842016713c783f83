// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Chains for callers: what a disk that is not attached is made of.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "image_file.h"

int chain_telling_begin(struct chain_telling *telling, const char *name, size_t layer_size,
			vhdx_chain_fn fn, void *context)
{
	int err = check_sized(&layer_size, VHDX_CHAIN_LAYER_SIZE_VER0, "vhdx_chain_layer");

	if (err)
		return err;
	telling->fn = fn;
	telling->context = context;
	telling->shown = malloc(layer_size);
	if (!telling->shown)
		return fail_errno(-ENOMEM, "%s", name);
	telling->shown->size = layer_size;
	return 0;
}

int chain_tell(const struct chain_telling *telling, const struct vhdx_chain_layer *layer)
{
	give_sized(telling->shown, layer, sizeof(*layer));
	return result_of_caller(telling->fn(telling->context, telling->shown));
}

void chain_telling_end(struct chain_telling *telling)
{
	free(telling->shown);
}

static int tell_layer(void *context, const struct container *container,
		      const struct image_file *image)
{
	const struct chain_telling *telling = context;
	struct vhdx_chain_layer layer = {
		.path = container->path,
		.virtual_disk_size = image->image.geo.disk_size,
		.block_size = image->image.geo.block_size,
		.disk_flags = disk_flags_of(container, image),
	};

	memcpy(layer.virtual_disk_id, &image->image.geo.disk_id, sizeof(layer.virtual_disk_id));
	memcpy(layer.data_write_guid, &image->image.header.data_write_guid,
	       sizeof(layer.data_write_guid));
	return chain_tell(telling, &layer);
}

static int list(const char *path, const struct vhdx_chain_options *options,
		struct chain_telling *telling)
{
	struct container leaf = CONTAINER_NONE;
	struct parents parents = { 0 };
	struct image_file image;
	int err;

	memset(&image, 0, sizeof(image));
	err = open_disk_file(&leaf, path, false);
	if (err >= 0)
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
	struct chain_telling telling;
	int err;

	clear_error();
	err = check_name(container);
	if (!err && options)
		err = take_sized(&known, sizeof(known), options, VHDX_CHAIN_OPTIONS_SIZE_VER0,
				 "vhdx_chain_options");
	if (!err)
		err = chain_telling_begin(&telling, container, layer_size, fn, context);
	if (err)
		return err;
	err = list(container, &known, &telling);
	chain_telling_end(&telling);
	return err;
}
