/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The header of a container in use: which GUIDs it has, and how they change on disk.
 */
#ifndef VHDX_LAYER_HEADER_H
#define VHDX_LAYER_HEADER_H

#include "core/guid.h"

#include <linux/mutex.h>
#include <linux/spinlock.h>

struct vhdx_open_layer;

/**
 * struct vhdx_header_copies - what it takes to write the two copies of the header
 * @lock:	updates, and to look at layer->image.header
 * @current_lock: for it to be replaced, by who holds @lock, and to be looked at by who can't
 *		wait for the container
 * @page:	to encode it in: an update must not fail for want of memory (rule K3)
 */
struct vhdx_header_copies {
	struct mutex lock;
	spinlock_t current_lock;
	void *page;
};

int vhdx_header_copies_init(struct vhdx_header_copies *copies);
void vhdx_header_copies_destroy(struct vhdx_header_copies *copies);
int vhdx_layer_verify(struct vhdx_open_layer *layer);
int vhdx_layer_update_header(struct vhdx_open_layer *layer, const vhdx_guid *file_write_guid,
			     const vhdx_guid *data_write_guid, const vhdx_guid *log_guid);
int vhdx_layer_renew_data_write_guid(struct vhdx_open_layer *layer);
void vhdx_layer_data_write_guid(struct vhdx_open_layer *layer, vhdx_guid *guid);

#endif
