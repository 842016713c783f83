// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an administrator or an agent does with tracking, other than sealing and asking.
 */
#include "disk.h"

#include <linux/slab.h>

static int fail(u32 *reason, int err, u32 why)
{
	*reason = why;
	return err;
}

/* A sidecar on a block device that holds nothing but zeroes is as good as an empty file. */
static int is_blank(struct vhdx_tracker *t, bool *blank)
{
	void *buf;
	int err;

	*blank = !t->file.size;
	if (*blank || !t->file.bdev)
		return 0;
	buf = kvmalloc(2 * VHDX_PAGE, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	err = t->file.store.read(&t->file.store, 0, buf, 2 * VHDX_PAGE);
	*blank = !err && !memchr_inv(buf, 0, 2 * VHDX_PAGE);
	kvfree(buf);
	return err;
}

static int format(struct vhdx_tracker *t, u32 unit, struct vhdx_diag *diag)
{
	struct vhdx_disk *disk = t->disk;
	struct vhdx_sidecar *sidecar = &t->sidecar;

	vhdx_sidecar_release(sidecar);
	memset(sidecar, 0, sizeof(*sidecar));
	sidecar->state = VHDX_SIDECAR_ACTIVE;
	sidecar->disk_id = disk->image.geo.disk_id;
	sidecar->disk_size = disk->image.geo.disk_size;
	sidecar->unit_shift = vhdx_unit_shift_for(sidecar->disk_size, unit);
	vhdx_session_data_write_guid(disk, &sidecar->current_guid);
	return vhdx_sidecar_format(sidecar, &t->file.store, !t->file.bdev, diag);
}

/*
 * A sidecar of this disk that was not in use is taken up again: its points stay, with a
 * gap behind them. Anything else is overwritten only if the caller says so.
 */
static int open_or_format(struct vhdx_tracker *t, const struct vhdx_tracking_enable *args,
			  struct vhdx_diag *diag)
{
	struct vhdx_disk *disk = t->disk;
	struct vhdx_diag found = { };
	vhdx_guid data_write_guid;
	bool blank;
	int err;

	err = is_blank(t, &blank);
	if (err)
		return vhdx_io_failed(diag, err, "sidecar: it can't be read (error %d)", err);
	if (blank || args->flags & VHDX_ENABLE_OVERWRITE)
		return format(t, args->unit, diag);

	vhdx_session_data_write_guid(disk, &data_write_guid);
	err = vhdx_sidecar_load(&t->sidecar, &t->file.store, !t->file.bdev, false, &found);
	if (!err)
		err = vhdx_sidecar_bind(&t->sidecar, &disk->image.geo.disk_id,
					disk->image.geo.disk_size, &data_write_guid, &found);
	if (err == -ENOMEM)
		return err;
	if (err)
		return vhdx_fail(diag, -EEXIST, found.reason,
			"sidecar: the file holds something else (%s); reset tracking to overwrite it",
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
	if (vhdx_disk_is_below(t->disk, t->file.file))
		err = vhdx_fail(diag, -ELOOP, VHDX_REASON_ARGUMENT,
				"sidecar: it lives on the disk that it is to track; put it elsewhere");
	else
		err = open_or_format(t, args, diag);
	if (err)
		vhdx_tracker_close_sidecar(t);
	return err;
}

/* Tracking is on from here; the seal that follows makes it durable. */
static int switch_on(struct vhdx_tracker *t)
{
	struct vhdx_sidecar *sidecar = &t->sidecar;
	struct vhdx_changemap *map = vhdx_tracker_new_map(t);
	int err;

	if (!map)
		return -ENOMEM;
	sidecar->state = VHDX_SIDECAR_ACTIVE;
	vhdx_session_data_write_guid(t->disk, &sidecar->current_guid);
	memset(&sidecar->next_guid, 0, sizeof(sidecar->next_guid));
	err = vhdx_sidecar_commit(sidecar);
	if (err) {
		vhdx_tracker_free_map(map);
		return err;
	}
	vhdx_inflight_replace(t, map);
	t->state = VHDX_TRACKING_ON;
	t->off_reason = VHDX_REASON_NONE;
	return 0;
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
	u32 failed;
	int err;

	if (args->unit && (!is_power_of_2(args->unit) || args->unit < VHDX_UNIT_MIN ||
			   args->unit > VHDX_UNIT_MAX))
		return vhdx_fail(diag, -EINVAL, VHDX_REASON_ARGUMENT,
				 "unit %u: it must be a power of two from %u to %u bytes",
				 args->unit, VHDX_UNIT_MIN, VHDX_UNIT_MAX);
	if (tracker->disk->read_only)
		return vhdx_fail(diag, -EROFS, VHDX_REASON_READ_ONLY,
				 "the disk is attached read-only");
	err = vhdx_session_begin(tracker->disk);
	if (err)
		return vhdx_io_failed(diag, err, "the container can't be written (error %d)", err);

	down_write(&tracker->lock);
	err = -EALREADY;
	if (tracker->state == VHDX_TRACKING_ON)
		vhdx_fail(diag, err, VHDX_REASON_NONE, "tracking is enabled already");
	else
		err = take_sidecar(tracker, args, diag);
	if (!err) {
		err = switch_on(tracker);
		if (err) {
			vhdx_io_failed(diag, err, "sidecar: it can't be written (error %d)", err);
			vhdx_tracker_invalidate(tracker, err);
		}
	}
	up_write(&tracker->lock);
	if (err)
		return err;

	/* "Enabled" means that there is a point to ask from. */
	err = vhdx_seal(&tracker, 1, NULL, 0, &args->first_point, &failed, &args->reason);
	if (err) {
		vhdx_fail(diag, err, args->reason, "the first point could not be sealed (error %d)",
			  err);
		down_write(&tracker->lock);
		if (tracker->state == VHDX_TRACKING_ON && !tracker->sidecar.timeline.count)
			vhdx_tracker_invalidate(tracker, err);
		up_write(&tracker->lock);
	}
	return err;
}

/**
 * vhdx_tracking_disable() - VHDX_TRACKING_DISABLE
 * @tracker:	of the disk
 * @reason:	receives VHDX_REASON_* on failure
 *
 * The sidecar says so before marking stops: a crash in between leaves a gap either way.
 */
int vhdx_tracking_disable(struct vhdx_tracker *tracker, u32 *reason)
{
	struct vhdx_sidecar *sidecar = &tracker->sidecar;
	struct vhdx_changemap *live;
	int err;

	if (tracker->disk->read_only)
		return fail(reason, -EROFS, VHDX_REASON_READ_ONLY);
	err = vhdx_session_begin(tracker->disk);
	if (err)
		return fail(reason, err, VHDX_REASON_IO);

	down_write(&tracker->lock);
	if (tracker->state == VHDX_TRACKING_OFF) {
		err = fail(reason, -EOPNOTSUPP, tracker->off_reason ?: VHDX_REASON_DISABLED);
	} else if (tracker->state == VHDX_TRACKING_DISABLED) {
		err = fail(reason, -EALREADY, VHDX_REASON_DISABLED);
	} else {
		vhdx_timeline_gap(&sidecar->timeline, VHDX_REASON_DISABLED);
		vhdx_sidecar_drop_delta(sidecar, &sidecar->timeline.live);
		sidecar->timeline.live.gap_reason = VHDX_REASON_DISABLED;
		sidecar->state = VHDX_SIDECAR_DISABLED;
		err = vhdx_sidecar_commit(sidecar);
		if (err) {
			vhdx_tracker_invalidate(tracker, err);
			*reason = VHDX_REASON_TRACKING_ERROR;
		} else {
			live = vhdx_tracker_live(tracker);
			vhdx_inflight_replace(tracker, NULL);
			vhdx_tracker_free_map(live);
			tracker->state = VHDX_TRACKING_DISABLED;
		}
	}
	up_write(&tracker->lock);
	return err;
}

/**
 * vhdx_tracking_reset() - VHDX_TRACKING_RESET
 * @tracker:	of the disk
 * @id:		receives the fresh point
 * @reason:	receives VHDX_REASON_* on failure
 */
int vhdx_tracking_reset(struct vhdx_tracker *tracker, struct vhdx_point_id *id, u32 *reason)
{
	u32 failed;
	int err = 0;

	if (tracker->disk->read_only)
		return fail(reason, -EROFS, VHDX_REASON_READ_ONLY);
	down_write(&tracker->lock);
	if (tracker->state == VHDX_TRACKING_ON)
		vhdx_timeline_gap(&tracker->sidecar.timeline, VHDX_REASON_RESET);
	else
		err = fail(reason, -EOPNOTSUPP, tracker->off_reason ?: VHDX_REASON_DISABLED);
	up_write(&tracker->lock);
	return err ?: vhdx_seal(&tracker, 1, NULL, 0, id, &failed, reason);
}

/**
 * vhdx_tracking_forget() - VHDX_FORGET
 * @tracker:	of the disk
 * @id:		the point
 * @reason:	receives VHDX_REASON_* on failure
 */
int vhdx_tracking_forget(struct vhdx_tracker *tracker, const struct vhdx_point_id *id,
			 u32 *reason)
{
	struct vhdx_sidecar *sidecar = &tracker->sidecar;
	int position, err;

	if (tracker->disk->read_only)
		return fail(reason, -EROFS, VHDX_REASON_READ_ONLY);
	/* The sidecar says "in use" before it changes: what is forgotten may move into
	 * the live map, which is in memory only.
	 */
	err = vhdx_session_begin(tracker->disk);
	if (err)
		return fail(reason, err, VHDX_REASON_IO);

	down_write(&tracker->lock);
	position = vhdx_timeline_find(&sidecar->timeline, id);
	if (tracker->state != VHDX_TRACKING_ON) {
		err = fail(reason, -EOPNOTSUPP, tracker->off_reason ?: VHDX_REASON_DISABLED);
	} else if (id->reserved || (id->kind != VHDX_POINT_REFERENCE &&
				    id->kind != VHDX_POINT_SNAPSHOT)) {
		err = fail(reason, -EINVAL, VHDX_REASON_ARGUMENT);
	} else if (position < 0) {
		err = fail(reason, -ENODATA, VHDX_REASON_ID_MISSING);
	} else if (sidecar->timeline.count == 1) {
		err = fail(reason, -EBUSY, VHDX_REASON_IN_USE);
	} else {
		err = vhdx_sidecar_forget_point(sidecar, position, vhdx_tracker_live(tracker));
		if (err) {
			*reason = err == -ENOSPC ? VHDX_REASON_NO_SPACE : VHDX_REASON_IO;
		} else {
			err = vhdx_sidecar_commit(sidecar);
			if (err) {
				vhdx_tracker_invalidate(tracker, err);
				*reason = VHDX_REASON_TRACKING_ERROR;
			}
		}
	}
	up_write(&tracker->lock);
	return err;
}

/**
 * vhdx_tracking_state() - VHDX_GET_TRACKING_STATE
 * @tracker:	of the disk
 * @state:	filled in, but for size, flags and reason
 */
void vhdx_tracking_state(struct vhdx_tracker *tracker, struct vhdx_tracking_state *state)
{
	const struct vhdx_timeline_point *newest;
	const struct vhdx_timeline *timeline = &tracker->sidecar.timeline;
	const struct vhdx_changemap *live;

	down_read(&tracker->lock);
	live = vhdx_tracker_live(tracker);
	state->state = tracker->state;
	state->gap_reason = tracker->off_reason;
	state->unit = 0;
	state->point_count = 0;
	/* What nobody recorded may have been anything. */
	state->newer_changes = 1;
	memset(&state->most_recent_id, 0, sizeof(state->most_recent_id));
	if (tracker->state != VHDX_TRACKING_OFF) {
		newest = vhdx_timeline_newest(timeline);
		if (newest)
			state->most_recent_id = newest->id;
		state->unit = 1U << tracker->sidecar.unit_shift;
		state->point_count = timeline->count;
		state->gap_reason = timeline->live.gap_reason;
		state->newer_changes = state->gap_reason || !live ||
				       !vhdx_changemap_is_empty(live);
	}
	up_read(&tracker->lock);
}

/**
 * vhdx_tracking_points() - VHDX_GET_POINTS
 * @tracker:	of the disk
 * @first:	position of the first wanted one
 * @points:	kernel memory
 * @capacity:	its length
 * @count:	receives how many points there are
 *
 * Returns how many were filled in.
 */
u32 vhdx_tracking_points(struct vhdx_tracker *tracker, u32 first, struct vhdx_point *points,
			 u32 capacity, u32 *count)
{
	const struct vhdx_timeline *timeline = &tracker->sidecar.timeline;
	u32 i, n = 0;

	down_read(&tracker->lock);
	*count = tracker->state == VHDX_TRACKING_OFF ? 0 : timeline->count;
	for (i = first; i < *count && n < capacity; i++, n++) {
		const struct vhdx_timeline_point *p = timeline->points[i];

		memset(&points[n], 0, sizeof(points[n]));
		points[n].id = p->id;
		points[n].time_ns = p->time_ns;
		points[n].gap_reason = p->before.gap_reason;
		points[n].label_length = p->label_length;
		memcpy(points[n].label, p->label, p->label_length);
	}
	up_read(&tracker->lock);
	return n;
}
