// SPDX-License-Identifier: GPL-2.0-only
#include "open_sidecar.h"
#include "store/scope.h"
#include "trace.h"

#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>

/* What a disk waits for a sidecar that neither works nor fails (rule T7). */
static unsigned int sidecar_timeout_ms = 10000;
module_param(sidecar_timeout_ms, uint, 0644);
MODULE_PARM_DESC(sidecar_timeout_ms,
		 "how long a disk waits for its sidecar, which it gives up then (default 10000)");

/**
 * vhdx_sidecar_timeout() - how long a sidecar is waited for, in jiffies
 */
unsigned long vhdx_sidecar_timeout(void)
{
	return msecs_to_jiffies(READ_ONCE(sidecar_timeout_ms));
}

/* Closes sidecars. The module stays until it has nothing to do. */
static struct workqueue_struct *close_wq;

/* What trackers do in the background: it waits for their locks. */
struct workqueue_struct *vhdx_tracker_wq;

static struct vhdx_open_sidecar *open_around(const struct vhdx_sidecar *sidecar)
{
	return container_of(sidecar, struct vhdx_open_sidecar, sidecar);
}

/**
 * vhdx_open_sidecar_is_removed() - has its file no name any more?
 * @sidecar:	of one that is open
 *
 * Any context.
 */
bool vhdx_open_sidecar_is_removed(const struct vhdx_sidecar *sidecar)
{
	return vhdx_container_is_unlinked(&open_around(sidecar)->file);
}

/* ---- the store ---------------------------------------------------------------------------- */

static struct vhdx_open_sidecar *open_of(struct vhdx_store *store)
{
	return container_of(store, struct vhdx_open_sidecar, store);
}

/* Questions read beside the errand: what they read does not say that the errand gets on. */
static int step(struct vhdx_open_sidecar *open, int err)
{
	if (current == READ_ONCE(open->worker))
		atomic_long_inc(&open->steps);
	return err;
}

static int store_read(struct vhdx_store *store, u64 offset, void *buf, size_t length)
{
	struct vhdx_open_sidecar *open = open_of(store);

	return step(open, open->file.store.read(&open->file.store, offset, buf, length));
}

static int store_write(struct vhdx_store *store, u64 offset, const void *buf, size_t length)
{
	struct vhdx_open_sidecar *open = open_of(store);

	if (READ_ONCE(open->given_up))
		return -EIO;
	return step(open, open->file.store.write(&open->file.store, offset, buf, length));
}

static int store_flush(struct vhdx_store *store)
{
	struct vhdx_open_sidecar *open = open_of(store);

	if (READ_ONCE(open->given_up))
		return -EIO;
	return step(open, open->file.store.flush(&open->file.store));
}

/* ---- errands ------------------------------------------------------------------------------ */

static void errand_work(struct work_struct *work)
{
	struct vhdx_open_sidecar *open = container_of(work, struct vhdx_open_sidecar,
						      errand.work);
	unsigned int flags = vhdx_scope_enter();

	WRITE_ONCE(open->worker, current);
	open->errand.err = open->errand.run(open);
	/* Nothing has happened; and there may be blocks that only readers keep from use. */
	if (open->errand.err == -ENOSPC && open->sidecar.retire) {
		synchronize_srcu(&open->readers);
		open->errand.err = open->errand.run(open);
	}
	WRITE_ONCE(open->worker, NULL);
	vhdx_scope_leave(flags);
	complete(&open->errand.done);
	vhdx_open_sidecar_put(open);
}

/**
 * vhdx_open_sidecar_run() - have an errand run, and wait for its end up to a deadline
 * @open:	the caller serialises all errands
 * @run:	what it does; its parameters are in @open->errand
 *
 * There may be much to do, also in a commit, which looks for room: the time counts from its last
 * transfer that has ended. Sleeps, for a bounded time where the sidecar hangs. Returns what @run
 * returned; -ETIMEDOUT beyond the deadline: @open is abandoned, and its errand is not to be looked
 * at any more.
 */
int vhdx_open_sidecar_run(struct vhdx_open_sidecar *open, vhdx_sidecar_errand_fn run)
{
	unsigned long timeout = vhdx_sidecar_timeout();
	long steps = atomic_long_read(&open->steps), last;

	if (open->abandoned)
		return -ETIMEDOUT;
	open->errand.run = run;
	reinit_completion(&open->errand.done);
	vhdx_open_sidecar_get(open);
	queue_work(open->wq, &open->errand.work);
	while (!wait_for_completion_timeout(&open->errand.done, timeout)) {
		last = steps;
		steps = atomic_long_read(&open->steps);
		if (steps != last)
			continue;
		open->abandoned = true;
		WRITE_ONCE(open->given_up, true);
		return -ETIMEDOUT;
	}
	return open->errand.err;
}

