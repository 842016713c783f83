// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attach and detach: one ladder up, the same ladder down.
 */
#include "disk.h"
#include "user/chardev.h"
#include "store/scope.h"

#include <linux/blkdev.h>
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uuid.h>
#include <uapi/linux/vhdx.h>

/* Who is attached, by index; NULL: an index that is being attached or detached. */
static DEFINE_IDR(disks);
static LIST_HEAD(disks_by_age);
static DEFINE_MUTEX(disks_lock);
/* The machine goes down: no disk comes or goes any more. Written under disks_lock. */
static bool closing_down;
/* How many are being detached, and who waits for that to end. */
static atomic_t detaching;
static DECLARE_WAIT_QUEUE_HEAD(detached);

/*
 * Looks for disks that are to be detached at their last close, again and again while one
 * might be: mkfs and fsck open a disk several times.
 */
#define AUTOCLEAR_LINGER	HZ
#define AUTOCLEAR_PAUSE		(HZ / 20)
static void autoclear(struct work_struct *work);
static DECLARE_DELAYED_WORK(autoclear_work, autoclear);
static struct workqueue_struct *autoclear_wq;

/* ---- the block device -------------------------------------------------------------- */

static COMPAT_BDOPS_OPEN(disk_open, gd)
{
	struct vhdx_disk *disk = COMPAT_BDOPS_OPEN_DISK(gd)->private_data;

	/* The block layer holds gd->open_mutex, and so does detach while it decides. */
	if (disk->closing)
		return -ENXIO;
	/* udev, and whoever else wants to know what it is, opens it to read. */
	if (mode & (COMPAT_OPEN_WRITE | COMPAT_OPEN_EXCL))
		disk->used = true;
	return 0;
}

static COMPAT_BDOPS_RELEASE(disk_release, gd)
{
	struct vhdx_disk *disk = gd->private_data;

	if (disk->autoclear && disk->used && !disk_openers(gd)) {
		disk->closed_at = jiffies;
		queue_delayed_work(autoclear_wq, &autoclear_work, AUTOCLEAR_PAUSE);
	}
}

static char *disk_devnode(struct gendisk *gd, umode_t *mode)
{
	if (mode)
		*mode = 0660;
	return NULL;
}

static const struct block_device_operations disk_fops = {
	.owner		= THIS_MODULE,
	.submit_bio	= vhdx_submit_bio,
	.open		= disk_open,
	.release	= disk_release,
	.devnode	= disk_devnode,
};

#define DEPTH_MAX	16

/* The disk of ours that a file, or a block device, lives on. */
static struct vhdx_disk *disk_under(const struct file *file)
{
	struct inode *inode = vhdx_inode_below(file);
	struct block_device *bdev = S_ISBLK(inode->i_mode) ? I_BDEV(inode) : inode->i_sb->s_bdev;

	return bdev && bdev->bd_disk->fops == &disk_fops ? bdev->bd_disk->private_data : NULL;
}

/**
 * vhdx_disk_is_below() - does this file live on the disk?
 * @disk:	the disk
 * @file:	regular file or block device
 *
 * Looks through other disks of this module; what loop and device mapper hide is caught by
 * nobody but the deadline of rule T7.
 */
bool vhdx_disk_is_below(struct vhdx_disk *disk, struct file *file)
{
	struct vhdx_disk *other;
	int depth;

	for (depth = 0; depth < DEPTH_MAX; depth++) {
		other = disk_under(file);
		if (!other)
			return false;
		if (other == disk)
			return true;
		file = vhdx_disk_leaf(other)->container.file;
	}
	return true;
}

static unsigned int depth_of(struct file *file)
{
	struct vhdx_disk *disk;
	unsigned int depth;

	for (depth = 0; depth < DEPTH_MAX; depth++) {
		disk = disk_under(file);
		if (!disk)
			break;
		file = vhdx_disk_leaf(disk)->container.file;
	}
	return depth;
}

