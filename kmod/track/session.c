// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the sidecar is told of a session: that one begins, that it ends cleanly, or that the
 * container was lost in it (rule T5).
 */
#include "layer/layer.h"
#include "message.h"
#include "tracker_private.h"

#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/slab.h>

/*
 * No errand is under way: what the next header of the sidecar will say of the container. It is not
 * told what the container got because it had failed itself.
 */
static void bind(struct vhdx_tracker *t, const vhdx_guid *next)
{
	static const vhdx_guid none;
	struct vhdx_sidecar *sidecar = &t->open->sidecar;
	vhdx_guid current_guid;

	if (t->layer->mapping->guid(t->layer, &current_guid))
		sidecar->current_guid = current_guid;
	sidecar->next_guid = next ? *next : none;
}

/**
 * vhdx_tracker_begin() - from its next commit on a sidecar is in use
 * @tracker:	tracker->tree is held
 * @open:	it has a coarse map
 *
 * Tokens count from that header on, or do not count any more (rule T6): a session that writes none
 * must not leave a sidecar that says they do. Sleeps, for a bounded time. Returns 0, or -errno as
 * vhdx_open_sidecar_commit().
 */
int vhdx_tracker_begin(struct vhdx_tracker *tracker, struct vhdx_open_sidecar *open)
{
	struct vhdx_strict *strict = open->coarse->strict;

	lockdep_assert_held(&tracker->tree);
	open->sidecar.closed = false;
	open->sidecar.strict = strict;
	return strict ? vhdx_strict_start(strict) : 0;
}

/*
 * Without room or memory nothing was written, and there may be some soon. A write waits for it,
 * and no longer than for a sidecar that hangs (rule T7).
 */
static int begin_in_time(struct vhdx_tracker *t)
{
	unsigned long end = jiffies + vhdx_sidecar_timeout();
	int err;

	for (;;) {
		err = vhdx_tracker_begin(t, t->open) ?: vhdx_open_sidecar_commit(t->open);
		if (!vhdx_sidecar_is_unharmed(err) || time_after_eq(jiffies, end))
			return err;
		msleep(20);
	}
}

/* The path of a file, as the caller's mount namespace has it, to be freed by kfree(); or NULL. */
static char *path_of(const struct vhdx_open_sidecar *open)
{
	char *path;

	return vhdx_container_path(open->file.file, &path) ? NULL : path;
}

/* Who writes sees only that there is no room; whose file it is that has none is said once. */
static void tell_lacking(struct vhdx_tracker *t, int err)
{
	struct vhdx_diag why = { };
	char *path;

	vhdx_tracker_fail(t, err, &why);
	if (why.reason != t->lacking) {
		path = path_of(t->open);
		vhdx_say_warn(t->disk,
			      "writes fail until the sidecar has room to say that it is in use (%s): %s",
			      why.text, path ?: "");
		kfree(path);
	}
	WRITE_ONCE(t->lacking, why.reason);
}

/**
 * vhdx_tracker_not_begun() - why no session has begun
 * @tracker:	of its disk; tracker->tree need not be held
 * @err:	what vhdx_session_begin() and the like said
 * @diag:	gets reason and text
 *
 * Returns @err, or as vhdx_tracker_fail().
 */
int vhdx_tracker_not_begun(struct vhdx_tracker *tracker, int err, struct vhdx_diag *diag)
{
	if (err != -ENOSPC)
		return vhdx_tracker_fail(tracker, err, diag);
	switch (READ_ONCE(tracker->lacking)) {
	case VHDX_REASON_HOST_FULL:
		return vhdx_host_full(diag, "sidecar");
	case VHDX_REASON_NO_SPACE:
		return vhdx_fail_plainly(diag, err, VHDX_REASON_NO_SPACE);
	default:
		return vhdx_host_full(diag, "container");
	}
}

/**
 * vhdx_tracker_activate() - the first write of a session is about to go out (rule T5)
 * @tracker:		of its disk
 * @data_write_guid:	what the header is to get next
 *
 * A sidecar that can't say in time that it is in use must not be believed later: it is
 * given up, and the header gets a GUID that it has never heard of (rule T7) instead. Or no
 * session begins, where writes are to fail then; without room or memory a later one may. Returns 0
 * or -errno.
 */
