// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Points: their records in the file, one more, one less.
 */
#include "sidecar_private.h"

static void encode_point(const void *source, u32 index, void *record)
{
	const struct vhdx_timeline *timeline = source;
	const struct vhdx_timeline_point *point = timeline->points[index];
	struct vhdx_sidecar_point *raw = record;

	static_assert(sizeof(raw->label) == sizeof(point->label));
	memcpy(&raw->guid, point->id.guid, sizeof(raw->guid));
	raw->sequence = cpu_to_le64(point->id.sequence);
	raw->kind = cpu_to_le32(point->id.kind);
	raw->time_ns = cpu_to_le64(point->time_ns);
	raw->flags = cpu_to_le32(point->issued ? VHDX_SIDECAR_POINT_ISSUED : 0);
	vhdx_sidecar_encode_delta(&point->before, &raw->before);
	raw->label_length = cpu_to_le32(point->label_length);
	memcpy(raw->label, point->label, point->label_length);
}

/* At most 4096 points, each compared with those before it. */
static bool is_new_snapshot(const struct vhdx_timeline *timeline, const struct vhdx_point_id *id)
{
	u32 i = timeline->count;

	while (i--)
		if (timeline->points[i]->id.kind == VHDX_POINT_SNAPSHOT &&
		    !memcmp(timeline->points[i]->id.guid, id->guid, sizeof(id->guid)))
			return false;
	return !id->sequence;
}

/*
 * No id comes twice: references are in the order of their sequence numbers, snapshots have
 * none, but GUIDs of their own.
 */
static bool in_order(const struct vhdx_timeline *timeline, const struct vhdx_point_id *id)
{
	u32 i = timeline->count;

	if (id->kind == VHDX_POINT_SNAPSHOT)
		return is_new_snapshot(timeline, id);
	if (id->kind != VHDX_POINT_REFERENCE || id->sequence >= timeline->next_sequence)
		return false;
	while (i--)
		if (timeline->points[i]->id.kind == VHDX_POINT_REFERENCE)
			return timeline->points[i]->id.sequence < id->sequence;
	return true;
}

static int decode_point(void *sink, u32 index, const void *record, struct vhdx_diag *diag)
{
	struct vhdx_sidecar *sidecar = sink;
	struct vhdx_timeline *timeline = &sidecar->timeline;
	const struct vhdx_sidecar_point *raw = record;
	u32 flags = le32_to_cpu(raw->flags);
	struct vhdx_timeline_point *point;

	point = vhdx_alloc(sizeof(*point));
	if (!point)
		return vhdx_no_memory(diag);
	memcpy(point->id.guid, &raw->guid, sizeof(raw->guid));
	point->id.sequence = le64_to_cpu(raw->sequence);
	point->id.kind = le32_to_cpu(raw->kind);
	point->time_ns = le64_to_cpu(raw->time_ns);
	point->issued = flags & VHDX_SIDECAR_POINT_ISSUED;
	point->label_length = le32_to_cpu(raw->label_length);
	if (flags & ~VHDX_SIDECAR_POINT_ISSUED || point->label_length > VHDX_LABEL_MAX ||
	    !in_order(timeline, &point->id)) {
		vhdx_sidecar_damaged(diag,
				     "point %u of kind %u, number %llu, flags 0x%x, label of %u",
				     index, point->id.kind, point->id.sequence, flags,
				     point->label_length);
		goto fail;
	}
	memcpy(point->label, raw->label, point->label_length);
	if (vhdx_sidecar_decode_delta(sidecar, &raw->before, &point->before, diag))
		goto fail;
	timeline->points[timeline->count++] = point;
	return 0;

fail:
	vhdx_free(point);
	return -EUCLEAN;
}

const struct vhdx_sidecar_record vhdx_sidecar_point_record = {
	.what = "points",
	.magic = VHDX_SIDECAR_POINTS_MAGIC,
	.size = sizeof(struct vhdx_sidecar_point),
	.per_block = VHDX_SIDECAR_RECORDS(struct vhdx_sidecar_point),
	.encode = encode_point,
	.decode = decode_point,
};

void vhdx_sidecar_join_marks(struct vhdx_delta *newer, const struct vhdx_delta *older)
{
	newer->flags |= older->flags;
	if (!newer->gap_reason)
		newer->gap_reason = older->gap_reason;
}

/* A number that a load would refuse must never be written. */
bool vhdx_sidecar_is_out_of_points(const struct vhdx_sidecar *sidecar)
{
	return sidecar->timeline.count >= VHDX_POINTS_MAX ||
	       sidecar->timeline.next_sequence >= VHDX_SIDECAR_SEQUENCE_MAX;
}

int vhdx_sidecar_add_point(struct vhdx_sidecar *sidecar, const struct vhdx_timeline_point *point,
			   struct vhdx_delta *before)
{
	struct vhdx_timeline *timeline = &sidecar->timeline;
	struct vhdx_timeline_point **points, *added;

	if (vhdx_sidecar_is_out_of_points(sidecar))
		return -ENOSPC;
	points = vhdx_alloc((timeline->count + 1) * sizeof(*points));
	added = vhdx_alloc(sizeof(*added));
	if (!points || !added) {
		vhdx_free(points);
		vhdx_free(added);
		return -ENOMEM;
	}

	*added = *point;
	added->before = *before;
	memset(before, 0, sizeof(*before));
	vhdx_sidecar_join_marks(&added->before, &timeline->live);
	vhdx_sidecar_drop_delta(sidecar, &timeline->live);

	if (timeline->count)
		memcpy(points, timeline->points, timeline->count * sizeof(*points));
	points[timeline->count++] = added;
	vhdx_free(timeline->points);
	timeline->points = points;
	timeline->next_sequence = max(timeline->next_sequence, added->id.sequence + 1);
	return 0;
}

/* The number stays used up: nobody can be sure that the point was never seen. */
void vhdx_sidecar_drop_last_point(struct vhdx_sidecar *sidecar)
{
	struct vhdx_timeline *timeline = &sidecar->timeline;
	struct vhdx_timeline_point *last = timeline->points[--timeline->count];

	vhdx_sidecar_join_marks(&timeline->live, &last->before);
	last->before.flags = timeline->live.flags;
	last->before.gap_reason = timeline->live.gap_reason;
	vhdx_sidecar_drop_delta(sidecar, &timeline->live);
	timeline->live = last->before;
	vhdx_free(last);
}
