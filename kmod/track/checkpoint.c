// SPDX-License-Identifier: GPL-2.0-only
#include "checkpoint.h"
#include "layer/layer.h"
#include "store/scope.h"
#include "tracker.h"
#include "trace.h"

#include <linux/ktime.h>
#include <linux/moduleparam.h>

static unsigned int checkpoint_interval_ms = 60000;
module_param(checkpoint_interval_ms, uint, 0644);
MODULE_PARM_DESC(checkpoint_interval_ms,
		 "save what changed at the latest after so long, 0: never (default 60000)");

static unsigned int checkpoint_regions = 2048;
module_param(checkpoint_regions, uint, 0644);
MODULE_PARM_DESC(checkpoint_regions,
		 "save what changed when it is in so many more regions, 0: never (default 2048)");

static unsigned int checkpoint_idle_ms = 10000;
module_param(checkpoint_idle_ms, uint, 0644);
MODULE_PARM_DESC(checkpoint_idle_ms,
		 "save what changed when no region was set for so long, 0: never (default 10000)");

static void keep(void *coarse, u64 offset, u64 length)
{
	vhdx_coarse_keep(coarse, offset, length);
}

/* An errand. */
static int save(struct vhdx_open_sidecar *open)
{
	int err = vhdx_sidecar_checkpoint(&open->sidecar, open->errand.map,
					  open->coarse->regions.clearing);

	return err ?: vhdx_open_sidecar_commit_now(open);
}

/* As the file comment of checkpoint.h. 0: it is done, or there was nothing to do. */
static int checkpoint(struct vhdx_tracker *t, bool all)
{
	struct vhdx_coarse *coarse = vhdx_tracker_coarse(t);
	u64 start = ktime_get_ns();
	u32 chosen;
	int err;

	lockdep_assert_held(&t->tree);
	chosen = vhdx_coarse_choose(coarse, all);
	if (!chosen)
		return all ? vhdx_open_sidecar_commit(t->open) : 0;
	synchronize_rcu();
	vhdx_inflight_each(&t->inflight, keep, coarse);
	t->open->errand.map = vhdx_tracker_live(t);
	err = vhdx_open_sidecar_run(t->open, save);
	if (err)
		vhdx_coarse_cancel(coarse);
	else
		vhdx_coarse_clear(coarse);
	if (!err)
		WRITE_ONCE(t->checkpoint.count, t->checkpoint.count + 1);
	trace_vhdx_checkpoint(t->disk, chosen, ktime_get_ns() - start, err);
	return err;
}

/**
 * vhdx_checkpoint_all() - before the clean close: everything is saved, and the coarse area cleared
 * @tracker:	tracker->tree is held; no write is under way, and none comes. Its
 *		sidecar's header is to say what it says in memory
 * @unsaved:	receives 0; or -ENOSPC or -ENOMEM: the header was written alone, and the regions
 *		that stay set say it all, and more
 *
 * Sleeps. Returns 0, or -errno: the sidecar can't be trusted any more.
 */
int vhdx_checkpoint_all(struct vhdx_tracker *tracker, int *unsaved)
{
	int err;

	*unsaved = 0;
	/* Those that were found, and are being set, can be chosen after that. */
	err = vhdx_coarse_finish(vhdx_tracker_coarse(tracker));
	if (err)
		return err;
	err = checkpoint(tracker, true);
	if (vhdx_sidecar_is_unharmed(err)) {
		*unsaved = err;
		err = vhdx_open_sidecar_commit(tracker->open);
	}
	return err ?: vhdx_coarse_finish(vhdx_tracker_coarse(tracker));
}

/* ---- in the background -------------------------------------------------------------------- */

static unsigned long after(unsigned long since, unsigned int ms)
{
	unsigned long end = since + msecs_to_jiffies(ms);

	return time_after(end, jiffies) ? end - jiffies : 0;
}

static void plan(struct vhdx_tracker *t, unsigned long delay)
{
	if (delay != MAX_JIFFY_OFFSET)
		mod_delayed_work(vhdx_tracker_wq, &t->checkpoint.work, delay);
}

/* When the next one is due, if regions were set from @first to @last. */
static unsigned long due(unsigned long first, unsigned long last)
{
	unsigned int interval = READ_ONCE(checkpoint_interval_ms);
	unsigned int idle = READ_ONCE(checkpoint_idle_ms);
	unsigned long delay = MAX_JIFFY_OFFSET;

	if (interval)
		delay = after(first, interval);
	if (idle)
		delay = min(delay, after(last, idle));
	return delay;
}

/**
 * vhdx_checkpoint_plan() - regions were set: when is the next checkpoint to be?
 * @tracker:	of the disk
 * @coarse:	its coarse map
 *
 * Any context.
 */
void vhdx_checkpoint_plan(struct vhdx_tracker *tracker, struct vhdx_coarse *coarse)
{
	unsigned int regions = READ_ONCE(checkpoint_regions);

	if (regions && READ_ONCE(coarse->set_since) >= regions)
		plan(tracker, 0);
	else
		plan(tracker, due(READ_ONCE(coarse->first_set), READ_ONCE(coarse->last_set)));
}

/* Without room or memory there is a next time; until then the regions that are set say it all. */
static void work(struct work_struct *work)
{
	struct vhdx_tracker *t = container_of(to_delayed_work(work), struct vhdx_tracker,
					      checkpoint.work);
	unsigned int flags = vhdx_scope_enter();
	struct vhdx_coarse *coarse;
	int err = 0;

	vhdx_precedence_give_way(&t->precedence);
	vhdx_precedence_give_way(&t->overdue);
	mutex_lock(&t->tree);
	coarse = vhdx_tracker_coarse(t);
	if (t->state == VHDX_TRACKING_ON && coarse && !READ_ONCE(coarse->failed) &&
	    vhdx_session_has_begun(&t->layer->writer.session)) {
		err = checkpoint(t, false);
		if (err && !vhdx_sidecar_is_unharmed(err))
			vhdx_tracker_sidecar_failed(t, err);
		else if (READ_ONCE(coarse->regions.set))
			plan(t, due(jiffies, jiffies));
	}
	mutex_unlock(&t->tree);
	vhdx_scope_leave(flags);
}

/**
 * vhdx_checkpoint_init() - none is planned
 * @checkpoint:	zeroed
 */
void vhdx_checkpoint_init(struct vhdx_checkpoint *checkpoint)
{
	INIT_DELAYED_WORK(&checkpoint->work, work);
}

/**
 * vhdx_checkpoint_stop() - none is planned any more, and none is under way
 * @checkpoint:	no region is set any more; tracker->tree is not held
 *
 * Sleeps.
 */
void vhdx_checkpoint_stop(struct vhdx_checkpoint *checkpoint)
{
	cancel_delayed_work_sync(&checkpoint->work);
}
