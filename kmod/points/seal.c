// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sealing a point, on one disk or on several at the same instant (rule T2).
 *
 *	window	maps exchanged, a grace period, writes in flight sampled. Of several disks:
 *		gates closed, a grace period, maps exchanged, writes in flight sampled, gates open
 *	then, for each disk: everything written before the window is made durable; the old
 *		map and the point, not yet issued; the header's fresh DataWriteGuid
 *	then, for each disk: the point is issued
 *
 * The order is the rule: with the flush before the exchange, a write acknowledged in
 * between would be in the sealed delta, and power loss could take it back unseen.
 */
#include "seal.h"
#include "disk/disk.h"
#include "store/scope.h"
#include "trace.h"

#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/uuid.h>

/**
 * struct seal - one disk's part in a seal
 * @tracker:	of the disk that is sealed
 * @old:	its live map until the window
 * @new:	its live map from then on
 * @point:	to be
 * @guid:	the DataWriteGuid that goes with it
 * @swapped:	the maps were exchanged
 * @added:	the point is in the timeline
 * @committed:	and in the sidecar
 * @broken:	the sidecar can't be trusted any more: why
 */
struct seal {
	struct vhdx_tracker *tracker;
	struct vhdx_changemap *old;
	struct vhdx_changemap *new;
	struct vhdx_timeline_point point;
	vhdx_guid guid;
	bool swapped;
	bool added;
	bool committed;
	int broken;
};

/* Out of memory or of room before anything was written: nothing is broken. */
static bool is_harmless(int err)
{
	return err == -ENOSPC || err == -ENOMEM;
}

static int prepare(struct seal *s, const struct vhdx_seal *args)
{
	struct vhdx_tracker *t = s->tracker;
	struct vhdx_timeline *timeline = &t->sidecar.timeline;

	if (t->state != VHDX_TRACKING_ON)
		return -EOPNOTSUPP;
	/* Or a shutdown has closed it since its session began. */
	if (vhdx_disk_is_poisoned(vhdx_disk_of(t)) ||
	    !vhdx_session_has_begun(&t->layer->writer.session))
		return -EIO;
	/* The file was removed: the point would be lost when the disk is detached. */
	if (vhdx_container_is_unlinked(&t->file)) {
		s->broken = -ENOENT;
		return -ESTALE;
	}
	if (vhdx_sidecar_is_out_of_points(&t->sidecar))
		return -ENOSPC;
	s->new = vhdx_tracker_new_map(t);
	if (!s->new)
		return -ENOMEM;

	/* A GUID of its own: also after disk and sidecar were restored from a copy, an id
	 * never names two states.
	 */
	generate_random_guid(s->point.id.guid);
	generate_random_guid(s->guid.b);
	s->point.id.sequence = timeline->next_sequence;
	s->point.id.kind = VHDX_POINT_REFERENCE;
	s->point.time_ns = args->time_ns;
	s->point.label_length = args->label_length;
	memcpy(s->point.label, args->label, args->label_length);
	return 0;
}

static void trace_step(const struct seal *s, enum vhdx_trace_seal step)
{
	trace_vhdx_seal_step(vhdx_disk_of(s->tracker)->index, step, s->point.id.sequence);
}

static void exchange(struct seal *s)
{
	s->old = vhdx_tracker_live(s->tracker);
	vhdx_inflight_swap(&s->tracker->inflight, s->new);
	s->swapped = true;
	trace_step(s, VHDX_SEAL_EXCHANGED);
}

/*
 * A write that follows one on another disk must not be before the point without it. So writes
 * are parked, on all disks, while the maps are exchanged; no I/O is waited for meanwhile, which
 * may be that of another one of these disks, in whose container this one lies.
 */
static void exchange_together(struct seal *seals, u32 count)
{
	u32 i;

	for (i = 0; i < count; i++)
		vhdx_gate_close(&vhdx_disk_of(seals[i].tracker)->gate, VHDX_GATE_WRITES);
	/* Nobody is between the gate and his first mark then. */
	synchronize_rcu_expedited();
	for (i = 0; i < count; i++)
		exchange(&seals[i]);
	for (i = 0; i < count; i++)
		vhdx_inflight_sample(&seals[i].tracker->inflight, seals[i].new);
	for (i = 0; i < count; i++)
		vhdx_gate_open(&vhdx_disk_of(seals[i].tracker)->gate);
	/* Completions that still looked at the old maps are done with them. */
	synchronize_rcu();
}