int vhdx_tracker_activate(struct vhdx_tracker *tracker, const vhdx_guid *data_write_guid)
{
	int err = 0;

	mutex_lock(&tracker->tree);
	if (tracker->state == VHDX_TRACKING_ON) {
		bind(tracker, data_write_guid);
		err = begin_in_time(tracker);
		if (err != -ENOSPC)
			WRITE_ONCE(tracker->lacking, VHDX_REASON_NONE);
		if (err && tracker->insists) {
			if (err == -ENOSPC) {
				tell_lacking(tracker, err);
			} else if (!vhdx_sidecar_is_unharmed(err)) {
				vhdx_tracker_sidecar_failed(tracker, err);
				err = -EIO;
			}
		} else if (err) {
			vhdx_say_err(tracker->disk,
				     "the sidecar can't be written (error %d): tracking is off",
				     err);
			tracker->layer->mapping->distrust(tracker->layer);
			vhdx_tracker_turn_off(tracker, VHDX_REASON_TRACKING_ERROR);
			err = 0;
		} else {
			vhdx_tracker_walk(tracker);
			vhdx_coarse_start(vhdx_tracker_coarse(tracker));
			vhdx_checkpoint_plan(tracker, vhdx_tracker_coarse(tracker));
		}
	}
	mutex_unlock(&tracker->tree);
	return err;
}

/*
 * Without room or memory nothing was saved, and the sidecar is as a crash leaves it: it tells all
 * that was written, and more, as long as the container has the DataWriteGuid that it knows.
 * Returns false if it is not to be believed any more.
 */
static bool leave_open(struct vhdx_tracker *t, int err, vhdx_guid *data_write_guid)
{
	if (!vhdx_sidecar_is_unharmed(err) || !t->layer->mapping->guid(t->layer, data_write_guid))
		return false;
	bind(t, data_write_guid);
	return true;
}

/* Nothing is missed for that, but whoever gets the next answer may wonder. */
static void tell_unsaved(struct vhdx_tracker *t, int err, struct vhdx_diag *gap)
{
	char *path = path_of(t->open);
	struct vhdx_diag why = { };

	vhdx_tracker_fail(t, err, &why);
	vhdx_say_warn(t->disk,
		      "%s does not keep exactly what changed, the next answer tells more than was written (%s)",
		      path ?: "the sidecar", why.text);
	vhdx_fail(gap, 0, why.reason,
		  "detached, but not exactly what changed is kept, and the next answer tells more than was written (%s): %s",
		  why.text, path ?: "");
	kfree(path);
}

/*
 * The same, while the sidecar is as a crash leaves it. Of a file that was removed nothing is kept.
 */
static void tell_stopped(struct vhdx_tracker *t, int err, struct vhdx_diag *gap)
{
	char *path;

	if (vhdx_container_is_unlinked(&t->open->file))
		return;
	path = path_of(t->open);
	vhdx_fail(gap, 0, VHDX_REASON_TRACKING_ERROR,
		  "detached, but the sidecar failed (error %d), and the next answer tells more than was written: mend what it lies on before the next attach; its points are kept: %s",
		  err, path ?: "");
	kfree(path);
}

static void tell_failed(struct vhdx_tracker *t, int err, struct vhdx_diag *gap)
{
	char *path = path_of(t->open);

	vhdx_say_err(t->disk,
		     "the changes can't be saved in the sidecar (error %d): the next backup must be a full one",
		     err);
	vhdx_fail(gap, err, VHDX_REASON_TRACKING_ERROR,
		  "detached, but what changed since the newest point could not be saved (error %d): make a full backup; the sidecar was %s",
		  err, path ?: "removed");
	kfree(path);
}

/**
 * vhdx_tracker_save() - before the clean close: the live delta, durably
 * @tracker:		no write is under way
 * @data_write_guid:	what the header is to get; not if the sidecar failed (rule T7): changed to
 *			the one that it has, if writes failed then, and if there was neither room
 *			nor memory
 * @gap:		that it failed, or had no room; or NULL
 *
 * Returns 0; or -EIO: the header is to stay as it is, for the sidecar's sake.
 */
int vhdx_tracker_save(struct vhdx_tracker *tracker, vhdx_guid *data_write_guid,
		      struct vhdx_diag *gap)
{
	int unsaved, err;

	vhdx_checkpoint_stop(&tracker->checkpoint);
	flush_work(&tracker->withdraw_work);
	mutex_lock(&tracker->tree);
	if (tracker->state == VHDX_TRACKING_ON) {
		bind(tracker, data_write_guid);
		err = vhdx_checkpoint_all(tracker, &unsaved);
		if (err && leave_open(tracker, err, data_write_guid)) {
			unsaved = err;
			err = 0;
		}
		if (!err && unsaved) {
			tell_unsaved(tracker, unsaved, gap);
		} else if (err && tracker->insists) {
			tell_stopped(tracker, err, gap);
			vhdx_tracker_sidecar_failed(tracker, err);
		} else if (err) {
			tell_failed(tracker, err, gap);
			tracker->layer->mapping->distrust(tracker->layer);
			vhdx_tracker_turn_off(tracker, VHDX_REASON_TRACKING_ERROR);
		}
	}
	err = 0;
	if (tracker->stopped) {
		tracker->layer->mapping->guid(tracker->layer, data_write_guid);
		/* A strict one knows the number of its header, which is to stay as well. */
		err = tracker->coarse_host.strict_layer ? -EIO : 0;
	}
	mutex_unlock(&tracker->tree);
	return err;
}

