// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * What can be mended without a guess: nothing that anybody wrote is given up.
 */
#include "core/vhdx/log_private.h"
#include "core/vhdx/overlay.h"
#include "check.h"

/* Does any sector begin an entry of the log that the header names, be it torn or damaged? */
static int look_for_entry(struct vhdx_log_ring *ring, const vhdx_guid *guid, bool *found)
{
	const struct vhdx_ondisk_log_header *head;
	const void *sector;
	u32 position;
	int err = 0;

	*found = false;
	for (position = 0; position < ring->length && !*found && !err;
	     position += VHDX_LOG_SECTOR) {
		err = vhdx_log_ring_sector(ring, position, &sector);
		if (err)
			break;
		head = sector;
		*found = vhdx_guid_equal(&head->log_guid, guid);
	}
	return err;
}

static int is_unwritten(struct vhdx_store *store, const struct vhdx_header *header,
			struct vhdx_diag *diag)
{
	struct vhdx_log_ring ring;
	bool found = true;
	int err;

	if (vhdx_guid_is_zero(&header->log_guid) || !header->log_length)
		return 0;
	err = vhdx_log_ring_init(&ring, store, header, diag);
	if (!err)
		err = look_for_entry(&ring, &header->log_guid, &found);
	vhdx_log_ring_release(&ring);
	return err ? err : !found;
}

/* As an attach for writing: all is judged before the first byte is written. */
static int load_through_log(struct vhdx_store *store, struct vhdx_image *image,
			    struct vhdx_diag *diag)
{
	struct vhdx_overlay overlay;
	int err;

	err = vhdx_overlay_init(&overlay, store, image, diag);
	if (!err)
		err = vhdx_image_load(image, &overlay.store, diag);
	vhdx_overlay_release(&overlay);
	return err;
}

int vhdx_repair_plan(struct vhdx_store *store, struct vhdx_image *image, enum vhdx_repair *repair,
		     struct vhdx_diag *diag)
{
	int unwritten;
	int err;

	*repair = VHDX_REPAIR_NOTHING;
	err = vhdx_image_open(image, store, diag);
	if (!err && !image->log.dirty)
		return vhdx_image_load(image, store, diag);
	if (!err) {
		*repair = VHDX_REPAIR_REPLAY;
		return load_through_log(store, image, diag);
	}
	/* What else is wrong may be no reason to look further: the header alone is known then. */
	unwritten = err == -EUCLEAN ? is_unwritten(store, &image->header, diag) : 0;
	if (unwritten <= 0)
		return unwritten ? unwritten : err;
	err = vhdx_image_load(image, store, diag);
	if (!err) {
		*repair = VHDX_REPAIR_CLOSE;
		memset(diag, 0, sizeof(*diag));
	}
	return err;
}

int vhdx_header_renew(struct vhdx_store *store, struct vhdx_header *header,
		      struct vhdx_diag *diag)
{
	void *buf = vhdx_alloc(VHDX_PAGE);
	unsigned int i;
	int err = 0;

	if (!buf)
		return vhdx_no_memory(diag);
	for (i = 0; i < 2 && !err; i++) {
		header->sequence++;
		header->slot ^= 1;
		vhdx_header_encode(header, buf);
		err = store->write(store, vhdx_header_offset(header->slot), buf, VHDX_PAGE);
		if (!err)
			err = store->flush(store);
	}
	vhdx_free(buf);
	if (err)
		return vhdx_io_failed(diag, err, "header: it can't be written (error %d)", -err);
	return 0;
}
