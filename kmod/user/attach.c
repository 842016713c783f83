// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attach and detach: one ladder up, the same ladder down.
 */
#include "attach.h"
#include "chardev.h"
#include "disk/disk.h"
#include "disk/registry.h"
#include "message.h"
#include "store/scope.h"
#include "sysfs.h"

#include <linux/completion.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/refcount.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <uapi/linux/vhdx.h>

/*
 * Looks for disks that are to be detached at their last close, again and again while one
 * might be: mkfs and fsck open a disk several times.
 */
#define AUTOCLEAR_LINGER	HZ
#define AUTOCLEAR_PAUSE		(HZ / 20)
static void autoclear(struct work_struct *work);
static DECLARE_DELAYED_WORK(autoclear_work, autoclear);
/*
 * All disks may be detached side by side, each waiting for a container of its own, and one more
 * work looks for those that were closed: more than one queue does at a time.
 */
#define QUEUES	DIV_ROUND_UP(VHDX_DISKS_MAX, WQ_MAX_ACTIVE - 1)
static struct workqueue_struct *detach_wq[QUEUES];

/**
 * struct vhdx_detaching - the detach of a disk, by a worker: that waits for a container that hangs;
 *			   who asked for it waits for the worker, and can be killed (invariant 9)
 * @work:	detaches it; no other task can reach the disk then
 * @done:	the disk is gone
 * @refs:	of the disk, then of the worker; and of the task that waits
 * @disk:	which one
 * @err:	see vhdx_detach()
 * @diag:	likewise
 */
struct vhdx_detaching {
	struct work_struct work;
	struct completion done;
	refcount_t refs;
	struct vhdx_disk *disk;
	int err;
	struct vhdx_diag diag;
};

static void put_detaching(struct vhdx_detaching *detaching)
{
	if (detaching && refcount_dec_and_test(&detaching->refs))
		kfree(detaching);
}

static void last_close(struct vhdx_disk *disk)
{
	queue_delayed_work(detach_wq[0], &autoclear_work, AUTOCLEAR_PAUSE);
}

/* ---- attach ------------------------------------------------------------------------------- */

/* An open change-tracking device outlives the disk. */
static void free_disk(struct vhdx_disk *disk)
{
	struct vhdx_cdev *cdev = disk->cdev;

	vhdx_sysfs_free(disk);
	vhdx_disk_free(disk);
	vhdx_cdev_put(cdev);
}

static void detach_work(struct work_struct *work);

/* When it is attached: its detach does not fail for want of memory. */
static int prepare_detach(struct vhdx_disk *disk)
{
	struct vhdx_detaching *detaching = kzalloc(sizeof(*detaching), GFP_KERNEL);

	if (!detaching)
		return -ENOMEM;
	INIT_WORK(&detaching->work, detach_work);
	init_completion(&detaching->done);
	refcount_set(&detaching->refs, 1);
	detaching->disk = disk;
	disk->detaching = detaching;
	return 0;
}

static int start(struct vhdx_disk *disk)
{
	const struct attribute_group **groups = vhdx_sysfs_make(disk);
	int err;

	if (!groups)
		return -ENOMEM;
	err = vhdx_disk_prepare(disk);
	if (err)
		return err;
	vhdx_loss_start(disk);
	err = vhdx_cdev_create(disk);
	if (err)
		goto fail_disk;
	err = vhdx_disk_add(disk, groups);
	if (err)
		goto fail_cdev;
	return 0;

fail_cdev:
	vhdx_cdev_detach(disk->cdev);
	vhdx_cdev_remove(disk->cdev);
	/* Another task may have used it already. */
	vhdx_disk_stop_work(disk);
fail_disk:
	vhdx_loss_stop(disk);
	vhdx_disk_unprepare(disk);
	return err;
}

/* Where writes are to fail rather than go unrecorded, there is something to record them in. */
static bool must_record(const struct vhdx_attach *args)
{
	return (args->flags & VHDX_ATTACH_FAIL_TRACKING) &&
	       !(args->flags & (VHDX_ATTACH_READ_ONLY | VHDX_ATTACH_WILL_TRACK));
}

