// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sealing a point, on one disk or on several at the same instant (rule T2).
 *
 *	window	maps exchanged, a grace period, writes in flight sampled. Of several disks:
 *		gates closed, a grace period, maps exchanged, writes in flight sampled, gates open
 *	then, side by side: everything written before the window is made durable; the old
 *		map and the point, not yet issued; the header's fresh DataWriteGuid
 *	then, side by side, if all have come so far: the point is issued
 *
 * The order is the rule: with the flush before the exchange, a write acknowledged in
 * between would be in the sealed delta, and power loss could take it back unseen.
 *
 * A container may hang, and I/O that was sent to it can't be taken back. So nobody who asks for a
 * seal takes a step himself: workers do, a thread of this seal holds the locks of its trackers, and
 * who is killed leaves them to it. It takes the seal back and lets each disk go as soon as that is
 * no longer waited for, whatever becomes of the others (invariant 9).
 */
#include "seal.h"
#include "disk/cdev.h"
#include "disk/disk.h"
#include "seal_part.h"
#include "store/scope.h"

#include <linux/completion.h>
#include <linux/kref.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/workqueue.h>

struct sealing;

/**
 * struct member - one of the disks of a seal
 * @part:	what was done with it
 * @sealing:	the seal
 * @started:	of its session
 * @step:	the last one, taken beside those of other disks
 * @work:	takes it
 * @err:	what it ended with
 * @ended:	no step is under way
 * @event:	for the disk's observers, who are told of the point
 */
struct member {
	struct vhdx_seal_part part;
	struct sealing *sealing;
	u32 started;
	int (*step)(struct vhdx_seal_part *part);
	struct work_struct work;
	int err;
	bool ended;
	struct vhdx_event *event;
};

/**
 * struct sealing - one seal
 * @refs:	of its thread, and of the task that waits for that
 * @args:	what was asked for, and what is answered
 * @diag:	what is wrong
 * @err:	the same
 * @killed:	the task does not wait any more
 * @done:	all disks were let go
 * @wait:	for steps that end
 * @count:	how many disks
 * @members:	the disks, each kept from being detached until it is let go
 */
struct sealing {
	struct kref refs;
	struct vhdx_seal args;
	struct vhdx_diag diag;
	int err;
	bool killed;
	struct completion done;
	wait_queue_head_t wait;
	u32 count;
	struct member members[];
};

/* Where steps are taken. Each is of another disk, and none waits for another one. */
static struct workqueue_struct *seal_wq;

static struct vhdx_tracker *tracker_at(const struct sealing *sealing, u32 position)
{
	return sealing->members[position].part.tracker;
}

/* ---- the window --------------------------------------------------------------------------- */

/*
 * If one write has ended before another one on another disk begins, the second must not be before
 * the point while the first is behind it. So writes are parked at the gates of all disks while the
 * maps are exchanged. No I/O is waited for meanwhile, or started by this task afterwards: it may
 * need the container of this disk, which may lie on another of these disks, whose gate is closed.
 */
static void exchange_together(struct member *m, u32 count)
{
	u32 i;

	for (i = 0; i < count; i++)
		vhdx_gate_close(&vhdx_disk_of(m[i].part.tracker)->gate, VHDX_GATE_WRITES);
	/* After this no write is between the gate and its first mark. */
	synchronize_rcu_expedited();
	for (i = 0; i < count; i++)
		vhdx_seal_exchange(&m[i].part);
	for (i = 0; i < count; i++)
		vhdx_inflight_sample(&m[i].part.tracker->inflight, m[i].part.new);
	for (i = 0; i < count; i++)
		vhdx_gate_open(&vhdx_disk_of(m[i].part.tracker)->gate);
	/* After this no completion marks an old map. */
	synchronize_rcu();
}

static void window(struct sealing *sealing)
{
	struct vhdx_seal_part *first = &sealing->members[0].part;

	if (sealing->count > 1) {
		exchange_together(sealing->members, sealing->count);
	} else {
		vhdx_seal_exchange(first);
		synchronize_rcu();
		vhdx_inflight_sample(&first->tracker->inflight, first->new);
	}
}

/* ---- steps -------------------------------------------------------------------------------- */

/*
 * The task that seals holds tracker->tree and waits for this. Lockdep takes it for ours meanwhile:
 * what is locked here is locked below it.
 */
static void step_work(struct work_struct *work)
{
	struct member *m = container_of(work, struct member, work);
	unsigned int flags = vhdx_scope_enter();

	vhdx_tracker_borrow(m->part.tracker);
	m->err = m->step(&m->part);
	vhdx_tracker_return(m->part.tracker);
	vhdx_scope_leave(flags);
	/* Pairs with the acquire in has_ended(). */
	smp_store_release(&m->ended, true);
	wake_up(&m->sealing->wait);
}

