// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "timeline.h"

static bool same_id(const struct vhdx_point_id *a, const struct vhdx_point_id *b)
{
	return a->kind == b->kind && a->sequence == b->sequence &&
	       !memcmp(a->guid, b->guid, sizeof(a->guid));
}

bool vhdx_point_id_is_none(const struct vhdx_point_id *id)
{
	static const struct vhdx_point_id none;

	return same_id(id, &none) && !id->reserved;
}

int vhdx_point_id_check(const struct vhdx_point_id *id, struct vhdx_diag *diag)
{
	if (vhdx_point_id_is_none(id))
		return vhdx_bad_argument(diag, "no point is given, where one is needed");
	if (id->reserved || id->kind == VHDX_POINT_NONE || id->kind > VHDX_POINT_WINDOWS)
		return vhdx_fail_plainly(diag, -EINVAL, VHDX_REASON_ID_MALFORMED);
	return 0;
}

int vhdx_timeline_missing(const struct vhdx_point_id *id, struct vhdx_diag *diag)
{
	if (id->kind == VHDX_POINT_WINDOWS)
		return vhdx_fail(diag, -ENODATA, VHDX_REASON_ID_MISSING,
				 "the point is one of Windows' own, which only Windows knows");
	return vhdx_fail_plainly(diag, -ENODATA, VHDX_REASON_ID_MISSING);
}

int vhdx_timeline_find(const struct vhdx_timeline *timeline, const struct vhdx_point_id *id)
{
	u32 i = timeline->count;

	while (i--)
		if (timeline->points[i]->issued && same_id(&timeline->points[i]->id, id))
			return i;
	return -1;
}

u32 vhdx_timeline_count(const struct vhdx_timeline *timeline)
{
	u32 count = 0;
	u32 i;

	for (i = 0; i < timeline->count; i++)
		count += timeline->points[i]->issued;
	return count;
}

const struct vhdx_timeline_point *vhdx_timeline_newest(const struct vhdx_timeline *timeline)
{
	u32 i = timeline->count;

	while (i--)
		if (timeline->points[i]->issued)
			return timeline->points[i];
	return NULL;
}

/* The delta with the newest gap in the span; NULL if there is none. */
static const struct vhdx_delta *newest_gap(const struct vhdx_timeline *timeline,
					   const struct vhdx_span *span)
{
	u32 i = span->end;

	if (span->live && timeline->live.gap_reason)
		return &timeline->live;
	while (i-- > span->first)
		if (timeline->points[i]->before.gap_reason)
			return &timeline->points[i]->before;
	return NULL;
}

static u32 all_flags(const struct vhdx_timeline *timeline, const struct vhdx_span *span)
{
	u32 flags = span->live ? timeline->live.flags : 0;
	u32 i;

	for (i = span->first; i < span->end; i++)
		flags |= timeline->points[i]->before.flags;
	return flags;
}

int vhdx_timeline_span(const struct vhdx_timeline *timeline, const struct vhdx_point_id *limit,
		       const struct vhdx_point_id *target, struct vhdx_span *span,
		       struct vhdx_diag *diag)
{
	bool now = vhdx_point_id_is_none(target);
	int from, to = 0;
	const struct vhdx_delta *gap;
	int err;

	memset(span, 0, sizeof(*span));
	err = vhdx_point_id_check(limit, diag);
	if (!err && !now)
		err = vhdx_point_id_check(target, diag);
	if (err)
		return err;

	from = vhdx_timeline_find(timeline, limit);
	if (from < 0)
		return vhdx_timeline_missing(limit, diag);
	if (!now)
		to = vhdx_timeline_find(timeline, target);
	if (to < 0)
		return vhdx_timeline_missing(target, diag);
	if (!now && to < from)
		return vhdx_bad_argument(diag,
			"the target is an older point than the one to begin with: exchange the two");

	/*
	 * A point that was not issued yet is no end for a caller, but its delta
	 * lies before now like any other: up to now takes in all that is sealed.
	 */
	span->first = from + 1;
	span->end = now ? timeline->count : (u32)to + 1;
	span->live = now;
	gap = newest_gap(timeline, span);
	if (gap) {
		span->gap_time_ns = gap->gap_time_ns;
		return vhdx_fail_plainly(diag, -ESTALE, gap->gap_reason);
	}
	span->flags = all_flags(timeline, span);
	return 0;
}

void vhdx_timeline_gap(struct vhdx_timeline *timeline, u32 reason, u64 time_ns)
{
	timeline->live.gap_reason = reason;
	timeline->live.gap_time_ns = time_ns;
}
