// SPDX-License-Identifier: GPL-2.0-only
#include "admin.h"
#include "seal.h"
#include "disk/disk.h"

#include <linux/slab.h>

static int format(struct vhdx_tracker *t, u32 unit, struct vhdx_diag *diag)
{
	const struct vhdx_geometry *geo = &t->layer->image.geo;
	struct vhdx_sidecar *sidecar = &t->sidecar;

	vhdx_sidecar_release(sidecar);
	memset(sidecar, 0, sizeof(*sidecar));
	sidecar->state = VHDX_SIDECAR_ACTIVE;
	sidecar->disk_id = geo->disk_id;
	sidecar->disk_size = geo->disk_size;
	sidecar->unit_shift = vhdx_unit_shift_for(sidecar->disk_size, unit);
	vhdx_layer_data_write_guid(t->layer, &sidecar->current_guid);
	return vhdx_sidecar_format(sidecar, &t->file.store, t->file.ops->can_grow, diag);
}

/*
 * A sidecar of this disk that was not in use is taken up again: its points stay, with a
 * gap behind them. Another sidecar is overwritten only if the caller says so, and what is
 * no sidecar never is.
 */
static int open_or_format(struct vhdx_tracker *t, const struct vhdx_tracking_enable *args,
			  struct vhdx_diag *diag)
{
	const struct vhdx_geometry *geo = &t->layer->image.geo;
	enum vhdx_sidecar_content content;
	struct vhdx_diag found = { };
	vhdx_guid data_write_guid;
	int err;

	err = vhdx_sidecar_look(&t->file.store, &content);
	if (err == -ENOMEM || err == -EINTR)
		return err;
	if (err)
		return vhdx_io_failed(diag, err, "sidecar: it can't be read (error %d)", err);
	if (content == VHDX_SIDECAR_STRANGER)
		return vhdx_fail(diag, -EEXIST, VHDX_REASON_INCONSISTENT,
			"sidecar: it is neither empty nor a sidecar, and is left as it is; name another file");
	/* A block device is never empty; a file with nothing but zeroes in it was not. */
	if (args->flags & VHDX_ENABLE_OVERWRITE || !t->file.size ||
	    (!t->file.ops->can_grow && content == VHDX_SIDECAR_NOTHING))
		return format(t, args->unit, diag);

	vhdx_layer_data_write_guid(t->layer, &data_write_guid);
	err = vhdx_sidecar_load(&t->sidecar, &t->file.store, t->file.ops->can_grow, false, &found);
	if (!err)
		err = vhdx_sidecar_bind(&t->sidecar, &geo->disk_id, geo->disk_size,
					&data_write_guid, &found);
	if (err == -ENOMEM || err == -EINTR)
		return err;
	if (err)
		return vhdx_fail(diag, -EEXIST, found.reason,
			"sidecar: this disk can't use it (%s); reset tracking to write it anew",
			found.text);
	return 0;
}

static int take_sidecar(struct vhdx_tracker *t, const struct vhdx_tracking_enable *args,
			struct vhdx_diag *diag)
{
	int err;

	if (t->state == VHDX_TRACKING_DISABLED) {
		if (args->sidecar_fd >= 0)
			return vhdx_fail(diag, -EINVAL, VHDX_REASON_ARGUMENT,
				"the disk has a sidecar, which is disabled: enable that one");
		return 0;
	}
	if (args->sidecar_fd < 0)
		return vhdx_fail(diag, -EINVAL, VHDX_REASON_ARGUMENT,
				 "the disk has no sidecar, and no file was given to make one in");
	if (vhdx_tracker_is_stuck(t))
		return vhdx_fail(diag, -EBUSY, VHDX_REASON_IN_USE,
				 "a write to the former sidecar has not ended yet");
	err = vhdx_container_open(&t->file, args->sidecar_fd, false, "sidecar", diag);
	if (err)
		return err;
	if (vhdx_disk_is_below(vhdx_disk_of(t), t->file.file))
		err = vhdx_fail(diag, -ELOOP, VHDX_REASON_ARGUMENT,
				"sidecar: it lives on the disk that it is to track; put it elsewhere");
	else
		err = open_or_format(t, args, diag);
	if (err)
		vhdx_tracker_close_sidecar(t);
	return err;
}

