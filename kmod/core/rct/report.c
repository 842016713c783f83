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
	count->end = history->disk_size;
	count->unit_shift = history->sidecar->unit_shift;
	while (more > 0 && leaves--) {
		more = vhdx_answer_leaf(count, vhdx_report_leaf, &source);
		vhdx_breathe();
	}
	return more;
}

u64 vhdx_report_live_bytes(const struct vhdx_history *history)
{
	struct vhdx_answer count = { .words = vhdx_alloc(VHDX_PAGE) };
	int err = count.words ? vhdx_report_count_live(history, &count, ~0U) : -ENOMEM;

	vhdx_free(count.words);
	return err ? VHDX_BYTES_UNKNOWN : count.changed;
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

int vhdx_report_check(const struct vhdx_history *history,
		      const struct vhdx_get_virtual_disk_changes *args, struct vhdx_diag *diag)
{
	bool sums = args->flags & VHDX_CHANGES_COUNT;
	u64 end;

	if (sums && (args->output || args->output_capacity))
		return vhdx_bad_argument(diag, "with VHDX_CHANGES_COUNT there is no output");
	if (!sums && !args->output_capacity)
		return vhdx_bad_argument(diag, "output_capacity is 0");
	if (args->range_size != VHDX_RANGE_SIZE_VER0 &&
	    args->range_size != sizeof(struct vhdx_range) && !(sums && !args->range_size))
		return vhdx_bad_argument(diag, "range_size %u: it must be %u or %u",
					 args->range_size, VHDX_RANGE_SIZE_VER0,
					 (u32)sizeof(struct vhdx_range));
	if (check_add_overflow(args->byte_offset, args->byte_length, &end) ||
	    end > history->disk_size)
		return vhdx_bad_argument(diag,
			"%llu bytes at offset %llu are asked for, but the disk has only %llu",
			args->byte_length, args->byte_offset, history->disk_size);
	return 0;
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

void vhdx_history_live_leaf(const struct vhdx_history *history, u32 leaf, u64 *words)
{
	vhdx_changemap_leaf_or(history->live, leaf, words);
	if (history->sealing)
		vhdx_changemap_leaf_or(history->sealing, leaf, words);
}

int vhdx_report_leaf(void *context, u32 leaf, u64 *words)
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
