// SPDX-License-Identifier: GPL-2.0-only
#include "coarse.h"
#include "core/rct/ondisk.h"
#include "store/scope.h"
#include "tracker.h"
#include "trace.h"

#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>

/* Regions that are set ahead of who writes one after the other; what a crash may add to. */
#define AHEAD		8

static unsigned int regions_around = 32;
module_param(regions_around, uint, 0644);
MODULE_PARM_DESC(regions_around,
		 "up to so many regions are set at a time where a disk is written here and there, 1 to 64 (default 32)");

/* ---- writes that wait --------------------------------------------------------------------- */

static void resume_work(struct work_struct *work)
{
	struct vhdx_coarse *coarse = container_of(work, struct vhdx_coarse, resume_work);
	void (*resume)(struct list_head *link) = coarse->host->resume;
	unsigned int flags = vhdx_scope_enter();
	struct list_head *link, *next;
	LIST_HEAD(released);

	spin_lock_irq(&coarse->lock);
	list_splice_init(&coarse->released, &released);
	spin_unlock_irq(&coarse->lock);
	list_for_each_safe(link, next, &released)
		resume(link);
	vhdx_scope_leave(flags);
}

static void release(struct vhdx_coarse *coarse, struct list_head *list)
{
	lockdep_assert_held(&coarse->lock);
	if (list_empty(list))
		return;
	list_splice_tail_init(list, &coarse->released);
	queue_work(coarse->host->resume_wq, &coarse->resume_work);
}

/**
 * vhdx_coarse_wait() - a write goes on when its regions are set
 * @coarse:	of its disk
 * @link:	of the write, which is outside of the gate
 * @offset:	on the disk
 * @length:	in bytes; zero: it need not wait
 *
 * Any context. Returns false if they are armed by now: then it goes on at once.
 */
bool vhdx_coarse_wait(struct vhdx_coarse *coarse, struct list_head *link, u64 offset, u64 length)
{
	enum vhdx_regions_wait wait;
	unsigned long flags;

	spin_lock_irqsave(&coarse->lock, flags);
	wait = vhdx_regions_want(&coarse->regions, offset, length);
	if (wait == VHDX_REGIONS_TAKEN)
		list_add_tail(link, &coarse->served);
	else if (wait == VHDX_REGIONS_WANTED)
		list_add_tail(link, &coarse->waiting);
	if (wait == VHDX_REGIONS_WANTED)
		queue_work(coarse->commit_wq, &coarse->commit_work);
	spin_unlock_irqrestore(&coarse->lock, flags);
	return wait != VHDX_REGIONS_ARMED;
}

/**
 * vhdx_coarse_give_up() - the coarse area does not count any more: nothing waits for it
 * @coarse:	of a sidecar that the container does not fit any more, durably; or that is off
 *
 * Any context. A commit that hangs goes on to do so.
 */
void vhdx_coarse_give_up(struct vhdx_coarse *coarse)
{
	unsigned long flags;

	spin_lock_irqsave(&coarse->lock, flags);
	if (!coarse->failed)
		coarse->failed = -ECANCELED;
	vhdx_regions_give_up(&coarse->regions);
	release(coarse, &coarse->waiting);
	release(coarse, &coarse->served);
	spin_unlock_irqrestore(&coarse->lock, flags);
	wake_up_all(&coarse->idle);
}

/* ---- the committer ------------------------------------------------------------------------ */

/* Only the first one who sees a failure says it. */
static bool fail(struct vhdx_coarse *coarse, int err)
{
	lockdep_assert_held(&coarse->lock);
	if (coarse->failed)
		return false;
	coarse->failed = err;
	coarse->telling = true;
	return true;
}

static void tell(struct vhdx_coarse *coarse, int err)
{
	coarse->host->failed(coarse->host, coarse, err);
	vhdx_coarse_give_up(coarse);
	spin_lock_irq(&coarse->lock);
	coarse->telling = false;
	/* Under the lock: the host may go as soon as it can be taken. */
	wake_up_all(&coarse->idle);
	spin_unlock_irq(&coarse->lock);
}

/**
 * vhdx_coarse_fail() - the sidecar could not be written, and not in a commit of the coarse area
 * @coarse:	of the disk
 * @err:	why
 *
 * Sleeps. What waits goes on.
 */
void vhdx_coarse_fail(struct vhdx_coarse *coarse, int err)
{
	bool told;

	spin_lock_irq(&coarse->lock);
	told = fail(coarse, err);
	spin_unlock_irq(&coarse->lock);
	if (told)
		tell(coarse, err);
}

