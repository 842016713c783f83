// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * What can be mended without a guess: nothing that anybody wrote is given up.
 */
#include "core/vhdx/overlay.h"
#include "core/vhdx/private.h"
#include "check.h"

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
	int err;

	*repair = VHDX_REPAIR_NOTHING;
	err = vhdx_image_open_to_read(image, store, NULL, diag);
	if (err)
		return err;
	if (image->log.dirty) {
		*repair = VHDX_REPAIR_REPLAY;
		return load_through_log(store, image, diag);
	}
	err = vhdx_image_load(image, store, diag);
	if (!err && image->log.unwritten)
		*repair = VHDX_REPAIR_CLOSE;
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