/**
 * vhdx_disk_depth() - how many disks of ours do its files lie on, one on the other?
 * @disk:	the disk; none of these is detached meanwhile
 *
 * Sees what vhdx_disk_is_below() sees, of the sidecar only if nobody is busy with it.
 */
unsigned int vhdx_disk_depth(struct vhdx_disk *disk)
{
	struct vhdx_tracker *t = &disk->tracker;
	unsigned int depth = depth_of(vhdx_disk_leaf(disk)->container.file);

	if (!down_read_trylock(&t->lock))
		return depth;
	if (t->state != VHDX_TRACKING_OFF)
		depth = max(depth, depth_of(t->file.file));
	up_read(&t->lock);
	return depth;
}

/**
 * vhdx_disk_poison() - no more writes: what is on disk may not be what was acknowledged
 * @disk:	the disk
 * @what:	failed
 * @err:	how
 */
void vhdx_disk_poison(struct vhdx_disk *disk, const char *what, int err)
{
	if (!READ_ONCE(disk->poisoned))
		pr_err("vhdx%d: %s failed (error %d): writes fail until the disk is detached\n",
		       disk->index, what, err);
	WRITE_ONCE(disk->poisoned, true);
}

/**
 * vhdx_disk_info() - VHDX_GET_INFO
 * @disk:	the disk
 * @info:	filled in
 */
void vhdx_disk_info(struct vhdx_disk *disk, struct vhdx_info *info)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	const struct vhdx_geometry *geo = &leaf->image.geo;
	struct vhdx_container_description what;
	vhdx_guid guid;

	vhdx_container_describe(&leaf->container, &what);
	vhdx_layer_data_write_guid(leaf, &guid);
	info->index = disk->index;
	info->disk_flags = (disk->read_only ? VHDX_DISK_READ_ONLY : 0) |
			   (geo->fixed ? VHDX_DISK_FIXED : 0) |
			   (leaf->replayed ? VHDX_DISK_REPLAYED : 0) |
			   (leaf->container.direct ? VHDX_DISK_DIRECT_IO : 0) |
			   (what.below ? VHDX_DISK_BLOCK : 0) |
			   (vhdx_disk_is_poisoned(disk) ? VHDX_DISK_POISONED : 0) |
			   (vhdx_layer_is_lost(leaf) ? VHDX_DISK_LOST : 0);
	info->virtual_disk_size = geo->disk_size;
	memcpy(info->virtual_disk_id, &geo->disk_id, sizeof(info->virtual_disk_id));
	memcpy(info->data_write_guid, &guid, sizeof(info->data_write_guid));
	info->block_size = geo->block_size;
	info->logical_sector_size = geo->logical_sector_size;
	info->physical_sector_size = geo->physical_sector_size;
	info->disk_seq = disk->gd->diskseq;
	info->layer_count = disk->layer_count;
	info->unit = vhdx_tracker_unit(&disk->tracker);
}

/* ---- queues and references ------------------------------------------------------------- */

static void io_drained(struct percpu_ref *ref)
{
	complete(&container_of(ref, struct vhdx_disk, io_ref)->drained);
}

static void writes_drained(struct percpu_ref *ref)
{
	complete(&container_of(ref, struct vhdx_disk, write_ref)->writes_drained);
}

static void free_refs(struct vhdx_disk *disk)
{
	percpu_ref_exit(&disk->io_ref);
	percpu_ref_exit(&disk->write_ref);
	vhdx_gate_destroy(&disk->gate);
}

static int make_refs(struct vhdx_disk *disk)
{
	int err = percpu_ref_init(&disk->io_ref, io_drained, 0, GFP_KERNEL);

	if (!err)
		err = percpu_ref_init(&disk->write_ref, writes_drained, 0, GFP_KERNEL);
	if (!err)
		err = vhdx_gate_init(&disk->gate, vhdx_io_resume);
	if (err)
		free_refs(disk);
	return err;
}

