// SPDX-License-Identifier: GPL-2.0-only
#include "extent.h"
#include "disk/cdev.h"
#include "disk/chain.h"
#include "disk/disk.h"
#include "store/scope.h"

#include <linux/completion.h>
#include <linux/refcount.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

static void look(struct vhdx_disk *disk, u64 offset, u64 wanted, struct vhdx_mapping *extent)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	struct vhdx_container *container;

	rcu_read_lock();
	leaf->mapping->lookup(leaf, offset, wanted, false, extent);
	if (extent->kind == VHDX_MAPPING_PARENT)
		vhdx_chain_look(disk, offset, wanted, extent, &container);
	rcu_read_unlock();
	extent->length = min(extent->length, wanted);
}

/**
 * struct errand - pages that a worker loads, and what it finds then
 * @work:	in the disk's slow_wq
 * @cdev:	held, and so the disk is
 * @disk:	of it
 * @refs:	of the worker, and of the task that asks, which may be killed
 * @done:	@extent and @err are there
 * @offset:	of the disk, what is asked about
 * @wanted:	bytes from there on
 * @extent:	receives what is mapped there
 * @err:	0 or -errno
 */
struct errand {
	struct work_struct work;
	struct vhdx_cdev *cdev;
	struct vhdx_disk *disk;
	refcount_t refs;
	struct completion done;
	u64 offset;
	u64 wanted;
	struct vhdx_mapping extent;
	int err;
};

static void put_errand(struct errand *errand)
{
	if (refcount_dec_and_test(&errand->refs))
		kfree(errand);
}

static int load_and_look(struct errand *errand)
{
	struct vhdx_disk *disk = errand->disk;
	struct vhdx_chain_pins pins;
	int err;

	err = vhdx_chain_load(disk, errand->offset, errand->wanted, false, &pins);
	if (err)
		return err;
	look(disk, errand->offset, errand->wanted, &errand->extent);
	vhdx_chain_unload(disk, &pins);
	return 0;
}

/* Where a write, or a read, changes meanwhile what is needed, it takes more than one time. */
static void errand_work(struct work_struct *work)
{
	struct errand *errand = container_of(work, struct errand, work);
	struct vhdx_cdev *cdev = errand->cdev;
	unsigned int flags = vhdx_scope_enter();

	do {
		errand->err = load_and_look(errand);
	} while (!errand->err && errand->extent.kind == VHDX_MAPPING_UNKNOWN);
	vhdx_scope_leave(flags);
	complete(&errand->done);
	put_errand(errand);
	vhdx_cdev_drop(cdev);
}

/*
 * Locks of pages are taken that I/O waits for: by a worker, in a scope (rule K3), and it is not
 * killed while it reads. Who asks can be, also where a container hangs (invariant 9).
 */
static int load(struct vhdx_cdev *cdev, struct vhdx_disk *disk, u64 offset, u64 wanted,
		struct vhdx_mapping *extent)
{
	struct errand *errand = kzalloc(sizeof(*errand), GFP_KERNEL);
	int err = -EINTR;

	if (!errand)
		return -ENOMEM;
	errand->cdev = cdev;
	errand->disk = disk;
	errand->offset = offset;
	errand->wanted = wanted;
	refcount_set(&errand->refs, 2);
	init_completion(&errand->done);
	INIT_WORK(&errand->work, errand_work);
	vhdx_cdev_hold(cdev);
	queue_work(disk->slow_wq, &errand->work);
	if (!wait_for_completion_killable(&errand->done)) {
		err = errand->err;
		*extent = errand->extent;
	}
	put_errand(errand);
	return err;
}

/**
 * vhdx_extent_find() - what is mapped at an offset of a disk, in any of its layers
 * @cdev:	of the disk
 * @disk:	which is entered (vhdx_cdev_enter())
 * @offset:	of the disk
 * @wanted:	bytes that are asked for, one at least
 * @extent:	receives what is there, at most so much: neither VHDX_MAPPING_PARENT nor
 *		VHDX_MAPPING_UNKNOWN
 *
 * As of any moment of the call: a write that was acknowledged before it is mapped. Sleeps where a
 * page has to be read, killable. Returns 0; -EINTR killed; -ENOMEM; or what reading failed with.
 */
int vhdx_extent_find(struct vhdx_cdev *cdev, struct vhdx_disk *disk, u64 offset, u64 wanted,
		     struct vhdx_mapping *extent)
{
	look(disk, offset, wanted, extent);
	return extent->kind == VHDX_MAPPING_UNKNOWN ? load(cdev, disk, offset, wanted, extent) : 0;
}