static int refuse_unrecorded(const struct vhdx_attach *args, const struct file *sidecar,
			     struct vhdx_diag *diag)
{
	if (sidecar || !must_record(args))
		return 0;
	return vhdx_bad_argument(diag, "there is no sidecar, and writes are to fail where they can't be recorded: give one, or enable tracking next");
}

static int refuse_disabled(const struct vhdx_attach *args, const struct vhdx_disk *disk,
			   struct vhdx_diag *diag)
{
	if (disk->tracker.state != VHDX_TRACKING_DISABLED || !must_record(args))
		return 0;
	return vhdx_fail(diag, -EINVAL, VHDX_REASON_DISABLED,
			 "tracking is disabled in its sidecar, and writes are to fail where they can't be recorded: enable it (--track)");
}

/**
 * vhdx_attach() - attach a disk
 * @args:	flags and index, checked; index and disk_seq are filled in
 * @files:	of as many layers as @args says, the leaf first
 * @diag:	what is wrong; on success why tracking is not what one would expect
 *
 * In a kernel thread: waits for containers as long as they take. Returns 0 or -errno, see the uapi
 * header.
 */
int vhdx_attach(struct vhdx_attach *args, const struct vhdx_layer_files *files,
		struct vhdx_diag *diag)
{
	bool read_only = args->flags & VHDX_ATTACH_READ_ONLY;
	struct vhdx_diag gap = { };
	struct vhdx_disk *disk;
	unsigned int flags;
	int index, err;

	err = refuse_unrecorded(args, files->sidecar, diag);
	if (err)
		return err;
	if (!try_module_get(THIS_MODULE))
		return -ENODEV;
	index = vhdx_registry_take_index(args->index, diag);
	err = index;
	if (index < 0)
		goto fail_module;
	err = -ENOMEM;
	disk = vhdx_disk_alloc(index, args->layer_count, read_only);
	if (!disk)
		goto fail_index;
	err = prepare_detach(disk);
	if (err)
		goto fail_disk;
	disk->tracker.sidecar_file = files->sidecar;
	disk->tracker.sidecar_path = files->sidecar_path;
	if (args->flags & VHDX_ATTACH_FAIL_TRACKING)
		vhdx_tracker_insist(&disk->tracker);
	err = vhdx_disk_open(disk, files, diag);
	if (err)
		goto fail_disk;
	if (args->flags & VHDX_ATTACH_STRICT)
		vhdx_tracker_be_strict(&disk->tracker);
	if (files->sidecar) {
		flags = vhdx_scope_enter();
		err = vhdx_tracker_resume(&disk->tracker, &gap, diag);
		vhdx_scope_leave(flags);
	}
	if (!err)
		err = refuse_disabled(args, disk, diag);
	if (err)
		goto fail_disk;
	/* What was read after the caller was killed may have been cut short. To believe that would
	 * be a gap for ever; and no task is left to detach the disk.
	 */
	err = -EINTR;
	if (fatal_signal_pending(current))
		goto fail_disk;
	/* Of the caller, who takes them away. */
	disk->tracker.sidecar_file = NULL;
	disk->tracker.sidecar_path = NULL;
	vhdx_past_explain(&disk->tracker.past, &gap);
	disk->last_close = last_close;
	disk->autoclear = args->flags & VHDX_ATTACH_AUTOCLEAR;
	vhdx_registry_note_age(disk);
	err = start(disk);
	if (err) {
		vhdx_fail(diag, err, VHDX_REASON_NONE, "the disk can't be started (error %d)", err);
		goto fail_disk;
	}

	/* The file by which the block layer looked for partitions: what a kernel thread lets go of
	 * is closed some time, and until then the disk is in use.
	 */
	flush_delayed_fput();

	/* From here on another task may detach it. */
	args->disk_seq = vhdx_registry_publish(disk);
	args->index = index;
	*diag = gap;
	return 0;

fail_disk:
	put_detaching(disk->detaching);
	free_disk(disk);
fail_index:
	vhdx_registry_free_index(index);
fail_module:
	module_put(THIS_MODULE);
	return err;
}

/* ---- detach ------------------------------------------------------------------------------- */

