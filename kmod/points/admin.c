// SPDX-License-Identifier: GPL-2.0-only
#include "admin.h"
#include "seal.h"
#include "disk/disk.h"
#include "store/scope.h"

#include <linux/err.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

/* Without points, and disabled: only switch_on() makes that "on". */
static int format(struct vhdx_open_sidecar *open)
{
	struct vhdx_sidecar_errand *errand = &open->errand;
	struct vhdx_sidecar *sidecar = &open->sidecar;

	sidecar->state = VHDX_SIDECAR_DISABLED;
	sidecar->disk_id = errand->disk_id;
	sidecar->disk_size = errand->disk_size;
	sidecar->unit_shift = vhdx_unit_shift_for(sidecar->disk_size, errand->unit);
	sidecar->current_guid = errand->guid;
	return vhdx_sidecar_format(sidecar, &open->store, open->file.ops->can_grow, &errand->diag);
}

/*
 * A sidecar of this disk that was not in use is taken up again: its points stay, with a
 * gap behind them. Another sidecar is overwritten only if the caller says so, and what is
 * no sidecar never is.
 */
static int load_or_format(struct vhdx_open_sidecar *open)
{
	struct vhdx_timeline *timeline = &open->sidecar.timeline;
	struct vhdx_sidecar_errand *errand = &open->errand;
	struct vhdx_diag *diag = &errand->diag, found = { };
	enum vhdx_sidecar_content content;
	int err;

	err = vhdx_sidecar_look(&open->store, &content);
	if (err == -ENOMEM || err == -EINTR)
		return err;
	if (err)
		return vhdx_io_failed(diag, err, "sidecar: it can't be read (error %d)", err);
	if (content == VHDX_SIDECAR_STRANGER)
		return vhdx_fail(diag, -EEXIST, VHDX_REASON_INCONSISTENT,
			"sidecar: it is neither empty nor a sidecar, and is left as it is; name another file");
	/* A block device is never empty; a file with nothing but zeroes in it was not. */
	if (errand->format || !open->file.size ||
	    (!open->file.ops->can_grow && content == VHDX_SIDECAR_NOTHING))
		return format(open);

	err = vhdx_sidecar_load(&open->sidecar, &open->store, open->file.ops->can_grow, false,
				&found);
	if (!err)
		err = vhdx_sidecar_refuse_parents(&open->sidecar, &errand->guid, &errand->locator,
						  &found);
	if (!err)
		err = vhdx_sidecar_bind(&open->sidecar, &errand->disk_id, errand->disk_size,
					&errand->guid, ktime_get_real_ns(), &found);
	if (err == -ENOMEM || err == -EINTR)
		return err;
	if (err)
		return vhdx_fail(diag, -EEXIST, found.reason,
			"sidecar: this disk can't use it (%s); reset tracking to write it anew",
			found.text);
	/* Writes went out without it, whatever the container's header says. */
	if (!timeline->live.gap_reason)
		vhdx_timeline_gap(timeline, VHDX_REASON_TRACKING_ERROR, ktime_get_real_ns());
	return 0;
}

/* What failed before counts no longer: no sidecar is in use that was told another GUID. */
static void begin_anew(struct vhdx_tracker *t)
{
	t->layer->mapping->trust(t->layer);
	WRITE_ONCE(t->condemned, false);
}

static int open_or_format(struct vhdx_tracker *t, struct vhdx_open_sidecar *open,
			  const struct vhdx_tracking_enable *args, struct vhdx_diag *diag)
{
	const struct vhdx_geometry *geo = &t->layer->image.geo;
	struct vhdx_sidecar_errand *errand = &open->errand;
	int err;

	errand->format = args->flags & VHDX_ENABLE_OVERWRITE;
	errand->unit = args->unit;
	errand->disk_id = geo->disk_id;
	errand->disk_size = geo->disk_size;
	errand->locator = t->layer->image.locator;
	begin_anew(t);
	t->layer->mapping->guid(t->layer, &errand->guid);
	err = vhdx_open_sidecar_run(open, load_or_format);
	if (err == -ETIMEDOUT)
		return vhdx_fail(diag, err, VHDX_REASON_IO,
			"sidecar: it does not answer; name another file");
	if (err)
		*diag = errand->diag;
	return err;
}

/* For as long as a sidecar is waited for: others wait for tracker->tree. */
static int wait_for_container(struct vhdx_tracker *t, struct vhdx_diag *diag)
{
	int err = vhdx_gate_flip(&vhdx_disk_of(t)->gate, vhdx_sidecar_timeout());

	if (err == -ETIMEDOUT)
		vhdx_fail(diag, err, VHDX_REASON_IN_USE,
			  "the container does not answer I/O that was sent to it before; enable tracking when it does");
	return err;
}

