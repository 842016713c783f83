// SPDX-License-Identifier: GPL-2.0-only
/*
 * A sidecar is taken up that came with the disk.
 *
 * Where the log of the container is replayed then, the header is written before any session, and a
 * strict sidecar has to know of that (rule T6). It is told before: power that fails in the replay
 * leaves a header of which it has a token. For this it is opened, judged by the header that was
 * found, and closed again, since what else it says can only be taken up when the container is
 * complete.
 */
#include "core/rct/ondisk.h"
#include "layer/layer.h"
#include "tracker_private.h"

#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

/* Where this can't be written the next attach finds a gap, unless a session begins before. */
static int tell(struct vhdx_sidecar *sidecar, u64 sequence)
{
	struct vhdx_token token = {
		.commit = sidecar->coarse_commit + 1,
		.sequence = sequence,
	};
	void *block;
	int err = -ENOMEM;

	if (!sidecar->strict || sidecar->closed || sidecar->timeline.live.gap_reason ||
	    sequence <= sidecar->token.sequence)
		return 0;
	block = kzalloc(VHDX_SIDECAR_BLOCK, GFP_KERNEL);
	if (block)
		err = vhdx_sidecar_write_token(sidecar, &token, block);
	if (!err)
		sidecar->coarse_commit = token.commit;
	kfree(block);
	return err;
}

/*
 * A log that is too large for memory: the disk is not known before the replay, and whose sidecar
 * this is. A strict one that is in use can't be told, and would begin with a gap.
 */
static int judge_unseen(const struct vhdx_sidecar *sidecar, struct vhdx_diag *gap)
{
	if (!sidecar->strict || sidecar->closed)
		return 0;
	return vhdx_fail(gap, -EOPNOTSUPP, VHDX_REASON_UNSUPPORTED,
			 "sidecar: it is strict, and can't be told of the replay of a log that is too large for memory: attach without tracking_errors=fail, and make a full backup");
}

static int judge(struct vhdx_open_layer *layer, struct vhdx_open_sidecar *open,
		 struct vhdx_diag *gap)
{
	const struct vhdx_image *image = &layer->image;
	struct vhdx_sidecar *sidecar = &open->sidecar;
	int err;

	err = vhdx_sidecar_load(sidecar, &open->store, open->file.ops->can_grow,
				vhdx_layer_is_read_only(layer), gap);
	if (err)
		return err;
	vhdx_sidecar_bear_out(sidecar, layer->found_sequence);
	if (!image->geo.disk_size)
		return judge_unseen(sidecar, gap);
	err = vhdx_sidecar_refuse_parents(sidecar, &image->header.data_write_guid, &image->locator,
					  gap);
	if (err)
		return err;
	return vhdx_sidecar_bind(sidecar, &image->geo.disk_id, image->geo.disk_size,
				 &image->header.data_write_guid, ktime_get_real_ns(), gap);
}

/* A log that was too large to be looked through in memory was replayed unannounced. */
static int load(struct vhdx_open_layer *layer, struct vhdx_open_sidecar *open,
		struct vhdx_diag *gap)
{
	int err = judge(layer, open, gap);

	if (!err && !vhdx_layer_is_read_only(layer))
		tell(&open->sidecar, layer->image.header.sequence);
	return err;
}

/* It says nothing of the sidecar, which may be fine: the next attach is to find no gap in it. */
static bool ends_attach(int err)
{
	return err == -EINTR || err == -ENOMEM;
}

/**
 * vhdx_tracker_announce_replay() - the header is about to be written, for a replay at attach
 * @tracker:	known to no other task
 * @layer:	of its disk; header and geometry are known
 * @sequence:	that the header will have
 * @diag:	on failure: what is wrong
 *
 * What is wrong with the sidecar is found once more, and said, when it is taken up. Only where the
 * disk is not to go on without it, or is not attached at all, the header must not be written before
 * that. Sleeps. Returns 0; or -errno: nothing is to be replayed.
 */
