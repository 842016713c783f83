// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "report.h"

static bool is_off(const struct vhdx_history *history)
{
	return history->state == VHDX_TRACKING_OFF;
}

/* There is a sidecar, or was one, that can't be used. */
static bool is_lost(const struct vhdx_history *history)
{
	return is_off(history) && history->off_reason &&
	       history->off_reason != VHDX_REASON_DISABLED;
}

/* Only points that were issued exist for a caller. */
static u32 count_points(const struct vhdx_timeline *timeline)
{
	u32 count = 0;
	u32 i;

	for (i = 0; i < timeline->count; i++)
		count += timeline->points[i]->issued;
	return count;
}

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
	if (is_off(history)) {
		state->gap_reason = history->off_reason;
		return;
	}
	newest = vhdx_timeline_newest(&sidecar->timeline);
	if (newest)
		state->most_recent_id = newest->id;
	state->unit = 1U << sidecar->unit_shift;
	state->point_count = count_points(&sidecar->timeline);
	state->gap_reason = sidecar->timeline.live.gap_reason;
	state->gap_time_ns = sidecar->timeline.live.gap_time_ns;
	state->newer_changes = has_newer_changes(history);
	state->sidecar_used = vhdx_sidecar_used_bytes(sidecar);
	state->sidecar_limit = vhdx_sidecar_limit_bytes(sidecar);
}

int vhdx_report_count_live(const struct vhdx_history *history, struct vhdx_answer *count,
			   u32 leaves)
{
	struct vhdx_span_source source = { .history = *history, .span = { .live = true } };
	int more = 1;

	if (is_off(history) || !vhdx_timeline_newest(&history->sidecar->timeline) ||
	    history->sidecar->timeline.live.gap_reason)
		return -ENODATA;
	count->form = &vhdx_answer_ranges;
	count->end = history->disk_size;
	count->unit_shift = history->sidecar->unit_shift;
	count->granule_shift = count->unit_shift;
	while (more > 0 && leaves--) {
		more = vhdx_answer_leaf(count, &vhdx_report_source, &source);
		vhdx_breathe();
	}
	return more;
}

u64 vhdx_report_live_bytes(const struct vhdx_history *history)
{
	struct vhdx_answer count = { .words = vhdx_alloc(VHDX_PAGE) };
	int err = count.words ? vhdx_report_count_live(history, &count, ~0U) : -ENOMEM;

	vhdx_free(count.words);
	return err ? VHDX_BYTES_UNKNOWN : count.ranges.sum;
}

/* What leads to the oldest point means nothing, nor does what a gap lies in. */
static u64 changed_bytes(const struct vhdx_history *history, u32 position)
{
	const struct vhdx_sidecar *sidecar = history->sidecar;
	const struct vhdx_delta *before = &sidecar->timeline.points[position]->before;

	if (!position || before->gap_reason)
		return VHDX_BYTES_UNKNOWN;
	if (before->changed_units > history->disk_size >> sidecar->unit_shift)
		return history->disk_size;
	return before->changed_units << sidecar->unit_shift;
}

static void fill_point(const struct vhdx_history *history, u32 position, struct vhdx_point *out)
{
	const struct vhdx_timeline_point *point = history->sidecar->timeline.points[position];

	memset(out, 0, sizeof(*out));
	out->id = point->id;
	out->time_ns = point->time_ns;
	out->gap_time_ns = point->before.gap_time_ns;
	/* The size never changes. */
	out->virtual_disk_size = history->disk_size;
	out->changed_bytes = changed_bytes(history, position);
	out->flags = point->before.flags & VHDX_DELTA_COARSE ? VHDX_POINT_COARSE : 0;
	out->gap_reason = point->before.gap_reason;
	out->label_length = point->label_length;
	memcpy(out->label, point->label, point->label_length);
}

/* Why there is no answer to any question. 0: there may be one. */
static int check_tracking(const struct vhdx_history *history, struct vhdx_diag *diag)
{
	u32 reason = VHDX_REASON_DISABLED;
	int err = history->off_error;

	if (history->state == VHDX_TRACKING_ON)
		return 0;
	if (is_off(history) && history->off_reason)
		reason = history->off_reason;
	if (!err)
		err = reason == VHDX_REASON_UNSUPPORTED || reason == VHDX_REASON_DISABLED ?
		      -EOPNOTSUPP : -ESTALE;
	if (is_off(history) && history->off_text)
		return vhdx_fail(diag, err, reason, "%s", history->off_text);
	return vhdx_fail_plainly(diag, err, reason);
}

/* The position to begin at, or -errno. */
static int find_after(const struct vhdx_timeline *timeline, const struct vhdx_point_id *after,
		      struct vhdx_diag *diag)
{
	int position, err;

