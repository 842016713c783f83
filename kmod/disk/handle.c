// SPDX-License-Identifier: GPL-2.0-only
#include "handle.h"
#include "core/diag.h"

/**
 * vhdx_handle_init() - a handle of a disk
 * @handle:	zeroed
 * @disk:	attached
 */
void vhdx_handle_init(struct vhdx_handle *handle, struct vhdx_disk *disk)
{
	spin_lock_init(&handle->lock);
	init_waitqueue_head(&handle->wait);
	handle->disk = disk;
}

/**
 * vhdx_handle_enter() - keep the disk for a moment
 * @handle:	of an open device
 *
 * Returns NULL if it is detached. vhdx_handle_leave() soon, and before touching user
 * memory.
 */
struct vhdx_disk *vhdx_handle_enter(struct vhdx_handle *handle)
{
	struct vhdx_disk *disk;

	spin_lock(&handle->lock);
	disk = handle->disk;
	if (disk)
		handle->users++;
	spin_unlock(&handle->lock);
	return disk;
}

/**
 * vhdx_handle_leave() - done with the disk
 * @handle:	entered
 */
void vhdx_handle_leave(struct vhdx_handle *handle)
{
	bool last;

	spin_lock(&handle->lock);
	last = !--handle->users && !handle->disk;
	spin_unlock(&handle->lock);
	if (last)
		wake_up_all(&handle->wait);
}

/**
 * vhdx_handle_detach() - from now on there is no disk behind it
 * @handle:	the handle
 *
 * Waits for all that entered it to leave: as long as the I/O takes that they wait for.
 */
void vhdx_handle_detach(struct vhdx_handle *handle)
{
	spin_lock(&handle->lock);
	WRITE_ONCE(handle->disk, NULL);
	spin_unlock(&handle->lock);
	wake_up_all(&handle->wait);
	wait_event(handle->wait, !READ_ONCE(handle->users));
}

/**
 * vhdx_handle_is_gone() - what a caller is told when there is no disk behind it
 * @diag:	gets the text
 *
 * Returns -ENODEV.
 */
int vhdx_handle_is_gone(struct vhdx_diag *diag)
{
	return vhdx_fail(diag, -ENODEV, VHDX_REASON_NONE, "the disk was detached");
}