int vhdx_tracker_announce_replay(struct vhdx_tracker *tracker, struct vhdx_open_layer *layer,
				 u64 sequence, struct vhdx_diag *diag)
{
	struct vhdx_open_sidecar *open;
	struct vhdx_diag wrong = { };
	int err;

	if (!tracker->sidecar_file)
		return 0;
	if (!layer->image.geo.disk_size && !tracker->insists)
		return 0;
	open = vhdx_open_sidecar_new(tracker->disk, tracker->sidecar_file, tracker->sidecar_path,
				     false, diag);
	if (IS_ERR(open))
		return PTR_ERR(open);
	mutex_lock(&tracker->tree);
	err = judge(layer, open, &wrong);
	if (!err) {
		err = tell(&open->sidecar, sequence);
		if (err)
			vhdx_io_failed(&wrong, err, "sidecar: it can't be written (error %d)", err);
	}
	/* A file system has other words for that, too. */
	if (err && fatal_signal_pending(current))
		err = -EINTR;
	vhdx_tracker_give_up(tracker, open);
	vhdx_tracker_wait_for_former(tracker);
	mutex_unlock(&tracker->tree);
	if (!err || (!tracker->insists && !ends_attach(err)))
		return 0;
	*diag = wrong;
	return err;
}

/* The live delta becomes the live map. What can't be read is a gap. */
static int load_live(struct vhdx_tracker *t, struct vhdx_open_sidecar *open, struct vhdx_diag *gap)
{
	struct vhdx_sidecar *sidecar = &open->sidecar;
	struct vhdx_changemap *map = vhdx_new_live_map(sidecar);
	int err = -ENOMEM;

	if (map)
		err = vhdx_sidecar_load_live(sidecar, map, gap);
	if (err && !vhdx_layer_is_read_only(t->layer) && t->insists) {
		vhdx_free_live_map(map);
		return err;
	}
	t->recovered_bytes = sidecar->recovered_units << sidecar->unit_shift;
	if (err != -ENOMEM && !vhdx_layer_is_read_only(t->layer) && vhdx_tracker_cover(t, open))
		err = -ENOMEM;
	if (err == -ENOMEM) {
		vhdx_free_live_map(map);
		return err;
	}
	if (err)
		vhdx_timeline_gap(&sidecar->timeline, VHDX_REASON_INCONSISTENT,
				  ktime_get_real_ns());
	vhdx_inflight_swap(&t->inflight, map);
	return 0;
}

/**
 * vhdx_tracker_resume() - go on with the sidecar that came with the disk
 * @tracker:	without one, and known to no other task
 * @gap:	on success: why it is not used, or begins with a gap
 * @diag:	on failure: what is wrong
 *
 * A sidecar that is no good never keeps the disk from being attached: tracking is off then, with a
 * reason; unless writes are to fail where they can't be recorded. Returns 0, or -errno if the
 * sidecar is in use, its file can't be used, or memory is short. Not as an errand: who attaches
 * waits as long as he likes, and can be killed.
 */
int vhdx_tracker_resume(struct vhdx_tracker *tracker, struct vhdx_diag *gap,
			struct vhdx_diag *diag)
{
	struct vhdx_open_sidecar *open;
	int err;

	open = vhdx_open_sidecar_new(tracker->disk, tracker->sidecar_file, tracker->sidecar_path,
				     vhdx_layer_is_read_only(tracker->layer), diag);
	if (IS_ERR(open))
		return PTR_ERR(open);
	mutex_lock(&tracker->tree);
	err = load(tracker->layer, open, gap);
	if (!err && open->sidecar.state != VHDX_SIDECAR_DISABLED)
		err = load_live(tracker, open, gap);
	if (!err) {
		vhdx_tracker_use(tracker, open, open->sidecar.state == VHDX_SIDECAR_DISABLED ?
						VHDX_TRACKING_DISABLED : VHDX_TRACKING_ON);
		vhdx_tracker_changed(tracker);
	} else {
		vhdx_tracker_remember(tracker, open);
		vhdx_tracker_give_up(tracker, open);
		if (err == -ENOMEM) {
			vhdx_no_memory(diag);
		} else if (tracker->insists && !vhdx_layer_is_read_only(tracker->layer)) {
			*diag = *gap;
			vhdx_fail_plainly(diag, err, VHDX_REASON_INCONSISTENT);
		} else {
			tracker->off_reason = gap->reason ?: VHDX_REASON_INCONSISTENT;
			vhdx_tracker_changed(tracker);
			err = 0;
		}
	}
	mutex_unlock(&tracker->tree);
	return err;
}
