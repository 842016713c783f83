// SPDX-License-Identifier: GPL-2.0-only
#include "cdev.h"
#include "core/diag.h"

/**
 * vhdx_cdev_init() - the change-tracking device of a disk
 * @cdev:	zeroed
 * @disk:	attached
 */
void vhdx_cdev_init(struct vhdx_cdev *cdev, struct vhdx_disk *disk)
{
	spin_lock_init(&cdev->lock);
	init_waitqueue_head(&cdev->wait);
	cdev->disk = disk;
}

/**
 * vhdx_cdev_enter() - keep the disk for a moment
 * @cdev:	of an open device
 *
 * Returns NULL if it is detached. vhdx_cdev_leave() soon, and before touching user
 * memory.
 */
struct vhdx_disk *vhdx_cdev_enter(struct vhdx_cdev *cdev)
{
	struct vhdx_disk *disk;

	spin_lock(&cdev->lock);
	disk = cdev->disk;
	if (disk)
		cdev->users++;
	spin_unlock(&cdev->lock);
	return disk;
}

/**
 * vhdx_cdev_leave() - done with the disk
 * @cdev:	entered
 */
void vhdx_cdev_leave(struct vhdx_cdev *cdev)
{
	bool last;

	spin_lock(&cdev->lock);
	last = !--cdev->users && !cdev->disk;
	spin_unlock(&cdev->lock);
	if (last)
		wake_up_all(&cdev->wait);
}

/**
 * vhdx_cdev_hold() - another task will work with the disk, too
 * @cdev:	entered by the caller
 *
 * That task may outlive the caller. It calls vhdx_cdev_drop().
 */
void vhdx_cdev_hold(struct vhdx_cdev *cdev)
{
	get_device(&cdev->dev);
	spin_lock(&cdev->lock);
	cdev->users++;
	spin_unlock(&cdev->lock);
}

/**
 * vhdx_cdev_drop() - that task is done with the disk
 * @cdev:	held; may be gone when this returns, as the disk may be
 */
void vhdx_cdev_drop(struct vhdx_cdev *cdev)
{
	vhdx_cdev_leave(cdev);
	put_device(&cdev->dev);
}

/**
 * vhdx_cdev_detach() - from now on there is no disk behind the device
 * @cdev:	of the disk
 *
 * Waits for all tasks that entered it to leave: as long as the I/O takes that they wait for.
 */
void vhdx_cdev_detach(struct vhdx_cdev *cdev)
{
	spin_lock(&cdev->lock);
	WRITE_ONCE(cdev->disk, NULL);
	spin_unlock(&cdev->lock);
	wake_up_all(&cdev->wait);
	wait_event(cdev->wait, !READ_ONCE(cdev->users));
}

/**
 * vhdx_cdev_is_gone() - what a caller is told when there is no disk behind the device
 * @diag:	gets the text
 *
 * Returns -ENODEV.
 */
int vhdx_cdev_is_gone(struct vhdx_diag *diag)
{
	return vhdx_fail(diag, -ENODEV, VHDX_REASON_NONE, "the disk was detached");
}
