// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "report.h"

/* A delta that was sealed but whose point was not issued lies behind the newest point, too. */
static bool has_newer_changes(const struct vhdx_history *history)
{
	const struct vhdx_timeline *timeline = &history->sidecar->timeline;

	if (timeline->live.gap_reason)
		return true;
	if (timeline->count && !timeline->points[timeline->count - 1]->issued)
		return true;
	if (history->sealing && !vhdx_changemap_is_empty(history->sealing))
		return true;
	return history->live && !vhdx_changemap_is_empty(history->live);
}

void vhdx_report_state(const struct vhdx_history *history, struct vhdx_tracking_state *state)
{
	const struct vhdx_sidecar *sidecar = history->sidecar;
	const struct vhdx_timeline_point *newest;

	state->state = history->state;
	state->points_max = VHDX_POINTS_MAX;
	/* What was not recorded may have been anything. */
	state->newer_changes = 1;
	if (vhdx_history_is_off(history)) {
		state->gap_reason = history->off_reason;
		return;
	}
	newest = vhdx_timeline_newest(&sidecar->timeline);
	if (newest)
		state->most_recent_id = newest->id;
	state->unit = 1U << sidecar->unit_shift;
	state->point_count = vhdx_timeline_count(&sidecar->timeline);
	state->gap_reason = sidecar->timeline.live.gap_reason;
	state->gap_time_ns = sidecar->timeline.live.gap_time_ns;
	state->newer_changes = has_newer_changes(history);
	state->sidecar_used = vhdx_sidecar_used_bytes(sidecar);
	state->sidecar_limit = vhdx_sidecar_limit_bytes(sidecar);
}

int vhdx_report_count_live(const struct vhdx_history *history, struct vhdx_answer *count,
			   u32 leaves)
{
	struct vhdx_history live = *history;
	int more = 1;

	if (vhdx_history_is_off(history) || !vhdx_timeline_newest(&history->sidecar->timeline) ||
	    history->sidecar->timeline.live.gap_reason)
		return -ENODATA;
	count->form = &vhdx_answer_ranges;
	count->end = history->disk_size;
	count->unit_shift = history->sidecar->unit_shift;
	count->granule_shift = count->unit_shift;
	while (more > 0 && leaves--) {
		more = vhdx_answer_leaf(count, &vhdx_live_source, &live);
		vhdx_breathe();
	}
	return more;
}

u64 vhdx_report_live_bytes(const struct vhdx_history *history)
{
	struct vhdx_answer count = { .units = vhdx_alloc(sizeof(*count.units)) };
	int err = count.units ? vhdx_report_count_live(history, &count, ~0U) : -ENOMEM;

	vhdx_free(count.units);
	return err ? VHDX_BYTES_UNKNOWN : count.ranges.sum;
}

static int check_ranges(u32 range_size, u32 capacity, struct vhdx_diag *diag)
{
	if (!capacity)
		return vhdx_bad_argument(diag, "output_capacity is 0");
	if (range_size != VHDX_RANGE_SIZE_VER0 && range_size != sizeof(struct vhdx_range))
		return vhdx_bad_argument(diag, "range_size %u: it must be %u or %u", range_size,
					 VHDX_RANGE_SIZE_VER0, (u32)sizeof(struct vhdx_range));
	return 0;
}

static int check_place(u64 offset, u64 length, u64 disk_size, struct vhdx_diag *diag)
{
	u64 end;

	if (check_add_overflow(offset, length, &end) || end > disk_size)
		return vhdx_bad_argument(diag,
			"%llu bytes at offset %llu are asked for, but the disk has only %llu",
			length, offset, disk_size);
	return 0;
}

static int check_bitmap(const struct vhdx_get_virtual_disk_changes *args, struct vhdx_diag *diag)
{
	if (args->flags & VHDX_CHANGES_COUNT)
		return vhdx_bad_argument(diag,
			"VHDX_CHANGES_BITMAP and VHDX_CHANGES_COUNT exclude each other");
	if (args->range_size || args->min_gap)
		return vhdx_bad_argument(diag, "%s: a bitmap has no ranges",
					 args->range_size ? "range_size" : "min_gap");
	if (!args->output_capacity || args->output_capacity % sizeof(u64))
		return vhdx_bad_argument(diag,
			"output_capacity %u: a bitmap has a multiple of 8 bytes",
			args->output_capacity);
	return 0;
}

/* What can be said of the form of the answer without the unit. */
static int check_form(const struct vhdx_get_virtual_disk_changes *args, struct vhdx_diag *diag)
{
	bool sums = args->flags & VHDX_CHANGES_COUNT;

	if (args->granularity & (args->granularity - 1))
		return vhdx_bad_argument(diag, "granularity %llu: it must be a power of two",
					 args->granularity);
	if (args->flags & VHDX_CHANGES_BITMAP)
		return check_bitmap(args, diag);
	if (sums && (args->output || args->output_capacity))
		return vhdx_bad_argument(diag, "with VHDX_CHANGES_COUNT there is no output");
	if (sums && !args->range_size)
		return 0;
	return check_ranges(args->range_size, sums ? 1 : args->output_capacity, diag);
}

