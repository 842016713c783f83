// SPDX-License-Identifier: GPL-2.0-only
#include "registry.h"
#include "disk.h"
#include "holds.h"

#include <linux/blkdev.h>
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/sysfs.h>
#include <uapi/linux/vhdx.h>

/* The attached disks by index; NULL: a disk with this index is being attached or detached. */
static DEFINE_IDR(disks);
static LIST_HEAD(disks_by_age);
static DEFINE_MUTEX(disks_lock);
/* The machine goes down: no disk comes or goes any more. Written under disks_lock. */
static bool closing_down;
/* How many disks are being detached; the shutdown waits for that to end. */
static atomic_t detaching;
static DECLARE_WAIT_QUEUE_HEAD(detached);
/* How often a hold was let go of. */
static atomic_t let_go;
static DECLARE_WAIT_QUEUE_HEAD(holders_gone);

/* So long a detach waits for those who hold the disk. */
#define HOLDERS_TIMEOUT	(5 * HZ)

/* ---- coming ----------------------------------------------------------------------------- */

/**
 * vhdx_registry_take_index() - the index of a disk that is being attached
 * @wanted:	index, or VHDX_INDEX_ANY
 * @diag:	what is wrong
 *
 * Returns it; -EBUSY; -ESHUTDOWN; -ENOMEM. vhdx_registry_free_index() it, or
 * vhdx_registry_publish() the disk.
 */
int vhdx_registry_take_index(int wanted, struct vhdx_diag *diag)
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

/**
 * vhdx_registry_free_index() - it can be taken again
 * @index:	of a disk that was never published, and is gone
 */
void vhdx_registry_free_index(int index)
{
	mutex_lock(&disks_lock);
	idr_remove(&disks, index);
	mutex_unlock(&disks_lock);
}

/**
 * vhdx_registry_note_age() - the youngest of all disks
 * @disk:	open, and not announced
 *
 * Before the disk is announced: of two copies that are attached at once, the uevent of the second
 * finds the first.
 */
void vhdx_registry_note_age(struct vhdx_disk *disk)
{
	mutex_lock(&disks_lock);
	list_add_tail(&disk->age, &disks_by_age);
	mutex_unlock(&disks_lock);
}

/**
 * vhdx_registry_forget_age() - the disk is about to be freed
 * @disk:	harmless where it was never noted
 */
void vhdx_registry_forget_age(struct vhdx_disk *disk)
{
	mutex_lock(&disks_lock);
	list_del_init(&disk->age);
	mutex_unlock(&disks_lock);
}

/**
 * vhdx_registry_publish() - from now on others find it by its index
 * @disk:	started
 *
 * Another task may detach it before this returns its diskseq.
 */
u64 vhdx_registry_publish(struct vhdx_disk *disk)
{
	u64 disk_seq;

	mutex_lock(&disks_lock);
	idr_replace(&disks, disk, disk->index);
	disk_seq = disk->gd->diskseq;
	mutex_unlock(&disks_lock);
	return disk_seq;
}

/**
 * vhdx_registry_disown() - who attached it will not use it: it is detached as soon as nobody does
 * @index:	of vhdx_registry_publish()
 * @disk_seq:	likewise; harmless where another task has detached that disk
 */
void vhdx_registry_disown(int index, u64 disk_seq)
{
	struct vhdx_disk *disk;

	mutex_lock(&disks_lock);
	disk = idr_find(&disks, index);
	if (disk && disk->gd->diskseq == disk_seq) {
		WRITE_ONCE(disk->closed_at, jiffies);
		WRITE_ONCE(disk->used, true);
		WRITE_ONCE(disk->autoclear, true);
		disk->last_close(disk);
	}
	mutex_unlock(&disks_lock);
}

/**
 * vhdx_registry_original() - the disk that this one is a copy of
 * @disk:	attached
 *
 * Two disks with one VirtualDiskId are copies of each other; names that are made of the id
 * stay with the one that was attached first. Takes disks_lock. Returns its index, or
 * -ENOENT if this is the first.
 */
int vhdx_registry_original(struct vhdx_disk *disk)
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

/* ---- held --------------------------------------------------------------------------------- */