/* The sidecar to switch on; or an ERR_PTR(). Where there is one, it is the tracker's. */
static struct vhdx_open_sidecar *take_sidecar(struct vhdx_tracker *t,
					      const struct vhdx_tracking_enable *args,
					      struct vhdx_diag *diag)
{
	struct vhdx_open_sidecar *open;
	struct file *file;
	char *path;
	int err;

	err = -EINVAL;
	if (vhdx_tracker_wait_for_former(t))
		err = vhdx_fail(diag, -EBUSY, VHDX_REASON_IN_USE,
				"sidecar: a write to it has not ended since it was given up: enable tracking when its device answers, or detach the disk, and attach it with another one");
	else if (t->open && args->sidecar_fd >= 0)
		vhdx_fail(diag, err, VHDX_REASON_ARGUMENT,
			  "the disk has a sidecar, which is disabled: enable that one");
	else if (!t->open && args->sidecar_fd < 0)
		vhdx_fail(diag, err, VHDX_REASON_ARGUMENT,
			  "the disk has no sidecar, and no file was given to make one in");
	else
		err = 0;
	if (err)
		return ERR_PTR(err);
	if (t->open) {
		begin_anew(t);
		return t->open;
	}

	file = vhdx_container_file(args->sidecar_fd, false, "sidecar", diag);
	if (IS_ERR(file))
		return ERR_CAST(file);
	err = vhdx_container_path(file, &path);
	open = err ? ERR_PTR(err) : vhdx_open_sidecar_new(t->disk, file, path, false, diag);
	vhdx_container_put_file(file);
	kfree(path);
	if (IS_ERR(open))
		return open;
	if (vhdx_disk_is_below(vhdx_disk_of(t), open->file.file))
		err = vhdx_fail(diag, -ELOOP, VHDX_REASON_ARGUMENT,
				"sidecar: it lives on the disk that it is to track; put it elsewhere");
	else
		/* First: where it does not answer, the sidecar is left as it is. */
		err = wait_for_container(t, diag) ?: open_or_format(t, open, args, diag);
	if (!err)
		return open;
	vhdx_tracker_give_up(t, open);
	vhdx_tracker_wait_for_former(t);
	return ERR_PTR(err);
}

/*
 * A write that came in before the map went live has no mark, and will make none: it ends before
 * the first point is sealed (rule T1). Where the sidecar was written anew, the container has
 * answered just before.
 */
static int start_marking(struct vhdx_tracker *t, struct vhdx_open_sidecar *open,
			 struct vhdx_changemap *map, struct vhdx_diag *diag)
{
	int err = vhdx_tracker_cover(t, open);

	if (err) {
		vhdx_free_live_map(map);
		return err == -ENOMEM ? vhdx_no_memory(diag) :
		       vhdx_fail(diag, err, VHDX_REASON_IN_USE,
				 "sidecar: a write to it has not ended yet: enable tracking when its device answers");
	}
	err = vhdx_tracker_begin(t, open);
	if (err) {
		/* First: an update of the header that finds the same is not to be told of it. */
		vhdx_coarse_give_up(vhdx_tracker_coarse(t));
		vhdx_tracker_uncover(t);
		vhdx_free_live_map(map);
		return vhdx_io_failed(diag, err, "sidecar: it can't be written (error %d)", err);
	}
	vhdx_inflight_replace(&t->inflight, map);
	err = wait_for_container(t, diag);
	if (err)
		vhdx_tracker_stop_marking(t);
	return err;
}

/* As if it had never been tried; a sidecar that is disabled stays. */
static int fail_to_switch_on(struct vhdx_tracker *t, struct vhdx_open_sidecar *open, int err)
{
	if (t->open)
		return err;
	vhdx_tracker_give_up(t, open);
	vhdx_tracker_wait_for_former(t);
	return err;
}

/*
 * The live map is empty, and tells nothing of what came before it: there is no point to ask from,
 * or a gap behind the newest one. That is so wherever tracking is off; without it answers would
 * lack writes.
 */
static void expect_gap(struct vhdx_open_sidecar *open)
{
	struct vhdx_timeline *timeline = &open->sidecar.timeline;

	if (!WARN_ON_ONCE(timeline->count && !timeline->live.gap_reason))
		return;
	vhdx_open_sidecar_begin_change(open);
	vhdx_timeline_gap(timeline, VHDX_REASON_INCONSISTENT, ktime_get_real_ns());
	vhdx_open_sidecar_end_change(open);
}

