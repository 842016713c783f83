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

int chain_gather_attached(struct vhdx_disk *disk, struct chain *chain)
{
	int err;

	memset(chain, 0, sizeof(*chain));
	err = vhdx_disk_list_chain(disk, sizeof(*chain->layers), add_layer, chain);
	return err > 0 ? -ENOMEM : err;
}

void chain_release(struct chain *chain)
{
	while (chain->count)
		free((char *)chain->layers[--chain->count].path);
	free(chain->layers);
	free(chain->fault);
}

static const char *parent_heading(const struct vhdx_chain_layer *parent)
{
	if (parent->disk_flags & VHDX_DISK_LOST)
		return "Parent (lost):";
	if (parent->deleted)
		return "Parent (removed):";
	return parent->changed ? "Parent (changed):" : "Parent:";
}

static bool has(const struct chain *chain, size_t i, unsigned int flag)
{
	return chain->layers[i].disk_flags & flag;
}

void print_chain(const struct chain *chain)
{
	bool changed = false;
	bool lost = false;
	size_t i;

	for (i = 1; i < chain->count; i++) {
		print_field(parent_heading(&chain->layers[i]), chain->layers[i].path);
		changed = changed || chain->layers[i].changed;
		lost = lost || has(chain, i, VHDX_DISK_LOST);
		if (has(chain, i, VHDX_DISK_LOG_UNWRITTEN))
			print_field("Log of this parent:", UNWRITTEN_LOG);
	}
	if (lost)
		print_field("Reads:", "fail where they need a parent that somebody cut, or wrote over (see the kernel log)");
	if (changed)
		print_field("Content:", "not what it was: a parent was written since the disk was attached");
	if (chain->fault)
		print_field("Parents:", "not all of them are known");
}

static struct json_object *layer_object(const struct vhdx_chain_layer *layer)
{
	struct json_object *object = json_object_new_object();

	json_text(object, "container", text_or_null(layer->path));
	json_uuid(object, "virtual_disk_id", layer->virtual_disk_id);
	json_uuid(object, "data_write_guid", layer->data_write_guid);
	json_bytes(object, "size", layer->virtual_disk_size);
	json_bytes(object, "block_size", layer->block_size);
	json_flag(object, "log_replayed", layer->disk_flags & VHDX_DISK_REPLAYED);
	json_flag(object, "log_unwritten", layer->disk_flags & VHDX_DISK_LOG_UNWRITTEN);
	json_flag(object, "container_deleted", layer->deleted);
	json_flag(object, "container_lost", layer->disk_flags & VHDX_DISK_LOST);
	json_flag(object, "container_changed", layer->changed);
	return object;
}

void json_chain(struct json_object *object, const struct chain *chain)
{
	struct json_object *list = json_list(object, "chain");
	size_t i;

	for (i = 0; i < chain->count; i++)
		json_object_array_add(list, layer_object(&chain->layers[i]));
	json_text(object, "chain_fault", chain->fault);
}
