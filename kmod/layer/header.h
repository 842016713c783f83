/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The header of a container in use: which GUIDs it has, and how they change on disk.
 */
#ifndef VHDX_LAYER_HEADER_H
#define VHDX_LAYER_HEADER_H

#include "core/vhdx/image.h"
#include "mapping.h"

#include <linux/mutex.h>
#include <linux/spinlock.h>

/**
 * struct vhdx_header_copies - what it takes to write the two copies of the header
 * @lock:	updates, and to look at layer->image.header
 * @current_lock: the same header: taken to replace it, by the holder of @lock, and to look at it
 *		without waiting for the container
 * @announce:	called with @announce_to before any copy is written (rule T6); NULL: nobody cares
 * @distrusted:	no DataWriteGuid that a sidecar was told is written any more, but @invalid
 *		(rule T7). Set under both locks
 * @invalid:	says that tracking failed, and no sidecar knows it
 * @kept:	no copy is written any more: the sidecar could not be told, and is to fit what there
 *		is. Set under @lock
 * @attempt:	what was written last, whether that succeeded or not; zero: nothing was
 * @pages:	to read and to encode it in: an update must not fail for want of memory (rule K3)
 */
struct vhdx_header_copies {
	struct mutex lock;
	spinlock_t current_lock;
	vhdx_announce_fn announce;
	void *announce_to;
	bool distrusted;
	vhdx_guid invalid;
	bool kept;
	struct vhdx_header attempt;
	void *pages[2];
};

int vhdx_header_copies_init(struct vhdx_header_copies *copies);
void vhdx_header_copies_destroy(struct vhdx_header_copies *copies);
int vhdx_header_copies_read(struct vhdx_container *container, void *pages[2]);
int vhdx_layer_verify(struct vhdx_open_layer *layer);
int vhdx_layer_reserve_header(struct vhdx_open_layer *layer);
int vhdx_layer_update_header(struct vhdx_open_layer *layer, const vhdx_guid *file_write_guid,
			     const vhdx_guid *data_write_guid, const vhdx_guid *log_guid);
int vhdx_layer_step_header(struct vhdx_open_layer *layer, vhdx_announce_fn announce,
			   void *context);
int vhdx_layer_announce_headers(struct vhdx_open_layer *layer, vhdx_announce_fn announce,
				void *context);
void vhdx_layer_keep_header(struct vhdx_open_layer *layer);
void vhdx_layer_distrust(struct vhdx_open_layer *layer);
int vhdx_layer_invalidate(struct vhdx_open_layer *layer);
void vhdx_layer_trust(struct vhdx_open_layer *layer);
bool vhdx_layer_is_trusted(struct vhdx_open_layer *layer);
bool vhdx_layer_data_write_guid(struct vhdx_open_layer *layer, vhdx_guid *guid);

#endif
