// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a seal does with each of its disks, step by step (rule T2). The lock of the tracker is held
 * over all of them, whichever task takes a step.
 */
#include "seal_part.h"
#include "disk/disk.h"
#include "trace.h"

#include <linux/slab.h>
#include <linux/uuid.h>

/**
 * vhdx_seal_prepare() - may the disk be sealed? And all that the window needs
 * @part:	with the tracker, which is locked
 * @args:	label and time
 *
 * Waits for no I/O. Returns 0; -EOPNOTSUPP not tracked; -EIO; -ESTALE the sidecar was removed;
 * -ENOSPC out of points; -ENOMEM.
 */
int vhdx_seal_prepare(struct vhdx_seal_part *part, const struct vhdx_seal *args)
{
	struct vhdx_tracker *t = part->tracker;
	struct vhdx_open_sidecar *open = t->open;

	if (t->state != VHDX_TRACKING_ON)
		return -EOPNOTSUPP;
	/* Or a shutdown has closed it since its session began. */
	if (vhdx_disk_is_poisoned(vhdx_disk_of(t)) ||
	    !vhdx_session_has_begun(&t->layer->writer.session))
		return -EIO;
	/* The file was removed: the point would be lost when the disk is detached. */
	if (vhdx_container_is_unlinked(&open->file)) {
		part->broken = -ENOENT;
		return -ESTALE;
	}
	if (vhdx_sidecar_is_out_of_points(&open->sidecar))
		return -ENOSPC;
	part->new = vhdx_new_live_map(&open->sidecar);
	if (!part->new)
		return -ENOMEM;

	/* A GUID of its own: also after disk and sidecar were restored from a copy, an id
	 * never names two states.
	 */
	generate_random_guid(part->point.id.guid);
	generate_random_guid(part->guid.b);
	part->point.id.sequence = open->sidecar.timeline.next_sequence;
	part->point.id.kind = VHDX_POINT_REFERENCE;
	part->point.time_ns = args->time_ns;
	part->point.label_length = args->label_length;
	memcpy(part->point.label, args->label, args->label_length);
	return 0;
}

static void trace_step(const struct vhdx_seal_part *part, enum vhdx_trace_seal step)
{
	trace_vhdx_seal_step(vhdx_disk_of(part->tracker)->index, step, part->point.id.sequence);
}

/**
 * vhdx_seal_exchange() - the instant of the point
 * @part:	prepared; what else belongs to the window is the caller's
 *
 * Waits for nobody.
 */
void vhdx_seal_exchange(struct vhdx_seal_part *part)
{
	part->old = vhdx_tracker_begin_seal(part->tracker, part->new);
	part->swapped = true;
	trace_step(part, VHDX_SEAL_EXCHANGED);
}

static int run(struct vhdx_seal_part *part, vhdx_sidecar_errand_fn errand)
{
	int err = vhdx_open_sidecar_run(part->tracker->open, errand);

	if (err && !vhdx_sidecar_is_unharmed(err))
		part->broken = err;
	return err;
}

/* The committer of the coarse map has just done so (rule T7). */
static int given_up(struct vhdx_seal_part *part)
{
	part->broken = -EIO;
	return -EIO;
}

static int commit_point(struct vhdx_open_sidecar *open, struct vhdx_delta *delta)
{
	struct vhdx_sidecar *sidecar = &open->sidecar;
	int err;

	err = vhdx_sidecar_add_point(sidecar, &open->errand.point, delta);
	if (err)
		return err;
	sidecar->current_guid = open->errand.guid;
	sidecar->next_guid = open->errand.next_guid;
	err = vhdx_open_sidecar_commit_now(open);
	if (vhdx_sidecar_is_unharmed(err))
		vhdx_sidecar_drop_last_point(sidecar);
	return err;
}