static void start(struct member *m, int (*step)(struct vhdx_seal_part *part))
{
	m->step = step;
	m->ended = false;
	queue_work(seal_wq, &m->work);
}

static bool has_ended(const struct member *m)
{
	/* Pairs with the release in step_work(). */
	return smp_load_acquire(&m->ended);
}

/* All of them; or one that has failed. */
static bool have_ended(struct sealing *sealing)
{
	u32 i, ended = 0;

	for (i = 0; i < sealing->count; i++) {
		if (!has_ended(&sealing->members[i]))
			continue;
		if (sealing->members[i].err)
			return true;
		ended++;
	}
	return ended == sealing->count;
}

/*
 * One disk's step neither waits for that of another nor adds to its time. Returns 0 once all have
 * ended; or -errno, and some may be under way.
 */
static int side_by_side(struct sealing *sealing, int (*step)(struct vhdx_seal_part *part))
{
	u32 i;

	if (fatal_signal_pending(current))
		return -EINTR;
	for (i = 0; i < sealing->count; i++)
		start(&sealing->members[i], step);
	if (wait_event_killable(sealing->wait, have_ended(sealing)))
		return -EINTR;
	for (i = 0; i < sealing->count; i++) {
		if (!has_ended(&sealing->members[i]) || !sealing->members[i].err)
			continue;
		sealing->args.failed = i;
		return sealing->members[i].err;
	}
	return 0;
}

/* One whose step has ended, and is known to have; or NULL. */
static struct member *take_ended(struct sealing *sealing)
{
	struct member *m;

	for (m = sealing->members; m < sealing->members + sealing->count; m++) {
		if (!has_ended(m))
			continue;
		m->ended = false;
		return m;
	}
	return NULL;
}

/* The disk can be sealed, changed and detached by others. */
static void let_go(struct member *m)
{
	mutex_unlock(&m->part.tracker->tree);
	vhdx_cdev_drop(vhdx_disk_of(m->part.tracker)->cdev);
}

/* Each disk is rolled back once its last step has ended, and let go after that. */
static void roll_back(struct sealing *sealing)
{
	u32 left = sealing->count;
	struct member *m;

	while (left) {
		wait_event(sealing->wait, (m = take_ended(sealing)));
		flush_work(&m->work);
		if (m->step == vhdx_seal_roll_back) {
			let_go(m);
			left--;
		} else {
			start(m, vhdx_seal_roll_back);
		}
	}
}

static void finish(struct sealing *sealing)
{
	struct member *m;

	for (m = sealing->members; m < sealing->members + sealing->count; m++) {
		flush_work(&m->work);
		vhdx_tracker_end_seal(m->part.tracker);
		vhdx_tracker_changed(m->part.tracker);
		vhdx_observers_tell(&vhdx_disk_of(m->part.tracker)->observers, m->event,
				    VHDX_EVENT_SEALED, &m->part.point.id);
		m->event = NULL;
		let_go(m);
	}
}

/* ---- before the locks --------------------------------------------------------------------- */

/*
 * Where there is nothing to seal no session is begun, and no container is waited for, which may
 * hang. Without the lock, which vhdx_seal_prepare() has when it looks again. A disk that is only
 * read, or whose container is lost, is told so by begin_sessions().
 */
static int refuse_untracked(struct vhdx_tracker **trackers, u32 count, u32 *failed,
			    struct vhdx_diag *diag)
{
	struct vhdx_disk *disk;
	u32 i, state, reason;

	for (i = 0; i < count; i++) {
		disk = vhdx_disk_of(trackers[i]);
		state = vhdx_tracker_shown(trackers[i], &reason);
		if (state == VHDX_TRACKING_ON || disk->read_only || vhdx_disk_is_lost(disk))
			continue;
		*failed = i;
		if (vhdx_tracker_has_stopped(trackers[i]))
			return vhdx_tracker_fail(trackers[i], -EIO, diag);
		return vhdx_fail_plainly(diag, -EOPNOTSUPP, reason ?: VHDX_REASON_DISABLED);
	}
	return 0;
}

/*
 * A seal renews the DataWriteGuid: it is a visible change like a write. Side by side; none begins
 * where one is known not to.
 */
