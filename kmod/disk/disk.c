// SPDX-License-Identifier: GPL-2.0-only
/*
 * The block device, and what it stands on.
 */
#include "disk.h"
#include "message.h"
#include "cdev.h"
#include "registry.h"
#include "store/scope.h"

#include <linux/blkdev.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uuid.h>
#include <uapi/linux/vhdx.h>

/* ---- the block device -------------------------------------------------------------- */

static COMPAT_BDOPS_OPEN(disk_open, gd)
{
	struct vhdx_disk *disk = COMPAT_BDOPS_OPEN_DISK(gd)->private_data;

	/* The block layer holds gd->open_mutex, and so does detach while it decides. */
	if (disk->closing)
		return -ENXIO;
	/* udev, blkid and the like open it only to read. */
	if (mode & (COMPAT_OPEN_WRITE | COMPAT_OPEN_EXCL))
		disk->used = true;
	return 0;
}

static COMPAT_BDOPS_RELEASE(disk_release, gd)
{
	struct vhdx_disk *disk = gd->private_data;

	if (disk->autoclear && disk->used && !disk_openers(gd)) {
		disk->closed_at = jiffies;
		disk->last_close(disk);
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

/* The VHDX disk that a file, or a block device, lives on; or NULL. */
static struct vhdx_disk *disk_under(const struct file *file)
{
	struct inode *inode = vhdx_inode_below(file);
	struct block_device *bdev = S_ISBLK(inode->i_mode) ? I_BDEV(inode) : inode->i_sb->s_bdev;

	return bdev && bdev->bd_disk->fops == &disk_fops ? bdev->bd_disk->private_data : NULL;
}

/* Each way down is as long as it is; all of them together may be more than can be looked at. */
#define FILES_MAX	4096

/* Do all ways down from a file end above @disk? @left: so many more files are looked at. */
static bool is_above(struct vhdx_disk *disk, struct file *file, int depth, int *left)
{
	struct vhdx_disk *other = disk_under(file);
	unsigned int i;

	if (!other)
		return true;
	if (other == disk || !depth || !--*left)
		return false;
	for (i = 0; i < other->layer_count; i++) {
		if (!is_above(disk, other->layers[i].container.file, depth - 1, left))
			return false;
	}
	return true;
}

/**
 * vhdx_disk_is_below() - does this file live on the disk?
 * @disk:	the disk
 * @file:	regular file or block device
 *
 * Looks through other disks of this module. What loop and device mapper hide is not seen here: if
 * the file is a sidecar, the deadline of rule T7 ends the wait of the disk for itself.
 */
bool vhdx_disk_is_below(struct vhdx_disk *disk, struct file *file)
{
	int left = FILES_MAX;

	return !is_above(disk, file, DEPTH_MAX, &left);
}

static unsigned int depth_of(struct file *file, int depth, int *left)
{
	struct vhdx_disk *disk = disk_under(file);
	unsigned int i, deepest = 0;

	if (!disk || !depth || !*left)
		return 0;
	--*left;
	for (i = 0; i < disk->layer_count; i++)
		deepest = max(deepest, depth_of(disk->layers[i].container.file, depth - 1, left));
	return 1 + deepest;
}

static unsigned int depth_of_layers(struct vhdx_disk *disk)
{
	unsigned int i, depth = 0;
	int left = FILES_MAX;

	for (i = 0; i < disk->layer_count; i++)
		depth = max(depth, depth_of(disk->layers[i].container.file, DEPTH_MAX, &left));
	return depth;
}

/**
 * vhdx_disk_depth() - on how many VHDX disks, one on the other, do its files lie?
 * @disk:	the disk; none of those disks is detached meanwhile
 *
 * Sees what vhdx_disk_is_below() sees.
 */
unsigned int vhdx_disk_depth(struct vhdx_disk *disk)
{
	unsigned int depth = depth_of_layers(disk);
	struct file *sidecar = vhdx_tracker_shown_file(&disk->tracker);
	int left = FILES_MAX;

	if (sidecar) {
		depth = max(depth, depth_of(sidecar, DEPTH_MAX, &left));
		fput(sidecar);
	}
	return depth;
}

/**
 * vhdx_disk_poison() - no more writes: what is on disk may not be what was acknowledged
 * @disk:	the disk
 * @what:	failed, for the message
 * @err:	the error that it failed with
 */
void vhdx_disk_poison(struct vhdx_disk *disk, const char *what, int err)
{
	if (!READ_ONCE(disk->poisoned))
		vhdx_say_err(disk->index,
			     "%s failed (error %d): writes fail until the disk is detached",
			     what, err);
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
	vhdx_guid guid;

	leaf->mapping->guid(leaf, &guid);
	info->index = disk->index;
	info->disk_flags = vhdx_chain_flags(disk, 0);
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
		err = vhdx_gate_init(&disk->gate, vhdx_io_resume, disk->publish_wq);
	if (err)
		free_refs(disk);
	return err;
}

/* A disk keeps no more than this many threads busy in each of its queues. */
#define QUEUE_WORKERS	8
/* Nor more than this for questions, which may all wait for one sidecar that hangs. */
#define QUESTIONS	64

static struct workqueue_struct *queue(const struct vhdx_disk *disk, const char *what)
{
	return alloc_workqueue("vhdx%d-%s", WQ_UNBOUND | WQ_MEM_RECLAIM, QUEUE_WORKERS,
			       disk->index, what);
}

static void free_queues(struct vhdx_disk *disk)
{
	struct vhdx_file_queue *file_queue = &vhdx_disk_container(disk)->queue;
	struct workqueue_struct **all[] = {
		&disk->slow_wq, &disk->allocate_wq, &disk->unmap_wq, &disk->space_wq,
		&disk->publish_wq, &disk->swap_wq, &disk->commit_wq, &disk->question_wq,
		&file_queue->workqueue,
	};
	int i;

	vhdx_swap_out_stop(&disk->swap_out);
	/* Whoever sent the last request, of a bio or of the journal, may be in
	 * vhdx_file_queue_add() yet.
	 */
	synchronize_rcu_expedited();
	for (i = 0; i < ARRAY_SIZE(all); i++) {
		if (*all[i])
			destroy_workqueue(*all[i]);
		*all[i] = NULL;
	}
	bioset_exit(&disk->split_bios);
	bioset_exit(&disk->io_bios);
	vhdx_file_queue_release(file_queue);
	vhdx_chain_unprepare(disk);
	if (!disk->read_only)
		vhdx_block_ops_destroy(&vhdx_disk_leaf(disk)->writer.blocks);
}

static int prepare_writer(struct vhdx_disk *disk)
{
	struct vhdx_writer *writer = &vhdx_disk_leaf(disk)->writer;

	writer->space_wq = disk->space_wq;
	writer->commit_wq = disk->commit_wq;
	return vhdx_block_ops_init(&writer->blocks, vhdx_io_block_ended);
}

static int make_queues(struct vhdx_disk *disk)
{
	/* A task that swaps out does not wait for swap-outs that are under way (rule K1). Each
	 * has a clone, and is cut once at most: the rest is another one, which waits for its turn.
	 */
	unsigned int reserve = disk->read_only ? BIO_POOL_SIZE : VHDX_SWAP_OUTS;
	struct vhdx_container *container = vhdx_disk_container(disk);
	struct vhdx_coarse_host *host = &disk->tracker.coarse_host;
	int err;

	disk->slow_wq = queue(disk, "slow");
	disk->allocate_wq = queue(disk, "allocate");
	disk->unmap_wq = queue(disk, "unmap");
	disk->space_wq = queue(disk, "space");
	disk->publish_wq = queue(disk, "publish");
	disk->swap_wq = queue(disk, "swap");
	disk->commit_wq = queue(disk, "commit");
	disk->question_wq = alloc_workqueue("vhdx%d-question", WQ_UNBOUND, QUESTIONS,
					    disk->index);
	container->queue.workqueue = queue(disk, "file");
	host->deadline_wq = disk->commit_wq;
	host->resume_wq = disk->publish_wq;
	host->resume = vhdx_io_covered;
	err = -ENOMEM;
	if (!disk->slow_wq || !disk->allocate_wq || !disk->unmap_wq || !disk->publish_wq ||
	    !disk->swap_wq || !disk->space_wq || !disk->commit_wq || !disk->question_wq ||
	    !container->queue.workqueue)
		goto fail;
	err = bioset_init(&disk->io_bios, reserve, offsetof(struct vhdx_io, request.clone), 0);
	if (!err)
		err = bioset_init(&disk->split_bios, reserve, 0, 0);
	if (!err && !disk->read_only)
		err = prepare_writer(disk);
	if (!err)
		err = vhdx_container_prepare(container);
	if (!err)
		err = vhdx_chain_prepare(disk);
	if (err)
		goto fail;
	return 0;
fail:
	free_queues(disk);
	return err;
}

/* ---- the gendisk ------------------------------------------------------------------------ */

/* Memory of one bio may go to any of them. */
static u32 dma_alignment(const struct vhdx_disk *disk)
{
	unsigned int i;
	u32 mask = 0;

	for (i = 0; i < disk->layer_count; i++)
		mask |= disk->layers[i].container.dma_alignment;
	return mask;
}

/*
 * The block layer ends a bio that does not wait with an error where its device does not know that.
 * A bio may go to any of the devices that the layers are on. Workers start those of files: whoever
 * sends one does not wait.
 */
static bool takes_nowait(const struct vhdx_disk *disk)
{
	struct vhdx_container_description what;
	unsigned int i;

	for (i = 0; i < disk->layer_count; i++) {
		vhdx_container_describe(&disk->layers[i].container, &what);
		if (what.below && !bdev_nowait(what.below))
			return false;
	}
	return true;
}

static int make_gendisk(struct vhdx_disk *disk)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	struct vhdx_container_description what;
	const struct vhdx_geometry *geo = &leaf->image.geo;
	struct compat_limits limits = {
		.logical_block_size = geo->logical_sector_size,
		.physical_block_size = max(geo->physical_sector_size, geo->logical_sector_size),
		.dma_alignment = dma_alignment(disk),
		/* Bios are cut at the end of a block, which starts at a whole MiB. Of sectors that
		 * come to be in a layer with a parent, those that are in it already are written
		 * before the others are mapped.
		 */
		.atomic_write_most = geo->has_parent ? 0 : VHDX_MIB,
		.discard_granularity = geo->block_size,
		.discard_most = disk->read_only ? 0 : VHDX_UNMAP_MAX,
		.stable_writes = vhdx_disk_container(disk)->stable_writes,
		.nowait = takes_nowait(disk),
	};
	struct gendisk *gd;

	vhdx_container_describe(vhdx_disk_container(disk), &what);
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

/**
 * vhdx_disk_free() - close its files
 * @disk:	not started, or stopped
 */
void vhdx_disk_free(struct vhdx_disk *disk)
{
	unsigned int i;

	vhdx_registry_forget_age(disk);
	vhdx_tracker_destroy(&disk->tracker);
	for (i = 0; i < disk->layer_count; i++)
		vhdx_layer_close(&disk->layers[i]);
	vhdx_observers_destroy(&disk->observers);
	kvfree(disk);
}

static void layer_lost(void *disk, const char *how)
{
	vhdx_loss_see(disk, how);
}

static void parent_lost(void *disk, const char *how)
{
	vhdx_loss_see_below(disk);
}

static void layer_failed(void *disk, const char *what, int err)
{
	vhdx_disk_poison(disk, what, err);
}

static void layer_refused(void *user, const char *why)
{
	struct vhdx_disk *disk = user;

	vhdx_say_warn(disk->index, "no more blocks are allocated: %s", why);
}

static int layer_replays(void *user, struct vhdx_open_layer *layer, u64 sequence,
			 struct vhdx_diag *diag)
{
	struct vhdx_disk *disk = user;
	int err = 0;

	/* Where a log is too long for memory, what it makes of the leaf is not known before. */
	if (layer->image.geo.block_size)
		err = vhdx_chain_judge(disk, 0, layer, diag);
	return err ?: vhdx_tracker_announce_replay(&disk->tracker, layer, sequence, diag);
}

static const struct vhdx_layer_ops layer_ops = {
	.lost	 = layer_lost,
	.failed	 = layer_failed,
	.refused = layer_refused,
	.replays = layer_replays,
};

/* It is only read: nothing else can happen to it. */
static const struct vhdx_layer_ops parent_ops = {
	.lost	= parent_lost,
};

/* There is no change-tracking device while a disk is being attached. */
static void points_changed(struct vhdx_tracker *tracker)
{
	struct vhdx_disk *disk = vhdx_disk_of(tracker);
	u32 reason;

	if (disk->cdev)
		wake_up_all(&disk->cdev->wait);
	vhdx_notice_change(disk);
	vhdx_tracker_shown(tracker, &reason);
	vhdx_observers_tell_gap(&disk->observers, reason);
}

/**
 * vhdx_disk_alloc() - a disk whose layers are not open
 * @index:	N of /dev/vhdxN
 * @layer_count: of its layers, which are not open yet
 * @read_only:	never write
 *
 * Returns NULL without memory. vhdx_disk_free() it.
 */
struct vhdx_disk *vhdx_disk_alloc(int index, unsigned int layer_count, bool read_only)
{
	struct vhdx_disk *disk = kvzalloc(struct_size(disk, layers, layer_count), GFP_KERNEL);
	unsigned int i;

	if (!disk)
		return NULL;
	disk->index = index;
	disk->read_only = read_only;
	disk->layer_count = layer_count;
	if (vhdx_observers_init(&disk->observers)) {
		kvfree(disk);
		return NULL;
	}
	INIT_LIST_HEAD(&disk->age);
	INIT_LIST_HEAD(&disk->holds);
	init_completion(&disk->drained);
	init_completion(&disk->writes_drained);
	vhdx_swap_out_init(&disk->swap_out);
	vhdx_restart_init(&disk->restart);
	vhdx_loss_init(&disk->loss);
	vhdx_notice_init(&disk->notice);
	for (i = 0; i < layer_count; i++) {
		disk->layers[i].ops = i ? &parent_ops : &layer_ops;
		disk->layers[i].disk = disk;
		disk->layers[i].container.claim.disk = index;
	}
	vhdx_session_start_init(&disk->start);
	if (vhdx_tracker_init(&disk->tracker, index, points_changed)) {
		vhdx_disk_free(disk);
		return NULL;
	}
	return disk;
}

/* By the letter they are damaged. Whoever reads what they have is to know (core/vhdx/image.h). */
static void warn_of_logs(const struct vhdx_disk *disk)
{
	const struct vhdx_layer_user *user = disk->layers;
	unsigned int i;

	for (i = 0; i < disk->layer_count; i++, user++) {
		if (user->layer->image.log.unwritten)
			vhdx_say_warn(disk->index,
				      "%pD: its header names a log of which nothing was ever written, as where QEMU is killed: it is read as it is; `vhdxctl check --repair` closes the log",
				      user->container.file);
	}
}

/**
 * vhdx_disk_open() - open its layers
 * @disk:	nothing is known of it
 * @files:	of as many layers as it has, the leaf first
 * @diag:	what is wrong
 *
 * Process context. Returns 0 or -errno, as vhdx_chain_open().
 */
int vhdx_disk_open(struct vhdx_disk *disk, const struct vhdx_layer_files *files,
		   struct vhdx_diag *diag)
{
	int err = vhdx_chain_open(disk, files, diag);

	if (!err)
		warn_of_logs(disk);
	disk->tracker.layer = vhdx_disk_leaf(disk);
	return err;
}

/**
 * vhdx_disk_prepare() - memory, queues and a gendisk that is not added yet
 * @disk:	its layers are open, and its tracker has taken its sidecar up
 *
 * Sleeps. vhdx_disk_unprepare() undoes it. Returns 0 or -errno.
 */
int vhdx_disk_prepare(struct vhdx_disk *disk)
{
	int err = make_queues(disk);

	if (err)
		return err;
	err = make_refs(disk);
	if (err)
		goto fail_queues;
	err = make_gendisk(disk);
	if (err)
		goto fail_refs;
	return 0;

fail_refs:
	free_refs(disk);
fail_queues:
	free_queues(disk);
	return err;
}

/**
 * vhdx_disk_unprepare() - undo vhdx_disk_prepare()
 * @disk:	no I/O or ioctl uses it any more, and its layers do no work
 *
 * Sleeps, as long as a sidecar is waited for.
 */
void vhdx_disk_unprepare(struct vhdx_disk *disk)
{
	vhdx_tracker_stop(&disk->tracker);
	put_disk(disk->gd);
	free_refs(disk);
	free_queues(disk);
}

/**
 * vhdx_disk_add() - from here on there is I/O: partitions are read
 * @disk:	prepared
 * @groups:	what sysfs shows of it
 *
 * Sleeps. Returns 0 or -errno.
 */
int vhdx_disk_add(struct vhdx_disk *disk, const struct attribute_group **groups)
{
	int err = device_add_disk(NULL, disk->gd, groups);

	if (!err)
		vhdx_notice_start(disk);
	/* A name that there was no memory for is none; nothing else here is invalid. */
	return err == -EINVAL ? -ENOMEM : err;
}

/**
 * vhdx_disk_drain() - no more bios; waits for those under way
 * @disk:	added
 *
 * Sleeps, for as long as the container takes to answer.
 */
void vhdx_disk_drain(struct vhdx_disk *disk)
{
	vhdx_notice_stop(disk);
	del_gendisk(disk->gd);
	/* The block layer does not know of clones under way: these references do (rule K2). */
	percpu_ref_kill(&disk->io_ref);
	percpu_ref_kill(&disk->write_ref);
	wait_for_completion(&disk->drained);
	wait_for_completion(&disk->writes_drained);
}

/**
 * vhdx_disk_stop_work() - no growth and no commit begins by itself any more
 * @disk:	drained: no bio is under way or comes
 */
void vhdx_disk_stop_work(struct vhdx_disk *disk)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);

	/* Who waited for it may have been killed. */
	flush_work(&disk->start.work);
	/* Of one that is read nothing ever is, and others may use its layer. */
	if (!disk->read_only)
		leaf->mapping->stop(leaf);
}