static int detach_taken(struct vhdx_disk *disk, struct vhdx_diag *diag)
{
	char how[VHDX_LOSS_TEXT];
	struct vhdx_diag gap = { };
	int index = disk->index;
	int err;

	/* No more ioctls, then no more bios. */
	vhdx_cdev_detach(disk->cdev);
	vhdx_cdev_remove(disk->cdev);
	vhdx_disk_drain(disk);
	vhdx_disk_stop_work(disk);

	err = vhdx_session_end(disk, &gap);
	vhdx_loss_stop(disk);
	if (err) {
		if (vhdx_disk_container(disk)->lost) {
			vhdx_loss_how(disk, how);
			vhdx_fail(diag, -EIO, VHDX_REASON_IO,
				  "detached, but the container %s; it was left as it is: put it back from a copy, and make a full backup",
				  how);
		} else {
			vhdx_io_failed(diag, err, "detached, but the container could not be closed cleanly (error %d): its log is replayed at the next attach",
				       err);
			vhdx_say_err(index,
				     "the container could not be closed cleanly (error %d); its log is replayed at the next attach",
				     err);
		}
		err = -EIO;
	} else {
		*diag = gap;
	}
	vhdx_disk_unprepare(disk);
	free_disk(disk);
	vhdx_registry_detached(index);
	module_put(THIS_MODULE);
	return err;
}

static void queue_detach(struct vhdx_disk *disk)
{
	queue_work(detach_wq[disk->index % QUEUES], &disk->detaching->work);
}

static void detach_work(struct work_struct *work)
{
	struct vhdx_detaching *detaching = container_of(work, struct vhdx_detaching, work);

	detaching->err = detach_taken(detaching->disk, &detaching->diag);
	complete(&detaching->done);
	put_detaching(detaching);
}

/**
 * vhdx_detach() - VHDX_DETACH
 * @index:	N of /dev/vhdxN
 * @disk_seq:	the attachment that is meant; 0: whichever has the index
 * @diag:	what is wrong; on success what the sidecar does not keep
 *
 * Once it is not busy there is no way back: -EIO says that the container was not closed
 * cleanly; -EINTR that the caller was killed, and did not wait for the end; any other error that
 * the disk is still there.
 */
int vhdx_detach(int index, u64 disk_seq, struct vhdx_diag *diag)
{
	struct vhdx_detaching *detaching;
	struct vhdx_disk *disk;
	int err = vhdx_registry_take(index, disk_seq, &disk, diag);

	if (err)
		return err;
	detaching = disk->detaching;
	refcount_inc(&detaching->refs);
	queue_detach(disk);
	err = -EINTR;
	if (!wait_for_completion_killable(&detaching->done)) {
		*diag = detaching->diag;
		err = detaching->err;
	}
	put_detaching(detaching);
	return err;
}

/* ---- detach at the last close ------------------------------------------------------------ */

/*
 * The close itself holds locks that detach needs, and may be repeated before this runs. So
 * there is one work item for all disks, none that would have to outlive its disk. It detaches
 * all that are to be, side by side.
 */
static void autoclear(struct work_struct *work)
{
	if (vhdx_registry_take_closed(AUTOCLEAR_LINGER, queue_detach))
		queue_delayed_work(detach_wq[0], &autoclear_work, AUTOCLEAR_PAUSE);
}

/**
 * vhdx_attach_init() - when the module is loaded
 */
int vhdx_attach_init(void)
{
	unsigned int i;

	for (i = 0; i < QUEUES; i++) {
		detach_wq[i] = alloc_workqueue("vhdx-detach%u", WQ_UNBOUND, WQ_MAX_ACTIVE, i);
		if (!detach_wq[i]) {
			vhdx_attach_exit();
			return -ENOMEM;
		}
	}
	return 0;
}

/**
 * vhdx_attach_exit() - when it is unloaded: there is no disk
 */
void vhdx_attach_exit(void)
{
	unsigned int i;

	cancel_delayed_work_sync(&autoclear_work);
	for (i = 0; i < QUEUES && detach_wq[i]; i++)
		destroy_workqueue(detach_wq[i]);
}
