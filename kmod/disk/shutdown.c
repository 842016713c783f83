// SPDX-License-Identifier: GPL-2.0-only
/*
 * An orderly shutdown with disks attached: disks whose containers lie on the root file
 * system are there until the end. Each is closed as detach closes it, and can still be
 * read; writes that come later fail. Nothing of this runs after a panic.
 *
 * Disks are closed side by side. A disk whose container or sidecar lies on another VHDX disk is
 * closed before that one. If loop or device mapper hides that, both are closed at the same time,
 * and the upper one may find that its container takes no more writes: to its next attach that is a
 * crash.
 */
#include "shutdown.h"
#include "disk.h"
#include "message.h"
#include "registry.h"

#include <linux/mutex.h>
#include <linux/reboot.h>
#include <linux/suspend.h>

/* For all disks together: so long the shutdown waits. */
#define DEADLINE	(10 * HZ)

static struct workqueue_struct *shutdown_wq;
static DECLARE_WAIT_QUEUE_HEAD(some_done);

/*
 * Of the reboot notifier, which may be called again while the machine goes down: by SysRq,
 * Ctrl-Alt-Del, a thermal emergency. The second caller waits here until the disks are closed.
 */
static DEFINE_MUTEX(closing_lock);
/* The disks are closed; under closing_lock. None is attached or detached from then on. */
static bool closed;

/*
 * A machine that hibernates is shut down too, but in the image of its memory the disks are in use,
 * and go on when the machine resumes.
 */
static bool hibernating;

static void close_disk(struct vhdx_disk *disk)
{
	int err;

	if (disk->read_only)
		return;
	if (!vhdx_io_shut(disk, disk->shutdown.deadline)) {
		vhdx_say_err(disk->index,
			     "writes do not end: it is not closed before the shutdown");
		return;
	}
	err = vhdx_session_shut(disk);
	if (err)
		vhdx_say_err(disk->index,
			     "the container could not be closed cleanly before the shutdown (error %d)",
			     err);
	else
		vhdx_say_info(disk->index, "closed before the shutdown: from now on writes fail");
}

static void shutdown_work(struct work_struct *work)
{
	struct vhdx_disk *disk = container_of(work, struct vhdx_disk, shutdown.work);

	close_disk(disk);
	/* Pairs with all_done(): all that this disk wrote has arrived at the disk below it. */
	smp_store_release(&disk->shutdown.done, true);
	wake_up_all(&some_done);
}

static bool all_done(const struct list_head *disks)
{
	const struct vhdx_disk *disk;

	list_for_each_entry(disk, disks, shutdown.link) {
		/* Pairs with shutdown_work(). */
		if (!smp_load_acquire(&disk->shutdown.done))
			return false;
	}
	return true;
}

/* Move those disks out of @all that lie on the most other disks. */
static void take_topmost(struct list_head *all, struct list_head *topmost)
{
	struct vhdx_disk *disk, *next;
	unsigned int depth = 0;

	list_for_each_entry(disk, all, shutdown.link)
		depth = max(depth, disk->shutdown.depth);
	list_for_each_entry_safe(disk, next, all, shutdown.link) {
		if (disk->shutdown.depth == depth)
			list_move_tail(&disk->shutdown.link, topmost);
	}
}

static void close_side_by_side(struct list_head *disks, unsigned long deadline)
{
	struct vhdx_disk *disk;

	list_for_each_entry(disk, disks, shutdown.link) {
		disk->shutdown.deadline = deadline;
		INIT_WORK(&disk->shutdown.work, shutdown_work);
		queue_work(shutdown_wq, &disk->shutdown.work);
	}
	wait_event_timeout(some_done, all_done(disks), max_t(long, deadline - jiffies, 1));
}

/*
 * From the top of the stacks down. A disk that hangs must not take all of the time from the disks
 * below it.
 */
static void close_all(struct list_head *disks, unsigned long end)
{
	unsigned long half;

	while (!list_empty(disks)) {
		LIST_HEAD(topmost);

		take_topmost(disks, &topmost);
		half = jiffies + max_t(long, end - jiffies, 0) / 2;
		close_side_by_side(&topmost, list_empty(disks) ? end : half);
	}
}

static void close_what_is_attached(void)
{
	unsigned long end = jiffies + DEADLINE;
	struct vhdx_disk *disk;
	LIST_HEAD(disks);

	lockdep_assert_held(&closing_lock);
	vhdx_registry_keep_all(&disks);
	list_for_each_entry(disk, &disks, shutdown.link)
		disk->shutdown.depth = vhdx_disk_depth(disk);
	close_all(&disks, end);
	vhdx_registry_wait_for_detaches(end);
}

static int on_reboot(struct notifier_block *block, unsigned long event, void *command)
{
	if (READ_ONCE(hibernating))
		return NOTIFY_DONE;
	mutex_lock(&closing_lock);
	if (!closed)
		close_what_is_attached();
	closed = true;
	mutex_unlock(&closing_lock);
	return NOTIFY_DONE;
}

/* Before the notifiers of drivers that the containers lie on. */
static struct notifier_block reboot_notifier = {
	.notifier_call = on_reboot,
	.priority = INT_MAX,
};

static int on_sleep(struct notifier_block *block, unsigned long event, void *unused)
{
	if (event == PM_HIBERNATION_PREPARE)
		WRITE_ONCE(hibernating, true);
	else if (event == PM_POST_HIBERNATION)
		WRITE_ONCE(hibernating, false);
	return NOTIFY_DONE;
}

static struct notifier_block sleep_notifier = {
	.notifier_call = on_sleep,
};

/**
 * vhdx_shutdown_init() - when the module is loaded
 */
int vhdx_shutdown_init(void)
{
	int err;

	shutdown_wq = alloc_workqueue("vhdx-shutdown", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!shutdown_wq)
		return -ENOMEM;
	err = register_pm_notifier(&sleep_notifier);
	if (err)
		goto fail_queue;
	err = register_reboot_notifier(&reboot_notifier);
	if (err)
		goto fail_sleep;
	return 0;

fail_sleep:
	unregister_pm_notifier(&sleep_notifier);
fail_queue:
	destroy_workqueue(shutdown_wq);
	return err;
}

/**
 * vhdx_shutdown_exit() - when it is unloaded: there is no disk
 */
void vhdx_shutdown_exit(void)
{
	unregister_reboot_notifier(&reboot_notifier);
	unregister_pm_notifier(&sleep_notifier);
	destroy_workqueue(shutdown_wq);
}