/**
 * vhdx_open_sidecar_commit_now() - make what is in memory of it durable
 * @open:	by one of its errands
 *
 * Sleeps, as long as the sidecar takes. Returns 0 or -errno, as vhdx_sidecar_commit().
 */
int vhdx_open_sidecar_commit_now(struct vhdx_open_sidecar *open)
{
	u64 start = ktime_get_ns();
	int err = vhdx_sidecar_commit(&open->sidecar);

	trace_vhdx_sidecar_commit(open->file.claim.disk, ktime_get_ns() - start, err);
	return err;
}

/**
 * vhdx_open_sidecar_commit() - the same, as an errand
 * @open:	the caller serialises all errands
 *
 * Sleeps as vhdx_open_sidecar_run(), and returns the same.
 */
int vhdx_open_sidecar_commit(struct vhdx_open_sidecar *open)
{
	return vhdx_open_sidecar_run(open, vhdx_open_sidecar_commit_now);
}

/* ---- readers ------------------------------------------------------------------------------ */

/**
 * vhdx_open_sidecar_begin_change() - the timeline is about to change, in memory
 * @open:	nobody else changes it
 *
 * Waits for those who look at it, which takes no I/O.
 */
void vhdx_open_sidecar_begin_change(struct vhdx_open_sidecar *open)
{
	down_write(&open->timeline_lock);
	open->version++;
}

/**
 * vhdx_open_sidecar_end_change() - it has changed
 * @open:	vhdx_open_sidecar_begin_change()
 */
void vhdx_open_sidecar_end_change(struct vhdx_open_sidecar *open)
{
	up_write(&open->timeline_lock);
}

static void change(struct vhdx_sidecar *sidecar, bool begin)
{
	struct vhdx_open_sidecar *open = open_around(sidecar);

	if (begin)
		vhdx_open_sidecar_begin_change(open);
	else
		vhdx_open_sidecar_end_change(open);
}

static u64 retire(struct vhdx_sidecar *sidecar)
{
	return start_poll_synchronize_srcu(&open_around(sidecar)->readers);
}

static bool retired(struct vhdx_sidecar *sidecar, u64 cookie)
{
	return poll_state_synchronize_srcu(&open_around(sidecar)->readers, cookie);
}

/**
 * vhdx_open_sidecar_arm() - from here on there may be readers
 * @open:	its sidecar is loaded, or formatted
 */
void vhdx_open_sidecar_arm(struct vhdx_open_sidecar *open)
{
	open->sidecar.change = change;
	open->sidecar.retire = retire;
	open->sidecar.retired = retired;
	vhdx_sidecar_cache_start(&open->cache, &open->sidecar);
}

/* ---- life --------------------------------------------------------------------------------- */

static void free_memory(struct kref *refs)
{
	struct vhdx_open_sidecar *open = container_of(refs, struct vhdx_open_sidecar, refs);

	if (open->orphan)
		vhdx_changemap_release(open->orphan);
	kfree(open->orphan);
	kfree(open->path);
	kfree(open);
}

/**
 * vhdx_open_sidecar_put_memory() - the caller has seen that it is closed, or does not care
 * @open:	with a reference from kref_get()
 */
void vhdx_open_sidecar_put_memory(struct vhdx_open_sidecar *open)
{
	kref_put(&open->refs, free_memory);
}

static void free_coarse(struct vhdx_open_sidecar *open)
{
	if (open->coarse)
		vhdx_coarse_destroy(open->coarse);
	kfree(open->coarse);
	open->coarse = NULL;
}

/**
 * vhdx_open_sidecar_cover() - give it a coarse map
 * @open:	loaded or formatted. One that it had was given up
 * @host:	of the disk
 *
 * Returns 0; -ENOMEM; -EBUSY: a commit of the former one hangs.
 */
int vhdx_open_sidecar_cover(struct vhdx_open_sidecar *open, struct vhdx_coarse_host *host)
{
	struct vhdx_coarse *coarse;

	if (open->coarse && vhdx_coarse_is_busy(open->coarse))
		return -EBUSY;
	free_coarse(open);
	coarse = kzalloc(sizeof(*coarse), GFP_KERNEL);
	if (!coarse || vhdx_coarse_init(coarse, host, &open->sidecar, open->coarse_wq)) {
		kfree(coarse);
		return -ENOMEM;
	}
	open->coarse = coarse;
	return 0;
}

/* The locks on the file are gone when this has closed it (rule K5): it is a kernel thread. */
static void close_work(struct work_struct *work)
{
	struct vhdx_open_sidecar *open = container_of(work, struct vhdx_open_sidecar, close_work);

	free_coarse(open);
	vhdx_sidecar_cache_stop(&open->cache);
	vhdx_sidecar_release(&open->sidecar);
	/* No reader is left; a grace period that was only asked for may be under way. */
	synchronize_srcu(&open->readers);
	cleanup_srcu_struct(&open->readers);
	destroy_workqueue(open->coarse_wq);
	destroy_workqueue(open->wq);
	open->file.queue.workqueue = NULL;
	vhdx_container_close_now(&open->file);
	/* Who is told may unload the module, which waits for this queue. */
	module_put(THIS_MODULE);
	complete_all(&open->closed);
	vhdx_open_sidecar_put_memory(open);
}