/*
 * A write that came in before the map went live has no mark, and will make none: it ends before
 * the first point is sealed (rule T1).
 */
static int start_marking(struct vhdx_tracker *t, struct vhdx_changemap *map)
{
	int err;

	vhdx_inflight_replace(&t->inflight, map);
	err = vhdx_gate_flip(&vhdx_disk_of(t)->gate, MAX_SCHEDULE_TIMEOUT);
	if (err)
		vhdx_inflight_replace(&t->inflight, NULL);
	return err;
}

/* Tracking is on from here; the seal that follows makes it durable. */
static int switch_on(struct vhdx_tracker *t, struct vhdx_diag *diag)
{
	struct vhdx_sidecar *sidecar = &t->sidecar;
	struct vhdx_changemap *map = vhdx_tracker_new_map(t);
	int err;

	err = map ? start_marking(t, map) : -ENOMEM;
	if (err) {
		vhdx_tracker_free_map(map);
		if (t->state == VHDX_TRACKING_OFF)
			vhdx_tracker_close_sidecar(t);
		return vhdx_tracker_fail(t, err, diag);
	}
	sidecar->state = VHDX_SIDECAR_ACTIVE;
	vhdx_layer_data_write_guid(t->layer, &sidecar->current_guid);
	memset(&sidecar->next_guid, 0, sizeof(sidecar->next_guid));
	err = vhdx_tracker_commit(t);
	if (err) {
		vhdx_tracker_invalidate(t, err);
		return vhdx_io_failed(diag, err, "sidecar: it can't be written (error %d)", err);
	}
	t->state = VHDX_TRACKING_ON;
	t->off_reason = VHDX_REASON_NONE;
	vhdx_tracker_changed(t);
	return 0;
}

/* One point, on this disk alone, without a label. */
static int seal_alone(struct vhdx_tracker *t, struct vhdx_point_id *id, struct vhdx_diag *diag)
{
	struct vhdx_seal args = { };

	return vhdx_seal(&t, 1, &args, id, diag);
}

/*
 * That the lock can be had for reading tells that nobody hangs with it. Then it is queued for:
 * questions would keep a writer from it who only tried.
 */
static int lock_for_change(struct vhdx_tracker *t, struct vhdx_diag *diag)
{
	struct vhdx_question question;
	int err = vhdx_tracker_begin_question(t, &question, diag);

	if (err)
		return err;
	vhdx_tracker_end_question(t, &question);
	return down_write_killable(&t->lock);
}

/*
 * Points are about to change: the container must be writable, and in use. tracker->lock is
 * held for writing then. A shutdown may have come in between.
 */
static int begin(struct vhdx_tracker *t, struct vhdx_diag *diag)
{
	int err;

	if (vhdx_disk_of(t)->read_only)
		return vhdx_fail_plainly(diag, -EROFS, VHDX_REASON_READ_ONLY);
	err = vhdx_session_begin(vhdx_disk_of(t));
	if (!err)
		err = lock_for_change(t, diag);
	if (!err) {
		if (vhdx_session_has_begun(&t->layer->writer.session))
			return 0;
		up_write(&t->lock);
		err = -EIO;
	}
	return err == -EINTR || err == -EBUSY ? err :
	       vhdx_io_failed(diag, err, "the container can't be written (error %d)", err);
}

/**
 * vhdx_tracking_enable() - VHDX_TRACKING_ENABLE
 * @tracker:	of the disk
 * @args:	checked for flags; first_point is filled in
 * @diag:	what is wrong
 *
 * Sleeps. Returns 0 or -errno, see the uapi header.
 */
int vhdx_tracking_enable(struct vhdx_tracker *tracker, struct vhdx_tracking_enable *args,
			 struct vhdx_diag *diag)
{
	int err;

	if (args->unit && (!is_power_of_2(args->unit) || args->unit < VHDX_UNIT_MIN ||
			   args->unit > VHDX_UNIT_MAX))
		return vhdx_bad_argument(diag,
			"unit %u: it must be a power of two from %u to %u bytes", args->unit,
			VHDX_UNIT_MIN, VHDX_UNIT_MAX);
	err = begin(tracker, diag);
	if (err)
		return err;