/**
 * vhdx_tracker_saved() - the header has the GUID that vhdx_tracker_save() announced
 * @tracker:	of its disk
 *
 * Confirming it makes a copy of the container that was taken during the session a
 * stranger. Failing to is harmless: the next attach finds the announced GUID.
 */
void vhdx_tracker_saved(struct vhdx_tracker *tracker)
{
	struct vhdx_sidecar *sidecar;

	mutex_lock(&tracker->tree);
	if (tracker->state == VHDX_TRACKING_ON) {
		sidecar = &tracker->open->sidecar;
		sidecar->current_guid = sidecar->next_guid;
		memset(&sidecar->next_guid, 0, sizeof(sidecar->next_guid));
		sidecar->closed = true;
		if (vhdx_open_sidecar_commit(tracker->open))
			vhdx_say_warn(tracker->disk,
				      "the close could not be confirmed in the sidecar");
	}
	mutex_unlock(&tracker->tree);
}

/* Who reads the kernel log knows since then; who backs up may hear of it here only. */
static bool had_failed(const struct vhdx_tracker *t)
{
	return t->state == VHDX_TRACKING_OFF && t->off_reason == VHDX_REASON_TRACKING_ERROR &&
	       !t->stopped && !vhdx_layer_is_read_only(t->layer);
}

/**
 * vhdx_tracker_check_kept() - will the next attach find the sidecar, and can it believe it?
 * @tracker:	of a disk that is closed, cleanly
 * @gap:	that it won't, or can't, where nothing else is wrong; or NULL
 */
void vhdx_tracker_check_kept(struct vhdx_tracker *tracker, struct vhdx_diag *gap)
{
	mutex_lock(&tracker->tree);
	if (tracker->open && vhdx_container_is_unlinked(&tracker->open->file)) {
		vhdx_say_err(tracker->disk,
			     "the sidecar was removed: the points are gone, the next backup must be a full one");
		vhdx_fail(gap, -ESTALE, VHDX_REASON_TRACKING_ERROR,
			  "detached, but the sidecar had been removed, and its points are gone with what changed since: make a full backup; it was %s",
			  tracker->open->path ?: "");
	} else if (had_failed(tracker)) {
		vhdx_fail(gap, -ESTALE, VHDX_REASON_TRACKING_ERROR,
			  "detached, but the sidecar had failed, and what changed since the newest point is not known: make a full backup");
	}
	mutex_unlock(&tracker->tree);
}

static int lose(struct vhdx_open_sidecar *open)
{
	struct vhdx_timeline *timeline = &open->sidecar.timeline;
	struct vhdx_delta saved = timeline->live;

	vhdx_open_sidecar_begin_change(open);
	memset(&timeline->live, 0, sizeof(timeline->live));
	vhdx_timeline_gap(timeline, VHDX_REASON_CHANGED_OFFLINE, ktime_get_real_ns());
	vhdx_open_sidecar_end_change(open);
	vhdx_sidecar_drop_delta(&open->sidecar, &saved);
	return vhdx_open_sidecar_commit_now(open) ?: vhdx_open_sidecar_commit_now(open);
}

/**
 * vhdx_tracker_lose() - the container is not what the points tell of any more
 * @tracker:	of a disk whose container is lost (loss.h)
 *
 * The container can't be given a GUID that the sidecar does not know: it is never written
 * again. So the sidecar has to say it: whatever the next attach finds in the header, the live
 * delta has a gap. In both slots: if one rots, the other must not say that there is none. Sleeps,
 * for a bounded time.
 */
void vhdx_tracker_lose(struct vhdx_tracker *tracker)
{
	int err;

	mutex_lock(&tracker->tree);
	if (tracker->state != VHDX_TRACKING_ON)
		goto out;
	if (vhdx_layer_is_read_only(tracker->layer)) {
		vhdx_tracker_gap(tracker, VHDX_REASON_CHANGED_OFFLINE);
		vhdx_tracker_changed(tracker);
		goto out;
	}
	bind(tracker, NULL);
	err = vhdx_open_sidecar_run(tracker->open, lose);
	if (err) {
		vhdx_say_err(tracker->disk,
			     "the sidecar can't be told that the container is lost (error %d): the next backup must be a full one",
			     err);
		vhdx_tracker_turn_off(tracker, VHDX_REASON_CHANGED_OFFLINE);
	}
	/* Only now it is durable, or as durable as it gets. */
	vhdx_tracker_changed(tracker);
out:
	mutex_unlock(&tracker->tree);
}