/* Tracking is on from here; the seal that follows makes it durable. */
static int switch_on(struct vhdx_tracker *t, struct vhdx_open_sidecar *open,
		     struct vhdx_diag *diag)
{
	struct vhdx_sidecar *sidecar = &open->sidecar;
	struct vhdx_changemap *map = vhdx_new_live_map(sidecar);
	int err;

	expect_gap(open);
	err = map ? start_marking(t, open, map, diag) : vhdx_no_memory(diag);
	if (err)
		return fail_to_switch_on(t, open, err);
	sidecar->state = VHDX_SIDECAR_ON;
	t->layer->mapping->guid(t->layer, &sidecar->current_guid);
	memset(&sidecar->next_guid, 0, sizeof(sidecar->next_guid));
	err = vhdx_open_sidecar_commit(open);
	if (vhdx_sidecar_is_unharmed(err)) {
		sidecar->state = VHDX_SIDECAR_DISABLED;
		vhdx_tracker_stop_marking(t);
		vhdx_tracker_fail(t, err, diag);
		return fail_to_switch_on(t, open, err);
	}
	if (!t->open)
		vhdx_tracker_use(t, open, VHDX_TRACKING_ON);
	if (err) {
		/* Writes went out unrecorded before, and go on to: none fails for this. */
		vhdx_tracker_invalidate(t, err);
		return vhdx_io_failed(diag, err, "sidecar: it can't be written (error %d)", err);
	}
	WRITE_ONCE(t->state, VHDX_TRACKING_ON);
	t->off_reason = VHDX_REASON_NONE;
	vhdx_tracker_changed(t);
	vhdx_coarse_start(open->coarse);
	vhdx_tracker_walk(t);
	return 0;
}

/* One point, on this disk alone, without a label. */
static int seal_alone(struct vhdx_tracker *t, struct vhdx_point_id *id, struct vhdx_diag *diag)
{
	struct vhdx_seal args = { };

	return vhdx_seal(&t, 1, &args, id, diag);
}

/*
 * Points are about to change: the container must be writable, and in use. On success tracker->tree
 * is held. A shutdown may end the session before that.
 */
static int begin(struct vhdx_tracker *t, struct vhdx_diag *diag)
{
	int err;

	/* I/O waits for the lock (rule K3). */
	vhdx_scope_assert();
	if (vhdx_disk_of(t)->read_only)
		return vhdx_fail_plainly(diag, -EROFS, VHDX_REASON_READ_ONLY);
	err = vhdx_session_wait(vhdx_disk_of(t));
	if (!err)
		err = vhdx_precedence_give_way(&t->overdue) ?: mutex_lock_killable(&t->tree);
	if (!err) {
		if (vhdx_session_has_begun(&t->layer->writer.session) && !t->stopped)
			return 0;
		mutex_unlock(&t->tree);
		err = -EIO;
	}
	if (vhdx_tracker_has_stopped(t) || err == -EINTR || err == -ENOSPC)
		return vhdx_tracker_not_begun(t, err, diag);
	return vhdx_io_failed(diag, err, "the container can't be written (error %d)", err);
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
	struct vhdx_open_sidecar *open;
	int err;

	if (args->unit && (!is_power_of_2(args->unit) || args->unit < VHDX_UNIT_MIN ||
			   args->unit > VHDX_UNIT_MAX))
		return vhdx_bad_argument(diag,
			"unit %u: it must be a power of two from %u to %u bytes", args->unit,
			VHDX_UNIT_MIN, VHDX_UNIT_MAX);
	err = begin(tracker, diag);
	if (err)
		return err;

	if (tracker->state == VHDX_TRACKING_ON) {
		err = vhdx_fail(diag, -EALREADY, VHDX_REASON_NONE,
				"change tracking is enabled already");
	} else if (vhdx_disk_is_poisoned(vhdx_disk_of(tracker))) {
		/* The header may still have the GUID that a former sidecar knows. */
		err = vhdx_io_failed(diag, -EIO,
				     "an update of the container's header failed: detach the disk, attach it again, and enable tracking then");
	} else {
		open = take_sidecar(tracker, args, diag);
		err = PTR_ERR_OR_ZERO(open) ?: switch_on(tracker, open, diag);
	}
	mutex_unlock(&tracker->tree);
	if (err)
		return err;

	/* "Enabled" means that there is a point to ask from. */
	err = seal_alone(tracker, &args->first_point, diag);
	if (err)
		vhdx_tracker_withdraw(tracker, err);
	return err;
}

