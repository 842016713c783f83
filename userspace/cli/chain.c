// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "chain.h"
#include "json.h"
#include "layout.h"

struct named_parents named_parents;

/* Neither side is empty. */
int check_named_parents(void)
{
	const char **map;
	const char *equals;

	for (map = named_parents.path_maps; map && *map; map++) {
		equals = strchr(*map, '=');
		if (!equals || equals == *map || !equals[1])
			return usage_error("--map-path: \"%s\" is not FROM=TO", *map);
	}
	return 0;
}

static int add_layer(void *context, const struct vhdx_chain_layer *layer)
{
	struct chain *chain = context;
	struct vhdx_chain_layer *layers;
	char *path;

	layers = reallocarray(chain->layers, chain->count + 1, sizeof(*layers));
	if (!layers)
		return ENOMEM;
	chain->layers = layers;
	path = strdup(layer->path);
	if (!path)
		return ENOMEM;
	layers[chain->count] = *layer;
	layers[chain->count++].path = path;
	return 0;
}

int chain_gather(const char *container, struct chain *chain)
{
	const struct vhdx_chain_options options = {
		.size = sizeof(options),
		.parents = named_parents.parents,
		.path_maps = named_parents.path_maps,
	};
	int err;

	memset(chain, 0, sizeof(*chain));
	err = vhdx_chain_list(container, &options, sizeof(*chain->layers), add_layer, chain);
	if (!err)
		return 0;
	chain->reason = vhdx_error_reason();
	chain->fault = strdup(err > 0 ? strerror(err) : vhdx_error_message());
	return chain->fault && err < 0 ? err : -ENOMEM;
}

void chain_release(struct chain *chain)
{
	while (chain->count)
		free((char *)chain->layers[--chain->count].path);
	free(chain->layers);
	free(chain->fault);
}

void print_chain(const struct chain *chain)
{
	size_t i;

	for (i = 1; i < chain->count; i++)
		print_field("Parent:", chain->layers[i].path);
	if (chain->fault)
		print_field("Parents:", "not all of them are known");
}

static struct json_object *layer_object(const struct vhdx_chain_layer *layer)
{
	struct json_object *object = json_object_new_object();

	json_text(object, "container", layer->path);
	json_uuid(object, "virtual_disk_id", layer->virtual_disk_id);
	json_uuid(object, "data_write_guid", layer->data_write_guid);
	json_bytes(object, "size", layer->virtual_disk_size);
	json_bytes(object, "block_size", layer->block_size);
	json_flag(object, "log_replayed", layer->disk_flags & VHDX_DISK_REPLAYED);
	return object;
}

void json_chain(struct json_object *object, const struct chain *chain)
{
	struct json_object *list;
	size_t i;

	if (!chain) {
		json_text(object, "chain", NULL);
		json_text(object, "chain_fault", NULL);
		return;
	}
	list = json_list(object, "chain");
	for (i = 0; i < chain->count; i++)
		json_object_array_add(list, layer_object(&chain->layers[i]));
	json_text(object, "chain_fault", chain->fault);
}