static int begin_sessions(struct sealing *sealing)
{
	int err = 0;
	u32 i;

	for (i = 0; i < sealing->count && !err; i++) {
		sealing->args.failed = i;
		err = vhdx_session_refused(vhdx_disk_of(tracker_at(sealing, i)));
	}
	if (err)
		return err;
	for (i = 0; i < sealing->count; i++)
		sealing->members[i].started =
			vhdx_session_start(vhdx_disk_of(tracker_at(sealing, i)));
	for (i = 0; i < sealing->count && !err; i++) {
		sealing->args.failed = i;
		err = vhdx_session_started(vhdx_disk_of(tracker_at(sealing, i)),
					   sealing->members[i].started);
	}
	return err;
}

/* ---- locks -------------------------------------------------------------------------------- */

/*
 * The lock of @held is held. Take all others and return NULL; or release all, that of @held as
 * well, and return the tracker whose lock was busy.
 */
static struct vhdx_tracker *try_others(struct sealing *sealing, struct vhdx_tracker *held)
{
	u32 i, taken;

	for (taken = 0; taken < sealing->count; taken++) {
		if (tracker_at(sealing, taken) != held &&
		    !mutex_trylock(&tracker_at(sealing, taken)->tree))
			break;
	}
	if (taken == sealing->count)
		return NULL;
	for (i = 0; i < taken; i++) {
		if (tracker_at(sealing, i) != held)
			mutex_unlock(&tracker_at(sealing, i)->tree);
	}
	mutex_unlock(&held->tree);
	return tracker_at(sealing, taken);
}

static void at_each(struct sealing *sealing, void (*change)(struct vhdx_precedence *precedence))
{
	u32 i;

	for (i = 0; i < sealing->count; i++)
		change(&tracker_at(sealing, i)->precedence);
}

static int lock_one(struct vhdx_tracker *t)
{
	return vhdx_precedence_give_way(&t->precedence) ?:
	       vhdx_precedence_give_way(&t->overdue) ?: mutex_lock_killable(&t->tree);
}

/*
 * No other task holds the locks of several trackers. A seal keeps none while it waits for another:
 * the sidecar that hangs may be that of any of its disks, and others are sealed with the rest
 * (invariant 9). It stands in the queue of the tracker that was busy last; at the others it has
 * precedence, so that what keeps them busy ends. Two seals that took turns in being in each other's
 * way sleep in between.
 */
static int lock_several(struct sealing *sealing)
{
	struct vhdx_tracker *busy = tracker_at(sealing, 0);
	int err = 0;
	u32 i;

	for (i = 0; i < sealing->count && !err; i++)
		err = vhdx_precedence_give_way(&tracker_at(sealing, i)->overdue);
	if (err)
		return err;
	at_each(sealing, vhdx_precedence_claim);
	while (!(err = mutex_lock_killable(&busy->tree))) {
		at_each(sealing, vhdx_precedence_renew);
		busy = try_others(sealing, busy);
		if (!busy)
			break;
		schedule_timeout_killable(1);
	}
	at_each(sealing, vhdx_precedence_drop);
	return err;
}

/* Of a container: tracker->tree need not be held. */
static int container_failed(struct sealing *sealing, int err)
{
	if (err == -ENOSPC)
		return vhdx_host_full(&sealing->diag, "container");
	return vhdx_tracker_fail(tracker_at(sealing, sealing->args.failed), err, &sealing->diag);
}

/* ---- the thread of a seal ----------------------------------------------------------------- */

/* The locks of all trackers are held. */
static int seal_locked(struct sealing *sealing)
{
	int err = 0;
	u32 i;

	sealing->args.time_ns = ktime_get_real_ns();
	for (i = 0; i < sealing->count && !err; i++) {
		sealing->args.failed = i;
		err = vhdx_seal_prepare(&sealing->members[i].part, &sealing->args);
	}
	if (err)
		return err;
	window(sealing);
	return side_by_side(sealing, vhdx_seal_make_durable) ?:
	       side_by_side(sealing, vhdx_seal_issue);
}

static int seal_all(struct sealing *sealing)
{
	u32 i;
	int err;

	err = begin_sessions(sealing);
	if (!err)
		err = sealing->count == 1 ? lock_one(tracker_at(sealing, 0)) :
					    lock_several(sealing);
	if (err) {
		err = vhdx_tracker_not_begun(tracker_at(sealing, sealing->args.failed), err,
					     &sealing->diag);
		for (i = 0; i < sealing->count; i++)
			vhdx_cdev_drop(vhdx_disk_of(tracker_at(sealing, i))->cdev);
		return err;
	}
	err = seal_locked(sealing);
	if (!err) {
		finish(sealing);
		return 0;
	}
	/* Before rolling back, which may turn tracking off for another reason. */
	if (sealing->members[sealing->args.failed].part.of_container)
		err = container_failed(sealing, err);
	else
		err = vhdx_tracker_fail(tracker_at(sealing, sealing->args.failed), err,
					&sealing->diag);
	roll_back(sealing);
	return err;
}