/* An errand: the old map and the point, not yet issued. Without room nothing has happened. */
static int write_point(struct vhdx_open_sidecar *open)
{
	struct vhdx_sidecar *sidecar = &open->sidecar;
	struct vhdx_delta delta = { };
	int err = 0;

	/* Behind a gap the map means nothing. */
	if (!sidecar->timeline.live.gap_reason)
		err = vhdx_sidecar_write_delta(sidecar, open->errand.map, &delta);
	if (err)
		return err;
	err = commit_point(open, &delta);
	/* It is empty if the point took it over. */
	if (vhdx_sidecar_is_unharmed(err))
		vhdx_sidecar_drop_delta(sidecar, &delta);
	return err;
}

/**
 * vhdx_seal_make_durable() - everything from before the window, and the point, not yet issued
 * @part:	behind the window
 *
 * Sleeps, as long as the container takes. Returns 0 or -errno.
 */
int vhdx_seal_make_durable(struct vhdx_seal_part *part)
{
	struct vhdx_open_layer *layer = part->tracker->layer;
	struct vhdx_sidecar_errand *errand = &part->tracker->open->errand;
	int err;

	err = layer->mapping->commit(layer);
	part->of_container = err;
	if (err)
		return err;
	trace_step(part, VHDX_SEAL_COMMITTED);
	errand->map = part->old;
	errand->point = part->point;
	errand->next_guid = part->guid;
	if (!layer->mapping->guid(layer, &errand->guid))
		return given_up(part);
	err = run(part, write_point);
	if (err)
		return err;
	part->pending = true;
	trace_step(part, VHDX_SEAL_PENDING);
	err = layer->mapping->retire(layer, &part->guid);
	part->of_container = err;
	if (!err)
		trace_step(part, VHDX_SEAL_RENEWED);
	return err == -ESTALE ? given_up(part) : err;
}

static void confirm_guid(struct vhdx_sidecar *sidecar, const vhdx_guid *guid)
{
	sidecar->current_guid = *guid;
	memset(&sidecar->next_guid, 0, sizeof(sidecar->next_guid));
}

/* An errand. */
static int write_issued(struct vhdx_open_sidecar *open)
{
	vhdx_sidecar_prepare_issue(&open->sidecar);
	confirm_guid(&open->sidecar, &open->errand.next_guid);
	return vhdx_open_sidecar_commit_now(open);
}

/**
 * vhdx_seal_issue() - from now on the point counts
 * @part:	durable, and so are those of all other disks
 *
 * Sleeps, for a bounded time. Returns 0 or -errno.
 */
int vhdx_seal_issue(struct vhdx_seal_part *part)
{
	int err = run(part, write_issued);

	if (!err)
		trace_step(part, VHDX_SEAL_ISSUED);
	return err;
}

/* An errand. */
static int take_back_point(struct vhdx_open_sidecar *open)
{
	const struct vhdx_timeline *timeline = &open->sidecar.timeline;

	if (timeline->count && !timeline->points[timeline->count - 1]->issued)
		vhdx_sidecar_drop_last_point(&open->sidecar);
	confirm_guid(&open->sidecar, &open->errand.guid);
	return vhdx_open_sidecar_commit_now(open);
}

/**
 * vhdx_seal_roll_back() - there is no point, and everything is live again
 * @part:	no step is under way; with the tracker alone there is nothing to do
 *
 * Sleeps; as long as the container takes, where the sidecar can't be trusted any more. Returns 0.
 */
int vhdx_seal_roll_back(struct vhdx_seal_part *part)
{
	struct vhdx_tracker *t = part->tracker;

	if (part->swapped)
		vhdx_tracker_undo_seal(t, part->old);
	else
		vhdx_free_live_map(part->new);
	if (part->pending && !part->broken) {
		if (t->layer->mapping->guid(t->layer, &t->open->errand.guid))
			run(part, take_back_point);
		else
			given_up(part);
		vhdx_tracker_changed(t);
	}
	if (part->broken)
		vhdx_tracker_sidecar_failed(t, part->broken);
	if (part->swapped)
		trace_step(part, VHDX_SEAL_UNDONE);
	return 0;
}
