// SPDX-License-Identifier: GPL-2.0-only
/*
 * What others see of a tracker: its state and the reason of a gap, in numbers and in words; and
 * that they have changed.
 */
#include "layer/layer.h"
#include "trace.h"
#include "tracker_private.h"

#include <linux/file.h>
#include <linux/ktime.h>

/**
 * vhdx_tracker_show() - tell state and reason to those who must not wait
 * @t:		t->tree is held, or the sidecar has failed
 * @reason:	VHDX_REASON_*
 */
void vhdx_tracker_show(struct vhdx_tracker *t, u32 reason)
{
	struct vhdx_tracker_face *face = &t->face;

	spin_lock(&face->lock);
	face->state = READ_ONCE(t->state);
	face->reason = reason;
	if (t->condemned) {
		face->state = VHDX_TRACKING_OFF;
		face->reason = VHDX_REASON_TRACKING_ERROR;
	}
	spin_unlock(&face->lock);
}

/**
 * vhdx_tracker_shown() - state and reason as they were when they changed last
 * @tracker:	of the disk
 * @reason:	receives why changes since the newest point can't be told, or NULL
 *
 * Waits for nothing: not for a task that is about to change them. Returns VHDX_TRACKING_*.
 */
u32 vhdx_tracker_shown(struct vhdx_tracker *tracker, u32 *reason)
{
	struct vhdx_tracker_face *face = &tracker->face;
	u32 state;

	spin_lock(&face->lock);
	state = face->state;
	if (reason)
		*reason = face->reason;
	spin_unlock(&face->lock);
	return state;
}

/**
 * vhdx_tracker_shown_file() - the sidecar's file
 * @tracker:	of the disk
 *
 * Waits for nothing. Returns NULL where there is no sidecar; fput() it.
 */
struct file *vhdx_tracker_shown_file(struct vhdx_tracker *tracker)
{
	struct vhdx_tracker_face *face = &tracker->face;
	struct file *file = NULL;

	spin_lock(&face->lock);
	if (tracker->open)
		file = get_file(tracker->open->file.file);
	spin_unlock(&face->lock);
	return file;
}

/**
 * vhdx_tracker_remember() - whoever enables tracking again is to go on with a sidecar that failed
 * @t:		face->lock is held, or no other task knows it
 * @open:	the sidecar, of which no question knows any more
 */
void vhdx_tracker_remember(struct vhdx_tracker *t, struct vhdx_open_sidecar *open)
{
	t->face.former_path = open->path;
	t->face.former_removed = vhdx_container_is_unlinked(&open->file);
	open->path = NULL;
}

/**
 * vhdx_tracker_shown_former() - path of the sidecar that is not used any more
 * @tracker:	of the disk
 * @text:	receives it, as file_path() would tell it of a file that has no name left; or ""
 * @size:	in bytes
 *
 * Waits for nothing. Returns the length.
 */
int vhdx_tracker_shown_former(struct vhdx_tracker *tracker, char *text, size_t size)
{
	struct vhdx_tracker_face *face = &tracker->face;
	int length;

	spin_lock(&face->lock);
	length = scnprintf(text, size, "%s%s", face->former_path ?: "",
			   face->former_removed ? " (deleted)" : "");
	spin_unlock(&face->lock);
	return length;
}

/**
 * vhdx_tracker_changed() - points, gaps or the state are not what they were
 * @tracker:	tracker->tree is held
 *
 * Wakes the tasks that poll for it.
 */
void vhdx_tracker_changed(struct vhdx_tracker *tracker)
{
	const struct vhdx_sidecar *sidecar = tracker->open ? &tracker->open->sidecar : NULL;
	u32 reason = sidecar ? sidecar->timeline.live.gap_reason : tracker->off_reason;

	lockdep_assert_held(&tracker->tree);
	WRITE_ONCE(tracker->generation, tracker->generation + 1);
	WRITE_ONCE(tracker->unit, sidecar ? 1U << sidecar->unit_shift : 0);
	if (reason && reason != tracker->face.reason)
		trace_vhdx_gap(tracker->disk, reason);
	vhdx_tracker_show(tracker, reason);
	tracker->changed(tracker);
}

/**
 * vhdx_tracker_gap() - put a gap into the live delta
 * @tracker:	tracker->tree is held; with a sidecar
 * @reason:	VHDX_REASON_*
 *
 * In memory.
 */
void vhdx_tracker_gap(struct vhdx_tracker *tracker, u32 reason)
{
	vhdx_open_sidecar_begin_change(tracker->open);
	vhdx_timeline_gap(&tracker->open->sidecar.timeline, reason, ktime_get_real_ns());
	vhdx_open_sidecar_end_change(tracker->open);
}

/**
 * vhdx_tracker_fail() - why something could not be done with the points
 * @tracker:	tracker->tree is held, where @err is -ENOSPC, the sidecar's, or -EOPNOTSUPP
 * @err:	what it failed with
 * @diag:	gets reason and text
 *
 * Returns @err; -EIO where writes fail since the sidecar did.
 */
int vhdx_tracker_fail(struct vhdx_tracker *tracker, int err, struct vhdx_diag *diag)
{
	const struct vhdx_sidecar *sidecar;

	if (vhdx_tracker_has_stopped(tracker) && err != -EINTR)
		return vhdx_fail(diag, -EIO, VHDX_REASON_IO, VHDX_STOPPED_TEXT);
	switch (err) {
	case -ENOSPC:
		sidecar = tracker->open ? &tracker->open->sidecar : NULL;
		if (sidecar && (vhdx_sidecar_is_out_of_points(sidecar) ||
				vhdx_sidecar_limit_bytes(sidecar)))
			return vhdx_fail_plainly(diag, err, VHDX_REASON_NO_SPACE);
		return vhdx_host_full(diag, "sidecar");
	case -EROFS:
		/* It was attached for writing, and what it lives on was made read-only. */
		if (!vhdx_layer_is_read_only(tracker->layer))
			return vhdx_fail_plainly(diag, err, VHDX_REASON_IO);
		return vhdx_fail_plainly(diag, err, VHDX_REASON_READ_ONLY);
	case -EOPNOTSUPP:
		return vhdx_fail_plainly(diag, err, tracker->off_reason ?: VHDX_REASON_DISABLED);
	case -EUCLEAN:
		return vhdx_fail_plainly(diag, err, VHDX_REASON_INCONSISTENT);
	case -ESTALE:
		return vhdx_fail(diag, err, VHDX_REASON_TRACKING_ERROR,
			"the sidecar was removed, and tracking is off; `vhdxctl track enable` begins a new one");
	case -ENOMEM:
		return vhdx_no_memory(diag);
	case -EINTR:
		return err;
	default:
		return vhdx_fail_plainly(diag, err, VHDX_REASON_IO);
	}
}