	err = -EALREADY;
	if (tracker->state == VHDX_TRACKING_ON)
		vhdx_fail(diag, err, VHDX_REASON_NONE, "change tracking is enabled already");
	else
		err = take_sidecar(tracker, args, diag);
	if (!err)
		err = switch_on(tracker, diag);
	up_write(&tracker->lock);
	if (err)
		return err;

	/* "Enabled" means that there is a point to ask from. */
	err = seal_alone(tracker, &args->first_point, diag);
	if (err) {
		down_write(&tracker->lock);
		if (tracker->state == VHDX_TRACKING_ON && !tracker->sidecar.timeline.count)
			vhdx_tracker_invalidate(tracker, err);
		up_write(&tracker->lock);
	}
	return err;
}

/* The sidecar says that it is not in use any more; then marking stops. */
static int switch_off(struct vhdx_tracker *t, struct vhdx_diag *diag)
{
	struct vhdx_sidecar *sidecar = &t->sidecar;
	struct vhdx_changemap *live;
	int err;

	vhdx_timeline_gap(&sidecar->timeline, VHDX_REASON_DISABLED);
	vhdx_sidecar_drop_delta(sidecar, &sidecar->timeline.live);
	sidecar->timeline.live.gap_reason = VHDX_REASON_DISABLED;
	sidecar->state = VHDX_SIDECAR_DISABLED;
	err = vhdx_tracker_commit(t);
	if (err) {
		vhdx_fail_plainly(diag, err, VHDX_REASON_TRACKING_ERROR);
		vhdx_tracker_invalidate(t, err);
		return err;
	}
	live = vhdx_tracker_live(t);
	vhdx_inflight_replace(&t->inflight, NULL);
	vhdx_tracker_free_map(live);
	t->state = VHDX_TRACKING_DISABLED;
	vhdx_tracker_changed(t);
	return 0;
}

/**
 * vhdx_tracking_disable() - VHDX_TRACKING_DISABLE
 * @tracker:	of the disk
 * @diag:	what is wrong
 *
 * The sidecar says so before marking stops: a crash in between leaves a gap either way.
 * Sleeps. Returns 0 or -errno, see the uapi header.
 */
int vhdx_tracking_disable(struct vhdx_tracker *tracker, struct vhdx_diag *diag)
{
	int err = begin(tracker, diag);

	if (err)
		return err;
	if (tracker->state == VHDX_TRACKING_ON)
		err = switch_off(tracker, diag);
	else if (tracker->state == VHDX_TRACKING_OFF)
		err = vhdx_tracker_fail(tracker, -EOPNOTSUPP, diag);
	else
		err = vhdx_fail(diag, -EALREADY, VHDX_REASON_DISABLED,
				"change tracking is disabled already");
	up_write(&tracker->lock);
	return err;
}

/**
 * vhdx_tracking_reset() - VHDX_TRACKING_RESET
 * @tracker:	of the disk
 * @id:		receives the fresh point
 * @diag:	what is wrong
 *
 * Sleeps. Returns 0 or -errno, see the uapi header.
 */
int vhdx_tracking_reset(struct vhdx_tracker *tracker, struct vhdx_point_id *id,
			struct vhdx_diag *diag)
{
	int err;

	/* Who can't seal afterwards should not have lost the points before. */
	err = begin(tracker, diag);
	if (err)
		return err;
	if (tracker->state == VHDX_TRACKING_ON) {
		vhdx_timeline_gap(&tracker->sidecar.timeline, VHDX_REASON_RESET);
		vhdx_tracker_changed(tracker);
	} else {
		err = vhdx_tracker_fail(tracker, -EOPNOTSUPP, diag);
	}
	up_write(&tracker->lock);
	return err ?: seal_alone(tracker, id, diag);
}

/* Which point, of those that can be forgotten; or -errno. */
static int find_to_forget(struct vhdx_tracker *t, const struct vhdx_point_id *id,
			  struct vhdx_diag *diag)
{
	const struct vhdx_timeline *timeline = &t->sidecar.timeline;
	int position, err;