/* However much is asked of it, a disk keeps no more than these threads busy in a queue. */
#define QUEUE_WORKERS	8

static struct workqueue_struct *queue(const struct vhdx_disk *disk, const char *what)
{
	return alloc_workqueue("vhdx%d-%s", WQ_UNBOUND | WQ_MEM_RECLAIM, QUEUE_WORKERS,
			       disk->index, what);
}

static void free_queues(struct vhdx_disk *disk)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	struct workqueue_struct **all[] = {
		&disk->slow_wq, &disk->allocate_wq, &leaf->writer.space_wq, &disk->publish_wq,
		&disk->swap_wq, &leaf->writer.commit_wq, &disk->sidecar_wq,
		&leaf->container.queue.workqueue,
	};
	int i;

	vhdx_swap_out_stop(&disk->swap_out);
	disk->tracker.file.queue.workqueue = NULL;
	for (i = 0; i < ARRAY_SIZE(all); i++) {
		if (*all[i])
			destroy_workqueue(*all[i]);
		*all[i] = NULL;
	}
	bioset_exit(&disk->split_bios);
	bioset_exit(&disk->io_bios);
	vhdx_file_queue_release(&leaf->container.queue);
	vhdx_block_ops_destroy(&leaf->writer.blocks);
}

static int make_queues(struct vhdx_disk *disk)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	int err;

	disk->slow_wq = queue(disk, "slow");
	disk->allocate_wq = queue(disk, "allocate");
	leaf->writer.space_wq = queue(disk, "space");
	disk->publish_wq = queue(disk, "publish");
	disk->swap_wq = queue(disk, "swap");
	leaf->writer.commit_wq = queue(disk, "commit");
	disk->sidecar_wq = queue(disk, "sidecar");
	leaf->container.queue.workqueue = queue(disk, "file");
	disk->tracker.file.queue.workqueue = disk->sidecar_wq;
	err = -ENOMEM;
	if (!disk->slow_wq || !disk->allocate_wq || !disk->publish_wq || !disk->swap_wq ||
	    !disk->sidecar_wq || !leaf->writer.space_wq || !leaf->writer.commit_wq ||
	    !leaf->container.queue.workqueue)
		goto fail;
	/* Whoever swaps out does not wait for those that are under way (rule K1). */
	err = bioset_init(&disk->io_bios, disk->read_only ? BIO_POOL_SIZE : VHDX_SWAP_OUTS,
			  offsetof(struct vhdx_io, request.clone), 0);
	if (!err)
		err = bioset_init(&disk->split_bios, BIO_POOL_SIZE, 0, 0);
	if (!err)
		err = vhdx_block_ops_init(&leaf->writer.blocks, vhdx_io_block_ended);
	if (!err)
		err = vhdx_container_prepare(&leaf->container);
	if (err)
		goto fail;
	return 0;
fail:
	free_queues(disk);
	return err;
}

/* ---- the gendisk ------------------------------------------------------------------------ */

static int make_gendisk(struct vhdx_disk *disk)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	struct vhdx_container_description what;
	const struct vhdx_geometry *geo = &leaf->image.geo;
	struct compat_limits limits = {
		.logical_block_size = geo->logical_sector_size,
		.physical_block_size = max(geo->physical_sector_size, geo->logical_sector_size),
		.dma_alignment = leaf->container.dma_alignment,
		/* Bios are cut at the end of a block, which starts at a whole MiB. */
		.atomic_write_most = VHDX_MIB,
		.stable_writes = leaf->container.stable_writes,
	};
	struct gendisk *gd;

	vhdx_container_describe(&leaf->container, &what);
	limits.below = what.below;
	gd = compat_alloc_disk(&limits);
	if (IS_ERR(gd))
		return PTR_ERR(gd);
	snprintf(gd->disk_name, DISK_NAME_LEN, "vhdx%d", disk->index);
	gd->fops = &disk_fops;
	gd->private_data = disk;
	set_capacity(gd, geo->disk_size >> SECTOR_SHIFT);
	set_disk_ro(gd, disk->read_only);
	disk->gd = gd;
	return 0;
}