static void set_live(struct vhdx_open_sidecar *open, const struct vhdx_delta *delta)
{
	vhdx_open_sidecar_begin_change(open);
	open->sidecar.timeline.live = *delta;
	vhdx_open_sidecar_end_change(open);
}

static int disable(struct vhdx_open_sidecar *open)
{
	struct vhdx_sidecar *sidecar = &open->sidecar;
	struct vhdx_delta saved = sidecar->timeline.live, empty = {
		.gap_reason = VHDX_REASON_DISABLED,
		.gap_time_ns = ktime_get_real_ns(),
	};
	u32 state = sidecar->state;
	int err;

	set_live(open, &empty);
	sidecar->state = VHDX_SIDECAR_DISABLED;
	err = vhdx_open_sidecar_commit_now(open);
	if (!err) {
		/* Effective with the next one: if one slot rots, the other must not say "on". */
		vhdx_sidecar_drop_delta(sidecar, &saved);
		err = vhdx_open_sidecar_commit_now(open);
		if (vhdx_sidecar_is_unharmed(err))
			err = 0;
	} else if (vhdx_sidecar_is_unharmed(err)) {
		sidecar->state = state;
		set_live(open, &saved);
	}
	return err;
}

/* The sidecar says that it is not in use any more; then marking stops. */
static int switch_off(struct vhdx_tracker *t, struct vhdx_diag *diag)
{
	int err;

	err = vhdx_open_sidecar_run(t->open, disable);
	if (vhdx_sidecar_is_unharmed(err))
		return vhdx_tracker_fail(t, err, diag);
	if (err) {
		vhdx_fail_plainly(diag, err, VHDX_REASON_TRACKING_ERROR);
		vhdx_tracker_sidecar_failed(t, err);
		return err;
	}
	WRITE_ONCE(t->state, VHDX_TRACKING_DISABLED);
	vhdx_tracker_stop_marking(t);
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
	mutex_unlock(&tracker->tree);
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

	/* First all that the seal needs: without it the points before stay as they are. */
	err = begin(tracker, diag);
	if (err)
		return err;
	if (tracker->state == VHDX_TRACKING_ON) {
		vhdx_tracker_gap(tracker, VHDX_REASON_RESET);
		vhdx_tracker_changed(tracker);
	} else {
		err = vhdx_tracker_fail(tracker, -EOPNOTSUPP, diag);
	}
	mutex_unlock(&tracker->tree);
	return err ?: seal_alone(tracker, id, diag);
}

/* What belongs to a parent can't be forgotten here. */
static int refuse_frozen(const struct vhdx_tracker *t, const struct vhdx_point_id *id,
			 struct vhdx_diag *diag)
{
	const struct vhdx_history frozen = {
		.parents = t->past.layers,
		.parent_count = t->past.count,
	};
	struct vhdx_place place;

	if (!vhdx_history_find(&frozen, id, true, &place))
		return 0;
	if (place.position == VHDX_PLACE_END)
		return vhdx_bad_argument(diag,
			"this is a snapshot, which is layer %u of the disk itself: only points that were sealed can be forgotten",
			place.layer);
	return vhdx_fail(diag, -EROFS, VHDX_REASON_READ_ONLY,
			 "the point is in the sidecar of layer %u, a parent, which is not written any more",
			 place.layer);
}

/* The position of a point that can be forgotten; or -errno. */
static int find_to_forget(struct vhdx_tracker *t, const struct vhdx_point_id *id,
			  struct vhdx_diag *diag)
{
	const struct vhdx_timeline *timeline;
	int position, err;

	err = refuse_frozen(t, id, diag);
	if (err)
		return err;
	if (t->state != VHDX_TRACKING_ON)
		return vhdx_tracker_fail(t, -EOPNOTSUPP, diag);
	timeline = &t->open->sidecar.timeline;
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

static int forget_point(struct vhdx_open_sidecar *open)
{
	return vhdx_sidecar_forget_point(&open->sidecar, open->errand.position, open->errand.map);
}

/* @event: is taken if the point is no more. */
static int forget(struct vhdx_tracker *t, u32 position, struct vhdx_event **event,
		  struct vhdx_diag *diag)
{
	struct vhdx_point_id id = t->open->sidecar.timeline.points[position]->id;
	int err;

