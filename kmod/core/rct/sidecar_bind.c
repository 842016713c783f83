// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Rule T5: does what the sidecar tells fit this container? The token is the
 * container's DataWriteGuid (DWG): random, never reused, a fresh one before the first
 * visible change of an attach, at every seal and at the clean close, each written into
 * the sidecar (next) before it is written into the container.
 *
 *	state		DWG = current		DWG = next		another one
 *	CLEAN		complete, or UNCLEAN	complete		CHANGED_OFFLINE
 *	ACTIVATING	complete		UNCLEAN			CHANGED_OFFLINE
 *	ACTIVE		UNCLEAN			UNCLEAN			CHANGED_OFFLINE
 *	DISABLED	DISABLED		DISABLED		DISABLED
 *
 * Documentation/sidecar.rst has every crash point.
 */
#include "sidecar_private.h"

/* Why the saved live delta doesn't tell all that happened; NONE: it does. */
static u32 judge(const struct vhdx_sidecar *sidecar, const vhdx_guid *dwg)
{
	bool closing = !vhdx_guid_is_zero(&sidecar->next_guid);
	bool is_current = vhdx_guid_equal(dwg, &sidecar->current_guid);
	bool is_next = closing && vhdx_guid_equal(dwg, &sidecar->next_guid);

	if (sidecar->state == VHDX_SIDECAR_DISABLED)
		return VHDX_REASON_DISABLED;
	if (!is_current && !is_next)
		return VHDX_REASON_CHANGED_OFFLINE;

	switch (sidecar->state) {
	case VHDX_SIDECAR_CLEAN:
		/*
		 * Saved for a close that gives the container the next DWG. With the
		 * current one the container's closing header never became durable. Or
		 * this is a copy of the container that was taken in the session, under
		 * the same DWG, with less in it than the saved delta tells of. The two
		 * look the same, so neither can be trusted.
		 */
		return is_next || !closing ? VHDX_REASON_NONE : VHDX_REASON_UNCLEAN;
	case VHDX_SIDECAR_ACTIVATING:
		/* The container gets the next DWG before the first visible change. */
		return is_current ? VHDX_REASON_NONE : VHDX_REASON_UNCLEAN;
	default:
		/* Changes were in memory only. */
		return VHDX_REASON_UNCLEAN;
	}
}

/* The sidecar is in use all the same. */
#define SEAL_AFRESH	"; seal a point and make a full backup"

static void explain(struct vhdx_diag *diag, u32 gap_reason, const vhdx_guid *known,
		    const vhdx_guid *found)
{
	char ours[VHDX_GUID_TEXT], theirs[VHDX_GUID_TEXT];

	switch (gap_reason) {
	case VHDX_REASON_UNCLEAN:
		vhdx_fail(diag, 0, gap_reason,
			  "sidecar: the disk was not detached (power loss or crash): what changed since its newest point is not known"
			  SEAL_AFRESH);
		break;
	case VHDX_REASON_DISABLED:
		vhdx_fail(diag, 0, gap_reason,
			  "sidecar: tracking is disabled; enable it, then make a full backup");
		break;
	default:
		vhdx_guid_format(known, ours);
		vhdx_guid_format(found, theirs);
		vhdx_fail(diag, 0, gap_reason,
			  "sidecar: written without it, or one of the two is an older copy; it knows DataWriteGuid %s, the container has %s"
			  SEAL_AFRESH,
			  ours, theirs);
	}
}

/*
 * A point whose id was never given out exists only while the disk is in use, and that
 * it was is a gap in the delta that follows. Its own delta would become part of that
 * one, which no answer takes in any more: all that remains of it is the gap.
 */
static void drop_unissued(struct vhdx_sidecar *sidecar)
{
	struct vhdx_timeline *timeline = &sidecar->timeline;
	struct vhdx_timeline_point *last;

	if (!timeline->count || timeline->points[timeline->count - 1]->issued)
		return;
	last = timeline->points[--timeline->count];
	vhdx_sidecar_join_marks(&timeline->live, &last->before);
	vhdx_sidecar_drop_delta(sidecar, &last->before);
	vhdx_free(last);
}

int vhdx_sidecar_bind(struct vhdx_sidecar *sidecar, const vhdx_guid *disk_id, u64 disk_size,
		      const vhdx_guid *data_write_guid, struct vhdx_diag *diag)
{
	char ours[VHDX_GUID_TEXT], theirs[VHDX_GUID_TEXT];
	u32 gap_reason;

	if (!vhdx_guid_equal(disk_id, &sidecar->disk_id) || disk_size != sidecar->disk_size) {
		vhdx_guid_format(&sidecar->disk_id, ours);
		vhdx_guid_format(disk_id, theirs);
		return vhdx_fail(diag, -ESTALE, VHDX_REASON_CHANGED_OFFLINE,
				 "sidecar: it is of disk %s of %llu bytes, the container is %s of %llu",
				 ours, sidecar->disk_size, theirs, disk_size);
	}

	gap_reason = judge(sidecar, data_write_guid);
	if (gap_reason) {
		vhdx_timeline_gap(&sidecar->timeline, gap_reason);
		explain(diag, gap_reason, &sidecar->current_guid, data_write_guid);
	} else if (sidecar->timeline.live.gap_reason) {
		/* Of an attach before: it was a gap then, and nobody has sealed since. */
		vhdx_fail_plainly(diag, 0, sidecar->timeline.live.gap_reason);
	}
	drop_unissued(sidecar);
	if (sidecar->state != VHDX_SIDECAR_DISABLED)
		sidecar->state = VHDX_SIDECAR_CLEAN;
	sidecar->current_guid = *data_write_guid;
	memset(&sidecar->next_guid, 0, sizeof(sidecar->next_guid));
	return 0;
}