	if (vhdx_point_id_is_none(after))
		return 0;
	err = vhdx_point_id_check(after, diag);
	if (err)
		return err;
	position = vhdx_timeline_find(timeline, after);
	return position < 0 ? vhdx_timeline_missing(after, diag) : position + 1;
}

int vhdx_report_points(const struct vhdx_history *history, struct vhdx_get_points *args,
		       struct vhdx_point *points, u32 capacity, struct vhdx_diag *diag)
{
	static const struct vhdx_timeline empty;
	const struct vhdx_timeline *timeline = is_off(history) ? &empty :
					       &history->sidecar->timeline;
	int first;
	u32 i;

	/* There may be points in a sidecar that can't be used: to tell none would be a lie. */
	if (is_lost(history))
		return check_tracking(history, diag);
	first = find_after(timeline, &args->after, diag);
	if (first < 0)
		return first;
	if (is_off(history))
		vhdx_fail(diag, 0, VHDX_REASON_NONE, "%s", history->off_text ? history->off_text :
			  "change tracking is not enabled, so no points are known");
	args->point_count = count_points(timeline);
	args->output_count = 0;
	for (i = first; i < timeline->count && args->output_count < capacity; i++) {
		if (timeline->points[i]->issued)
			fill_point(history, i, &points[args->output_count++]);
	}
	return 0;
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

int vhdx_report_span(const struct vhdx_history *history,
		     struct vhdx_get_virtual_disk_changes *args, struct vhdx_span *span,
		     struct vhdx_diag *diag)
{
	static const struct vhdx_timeline empty;
	struct vhdx_diag found = { };
	int err, off;

	err = vhdx_timeline_span(is_off(history) ? &empty : &history->sidecar->timeline,
				 &args->limit_id, &args->target_id, span, &found);
	if (err != -EINVAL) {
		off = check_tracking(history, diag);
		if (off)
			return off;
	}
	if (err) {
		args->gap_time_ns = span->gap_time_ns;
		*diag = found;
		return err;
	}
	args->unit = 1U << history->sidecar->unit_shift;
	args->answer_flags = (span->flags & VHDX_DELTA_COARSE ? VHDX_ANSWER_COARSE : 0) |
			     (span->live ? VHDX_ANSWER_LIVE : 0);
	return 0;
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
	answer->form = bitmap ? &vhdx_answer_bits : &vhdx_answer_ranges;
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

void vhdx_history_live_leaf(const struct vhdx_history *history, u32 leaf, u64 *words)
{
	vhdx_changemap_leaf_or(history->live, leaf, words);
	if (history->sealing)
		vhdx_changemap_leaf_or(history->sealing, leaf, words);
}

u32 vhdx_history_find_live_leaf(const struct vhdx_history *history, u32 leaf, u32 end)
{
	end = vhdx_changemap_find_leaf(history->live, leaf, end);
	if (history->sealing)
		end = vhdx_changemap_find_leaf(history->sealing, leaf, end);
	return end;
}

static int find_leaf(void *context, u32 leaf, u32 *end)
{
	const struct vhdx_span_source *source = context;
	const struct vhdx_history *history = &source->history;
	const struct vhdx_timeline *timeline = &history->sidecar->timeline;
	u32 i;
	int err = 0;

	for (i = source->span.first; i < source->span.end && !err; i++)
		err = vhdx_sidecar_find_leaf(history->sidecar, &timeline->points[i]->before, leaf,
					     end, source->cache);
	if (!err && source->span.live)
		*end = vhdx_history_find_live_leaf(history, leaf, *end);
	return err;
}

static int read_leaf(void *context, u32 leaf, u64 *words)
{
	const struct vhdx_span_source *source = context;
	const struct vhdx_history *history = &source->history;
	const struct vhdx_timeline *timeline = &history->sidecar->timeline;
	u32 i;
	int err = 0;

	for (i = source->span.first; i < source->span.end && !err; i++)
		err = vhdx_sidecar_read_leaf(history->sidecar, &timeline->points[i]->before, leaf,
					     words, source->cache);
	if (!err && source->span.live)
		vhdx_history_live_leaf(history, leaf, words);
	return err;
}

const struct vhdx_leaf_source vhdx_report_source = {
	.find = find_leaf,
	.read = read_leaf,
};

int vhdx_report_failure(int err, struct vhdx_diag *diag)
{
	switch (err) {
	case -EUCLEAN:
		return vhdx_fail_plainly(diag, -ESTALE, VHDX_REASON_INCONSISTENT);
	case -EIO:
		return vhdx_fail_plainly(diag, err, VHDX_REASON_IO);
	case -ENOMEM:
		return vhdx_no_memory(diag);
	default:
		return err;
	}
}