/**
 * vhdx_open_sidecar_get() - one more user of the file
 * @open:	somebody else uses it meanwhile
 *
 * Any context. Returns @open.
 */
struct vhdx_open_sidecar *vhdx_open_sidecar_get(struct vhdx_open_sidecar *open)
{
	refcount_inc(&open->users);
	return open;
}

/**
 * vhdx_open_sidecar_put() - the file is not used any more by this task
 * @open:	one of its users was the caller's
 *
 * Any process context: waits neither for a file system nor for a device.
 */
void vhdx_open_sidecar_put(struct vhdx_open_sidecar *open)
{
	if (refcount_dec_and_test(&open->users))
		queue_work(close_wq, &open->close_work);
}

/* How many ever were: their versions begin apart from each other. */
static atomic64_t opened = ATOMIC64_INIT(0);

/**
 * vhdx_open_sidecar_new() - use a file as a sidecar from now on
 * @disk:	number of the disk that claims it
 * @file:	from vhdx_container_file()
 * @path:	what vhdx_container_path() called it for who gave it. The caller keeps it
 * @read_only:	never write
 * @diag:	what is wrong
 *
 * Nothing is read. vhdx_open_sidecar_put() it. Returns it or an ERR_PTR(), as
 * vhdx_container_open().
 */
struct vhdx_open_sidecar *vhdx_open_sidecar_new(int disk, struct file *file, const char *path,
						bool read_only, struct vhdx_diag *diag)
{
	struct vhdx_open_sidecar *open = kzalloc(sizeof(*open), GFP_KERNEL);
	int err = -ENOMEM;

	if (!open)
		goto fail;
	open->version = (u64)atomic64_inc_return(&opened) << 32;
	open->wq = alloc_workqueue("vhdx%d-sidecar", WQ_UNBOUND | WQ_MEM_RECLAIM, 0, disk);
	open->coarse_wq = alloc_workqueue("vhdx%d-coarse", WQ_UNBOUND | WQ_MEM_RECLAIM, 0, disk);
	if (!open->wq || !open->coarse_wq)
		goto fail_queues;
	err = init_srcu_struct(&open->readers);
	if (err)
		goto fail_queues;
	open->file.claim.disk = disk;
	err = vhdx_container_open(&open->file, file, read_only, "sidecar", diag);
	if (err)
		goto fail_readers;
	err = -ENOMEM;
	open->path = kstrdup(path, GFP_KERNEL);
	if (path && !open->path)
		goto fail_file;
	open->file.queue.workqueue = open->wq;
	open->store = (struct vhdx_store) {
		.size = open->file.store.size,
		.read = store_read,
		.write = store_write,
		.flush = store_flush,
	};
	kref_init(&open->refs);
	init_rwsem(&open->timeline_lock);
	refcount_set(&open->users, 1);
	INIT_WORK(&open->errand.work, errand_work);
	init_completion(&open->errand.done);
	INIT_WORK(&open->close_work, close_work);
	init_completion(&open->closed);
	__module_get(THIS_MODULE);
	return open;

fail_file:
	/* tracker->tree may be held. */
	vhdx_container_close(&open->file);
fail_readers:
	cleanup_srcu_struct(&open->readers);
fail_queues:
	if (open->coarse_wq)
		destroy_workqueue(open->coarse_wq);
	if (open->wq)
		destroy_workqueue(open->wq);
	kfree(open);
fail:
	if (err == -ENOMEM)
		vhdx_no_memory(diag);
	return ERR_PTR(err);
}

/**
 * vhdx_open_sidecar_init() - when the module is loaded
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_open_sidecar_init(void)
{
	int err = vhdx_sidecar_cache_init();

	if (err)
		return err;
	close_wq = alloc_workqueue("vhdx-close", WQ_UNBOUND, 0);
	vhdx_tracker_wq = alloc_workqueue("vhdx-tracker", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (close_wq && vhdx_tracker_wq)
		return 0;
	vhdx_open_sidecar_exit();
	return -ENOMEM;
}

/**
 * vhdx_open_sidecar_exit() - when it is unloaded: no sidecar is open
 */
void vhdx_open_sidecar_exit(void)
{
	if (vhdx_tracker_wq)
		destroy_workqueue(vhdx_tracker_wq);
	if (close_wq)
		destroy_workqueue(close_wq);
	vhdx_sidecar_cache_exit();
}