static bool is_of_disk(struct vhdx_disk *disk, dev_t devt)
{
	struct block_device *part;
	unsigned long number;
	bool found = false;

	rcu_read_lock();
	xa_for_each(&disk->gd->part_tbl, number, part)
		found |= part->bd_dev == devt;
	rcu_read_unlock();
	return found;
}

/**
 * vhdx_registry_hold() - from now on the disk is not detached
 * @devt:	of it, or of a partition
 * @hold:	its owner is set
 *
 * Takes disks_lock. Returns 0 or -ENODEV.
 */
int vhdx_registry_hold(dev_t devt, struct vhdx_hold *hold)
{
	struct vhdx_disk *disk;
	int index, err = -ENODEV;

	mutex_lock(&disks_lock);
	idr_for_each_entry(&disks, disk, index) {
		if (!is_of_disk(disk, devt))
			continue;
		hold->disk = disk;
		list_add_tail(&hold->link, &disk->holds);
		err = 0;
		break;
	}
	mutex_unlock(&disks_lock);
	return err;
}

/**
 * vhdx_registry_let_go() - as far as this one goes it can be detached
 * @hold:	of vhdx_registry_hold()
 *
 * Takes disks_lock. The disk may be gone when this returns.
 */
void vhdx_registry_let_go(struct vhdx_hold *hold)
{
	struct vhdx_disk *disk = hold->disk;

	mutex_lock(&disks_lock);
	list_del(&hold->link);
	/* Its last close may have been in vain. */
	if (list_empty(&disk->holds) && disk->autoclear)
		disk->last_close(disk);
	mutex_unlock(&disks_lock);
	atomic_inc(&let_go);
	wake_up_all(&holders_gone);
}

static const char *name_of(const struct vhdx_hold *hold)
{
	return hold->owner ? module_name(hold->owner) : "kernel";
}

/**
 * vhdx_registry_show_holders() - the modules that hold a disk, a line for each hold
 * @disk:	in sysfs
 * @buf:	a page
 *
 * Takes disks_lock. Returns how many bytes.
 */
ssize_t vhdx_registry_show_holders(struct vhdx_disk *disk, char *buf)
{
	struct vhdx_hold *hold;
	ssize_t length = 0;

	mutex_lock(&disks_lock);
	list_for_each_entry(hold, &disk->holds, link)
		length += sysfs_emit_at(buf, length, "%s\n", name_of(hold));
	mutex_unlock(&disks_lock);
	return length;
}

/* ---- going ------------------------------------------------------------------------------ */

/*
 * If no task has the disk open, none can open it from now on. -EAGAIN: a task is opening or closing
 * it. That may take as long as its container does to answer: a task that reads the partitions holds
 * gd->open_mutex. It is not waited for here: disks_lock is held, which every attach and detach
 * takes.
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

/* The disk is the caller's, to be detached. */
static int take_for_detach(struct vhdx_disk *disk, struct vhdx_diag *diag)
{
	int err;

	lockdep_assert_held(&disks_lock);
	if (closing_down)
		return vhdx_fail(diag, -ESHUTDOWN, VHDX_REASON_NONE,
				 "the machine is shutting down");
	if (!list_empty(&disk->holds))
		return vhdx_fail(diag, -EBUSY, VHDX_REASON_IN_USE,
				 "the kernel module %s holds it",
				 name_of(list_first_entry(&disk->holds, struct vhdx_hold, link)));
	err = claim_for_detach(disk, diag);
	if (!err) {
		idr_replace(&disks, NULL, disk->index);
		atomic_inc(&detaching);
	}
	return err;
}

/* Which no disk has. */
static bool is_taken(int index)
{
	lockdep_assert_held(&disks_lock);
	return index >= 0 && !IS_ERR(idr_replace(&disks, NULL, index));
}