/* ---- life ------------------------------------------------------------------------------- */

static void disk_free(struct vhdx_disk *disk)
{
	unsigned int i;

	mutex_lock(&disks_lock);
	list_del(&disk->age);
	mutex_unlock(&disks_lock);
	vhdx_tracker_destroy(&disk->tracker);
	for (i = 0; i < disk->layer_count; i++)
		vhdx_layer_free(disk->layers[i]);
	vhdx_handle_put(disk->handle);
	kfree(disk);
}

static void layer_lost(void *user, const char *how)
{
	vhdx_loss_see(user, how);
}

static void layer_failed(void *user, const char *what, int err)
{
	vhdx_disk_poison(user, what, err);
}

static const struct vhdx_layer_ops layer_ops = {
	.lost	= layer_lost,
	.failed	= layer_failed,
};

/* There is no handle while a disk is being attached. */
static void points_changed(struct vhdx_tracker *tracker)
{
	struct vhdx_disk *disk = vhdx_disk_of(tracker);

	if (disk->handle)
		wake_up_all(&disk->handle->wait);
}

static struct vhdx_disk *disk_alloc(int index, unsigned int layer_count, bool read_only)
{
	struct vhdx_disk *disk = kzalloc(struct_size(disk, layers, layer_count), GFP_KERNEL);
	unsigned int i;

	if (!disk)
		return NULL;
	disk->index = index;
	disk->read_only = read_only;
	disk->layer_count = layer_count;
	INIT_LIST_HEAD(&disk->age);
	init_completion(&disk->drained);
	init_completion(&disk->writes_drained);
	vhdx_swap_out_init(&disk->swap_out);
	vhdx_loss_init(&disk->loss);
	for (i = 0; i < layer_count; i++) {
		disk->layers[i] = vhdx_layer_alloc(index, &layer_ops, disk);
		if (!disk->layers[i])
			goto fail;
	}
	if (vhdx_tracker_init(&disk->tracker, vhdx_disk_leaf(disk), points_changed))
		goto fail;
	return disk;
fail:
	disk_free(disk);
	return NULL;
}

/*
 * Before the disk is announced: of two that are attached at once, who is told of the
 * second finds the first.
 */
static void note_age(struct vhdx_disk *disk)
{
	mutex_lock(&disks_lock);
	list_add_tail(&disk->age, &disks_by_age);
	mutex_unlock(&disks_lock);
}

/**
 * vhdx_disk_original() - the disk that this one is a copy of
 * @disk:	attached
 *
 * Two disks with one VirtualDiskId are copies of each other; names that are made of the id
 * stay with the one that was attached first. Takes disks_lock. Returns its index, or
 * -ENOENT if this is the first.
 */
int vhdx_disk_original(struct vhdx_disk *disk)
{
	const vhdx_guid *id = &vhdx_disk_leaf(disk)->image.geo.disk_id;
	struct vhdx_disk *older;
	int index = -ENOENT;

	mutex_lock(&disks_lock);
	list_for_each_entry(older, &disks_by_age, age) {
		if (older == disk)
			break;
		if (vhdx_guid_equal(&vhdx_disk_leaf(older)->image.geo.disk_id, id)) {
			index = older->index;
			break;
		}
	}
	mutex_unlock(&disks_lock);
	return index;
}

