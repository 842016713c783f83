// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What an attached disk is made of: the driver knows which files, and sysfs what they are called.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <core/vhdx/image.h>
#include "file_store.h"
#include "internal.h"

/* ---- was it written? ---- */

/* The DataWriteGuid that the newer header has, or none where neither is valid. */
static int read_data_write_guid(struct vhdx_store *store, vhdx_guid *guid)
{
	u64 copies[2][VHDX_PAGE / sizeof(u64)];
	const void *pages[2] = { copies[0], copies[1] };
	struct vhdx_header header = { 0 };
	int err = 0;
	int i;

	for (i = 0; i < 2 && !err; i++)
		err = store->read(store, vhdx_header_offset(i), copies[i], VHDX_PAGE);
	if (!err)
		vhdx_header_choose(pages, &header);
	*guid = header.data_write_guid;
	return err;
}

/* Whoever may not read it, or finds another file under its name, can't tell. */
static bool was_written(int index, unsigned int position, const char *path, const vhdx_guid *before)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct file_store file;
	bool written = false;
	struct stat st;
	vhdx_guid now;

	if (fd < 0)
		return false;
	if (!fstat(fd, &st) && is_layer(index, position, &st) && !file_store_init(&file, fd) &&
	    !read_data_write_guid(&file.store, &now))
		written = !vhdx_guid_equal(&now, before);
	close(fd);
	return written;
}

/* ---- from the driver ---- */

static int tell_layer(const struct chain_telling *telling, int index, unsigned int position,
		      const struct vhdx_layer_info *info)
{
	char path[VHDX_PATH_TEXT];
	vhdx_guid guid;
	struct vhdx_chain_layer layer = {
		.path = path,
		.virtual_disk_size = info->virtual_disk_size,
		.block_size = info->block_size,
		.disk_flags = info->disk_flags,
	};

	memcpy(layer.virtual_disk_id, info->virtual_disk_id, sizeof(layer.virtual_disk_id));
	memcpy(layer.data_write_guid, info->data_write_guid, sizeof(layer.data_write_guid));
	memcpy(guid.b, info->data_write_guid, sizeof(guid.b));
	sysfs_container(index, position, path, &layer.deleted);
	layer.unlinked = layer.deleted && sysfs_container_unlinked(index, position);
	layer.changed = position && !layer.deleted &&
			was_written(index, position, path, &guid);
	return chain_tell(telling, &layer);
}

static int tell_layers(struct vhdx_disk *disk, const struct chain_telling *telling,
		       struct vhdx_layer_info *layers)
{
	struct vhdx_get_layers get = {
		.size = sizeof(get),
		.output = (uintptr_t)layers,
		.output_capacity = VHDX_LAYERS_MAX,
		.layer_size = sizeof(*layers),
	};
	unsigned int i;
	int err;

	err = disk_call(disk, VHDX_GET_LAYERS, &get);
	for (i = 0; !err && i < get.output_count; i++)
		err = tell_layer(telling, disk->index, i, &layers[i]);
	return err;
}

int vhdx_disk_list_chain(struct vhdx_disk *disk, size_t layer_size, vhdx_chain_fn fn,
			 void *context)
{
	struct chain_telling telling;
	struct vhdx_info info = { .size = sizeof(info) };
	struct vhdx_layer_info *layers;
	int err;

	clear_error();
	if (disk->index < 0)
		return fail(-ENODEV, VHDX_REASON_NONE,
			    "%s: not attached: what it is made of is told by its name", disk->name);
	err = chain_telling_begin(&telling, disk->name, layer_size, fn, context);
	if (err)
		return err;
	layers = calloc(VHDX_LAYERS_MAX, sizeof(*layers));
	err = layers ? tell_layers(disk, &telling, layers) : fail_errno(-ENOMEM, "%s", disk->name);
	/* Names are those of a number, which may have become another disk's. */
	if (!err)
		err = vhdx_disk_get_info(disk, &info);
	if (!err && sysfs_disk_seq(disk->index) != info.disk_seq)
		err = fail(-ENODEV, VHDX_REASON_NONE, "%s: it was detached just now", disk->name);
	free(layers);
	chain_telling_end(&telling);
	return err;
}

/* ---- from sysfs ---- */

static int tell_parents(const struct chain_telling *telling, int index)
{
	char path[VHDX_PATH_TEXT];
	struct vhdx_chain_layer layer = { .path = path };
	unsigned int i;
	char text[8];
	int err = 0;

	for (i = 1; !err && !sysfs_container(index, i, path, &layer.deleted); i++) {
		layer.unlinked = layer.deleted && sysfs_container_unlinked(index, i);
		sysfs_read_layer(index, i, "lost", text, sizeof(text));
		layer.disk_flags = text[0] == '1' ? VHDX_DISK_LOST : 0;
		err = chain_tell(telling, &layer);
	}
	return err;
}

int vhdx_list_parents(int index, size_t layer_size, vhdx_chain_fn fn, void *context)
{
	struct chain_telling telling;
	char device[VHDX_DEVICE_NAME];
	int err;

	clear_error();
	device_name(index, device, sizeof(device));
	err = chain_telling_begin(&telling, device, layer_size, fn, context);
	if (err)
		return err;
	err = tell_parents(&telling, index);
	chain_telling_end(&telling);
	return err;
}