/* @held: it is, by others; @tell: they are told to let go. */
static int try_to_take(int index, u64 disk_seq, struct vhdx_disk **disk,
		       bool tell, bool *held, struct vhdx_diag *diag)
{
	struct vhdx_disk *found;
	int err;

	mutex_lock(&disks_lock);
	found = index < 0 ? NULL : idr_find(&disks, index);
	if (!found && is_taken(index))
		err = vhdx_fail(diag, -ENODEV, VHDX_REASON_ARGUMENT,
				"index %d is of a disk that is being attached or detached: that ends when its container answers",
				index);
	else if (!found)
		err = vhdx_fail(diag, -ENODEV, VHDX_REASON_ARGUMENT, "no disk has index %d", index);
	else if (disk_seq && disk_seq != found->gd->diskseq)
		err = vhdx_fail(diag, -ENODEV, VHDX_REASON_ARGUMENT,
				"index %d belongs to attachment %llu, not to %llu, which is not there (any more)",
				index, found->gd->diskseq, disk_seq);
	else
		err = take_for_detach(found, diag);
	*held = err == -EBUSY && !list_empty(&found->holds);
	if (*held && tell)
		vhdx_observers_tell_going_away(&found->observers);
	mutex_unlock(&disks_lock);
	if (err == -EAGAIN)
		err = vhdx_fail(diag, -EBUSY, VHDX_REASON_IN_USE,
				"somebody is opening or closing it");
	*disk = found;
	return err;
}

/**
 * vhdx_registry_take() - the disk is the caller's, to be detached
 * @index:	N of /dev/vhdxN
 * @disk_seq:	the attachment that is meant; 0: whichever has the index
 * @disk:	receives it; vhdx_registry_detached() when it is gone
 * @diag:	what is wrong
 *
 * Waits for modules that hold it, which are told to let go. Returns 0; -ENODEV; -EBUSY; -ESHUTDOWN;
 * -EINTR.
 */
int vhdx_registry_take(int index, u64 disk_seq, struct vhdx_disk **disk, struct vhdx_diag *diag)
{
	long left = HOLDERS_TIMEOUT;
	bool tell = true, held;
	int seen, err;

	for (;; tell = false) {
		seen = atomic_read(&let_go);
		err = try_to_take(index, disk_seq, disk, tell, &held, diag);
		if (!held || left <= 0)
			break;
		left = wait_event_killable_timeout(holders_gone, atomic_read(&let_go) != seen,
						   left);
		if (left < 0) {
			err = left;
			break;
		}
	}
	return err == -ERESTARTSYS ? -EINTR : err;
}

/**
 * vhdx_registry_take_closed() - the same for disks that are to be detached at their last close
 * @linger:	how long ago that close must be, in jiffies
 * @taken:	called for each, with disks_lock held
 *
 * Returns true if there may be more, later.
 */
bool vhdx_registry_take_closed(unsigned long linger, void (*taken)(struct vhdx_disk *disk))
{
	struct vhdx_disk *disk;
	bool again = false;
	int index, err;

	mutex_lock(&disks_lock);
	idr_for_each_entry(&disks, disk, index) {
		if (!disk->autoclear || !READ_ONCE(disk->used))
			continue;
		err = -EAGAIN;
		if (time_after(jiffies, READ_ONCE(disk->closed_at) + linger))
			err = take_for_detach(disk, NULL);
		again |= err == -EAGAIN;
		if (!err)
			taken(disk);
	}
	mutex_unlock(&disks_lock);
	return again;
}

/**
 * vhdx_registry_detached() - a disk that was taken is gone
 * @index:	its index, which is free again
 */
void vhdx_registry_detached(int index)
{
	vhdx_registry_free_index(index);
	atomic_dec(&detaching);
	wake_up_all(&detached);
}

/* ---- the machine goes down ---------------------------------------------------------------- */

/**
 * vhdx_registry_keep_all() - from now on no disk comes or goes: the machine goes down
 * @list:	receives all disks, by their shutdown.link
 *
 * A disk that is being attached is not among them: its session can't begin any more, unless it has
 * begun already.
 */
void vhdx_registry_keep_all(struct list_head *list)
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
 * vhdx_registry_is_closing_down() - has vhdx_registry_keep_all() been called?
 */
bool vhdx_registry_is_closing_down(void)
{
	return READ_ONCE(closing_down);
}

/**
 * vhdx_registry_wait_for_detaches() - until detaches that had begun have ended
 * @deadline:	in jiffies
 */
void vhdx_registry_wait_for_detaches(unsigned long deadline)
{
	wait_event_timeout(detached, !atomic_read(&detaching),
			   max_t(long, deadline - jiffies, 1));
}