int vhdx_report_check(const struct vhdx_history *history,
		      const struct vhdx_get_virtual_disk_changes *args, struct vhdx_diag *diag)
{
	int err = check_form(args, diag);

	return err ? err : check_place(args->byte_offset, args->byte_length, history->disk_size,
				       diag);
}

int vhdx_report_check_allocated(const struct vhdx_get_allocated_ranges *args,
				struct vhdx_diag *diag)
{
	const bool zeroes = args->flags & VHDX_ALLOCATED_ZEROES;
	int err;

	if (zeroes && args->range_size == VHDX_RANGE_SIZE_VER0)
		return vhdx_bad_argument(diag,
			"range_size %u: with VHDX_ALLOCATED_ZEROES ranges need their flags",
			args->range_size);
	if (zeroes && args->min_gap)
		return vhdx_bad_argument(diag,
			"min_gap: with VHDX_ALLOCATED_ZEROES there are no gaps");
	err = check_ranges(args->range_size, args->output_capacity, diag);
	return err ? err : check_place(args->byte_offset, args->byte_length,
				       args->virtual_disk_size, diag);
}

int vhdx_report_route(const struct vhdx_history *history,
		      struct vhdx_get_virtual_disk_changes *args, struct vhdx_route *route,
		      struct vhdx_diag *diag)
{
	int err = vhdx_history_route(history, &args->limit_id, &args->target_id, route, diag);

	if (err) {
		args->gap_time_ns = route->stored.gap_time_ns;
		return err;
	}
	args->unit = 1U << route->unit_shift;
	args->answer_flags = (route->coarse ? VHDX_ANSWER_COARSE : 0) |
			     (route->derived < route->derived_end ? VHDX_ANSWER_DERIVED : 0) |
			     (vhdx_point_id_is_none(&args->target_id) ? VHDX_ANSWER_LIVE : 0);
	return 0;
}

static const struct vhdx_answer_form *form_of(const struct vhdx_get_virtual_disk_changes *args,
					      u64 granularity)
{
	if (!(args->flags & VHDX_CHANGES_BITMAP))
		return &vhdx_answer_ranges;
	return granularity == args->unit ? &vhdx_answer_bits : &vhdx_answer_folded;
}

int vhdx_report_begin(const struct vhdx_get_virtual_disk_changes *args,
		      struct vhdx_answer *answer, struct vhdx_diag *diag)
{
	const u64 granularity = max_t(u64, args->granularity, args->unit);
	const bool bitmap = args->flags & VHDX_CHANGES_BITMAP;

	if (args->granularity && args->granularity < args->unit)
		return vhdx_bad_argument(diag,
			"granularity %llu: it must not be less than the unit, %u",
			args->granularity, args->unit);
	answer->form = form_of(args, granularity);
	answer->unit_shift = __ffs64(args->unit);
	answer->granule_shift = __ffs64(granularity);
	answer->begin = args->byte_offset;
	answer->offset = args->byte_offset;
	answer->end = args->byte_offset + args->byte_length;
	answer->ranges.size = args->range_size;
	answer->ranges.min_gap = args->min_gap;
	if (!bitmap)
		return 0;
	if (args->byte_offset & (granularity - 1) ||
	    args->byte_offset >> answer->granule_shift & 63)
		return vhdx_bad_argument(diag,
			"byte_offset %llu: a bitmap begins at a multiple of 64 times %llu bytes",
			args->byte_offset, granularity);
	return 0;
}

u64 vhdx_report_bitmap_end(const struct vhdx_get_virtual_disk_changes *args,
			   const struct vhdx_answer *answer)
{
	const u64 end = args->byte_offset + args->byte_length;
	const u64 room = 8ULL * args->output_capacity;

	if (!args->byte_length || (args->byte_length - 1) >> answer->granule_shift < room)
		return end;
	return args->byte_offset + (room << answer->granule_shift);
}

void vhdx_report_end(struct vhdx_get_virtual_disk_changes *args,
		     const struct vhdx_answer *answer)
{
	args->processed_byte_length = answer->offset - args->byte_offset;
	args->changed_bytes = answer->changed + answer->ranges.sum;
	args->complete_to_id = args->target_id;
}

int vhdx_report_failure(int err, u32 layer, struct vhdx_diag *diag)
{
	switch (err) {
	case -EUCLEAN:
		/* Advice is for the leaf's. */
		if (layer)
			vhdx_fail(diag, -ESTALE, VHDX_REASON_INCONSISTENT,
				  "layer %u: its sidecar is damaged: ask since a snapshot, or make a full backup",
				  layer);
		return vhdx_fail_plainly(diag, -ESTALE, VHDX_REASON_INCONSISTENT);
	case -EIO:
		return vhdx_fail_plainly(diag, err, VHDX_REASON_IO);
	case -ENOMEM:
		return vhdx_no_memory(diag);
	default:
		return err;
	}
}