static int disk_start(struct vhdx_disk *disk)
{
	int err;

	err = vhdx_meta_init(&vhdx_disk_leaf(disk)->pages, vhdx_disk_leaf(disk));
	if (err)
		return err;
	err = make_queues(disk);
	if (err)
		return err;
	err = make_refs(disk);
	if (err)
		goto fail_queues;
	err = make_gendisk(disk);
	if (err)
		goto fail_refs;
	err = vhdx_handle_create(disk);
	if (err)
		goto fail_gendisk;
	/* From here on there is I/O: partitions are read. */
	err = device_add_disk(NULL, disk->gd, vhdx_disk_groups);
	/* A name that there was no memory for is none; nothing else here is invalid. */
	if (err == -EINVAL)
		err = -ENOMEM;
	if (err)
		goto fail_handle;
	return 0;

fail_handle:
	vhdx_handle_detach(disk->handle);
	vhdx_handle_remove(disk->handle);
	/* Somebody may have used it already. */
	vhdx_allocator_stop(&vhdx_disk_leaf(disk)->writer.space);
	vhdx_journal_stop(&vhdx_disk_leaf(disk)->writer.journal);
	vhdx_loss_stop(disk);
fail_gendisk:
	put_disk(disk->gd);
fail_refs:
	free_refs(disk);
fail_queues:
	free_queues(disk);
	return err;
}

static int take_index(int wanted, struct vhdx_diag *diag)
{
	int index;

	mutex_lock(&disks_lock);
	if (closing_down)
		index = -ESHUTDOWN;
	else if (wanted == VHDX_INDEX_ANY)
		index = idr_alloc(&disks, NULL, 0, VHDX_DISKS_MAX, GFP_KERNEL);
	else
		index = idr_alloc(&disks, NULL, wanted, wanted + 1, GFP_KERNEL);
	mutex_unlock(&disks_lock);
	if (index >= 0)
		return index;
	if (index == -ESHUTDOWN)
		return vhdx_fail(diag, index, VHDX_REASON_NONE, "the machine is shutting down");
	if (index != -ENOSPC)
		return vhdx_no_memory(diag);
	if (wanted == VHDX_INDEX_ANY)
		return vhdx_fail(diag, -EBUSY, VHDX_REASON_IN_USE,
			"%d disks are attached, and there can't be more: detach one",
			VHDX_DISKS_MAX);
	return vhdx_fail(diag, -EBUSY, VHDX_REASON_IN_USE,
			 "index %d is taken: detach that disk, or ask for another index", wanted);
}

static void free_index(int index)
{
	mutex_lock(&disks_lock);
	idr_remove(&disks, index);
	mutex_unlock(&disks_lock);
}

/**
 * vhdx_disk_attach() - VHDX_ATTACH
 * @args:	flags and index, checked; index and disk_seq are filled in
 * @container_fd: of the only layer
 * @sidecar_fd:	or -1
 * @diag:	what is wrong; on success why tracking is not what one would expect
 *
 * Returns 0 or -errno, see the uapi header.
 */
int vhdx_disk_attach(struct vhdx_attach *args, int container_fd, int sidecar_fd,
		     struct vhdx_diag *diag)
{
	bool read_only = args->flags & VHDX_ATTACH_READ_ONLY;
	struct vhdx_diag gap = { };
	struct vhdx_disk *disk;
	unsigned int flags;
	int index, err;

	if (!try_module_get(THIS_MODULE))
		return -ENODEV;
	index = take_index(args->index, diag);
	err = index;
	if (index < 0)
		goto fail_module;
	err = -ENOMEM;
	disk = disk_alloc(index, 1, read_only);
	if (!disk)
		goto fail_index;
	err = vhdx_layer_open(vhdx_disk_leaf(disk), container_fd, read_only, diag);
	if (err)
		goto fail_disk;
	if (sidecar_fd >= 0 && !(args->flags & VHDX_ATTACH_NO_TRACK)) {
		flags = vhdx_scope_enter();
		err = vhdx_tracker_resume(&disk->tracker, sidecar_fd, &gap, diag);
		vhdx_scope_leave(flags);
	}
	if (err)
		goto fail_disk;
	/* What was read for a caller who was killed meanwhile may have been cut short. To
	 * believe that would be a gap for ever; and nobody is left to detach the disk.
	 */
	err = -EINTR;
	if (fatal_signal_pending(current))
		goto fail_disk;
	disk->autoclear = args->flags & VHDX_ATTACH_AUTOCLEAR;
	note_age(disk);
	err = disk_start(disk);
	if (err) {
		vhdx_fail(diag, err, VHDX_REASON_NONE, "the disk can't be started (error %d)", err);
		goto fail_disk;
	}

