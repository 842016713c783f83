// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * The sidecar of a parent: what was recorded while that was written.
 */
#include "core/bits.h"
#include "core/vhdx/image.h"
#include "history.h"
#include "sidecar_private.h"

/* While tracking is disabled, its points are what they were before that; then there is a gap. */
static int check_guid(const struct vhdx_sidecar *sidecar, const vhdx_guid *guid,
		      struct vhdx_diag *diag)
{
	if (sidecar->state == VHDX_SIDECAR_DISABLED ||
	    vhdx_guid_equal(guid, &sidecar->current_guid) ||
	    (!vhdx_guid_is_zero(guid) && vhdx_guid_equal(guid, &sidecar->next_guid)))
		return 0;
	if (vhdx_guid_is_invalidation(&sidecar->disk_id, guid))
		return vhdx_fail(diag, -ESTALE, VHDX_REASON_TRACKING_ERROR,
				 "sidecar: it could not be written while the container was");
	return vhdx_fail(diag, -ESTALE, VHDX_REASON_CHANGED_OFFLINE,
			 "sidecar: the container was written without it, or one of the two is another copy");
}

/* What was written in these regions is not known (rule T4). */
static void note_regions(struct vhdx_sidecar *sidecar)
{
	const u32 count = ((sidecar->disk_size - 1) >> sidecar->coarse.region_shift) + 1;

	if (sidecar->found && vhdx_find_bit(sidecar->found, 0, 0, count) < count)
		sidecar->timeline.live.flags |= VHDX_DELTA_COARSE;
}

static int load(struct vhdx_sidecar *sidecar, struct vhdx_store *store, bool can_grow,
		const struct vhdx_image *image, u64 sequence, struct vhdx_diag *diag)
{
	const vhdx_guid *guid = &image->header.data_write_guid;
	int err;

	err = vhdx_sidecar_load(sidecar, store, can_grow, true, diag);
	if (err)
		return err;
	err = vhdx_sidecar_refuse_parents(sidecar, guid, &image->locator, diag);
	if (!err)
		err = check_guid(sidecar, guid, diag);
	if (err)
		return err;
	vhdx_sidecar_bear_out(sidecar, sequence);
	err = vhdx_sidecar_bind(sidecar, &image->geo.disk_id, image->geo.disk_size, guid, 0, diag);
	if (err)
		return err;
	/* A gap that there is keeps its reason, and nothing that is wrong has been found. */
	memset(diag, 0, sizeof(*diag));
	note_regions(sidecar);
	return 0;
}

/*
 * Nothing is begun anew in a parent, whose history ends there; and what a disk is attached with is
 * its own sidecar.
 */
static void advise(struct vhdx_diag *diag)
{
	static const char advice[] =
		"; its points are lost: ask since a snapshot, or make a full backup";
	static const char * const wrong[] = { VHDX_SIDECAR_BEGIN_ANEW, VHDX_SIDECAR_NAME_ANOTHER };
	size_t length;
	char *end;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		end = strstr(diag->text, wrong[i]);
		if (end)
			*end = '\0';
	}
	length = strlen(diag->text);
	if (length + sizeof(advice) <= sizeof(diag->text))
		memcpy(diag->text + length, advice, sizeof(advice));
}

int vhdx_frozen_load(struct vhdx_frozen_layer *layer, struct vhdx_sidecar *sidecar,
		     struct vhdx_store *store, bool can_grow, const struct vhdx_image *image,
		     u64 sequence)
{
	int err = load(sidecar, store, can_grow, image, sequence, &layer->lost);

	if (err == -ENOMEM || err == -EINTR)
		return err;
	if (!err) {
		layer->sidecar = sidecar;
	} else if (err == -ENODATA) {
		/* Empty: tracking was never enabled in it. */
		memset(&layer->lost, 0, sizeof(layer->lost));
	} else {
		layer->error = err == -EUCLEAN ? -ESTALE : err;
		vhdx_fail(&layer->lost, err, VHDX_REASON_INCONSISTENT, "sidecar damaged");
		advise(&layer->lost);
	}
	return 0;
}