static void window(struct seal *seals, u32 count)
{
	if (count > 1) {
		exchange_together(seals, count);
	} else {
		exchange(seals);
		synchronize_rcu();
		vhdx_inflight_sample(&seals->tracker->inflight, seals->new);
	}
}

static int commit_sidecar(struct seal *s)
{
	int err = vhdx_tracker_commit(s->tracker);

	if (err && !is_harmless(err))
		s->broken = err;
	return err;
}

static int make_durable(struct seal *s)
{
	struct vhdx_open_layer *layer = s->tracker->layer;
	struct vhdx_sidecar *sidecar = &s->tracker->sidecar;
	struct vhdx_delta delta = { };
	int err;

	err = vhdx_journal_commit(&layer->writer.journal);
	if (err)
		return err;
	trace_step(s, VHDX_SEAL_COMMITTED);
	/* Behind a gap the map means nothing. */
	if (!sidecar->timeline.live.gap_reason)
		err = vhdx_sidecar_write_delta(sidecar, s->old, &delta);
	if (err)
		goto out;
	err = vhdx_sidecar_add_point(sidecar, &s->point, &delta);
	if (err) {
		vhdx_sidecar_drop_delta(sidecar, &delta);
		goto out;
	}
	s->added = true;
	sidecar->state = VHDX_SIDECAR_ACTIVE;
	vhdx_layer_data_write_guid(layer, &sidecar->current_guid);
	sidecar->next_guid = s->guid;
	err = commit_sidecar(s);
	if (err)
		return err;
	s->committed = true;
	trace_step(s, VHDX_SEAL_PENDING);
	err = vhdx_journal_retire(&layer->writer.journal, &s->guid);
	if (!err)
		trace_step(s, VHDX_SEAL_RENEWED);
	return err;
out:
	if (err && !is_harmless(err))
		s->broken = err;
	return err;
}

static int issue(struct seal *s)
{
	struct vhdx_sidecar *sidecar = &s->tracker->sidecar;
	struct vhdx_timeline *timeline = &sidecar->timeline;
	int err;

	timeline->points[timeline->count - 1]->issued = true;
	sidecar->current_guid = sidecar->next_guid;
	memset(&sidecar->next_guid, 0, sizeof(sidecar->next_guid));
	vhdx_tracker_changed(s->tracker);
	err = commit_sidecar(s);
	if (!err)
		trace_step(s, VHDX_SEAL_ISSUED);
	return err;
}

/* The new live map is OR-ed back, and the point never was. */
static void roll_back(struct seal *s)
{
	struct vhdx_tracker *t = s->tracker;
	struct vhdx_sidecar *sidecar = &t->sidecar;

	if (s->swapped) {
		vhdx_inflight_replace(&t->inflight, s->old);
		vhdx_changemap_or(s->old, s->new);
	}
	vhdx_tracker_free_map(s->new);
	if (s->added) {
		vhdx_sidecar_drop_last_point(sidecar);
		vhdx_tracker_changed(t);
	}
	if (s->committed && !s->broken) {
		vhdx_layer_data_write_guid(t->layer, &sidecar->current_guid);
		memset(&sidecar->next_guid, 0, sizeof(sidecar->next_guid));
		s->broken = vhdx_tracker_commit(t);
	}
	if (s->broken)
		vhdx_tracker_invalidate(t, s->broken);
	if (s->swapped)
		trace_step(s, VHDX_SEAL_UNDONE);
}

/* A seal renews the DataWriteGuid: it is a visible change like a write. */
static int begin_sessions(struct vhdx_tracker **trackers, u32 count, u32 *failed)
{
	int err = 0;
	u32 i;

	for (i = 0; i < count && !err; i++) {
		*failed = i;
		err = vhdx_session_begin(vhdx_disk_of(trackers[i]));
		/* Before the commit: an image that somebody wrote over ours stays as it is. */
		if (!err) {
			err = vhdx_layer_verify(trackers[i]->layer);
			if (err)
				vhdx_layer_failed(trackers[i]->layer, "reading the header back",
						  err);
		}
	}
	return err;
}

/* The tracker of the disk that comes next behind @index. */
static struct vhdx_tracker *next_by_index(struct vhdx_tracker **trackers, u32 count, int index)
{
	struct vhdx_tracker *next = NULL;
	u32 i;

