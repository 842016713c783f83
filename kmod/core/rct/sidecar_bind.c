// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Rule T5: does what the sidecar tells fit this container? The token is the
 * container's DataWriteGuid (DWG): random, never reused, a fresh one before the first
 * visible change of an attach, at every seal and at the clean close, each written into
 * the sidecar (next) before it is written into the container. One that is neither current
 * nor next is a gap. With either of them the live delta is complete: the checkpoint and the
 * regions that are set, whatever was under way. And a strict sidecar that is in use was told of
 * each number that the container's header would have (rule T6): if it was not, it is an older one.
 *
 * Documentation/sidecar.rst has every crash point.
 */
#include "core/vhdx/image.h"
#include "sidecar_private.h"

void vhdx_sidecar_bear_out(struct vhdx_sidecar *sidecar, u64 container_sequence)
{
	sidecar->borne_out = container_sequence <= sidecar->token.sequence;
}

static bool went_back_in_time(const struct vhdx_sidecar *sidecar)
{
	return sidecar->strict && !sidecar->closed && !sidecar->borne_out;
}

static bool knows(const struct vhdx_sidecar *sidecar, const vhdx_guid *dwg)
{
	if (vhdx_guid_equal(dwg, &sidecar->current_guid))
		return true;
	return !vhdx_guid_is_zero(&sidecar->next_guid) &&
	       vhdx_guid_equal(dwg, &sidecar->next_guid);
}

/* What the live delta does not tell; NONE: it tells all. */
static u32 judge(const struct vhdx_sidecar *sidecar, const vhdx_guid *dwg)
{
	if (sidecar->state == VHDX_SIDECAR_DISABLED)
		return VHDX_REASON_DISABLED;
	if (knows(sidecar, dwg))
		return went_back_in_time(sidecar) ? VHDX_REASON_CHANGED_OFFLINE :
						    VHDX_REASON_NONE;
	return vhdx_guid_is_invalidation(&sidecar->disk_id, dwg) ? VHDX_REASON_TRACKING_ERROR :
								   VHDX_REASON_CHANGED_OFFLINE;
}

/* The sidecar is in use all the same. */
#define SEAL_AFRESH	"; seal a point and make a full backup"

static void explain(struct vhdx_diag *diag, u32 gap_reason, const struct vhdx_sidecar *sidecar,
		    const vhdx_guid *found)
{
	char ours[VHDX_GUID_TEXT], theirs[VHDX_GUID_TEXT];

	switch (gap_reason) {
	case VHDX_REASON_TRACKING_ERROR:
		vhdx_fail(diag, 0, gap_reason,
			  "sidecar: it could not be written while the disk was, so what changed since its newest point is not known"
			  SEAL_AFRESH);
		break;
	case VHDX_REASON_DISABLED:
		vhdx_fail(diag, 0, gap_reason,
			  "sidecar: tracking is disabled; enable it, then make a full backup");
		break;
	default:
		if (knows(sidecar, found)) {
			vhdx_fail(diag, 0, gap_reason,
				  "sidecar: it is older than the container (it is strict, and the container's header was written since): its file system went back in time, or another program had the container open"
				  SEAL_AFRESH);
			break;
		}
		vhdx_guid_format(&sidecar->current_guid, ours);
		vhdx_guid_format(found, theirs);
		vhdx_fail(diag, 0, gap_reason,
			  "sidecar: written without it, or one of the two is an older copy; it knows DataWriteGuid %s, the container has %s"
			  SEAL_AFRESH,
			  ours, theirs);
	}
}

static bool names_parent(const struct vhdx_sidecar *sidecar, const vhdx_guid *linkage)
{
	return !vhdx_guid_is_zero(linkage) && knows(sidecar, linkage);
}

int vhdx_sidecar_refuse_parents(const struct vhdx_sidecar *sidecar,
				const vhdx_guid *data_write_guid,
				const struct vhdx_locator *locator, struct vhdx_diag *diag)
{
	char text[VHDX_GUID_TEXT];

	if (knows(sidecar, data_write_guid) ||
	    (!names_parent(sidecar, &locator->linkage) &&
	     !names_parent(sidecar, &locator->linkage2)))
		return 0;
	vhdx_guid_format(&sidecar->current_guid, text);
	return vhdx_fail(diag, -ESTALE, VHDX_REASON_CHANGED_OFFLINE,
			 "sidecar: it is of the parent of this disk (it knows DataWriteGuid %s), and tells nothing of the disk itself"
			 VHDX_SIDECAR_NAME_ANOTHER, text);
}

int vhdx_sidecar_bind(struct vhdx_sidecar *sidecar, const vhdx_guid *disk_id, u64 disk_size,
		      const vhdx_guid *data_write_guid, u64 time_ns, struct vhdx_diag *diag)
{
	const struct vhdx_timeline *timeline = &sidecar->timeline;
	char ours[VHDX_GUID_TEXT], theirs[VHDX_GUID_TEXT];
	u32 gap_reason;

	if (!vhdx_guid_equal(disk_id, &sidecar->disk_id) || disk_size != sidecar->disk_size) {
		vhdx_guid_format(&sidecar->disk_id, ours);
		vhdx_guid_format(disk_id, theirs);
		return vhdx_fail(diag, -ESTALE, VHDX_REASON_CHANGED_OFFLINE,
				 "sidecar: it is of disk %s of %llu bytes, the container is %s of %llu",
				 ours, sidecar->disk_size, theirs, disk_size);
	}

	/* Its id was never given out. What led to it is saved, and what follows is in regions. */
	if (timeline->count && !timeline->points[timeline->count - 1]->issued)
		vhdx_sidecar_drop_last_point(sidecar);
	gap_reason = judge(sidecar, data_write_guid);
	if (gap_reason) {
		if (gap_reason != timeline->live.gap_reason)
			vhdx_timeline_gap(&sidecar->timeline, gap_reason, time_ns);
		explain(diag, gap_reason, sidecar, data_write_guid);
	} else if (timeline->live.gap_reason) {
		/* Of an earlier attach: there was a gap then, and no point was sealed since. */
		vhdx_fail_plainly(diag, 0, timeline->live.gap_reason);
	}
	sidecar->current_guid = *data_write_guid;
	memset(&sidecar->next_guid, 0, sizeof(sidecar->next_guid));
	return 0;
}