static void free_sealing(struct kref *refs)
{
	struct sealing *sealing = container_of(refs, struct sealing, refs);
	u32 i;

	for (i = 0; i < sealing->count; i++)
		kfree(sealing->members[i].event);
	kvfree(sealing);
}

static int seal_thread(void *context)
{
	struct sealing *sealing = context;
	unsigned int flags;

	allow_kernel_signal(SIGKILL);
	/* Writes wait for the locks (rule K3). */
	flags = vhdx_scope_enter();
	/* Who was killed before this had sent that signal in vain. */
	if (READ_ONCE(sealing->killed))
		send_sig(SIGKILL, current, 1);
	sealing->err = seal_all(sealing);
	vhdx_scope_leave(flags);
	complete(&sealing->done);
	kref_put(&sealing->refs, free_sealing);
	module_put_and_kthread_exit(0);
}

/* ---- who asks for it ---------------------------------------------------------------------- */

static struct sealing *new_sealing(struct vhdx_tracker **trackers, u32 count,
				   const struct vhdx_seal *args)
{
	struct sealing *sealing = kvzalloc(struct_size(sealing, members, count), GFP_KERNEL);
	struct member *m;

	if (!sealing)
		return NULL;
	kref_init(&sealing->refs);
	sealing->args = *args;
	init_completion(&sealing->done);
	init_waitqueue_head(&sealing->wait);
	sealing->count = count;
	for (m = sealing->members; m < sealing->members + count; m++) {
		m->part.tracker = *trackers++;
		m->sealing = sealing;
		m->ended = true;
		INIT_WORK(&m->work, step_work);
		m->event = vhdx_event_alloc();
		if (!m->event) {
			kref_put(&sealing->refs, free_sealing);
			return NULL;
		}
	}
	return sealing;
}

/*
 * Returns 0; -EINTR; or what no thread could be made for. Only after 0 the thread has let all disks
 * go.
 */
static int run_thread(struct sealing *sealing)
{
	struct task_struct *thread = kthread_create(seal_thread, sealing, "vhdx-seal");
	u32 i;

	if (IS_ERR(thread))
		return PTR_ERR(thread);
	for (i = 0; i < sealing->count; i++)
		vhdx_cdev_hold(vhdx_disk_of(tracker_at(sealing, i))->cdev);
	kref_get(&sealing->refs);
	__module_get(THIS_MODULE);
	get_task_struct(thread);
	wake_up_process(thread);
	if (wait_for_completion_killable(&sealing->done)) {
		WRITE_ONCE(sealing->killed, true);
		send_sig(SIGKILL, thread, 1);
	}
	put_task_struct(thread);
	return READ_ONCE(sealing->killed) ? -EINTR : 0;
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
 * -ENOMEM; -EINTR killed: what was begun is taken back as soon as it can be.
 */
int vhdx_seal(struct vhdx_tracker **trackers, u32 count, struct vhdx_seal *args,
	      struct vhdx_point_id *ids, struct vhdx_diag *diag)
{
	struct sealing *sealing;
	int err;
	u32 i;

	args->failed = 0;
	err = refuse_untracked(trackers, count, &args->failed, diag);
	if (err)
		return err;
	sealing = new_sealing(trackers, count, args);
	if (!sealing)
		return vhdx_no_memory(diag);
	err = run_thread(sealing);
	if (err && err != -EINTR)
		err = vhdx_no_memory(diag);
	if (err)
		goto out;
	err = sealing->err;
	args->failed = sealing->args.failed;
	args->time_ns = sealing->args.time_ns;
	*diag = sealing->diag;
	for (i = 0; !err && i < count; i++)
		ids[i] = sealing->members[i].part.point.id;
	for (i = 0; err && i < count; i++)
		vhdx_loss_settle(vhdx_disk_of(trackers[i]));
	vhdx_loss_explain(vhdx_disk_of(trackers[args->failed]), err, diag);
out:
	kref_put(&sealing->refs, free_sealing);
	return err;
}

/**
 * vhdx_seal_init() - when the module is loaded
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_seal_init(void)
{
	/* Writes may wait for a seal (rule K3). */
	seal_wq = alloc_workqueue("vhdx-seal", WQ_UNBOUND | WQ_MEM_RECLAIM, WQ_MAX_ACTIVE);
	return seal_wq ? 0 : -ENOMEM;
}

/**
 * vhdx_seal_exit() - when it is unloaded: there is no disk
 */
void vhdx_seal_exit(void)
{
	destroy_workqueue(seal_wq);
}
