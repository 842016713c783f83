// SPDX-License-Identifier: GPL-2.0-only
#include "layer.h"

#include <linux/slab.h>
#include <linux/uuid.h>

/**
 * vhdx_header_copies_init() - nobody updates the header yet
 * @copies:	zeroed
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_header_copies_init(struct vhdx_header_copies *copies)
{
	mutex_init(&copies->lock);
	spin_lock_init(&copies->current_lock);
	copies->page = kvzalloc(VHDX_PAGE, GFP_KERNEL);
	return copies->page ? 0 : -ENOMEM;
}

/**
 * vhdx_header_copies_destroy() - free the memory
 * @copies:	nobody updates the header any more
 */
void vhdx_header_copies_destroy(struct vhdx_header_copies *copies)
{
	kvfree(copies->page);
	copies->page = NULL;
}

/*
 * Is the header still there that was found at attach, or written last? An image that somebody
 * wrote over ours has another one.
 */
static int read_back(struct vhdx_open_layer *layer)
{
	const struct vhdx_header *header = &layer->image.header;
	u64 where = vhdx_header_offset(header->slot);
	void *buf = layer->writer.header.page;
	char how[100];
	int err;

	lockdep_assert_held(&layer->writer.header.lock);
	if (vhdx_layer_is_lost(layer))
		return -EIO;
	err = vhdx_container_read_whole(&layer->container, where, buf, VHDX_PAGE);
	if (vhdx_layer_is_lost(layer))
		return -EIO;
	if (!err && !vhdx_header_is_in(header, buf)) {
		snprintf(how, sizeof(how), "was written by somebody else: the header at 0x%llx is not ours",
			 where);
		vhdx_layer_lose(layer, how);
		err = -EIO;
	}
	return err;
}

/**
 * vhdx_layer_verify() - is the container still the one that was attached?
 * @layer:	open
 *
 * Sleeps. Returns 0, or -EIO where it is not, or where the header can't be read.
 */
int vhdx_layer_verify(struct vhdx_open_layer *layer)
{
	int err;

	mutex_lock(&layer->writer.header.lock);
	err = read_back(layer);
	mutex_unlock(&layer->writer.header.lock);
	return err;
}

static void replace_header(struct vhdx_open_layer *layer, const struct vhdx_header *header)
{
	lockdep_assert_held(&layer->writer.header.lock);
	spin_lock(&layer->writer.header.current_lock);
	layer->image.header = *header;
	spin_unlock(&layer->writer.header.current_lock);
}

/**
 * vhdx_layer_update_header() - write the header with new GUIDs, durably
 * @layer:		open for writing
 * @file_write_guid:	new value, or NULL to keep it
 * @data_write_guid:	likewise
 * @log_guid:		likewise
 *
 * MS-VHDX 2.2.2: the copy that is not current, flush; then the other one as well, so
 * that a header that goes bad later does not bring an old one back. Returns 0 or
 * -errno; after an error either state may be on disk.
 */
int vhdx_layer_update_header(struct vhdx_open_layer *layer, const vhdx_guid *file_write_guid,
			     const vhdx_guid *data_write_guid, const vhdx_guid *log_guid)
{
	struct vhdx_store *store = &layer->container.store;
	void *buf = layer->writer.header.page;
	struct vhdx_header header;
	int round, err;

	mutex_lock(&layer->writer.header.lock);
	err = read_back(layer);
	header = layer->image.header;
	if (file_write_guid)
		header.file_write_guid = *file_write_guid;
	if (data_write_guid)
		header.data_write_guid = *data_write_guid;
	if (log_guid)
		header.log_guid = *log_guid;
	for (round = 0; round < 2 && !err; round++) {
		header.sequence++;
		header.slot ^= 1;
		vhdx_header_encode(&header, buf);
		err = store->write(store, vhdx_header_offset(header.slot), buf, VHDX_PAGE);
		if (!err)
			err = store->flush(store);
		/* What comes next goes to the other copy, be it the second round or, if that
		 * failed, another update: the one that is good is never written over.
		 */
		if (!err)
			replace_header(layer, &header);
	}
	mutex_unlock(&layer->writer.header.lock);
	return err;
}

/**
 * vhdx_layer_renew_data_write_guid() - the binding token becomes one that nobody knows
 * @layer:	open
 *
 * Rule T5. A failure poisons the disk: the header may say either. Returns 0 or -errno.
 */
int vhdx_layer_renew_data_write_guid(struct vhdx_open_layer *layer)
{
	vhdx_guid fresh;
	int err;

	generate_random_guid(fresh.b);
	err = vhdx_layer_update_header(layer, NULL, &fresh, NULL);
	if (err)
		vhdx_layer_failed(layer, "header update", err);
	return err;
}

/**
 * vhdx_layer_data_write_guid() - the DataWriteGuid that the header has now
 * @layer:	open
 * @guid:	receives it
 *
 * Does not wait for a header that is being written.
 */
void vhdx_layer_data_write_guid(struct vhdx_open_layer *layer, vhdx_guid *guid)
{
	spin_lock(&layer->writer.header.current_lock);
	*guid = layer->image.header.data_write_guid;
	spin_unlock(&layer->writer.header.current_lock);
}