	mutex_lock(&disks_lock);
	idr_replace(&disks, disk, index);
	/* From here on somebody else may detach it. */
	args->disk_seq = disk->gd->diskseq;
	mutex_unlock(&disks_lock);
	args->index = index;
	*diag = gap;
	return 0;

fail_disk:
	disk_free(disk);
fail_index:
	free_index(index);
fail_module:
	module_put(THIS_MODULE);
	return err;
}

/*
 * Nobody has it open, and from now on nobody can open it. -EAGAIN: somebody is opening or
 * closing it. That may take as long as its container does to answer: the task that reads the
 * partitions holds gd->open_mutex. It is not waited for here: disks_lock is held, which
 * every attach and detach takes.
 */
static int claim_for_detach(struct vhdx_disk *disk, struct vhdx_diag *diag)
{
	int err = 0;

	if (!mutex_trylock(&disk->gd->open_mutex))
		return -EAGAIN;
	if (disk_openers(disk->gd))
		err = vhdx_fail(diag, -EBUSY, VHDX_REASON_IN_USE,
				"it, or a partition of it, is open or mounted");
	else
		disk->closing = true;
	mutex_unlock(&disk->gd->open_mutex);
	return err;
}

/* The disk is the caller's, to be detached; disks_lock is held. */
static int take_for_detach(struct vhdx_disk *disk, struct vhdx_diag *diag)
{
	int err;

	if (closing_down)
		return vhdx_fail(diag, -ESHUTDOWN, VHDX_REASON_NONE,
				 "the machine is shutting down");
	err = claim_for_detach(disk, diag);
	if (!err) {
		idr_replace(&disks, NULL, disk->index);
		atomic_inc(&detaching);
	}
	return err;
}

static int detach_taken(struct vhdx_disk *disk, struct vhdx_diag *diag)
{
	int index = disk->index;
	int err;

	/* No more ioctls, then no more bios; ours are drained by our own reference. */
	vhdx_handle_detach(disk->handle);
	vhdx_handle_remove(disk->handle);
	del_gendisk(disk->gd);
	percpu_ref_kill(&disk->io_ref);
	percpu_ref_kill(&disk->write_ref);
	wait_for_completion(&disk->drained);
	wait_for_completion(&disk->writes_drained);
	vhdx_allocator_stop(&vhdx_disk_leaf(disk)->writer.space);
	vhdx_journal_stop(&vhdx_disk_leaf(disk)->writer.journal);

	err = vhdx_session_end(disk);
	vhdx_loss_stop(disk);
	if (err) {
		if (vhdx_disk_leaf(disk)->container.lost) {
			vhdx_fail(diag, -EIO, VHDX_REASON_IO,
				  "detached, but the container was cut, or something else was written over it: it was left as it is");
		} else {
			vhdx_io_failed(diag, err, "detached, but the container could not be closed cleanly (error %d): its log is replayed at the next attach",
				       err);
			pr_err("vhdx%d: the container could not be closed cleanly (error %d); its log is replayed at the next attach\n",
			       index, err);
		}
		err = -EIO;
	}
	put_disk(disk->gd);
	free_refs(disk);
	free_queues(disk);
	disk_free(disk);
	free_index(index);
	atomic_dec(&detaching);
	wake_up_all(&detached);
	module_put(THIS_MODULE);
	return err;
}

/**
 * vhdx_disk_detach() - VHDX_DETACH
 * @index:	N of /dev/vhdxN
 * @disk_seq:	the attachment that is meant; 0: whichever has the index
 * @diag:	what is wrong
 *
 * Once it is not busy there is no way back: -EIO says that the container was not closed
 * cleanly, any other error that the disk is still there.
 */