	for (i = 0; i < count; i++) {
		if (vhdx_disk_of(trackers[i])->index > index &&
		    (!next || vhdx_disk_of(trackers[i])->index < vhdx_disk_of(next)->index))
			next = trackers[i];
	}
	return next;
}

/* Those of the disks up to @index. */
static void unlock_up_to(struct vhdx_tracker **trackers, u32 count, int index)
{
	u32 i;

	for (i = 0; i < count; i++) {
		if (vhdx_disk_of(trackers[i])->index <= index)
			up_write(&trackers[i]->lock);
	}
}

/*
 * Nobody else holds the locks of several trackers: whoever seals takes them in one order. While a
 * seal waits for one of them it keeps those before it, which others may wait for in turn.
 */
static int lock_all(struct vhdx_tracker **trackers, u32 count)
{
	struct vhdx_tracker *next;
	int index = -1;

	while ((next = next_by_index(trackers, count, index)) != NULL) {
		if (down_write_killable(&next->lock)) {
			unlock_up_to(trackers, count, index);
			return -EINTR;
		}
		index = vhdx_disk_of(next)->index;
	}
	return 0;
}

static int seal_locked(struct seal *seals, u32 count, struct vhdx_seal *args)
{
	int err = 0;
	u32 i;

	args->time_ns = ktime_get_real_ns();
	for (i = 0; i < count && !err; i++) {
		args->failed = i;
		err = prepare(&seals[i], args);
	}
	if (err)
		return err;
	window(seals, count);
	for (i = 0; i < count && !err; i++) {
		args->failed = i;
		err = make_durable(&seals[i]);
	}
	for (i = 0; i < count && !err; i++) {
		args->failed = i;
		err = issue(&seals[i]);
	}
	return err;
}

/* Not of the sidecar: nobody's lock is held. */
static int could_not_begin(struct vhdx_tracker *t, int err, struct vhdx_diag *diag)
{
	return err == -ENOSPC ? vhdx_fail_plainly(diag, err, VHDX_REASON_HOST_FULL) :
				vhdx_tracker_fail(t, err, diag);
}

/* As vhdx_seal(); the locks of all trackers are held. */
static int seal_all(struct seal *seals, u32 count, struct vhdx_seal *args,
		    struct vhdx_point_id *ids, struct vhdx_diag *diag)
{
	int err = seal_locked(seals, count, args);
	u32 i;

	/* Before rolling back, which may turn tracking off for another reason. */
	if (err)
		vhdx_tracker_fail(seals[args->failed].tracker, err, diag);
	for (i = 0; i < count; i++) {
		if (err) {
			roll_back(&seals[i]);
			continue;
		}
		vhdx_tracker_free_map(seals[i].old);
		ids[i] = seals[i].point.id;
	}
	return err;
}

/**
 * vhdx_seal() - seal a point on each of these disks, at one instant
 * @trackers:	each of another disk, kept from being detached by the caller
 * @count:	at least 1
 * @args:	the label, judged; failed and time_ns are filled in
 * @ids:	receives the ids
 * @diag:	what is wrong
 *
 * All ids or none. Sleeps. Returns 0; -EROFS; -EOPNOTSUPP not tracked; -ENOSPC; -EIO;
 * -ENOMEM; -EINTR killed.
 */
int vhdx_seal(struct vhdx_tracker **trackers, u32 count, struct vhdx_seal *args,
	      struct vhdx_point_id *ids, struct vhdx_diag *diag)
{
	struct seal *seals = kvcalloc(count, sizeof(*seals), GFP_KERNEL);
	unsigned int flags;
	int err;
	u32 i;

	args->failed = 0;
	if (!seals)
		return vhdx_no_memory(diag);
	for (i = 0; i < count; i++)
		seals[i].tracker = trackers[i];
	/* Writes wait for these locks (rule K3). */
	flags = vhdx_scope_enter();
	err = begin_sessions(trackers, count, &args->failed) ?: lock_all(trackers, count);
	if (err) {
		could_not_begin(trackers[args->failed], err, diag);
	} else {
		err = seal_all(seals, count, args, ids, diag);
		unlock_up_to(trackers, count, INT_MAX);
	}
	vhdx_scope_leave(flags);
	for (i = 0; err && i < count; i++)
		vhdx_loss_settle(vhdx_disk_of(trackers[i]));
	kvfree(seals);
	return err;
}