static void deadline_work(struct work_struct *work)
{
	struct vhdx_coarse *coarse = container_of(to_delayed_work(work), struct vhdx_coarse,
						  deadline_work);
	unsigned int flags = vhdx_scope_enter();
	bool late;

	spin_lock_irq(&coarse->lock);
	/* Or the timer was that of the commit before. */
	late = coarse->busy && time_after_eq(jiffies, coarse->deadline) &&
	       fail(coarse, -ETIMEDOUT);
	spin_unlock_irq(&coarse->lock);
	if (late)
		tell(coarse, -ETIMEDOUT);
	vhdx_scope_leave(flags);
}

/**
 * vhdx_coarse_write() - write blocks of the coarse area
 * @coarse:	of the disk; the committer is the caller, or waits for it
 * @blocks:	bit n for block n
 *
 * Neighbouring ones in one go. Each sector is old or new, whatever happens meanwhile. Returns 0 or
 * -errno.
 */
int vhdx_coarse_write(struct vhdx_coarse *coarse, u64 blocks)
{
	struct vhdx_store *store = coarse->sidecar->store;
	u64 generation = READ_ONCE(coarse->sidecar->sequence);
	u32 first, count;
	int err = 0;

	for (; blocks && !err; blocks &= ~GENMASK_ULL(first + count - 1, first)) {
		first = __ffs64(blocks);
		count = 0;
		while (first + count < 64 && blocks >> (first + count) & 1) {
			vhdx_regions_encode(&coarse->regions, first + count, generation,
					    coarse->buf + count * VHDX_SIDECAR_BLOCK);
			count++;
		}
		err = store->write(store, (VHDX_SIDECAR_COARSE_BLOCK + first) * VHDX_SIDECAR_BLOCK,
				   coarse->buf, count * VHDX_SIDECAR_BLOCK);
	}
	return err;
}

/**
 * vhdx_coarse_tries_again() - a write had no memory, or no room: may it have some soon?
 * @coarse:	of the disk
 * @err:	what it ended with
 *
 * Sleeps for a moment then. Returns false for other errors, and beyond the deadline.
 */
bool vhdx_coarse_tries_again(struct vhdx_coarse *coarse, int err)
{
	if (!vhdx_sidecar_is_unharmed(err) || READ_ONCE(coarse->failed))
		return false;
	msleep(20);
	return true;
}

/* A flush that failed may have lost what was written before. */
static int set_regions(struct vhdx_coarse *coarse, u64 blocks)
{
	struct vhdx_store *store = coarse->sidecar->store;
	int err;

	do {
		err = vhdx_coarse_write(coarse, blocks) ?: store->flush(store);
	} while (vhdx_coarse_tries_again(coarse, err));
	return err;
}

/*
 * Who writes here and there waits at each region that is not set. While the last commit took more
 * than a fifth of the time since it began, the next one sets twice as many regions around each; as
 * soon as they are rare, half as many: a crash adds less then.
 */
static void look_around(struct vhdx_coarse *coarse)
{
	u32 most = ilog2(clamp(READ_ONCE(regions_around), 1U, 1U << VHDX_REGIONS_AROUND_MAX));
	u64 now = ktime_get_ns();
	u32 around = coarse->regions.around;

	lockdep_assert_held(&coarse->lock);
	if (now - coarse->began < 5 * (coarse->ended - coarse->began))
		around++;
	else
		around -= !!around;
	coarse->regions.around = min(around, most);
	coarse->began = now;
}

/* Returns the blocks to write; sets have precedence, for writes wait for them. */
static u64 begin(struct vhdx_coarse *coarse, bool *set)
{
	u32 before = coarse->regions.set;
	u64 blocks = 0;

	spin_lock_irq(&coarse->lock);
	if (!coarse->failed) {
		if (coarse->regions.want_blocks)
			look_around(coarse);
		blocks = vhdx_regions_take_want(&coarse->regions);
		*set = blocks;
		if (*set) {
			list_splice_tail_init(&coarse->waiting, &coarse->served);
			if (!coarse->set_since)
				coarse->first_set = jiffies;
			coarse->set_since += coarse->regions.set - before;
			coarse->last_set = jiffies;
		} else {
			blocks = vhdx_regions_take_cleared(&coarse->regions);
		}
	}
	coarse->busy = blocks;
	/* Not once it is given up; and what waits for the container has its own (strict.h). */
	if (blocks && !(*set && coarse->strict)) {
		coarse->deadline = jiffies + vhdx_sidecar_timeout();
		mod_delayed_work(coarse->host->deadline_wq, &coarse->deadline_work,
				 vhdx_sidecar_timeout());
	}
	spin_unlock_irq(&coarse->lock);
	return blocks;
}

