// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * The points of a disk, through all of its layers.
 */
#include "report.h"

static u32 count_points(const struct vhdx_history *history)
{
	u32 count = history->parent_count;
	u32 i;

	for (i = 0; i <= history->parent_count; i++)
		count += vhdx_timeline_count(vhdx_history_timeline(history, i));
	return count;
}

static const struct vhdx_sidecar *sidecar_of(const struct vhdx_history *history, u32 layer)
{
	return layer ? history->parents[layer - 1].sidecar : history->sidecar;
}

static u64 changed_bytes(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta)
{
	if (delta->gap_reason)
		return VHDX_BYTES_UNKNOWN;
	if (delta->changed_units > sidecar->disk_size >> sidecar->unit_shift)
		return sidecar->disk_size;
	return delta->changed_units << sidecar->unit_shift;
}

/*
 * What leads to the first reference of a layer is not recorded: of the oldest one of all nobody
 * knows; of another one it is somewhere in the layer.
 */
static void fill_reference(const struct vhdx_history *history, const struct vhdx_place *place,
			   struct vhdx_point *out)
{
	const struct vhdx_timeline *timeline = vhdx_history_timeline(history, place->layer);
	const struct vhdx_timeline_point *point = timeline->points[place->position];

	out->id = point->id;
	out->time_ns = point->time_ns;
	out->gap_time_ns = point->before.gap_time_ns;
	out->gap_reason = point->before.gap_reason;
	out->flags = point->before.flags & VHDX_DELTA_COARSE ? VHDX_POINT_COARSE : 0;
	out->label_length = point->label_length;
	memcpy(out->label, point->label, point->label_length);
	if (place->position)
		out->changed_bytes = changed_bytes(sidecar_of(history, place->layer),
						   &point->before);
	else if (place->layer < history->parent_count)
		out->flags |= VHDX_POINT_DERIVED | VHDX_POINT_COARSE;
}

/* How much a layer itself has is not looked up for a list. */
static void fill_snapshot(const struct vhdx_history *history, u32 layer, struct vhdx_point *out)
{
	const struct vhdx_timeline *timeline = vhdx_history_timeline(history, layer);
	const struct vhdx_delta *live = &timeline->live;

	memcpy(out->id.guid, &history->parents[layer - 1].guid, sizeof(out->id.guid));
	out->id.kind = VHDX_POINT_SNAPSHOT;
	out->flags = VHDX_POINT_HAS_DATA;
	if (!vhdx_timeline_newest(timeline)) {
		out->flags |= layer < history->parent_count ? VHDX_POINT_DERIVED : 0;
		return;
	}
	out->gap_time_ns = live->gap_time_ns;
	out->gap_reason = live->gap_reason;
	if (live->flags & VHDX_DELTA_COARSE)
		out->flags |= VHDX_POINT_COARSE;
	else
		out->changed_bytes = changed_bytes(sidecar_of(history, layer), live);
}

static void fill_point(const struct vhdx_history *history, const struct vhdx_place *place,
		       struct vhdx_point *out)
{
	memset(out, 0, sizeof(*out));
	out->layer = place->layer;
	/* The size of a layer never changes. */
	out->virtual_disk_size = vhdx_history_size(history, place->layer);
	out->changed_bytes = VHDX_BYTES_UNKNOWN;
	if (place->position == VHDX_PLACE_END)
		fill_snapshot(history, place->layer, out);
	else
		fill_reference(history, place, out);
}

/* From one place to the next, be there a point or not. False: that is the end. */
static bool go_on(const struct vhdx_history *history, struct vhdx_place *place)
{
	if (place->position == VHDX_PLACE_END) {
		if (!place->layer)
			return false;
		place->layer--;
		place->position = 0;
	} else {
		place->position++;
	}
	if (place->position >= vhdx_history_timeline(history, place->layer)->count)
		place->position = VHDX_PLACE_END;
	return true;
}

static bool is_point(const struct vhdx_history *history, const struct vhdx_place *place)
{
	if (place->position == VHDX_PLACE_END)
		return place->layer;
	return vhdx_history_timeline(history, place->layer)->points[place->position]->issued;
}

/* Where to begin, or -errno. */
static int find_first(const struct vhdx_history *history, const struct vhdx_point_id *after,
		      struct vhdx_place *place, struct vhdx_diag *diag)
{
	int err;

	place->layer = history->parent_count;
	place->position = vhdx_history_timeline(history, place->layer)->count ? 0 : VHDX_PLACE_END;
	if (vhdx_point_id_is_none(after))
		return 0;
	err = vhdx_point_id_check(after, diag);
	if (err)
		return err;
	if (!vhdx_history_find(history, after, true, place))
		return vhdx_timeline_missing(after, diag);
	go_on(history, place);
	return 0;
}

/* Which points are not known, or none is: no failure. */
static void explain(const struct vhdx_history *history, struct vhdx_diag *diag)
{
	const struct vhdx_frozen_layer *parent;
	u32 i;

	if (vhdx_history_is_lost(history))
		vhdx_history_check_tracking(history, diag);
	else if (vhdx_history_is_off(history) && !vhdx_history_has_parents(history))
		vhdx_fail(diag, 0, VHDX_REASON_NONE, "%s", history->off_text ? history->off_text :
			  "change tracking is not enabled, so no points are known");
	for (i = 0; i < history->parent_count; i++) {
		parent = &history->parents[i];
		if (parent->error)
			vhdx_fail(diag, 0, parent->lost.reason,
				  "points of layer %u are not known: %s", i + 1,
				  parent->lost.text);
	}
	if (history->chain_error)
		vhdx_fail(diag, 0, history->chain_lost->reason,
			  "points of parents are not known: %s", history->chain_lost->text);
}

int vhdx_report_points(const struct vhdx_history *history, struct vhdx_get_points *args,
		       struct vhdx_point *points, u32 capacity, struct vhdx_diag *diag)
{
	struct vhdx_place place;
	int err;

	/* There may be points in a sidecar that can't be used: to tell none would be a lie. */
	if (vhdx_history_is_lost(history) && !history->parent_count)
		return vhdx_history_check_tracking(history, diag);
	err = find_first(history, &args->after, &place, diag);
	if (err)
		return err;
	explain(history, diag);
	args->point_count = count_points(history);
	args->output_count = 0;
	do {
		if (args->output_count == capacity)
			break;
		if (is_point(history, &place))
			fill_point(history, &place, &points[args->output_count++]);
	} while (go_on(history, &place));
	return 0;
}