int vhdx_disk_detach(int index, u64 disk_seq, struct vhdx_diag *diag)
{
	struct vhdx_disk *disk;
	int err;

	mutex_lock(&disks_lock);
	disk = index < 0 ? NULL : idr_find(&disks, index);
	if (!disk)
		err = vhdx_fail(diag, -ENODEV, VHDX_REASON_ARGUMENT, "no disk has index %d", index);
	else if (disk_seq && disk_seq != disk->gd->diskseq)
		err = vhdx_fail(diag, -ENODEV, VHDX_REASON_ARGUMENT,
				"index %d belongs to attachment %llu, not to %llu, which is not there (any more)",
				index, disk->gd->diskseq, disk_seq);
	else
		err = take_for_detach(disk, diag);
	mutex_unlock(&disks_lock);
	if (err == -EAGAIN)
		err = vhdx_fail(diag, -EBUSY, VHDX_REASON_IN_USE,
				"somebody is opening or closing it");
	if (!err)
		err = detach_taken(disk, diag);
	return err;
}

/* ---- detach at the last close ------------------------------------------------------------ */

static void detach_work(struct work_struct *work)
{
	detach_taken(container_of(work, struct vhdx_disk, detach_work), NULL);
}

/*
 * The close itself holds locks that detach needs, and may be repeated before this runs. So
 * there is one work item for all disks, none that would have to outlive its disk. It detaches
 * all that are to be, side by side.
 */
static void autoclear(struct work_struct *work)
{
	struct vhdx_disk *disk;
	bool again = false;
	int index, err;

	mutex_lock(&disks_lock);
	idr_for_each_entry(&disks, disk, index) {
		if (!disk->autoclear || !READ_ONCE(disk->used))
			continue;
		err = -EAGAIN;
		if (time_after(jiffies, READ_ONCE(disk->closed_at) + AUTOCLEAR_LINGER))
			err = take_for_detach(disk, NULL);
		again |= err == -EAGAIN;
		if (err)
			continue;
		INIT_WORK(&disk->detach_work, detach_work);
		queue_work(autoclear_wq, &disk->detach_work);
	}
	mutex_unlock(&disks_lock);
	if (again)
		queue_delayed_work(autoclear_wq, &autoclear_work, AUTOCLEAR_PAUSE);
}

/**
 * vhdx_disk_init() - when the module is loaded
 */
int vhdx_disk_init(void)
{
	autoclear_wq = alloc_workqueue("vhdx-autoclear", WQ_UNBOUND, 0);
	return autoclear_wq ? 0 : -ENOMEM;
}

/**
 * vhdx_disk_exit() - when it is unloaded: there is no disk
 */
void vhdx_disk_exit(void)
{
	cancel_delayed_work_sync(&autoclear_work);
	destroy_workqueue(autoclear_wq);
}

/* ---- the machine goes down ---------------------------------------------------------------- */

/**
 * vhdx_disk_keep_all() - from now on no disk comes or goes: the machine goes down
 * @list:	receives all there are, by their shutdown.link
 *
 * One that is being attached is not among them: nothing is written to it any more,
 * unless a write was faster.
 */
void vhdx_disk_keep_all(struct list_head *list)
{
	struct vhdx_disk *disk;
	int index;

	mutex_lock(&disks_lock);
	WRITE_ONCE(closing_down, true);
	idr_for_each_entry(&disks, disk, index)
		list_add_tail(&disk->shutdown.link, list);
	mutex_unlock(&disks_lock);
}

/**
 * vhdx_disk_closing_down() - has vhdx_disk_keep_all() been called?
 */
bool vhdx_disk_closing_down(void)
{
	return READ_ONCE(closing_down);
}

/**
 * vhdx_disk_wait_for_detaches() - until those that had begun have ended
 * @deadline:	in jiffies
 */
void vhdx_disk_wait_for_detaches(unsigned long deadline)
{
	wait_event_timeout(detached, !atomic_read(&detaching),
			   max_t(long, deadline - jiffies, 1));
}