/* Returns true if the host is to be told of the error. */
static bool end(struct vhdx_coarse *coarse, bool set, int err)
{
	bool told;

	spin_lock_irq(&coarse->lock);
	coarse->busy = false;
	told = err && fail(coarse, err);
	if (set && !coarse->failed) {
		vhdx_regions_committed(&coarse->regions);
		coarse->commits++;
		coarse->ended = ktime_get_ns();
		release(coarse, &coarse->served);
		coarse->host->committed(coarse->host, coarse);
	}
	spin_unlock_irq(&coarse->lock);
	return told;
}

/*
 * Regions that are set are armed once the flush has ended. What is cleared needs no flush, and
 * where it could not be written regions stay set, which does no harm.
 */
static bool commit(struct vhdx_coarse *coarse)
{
	u64 start = ktime_get_ns();
	u64 blocks;
	bool set;
	int err;

	blocks = begin(coarse, &set);
	if (!blocks)
		return false;
	if (set && coarse->strict)
		err = vhdx_strict_commit(coarse->strict, blocks);
	else if (set)
		err = set_regions(coarse, blocks);
	else
		err = vhdx_coarse_write(coarse, blocks);
	cancel_delayed_work(&coarse->deadline_work);
	trace_vhdx_coarse_commit(coarse->disk, set, hweight64(blocks),
				 ktime_get_ns() - start, err);
	if (!set && vhdx_sidecar_is_unharmed(err))
		err = 0;
	if (end(coarse, set, err))
		tell(coarse, err);
	return true;
}

static void commit_work(struct work_struct *work)
{
	struct vhdx_coarse *coarse = container_of(work, struct vhdx_coarse, commit_work);
	unsigned int flags = vhdx_scope_enter();

	while (commit(coarse))
		cond_resched();
	wake_up_all(&coarse->idle);
	vhdx_scope_leave(flags);
}

static bool is_telling(struct vhdx_coarse *coarse)
{
	bool telling;

	spin_lock_irq(&coarse->lock);
	telling = coarse->telling;
	spin_unlock_irq(&coarse->lock);
	return telling;
}

/**
 * vhdx_coarse_leave() - give it up; neither the host nor its layer is looked at any more
 * @coarse:	no write can find it any more
 *
 * Sleeps, as long as the host takes to be told of a failure. A commit that hangs goes on to do so.
 */
void vhdx_coarse_leave(struct vhdx_coarse *coarse)
{
	vhdx_coarse_give_up(coarse);
	cancel_delayed_work_sync(&coarse->deadline_work);
	vhdx_strict_stop(coarse->strict);
	wait_event(coarse->idle, !is_telling(coarse));
}

/**
 * vhdx_coarse_start() - regions that were found, but may not be set durably, are set
 * @coarse:	of the disk, whose session has begun
 *
 * Does not wait for it.
 */
void vhdx_coarse_start(struct vhdx_coarse *coarse)
{
	spin_lock_irq(&coarse->lock);
	if (coarse->regions.want_blocks)
		queue_work(coarse->commit_wq, &coarse->commit_work);
	spin_unlock_irq(&coarse->lock);
}

/* ---- for a checkpoint --------------------------------------------------------------------- */

/**
 * vhdx_coarse_choose() - regions that are about to be saved
 * @coarse:	of the disk; one checkpoint at a time
 * @all:	also those that were set or written since a checkpoint chose last
 *
 * Returns how many; then coarse->regions.clearing has them, from which writes take some away at any
 * time. What they have is to be read after a grace period.
 */
u32 vhdx_coarse_choose(struct vhdx_coarse *coarse, bool all)
{
	u32 count = 0;

	spin_lock_irq(&coarse->lock);
	if (!coarse->failed)
		count = vhdx_regions_begin_clear(&coarse->regions, all);
	coarse->set_since = 0;
	spin_unlock_irq(&coarse->lock);
	return count;
}

/**
 * vhdx_coarse_keep() - a write is in flight there: these regions stay set
 * @coarse:	of the disk
 * @offset:	on the disk
 * @length:	in bytes; zero does no harm
 *
 * Any context.
 */
void vhdx_coarse_keep(struct vhdx_coarse *coarse, u64 offset, u64 length)
{
	unsigned long flags;

	spin_lock_irqsave(&coarse->lock, flags);
	vhdx_regions_keep(&coarse->regions, offset, length);
	spin_unlock_irqrestore(&coarse->lock, flags);
}

/**
 * vhdx_coarse_clear() - what was chosen is saved, durably
 * @coarse:	of the disk
 *
 * Does not wait for the clears.
 */
