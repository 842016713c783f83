// SPDX-License-Identifier: GPL-2.0-only
/*
 * The block device, and what it stands on.
 */
#include "disk.h"
#include "message.h"
#include "handle.h"
#include "registry.h"
#include "store/scope.h"

#include <linux/blkdev.h>
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
		vhdx_layer_free(disk->layers[i]);
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

/**
 * vhdx_disk_alloc() - a disk that nothing is known of
 * @index:	N of /dev/vhdxN
 * @layer_count: of its layers, which are not open yet
 * @read_only:	never write
 *
 * Returns NULL without memory. vhdx_disk_free() it.
 */
struct vhdx_disk *vhdx_disk_alloc(int index, unsigned int layer_count, bool read_only)
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
	vhdx_restart_init(&disk->restart);
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
	vhdx_disk_free(disk);
	return NULL;
}

/**
 * vhdx_disk_prepare() - memory, queues and a gendisk that nobody sees yet
 * @disk:	its layers are open, and its tracker has taken its sidecar up
 *
 * Sleeps. vhdx_disk_unprepare() undoes it. Returns 0 or -errno.
 */
int vhdx_disk_prepare(struct vhdx_disk *disk)
{
	int err;

	err = vhdx_layer_prepare(vhdx_disk_leaf(disk));
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
	return 0;

fail_refs:
	free_refs(disk);
fail_queues:
	free_queues(disk);
	return err;
}

/**
 * vhdx_disk_unprepare() - the other way
 * @disk:	nobody uses it any more
 */
void vhdx_disk_unprepare(struct vhdx_disk *disk)
{
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

	/* A name that there was no memory for is none; nothing else here is invalid. */
	return err == -EINVAL ? -ENOMEM : err;
}

/**
 * vhdx_disk_drain() - no more bios, and what is under way ends by itself
 * @disk:	added
 *
 * Sleeps, for as long as the container takes to answer.
 */
void vhdx_disk_drain(struct vhdx_disk *disk)
{
	del_gendisk(disk->gd);
	/* Ours are drained by our own references (rule K2). */
	percpu_ref_kill(&disk->io_ref);
	percpu_ref_kill(&disk->write_ref);
	wait_for_completion(&disk->drained);
	wait_for_completion(&disk->writes_drained);
}

/**
 * vhdx_disk_stop_work() - nothing is done by itself any more
 * @disk:	nobody sends it bios any more
 */
void vhdx_disk_stop_work(struct vhdx_disk *disk)
{
	vhdx_allocator_stop(&vhdx_disk_leaf(disk)->writer.space);
	vhdx_journal_stop(&vhdx_disk_leaf(disk)->writer.journal);
}