	t->open->errand.position = position;
	t->open->errand.map = vhdx_tracker_live(t);
	err = vhdx_open_sidecar_run(t->open, forget_point);
	if (err == -ETIMEDOUT)
		goto broken;
	if (err)
		return vhdx_tracker_fail(t, err, diag);
	err = vhdx_open_sidecar_commit(t->open);
	/* Without room for it, it is a later commit that makes it durable. */
	if (err && !vhdx_sidecar_is_unharmed(err))
		goto broken;
	vhdx_tracker_changed(t);
	vhdx_observers_tell(&vhdx_disk_of(t)->observers, *event, VHDX_EVENT_FORGOTTEN, &id);
	*event = NULL;
	return 0;
broken:
	vhdx_fail_plainly(diag, err, VHDX_REASON_TRACKING_ERROR);
	vhdx_tracker_sidecar_failed(t, err);
	return err;
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
	struct vhdx_event *event = vhdx_event_alloc();
	int position, err;

	if (!event)
		return vhdx_no_memory(diag);
	err = begin(tracker, diag);
	if (err)
		goto out;
	position = find_to_forget(tracker, id, diag);
	err = position < 0 ? position : forget(tracker, position, &event, diag);
	mutex_unlock(&tracker->tree);
out:
	kfree(event);
	return err;
}

/**
 * vhdx_tracking_state() - VHDX_GET_TRACKING_STATE
 * @tracker:	of the disk
 * @state:	filled in, but for live_bytes and what is only an input; was zero
 *
 * Waits for no I/O, but where the container is lost (loss.h).
 */
void vhdx_tracking_state(struct vhdx_tracker *tracker, struct vhdx_tracking_state *state)
{
	struct vhdx_question question;

	vhdx_loss_settle(vhdx_disk_of(tracker));
	vhdx_tracker_begin_question(tracker, &question);
	/* It changes after what it counts: who waits for another one misses nothing. */
	state->generation = vhdx_tracker_generation(tracker);
	vhdx_report_state(&question.history, state);
	vhdx_tracker_look_away(&question);
	vhdx_tracker_end_question(&question);
}

/* Leaves that are counted while the timeline is kept from changing. */
#define COUNT_LEAVES	256
/* So often it may change before the count is through: then it has to wait. */
#define COUNT_OVERDUE	4

/* 0; -EAGAIN: the timeline has changed; -EINTR; -ENODATA. */
static int count_live(struct vhdx_tracker *t, struct vhdx_answer *count)
{
	struct vhdx_question question;
	int err;

	vhdx_tracker_begin_question(t, &question);
	do {
		err = vhdx_report_count_live(&question.history, count, COUNT_LEAVES);
		vhdx_tracker_look_away(&question);
		if (err == 1 && fatal_signal_pending(current))
			err = -EINTR;
		if (err == 1 && !vhdx_tracker_look_again(t, &question))
			err = -EAGAIN;
	} while (err == 1);
	vhdx_tracker_end_question(&question);
	return err;
}

/**
 * vhdx_tracking_live_bytes() - how much changed since the newest point
 * @tracker:	of the disk
 *
 * Looks through the live map, a part at a time: nobody who seals waits for all of it. Waits for no
 * I/O. Returns bytes, see struct vhdx_tracking_state.
 */
u64 vhdx_tracking_live_bytes(struct vhdx_tracker *tracker)
{
	struct vhdx_leaf_bits *units = kmalloc(sizeof(*units), GFP_KERNEL);
	int err = units ? -EAGAIN : -ENOMEM;
	struct vhdx_answer count;
	u32 futile;

	for (futile = 0; err == -EAGAIN; futile++) {
		count = (struct vhdx_answer) { .units = units };
		if (futile >= COUNT_OVERDUE)
			vhdx_precedence_claim(&tracker->overdue);
		err = count_live(tracker, &count);
		if (futile >= COUNT_OVERDUE)
			vhdx_precedence_drop(&tracker->overdue);
	}
	kfree(units);
	return err ? VHDX_BYTES_UNKNOWN : count.ranges.sum;
}

/**
 * vhdx_tracking_points() - VHDX_GET_POINTS
 * @tracker:	of the disk
 * @args:	the question; its results are filled in
 * @points:	kernel memory
 * @capacity:	its length
 * @diag:	what is wrong
 *
 * Waits for no I/O. Returns 0, -EINVAL or -ENODATA.
 */
int vhdx_tracking_points(struct vhdx_tracker *tracker, struct vhdx_get_points *args,
			 struct vhdx_point *points, u32 capacity, struct vhdx_diag *diag)
{
	struct vhdx_question question;
	int err;

	vhdx_tracker_begin_question(tracker, &question);
	args->generation = vhdx_tracker_generation(tracker);
	err = vhdx_report_points(&question.history, args, points, capacity, diag);
	vhdx_tracker_look_away(&question);
	vhdx_tracker_end_question(&question);
	return err;
}