void vhdx_coarse_clear(struct vhdx_coarse *coarse)
{
	spin_lock_irq(&coarse->lock);
	if (vhdx_regions_confirm_clear(&coarse->regions))
		queue_work(coarse->commit_wq, &coarse->commit_work);
	spin_unlock_irq(&coarse->lock);
}

/**
 * vhdx_coarse_cancel() - what was chosen could not be saved
 * @coarse:	of the disk
 */
void vhdx_coarse_cancel(struct vhdx_coarse *coarse)
{
	spin_lock_irq(&coarse->lock);
	vhdx_regions_cancel_clear(&coarse->regions);
	spin_unlock_irq(&coarse->lock);
}

static bool is_idle(struct vhdx_coarse *coarse, int *err)
{
	bool idle;

	spin_lock_irq(&coarse->lock);
	*err = coarse->failed;
	idle = *err || (!coarse->busy && !coarse->regions.want_blocks &&
			!coarse->regions.cleared_blocks);
	spin_unlock_irq(&coarse->lock);
	return idle;
}

/**
 * vhdx_coarse_finish() - before the close: wait until what is to be set, or can be cleared, is
 * @coarse:	no write comes; its session has begun
 *
 * Sleeps, up to the deadline of the committer. Returns 0, or why tracking is invalid now.
 */
int vhdx_coarse_finish(struct vhdx_coarse *coarse)
{
	int err;

	wait_event(coarse->idle, is_idle(coarse, &err));
	return err;
}

/* ---- life --------------------------------------------------------------------------------- */

/**
 * vhdx_coarse_is_busy() - is a commit under way, perhaps one that hangs?
 * @coarse:	of a sidecar that is given up, or in use
 *
 * Any context.
 */
bool vhdx_coarse_is_busy(struct vhdx_coarse *coarse)
{
	return work_busy(&coarse->commit_work) || vhdx_strict_is_busy(coarse->strict);
}

/**
 * vhdx_coarse_init() - the regions that are set stay set (rule T4)
 * @coarse:	zeroed
 * @host:	its queues may be made later, before the first write
 * @sidecar:	loaded, or just formatted
 * @commit_wq:	of @sidecar, where its committer runs
 *
 * Writes nothing. Returns 0 or -ENOMEM.
 */
int vhdx_coarse_init(struct vhdx_coarse *coarse, struct vhdx_coarse_host *host,
		     struct vhdx_sidecar *sidecar, struct workqueue_struct *commit_wq)
{
	int err = vhdx_regions_init(&coarse->regions, &sidecar->coarse);

	if (err)
		return err;
	coarse->buf = vhdx_alloc(sidecar->coarse.blocks * VHDX_SIDECAR_BLOCK);
	if (host->strict_layer)
		coarse->strict = vhdx_strict_new(coarse, host);
	if (!coarse->buf || (host->strict_layer && !coarse->strict)) {
		vhdx_strict_free(coarse->strict);
		vhdx_free(coarse->buf);
		vhdx_regions_release(&coarse->regions);
		return -ENOMEM;
	}
	vhdx_regions_recover(&coarse->regions, sidecar->found, sidecar->coarse_commit);
	coarse->regions.ahead = AHEAD;
	coarse->host = host;
	coarse->disk = host->disk;
	coarse->commit_wq = commit_wq;
	coarse->sidecar = sidecar;
	coarse->first_set = jiffies;
	coarse->last_set = jiffies;
	spin_lock_init(&coarse->lock);
	INIT_LIST_HEAD(&coarse->waiting);
	INIT_LIST_HEAD(&coarse->served);
	INIT_LIST_HEAD(&coarse->released);
	init_waitqueue_head(&coarse->idle);
	INIT_WORK(&coarse->commit_work, commit_work);
	INIT_DELAYED_WORK(&coarse->deadline_work, deadline_work);
	INIT_WORK(&coarse->resume_work, resume_work);
	return 0;
}

/**
 * vhdx_coarse_destroy() - free its memory
 * @coarse:	no write can find it any more; given up, or none waits
 *
 * The sidecar goes on with the regions that are set: a next one finds them. Sleeps, as long as a
 * commit hangs that is under way.
 */
void vhdx_coarse_destroy(struct vhdx_coarse *coarse)
{
	cancel_work_sync(&coarse->commit_work);
	cancel_delayed_work_sync(&coarse->deadline_work);
	flush_work(&coarse->resume_work);
	swap(coarse->sidecar->found, coarse->regions.ondisk);
	coarse->sidecar->coarse_commit = coarse->regions.commit;
	vhdx_strict_free(coarse->strict);
	vhdx_free(coarse->buf);
	vhdx_regions_release(&coarse->regions);
}