	if (t->state != VHDX_TRACKING_ON)
		return vhdx_tracker_fail(t, -EOPNOTSUPP, diag);
	err = vhdx_point_id_check(id, diag);
	if (err)
		return err;
	position = vhdx_timeline_find(timeline, id);
	if (position < 0)
		return vhdx_timeline_missing(id, diag);
	if (timeline->count == 1)
		return vhdx_fail(diag, -EBUSY, VHDX_REASON_IN_USE,
				 "it is the only point: seal another one first, or disable tracking");
	return position;
}

static int forget(struct vhdx_tracker *t, u32 position, struct vhdx_diag *diag)
{
	int err;

	err = vhdx_sidecar_forget_point(&t->sidecar, position, vhdx_tracker_live(t));
	if (err)
		return vhdx_tracker_fail(t, err, diag);
	err = vhdx_tracker_commit(t);
	if (err) {
		vhdx_fail_plainly(diag, err, VHDX_REASON_TRACKING_ERROR);
		vhdx_tracker_invalidate(t, err);
		return err;
	}
	vhdx_tracker_changed(t);
	return 0;
}

/**
 * vhdx_tracking_forget() - VHDX_FORGET
 * @tracker:	of the disk
 * @id:		the point
 * @diag:	what is wrong
 *
 * Sleeps. Returns 0 or -errno, see the uapi header.
 */
int vhdx_tracking_forget(struct vhdx_tracker *tracker, const struct vhdx_point_id *id,
			 struct vhdx_diag *diag)
{
	int position, err;

	/* The sidecar says "in use" before it changes: what is forgotten may move into
	 * the live map, which is in memory only.
	 */
	err = begin(tracker, diag);
	if (err)
		return err;
	position = find_to_forget(tracker, id, diag);
	err = position < 0 ? position : forget(tracker, position, diag);
	up_write(&tracker->lock);
	return err;
}

/**
 * vhdx_tracking_state() - VHDX_GET_TRACKING_STATE
 * @tracker:	of the disk
 * @state:	filled in, but for live_bytes and what is only an input; was zero
 * @diag:	what is wrong
 *
 * Sleeps, for a bounded time. Returns 0; -EINTR: killed; -EBUSY: see
 * vhdx_tracker_begin_question().
 */
int vhdx_tracking_state(struct vhdx_tracker *tracker, struct vhdx_tracking_state *state,
			struct vhdx_diag *diag)
{
	struct vhdx_question question;
	int err;

	vhdx_loss_settle(vhdx_disk_of(tracker));
	err = vhdx_tracker_begin_question(tracker, &question, diag);
	if (err)
		return err;
	vhdx_report_state(&question.history, state);
	state->generation = tracker->generation;
	vhdx_tracker_end_question(tracker, &question);
	return 0;
}

/**
 * vhdx_tracking_live_bytes() - how much changed since the newest point
 * @tracker:	of the disk
 * @bytes:	see struct vhdx_tracking_state
 * @diag:	what is wrong
 *
 * Looks through the live map. Sleeps and fails as vhdx_tracking_state() does.
 */
int vhdx_tracking_live_bytes(struct vhdx_tracker *tracker, u64 *bytes, struct vhdx_diag *diag)
{
	struct vhdx_question question;
	int err;

	err = vhdx_tracker_begin_question(tracker, &question, diag);
	if (err)
		return err;
	*bytes = vhdx_report_live_bytes(&question.history);
	vhdx_tracker_end_question(tracker, &question);
	return 0;
}

/**
 * vhdx_tracking_points() - VHDX_GET_POINTS
 * @tracker:	of the disk
 * @args:	the question; its results are filled in
 * @points:	kernel memory
 * @capacity:	its length
 * @diag:	what is wrong
 *
 * Sleeps and fails as vhdx_tracking_state() does, and with -EINVAL and -ENODATA.
 */
int vhdx_tracking_points(struct vhdx_tracker *tracker, struct vhdx_get_points *args,
			 struct vhdx_point *points, u32 capacity, struct vhdx_diag *diag)
{
	struct vhdx_question question;
	int err;

	err = vhdx_tracker_begin_question(tracker, &question, diag);
	if (err)
		return err;
	err = vhdx_report_points(&question.history, args, points, capacity, diag);
	args->generation = tracker->generation;
	vhdx_tracker_end_question(tracker, &question);
	return err;
}
