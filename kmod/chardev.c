// SPDX-License-Identifier: GPL-2.0-only
#include "chardev.h"
#include "disk.h"
#include "query.h"
#include "uarg.h"

#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uidgid.h>

static unsigned int node_gid = 6;
module_param(node_gid, uint, 0444);
MODULE_PARM_DESC(node_gid, "group of /dev/vhdxcN (default 6, which is disk on Debian)");

static dev_t first_devt;

/* ---- the handle ---------------------------------------------------------------- */

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
		wake_up_all(&handle->gone);
}

/* ---- ioctls ---------------------------------------------------------------------- */

static int get_info(void *context, void *arg)
{
	struct vhdx_handle *handle = context;
	struct vhdx_info *info = arg;
	struct vhdx_disk *disk;

	if (info->flags) {
		info->reason = VHDX_REASON_ARGUMENT;
		return -EINVAL;
	}
	disk = vhdx_handle_enter(handle);
	if (!disk)
		return -ENODEV;
	vhdx_disk_info(disk, info);
	vhdx_handle_leave(handle);
	return 0;
}

static int get_tracking_state(void *context, void *arg)
{
	struct vhdx_handle *handle = context;
	struct vhdx_tracking_state *state = arg;
	struct vhdx_disk *disk;

	if (state->flags) {
		state->reason = VHDX_REASON_ARGUMENT;
		return -EINVAL;
	}
	disk = vhdx_handle_enter(handle);
	if (!disk)
		return -ENODEV;
	state->reason = VHDX_REASON_NONE;
	vhdx_tracking_state(&disk->tracker, state);
	vhdx_handle_leave(handle);
	return 0;
}

static int get_points(void *context, void *arg)
{
	struct vhdx_handle *handle = context;
	struct vhdx_get_points *args = arg;
	struct vhdx_point *points;
	struct vhdx_disk *disk;
	u32 capacity;
	int err = 0;

	args->output_count = 0;
	args->point_count = 0;
	if (args->flags || args->reserved) {
		args->reason = VHDX_REASON_ARGUMENT;
		return -EINVAL;
	}
	args->reason = VHDX_REASON_NONE;
	capacity = min(args->output_capacity, VHDX_POINTS_MAX);
	points = kvcalloc(capacity ?: 1, sizeof(*points), GFP_KERNEL);
	if (!points)
		return -ENOMEM;
	disk = vhdx_handle_enter(handle);
	if (!disk) {
		err = -ENODEV;
		goto out;
	}
	args->output_count = vhdx_tracking_points(&disk->tracker, args->first, points, capacity,
						  &args->point_count);
	vhdx_handle_leave(handle);
	if (copy_to_user(u64_to_user_ptr(args->output), points,
			 args->output_count * sizeof(*points)))
		err = -EFAULT;
out:
	kvfree(points);
	return err;
}

static int get_changes(void *context, void *arg)
{
	return vhdx_query_changes(context, arg);
}

static int tracking_enable(void *context, void *arg)
{
	struct vhdx_handle *handle = context;
	struct vhdx_tracking_enable *args = arg;
	struct vhdx_diag diag = { };
	struct vhdx_disk *disk;
	int err;

	args->reason = VHDX_REASON_NONE;
	memset(&args->first_point, 0, sizeof(args->first_point));
	if (args->flags & ~VHDX_ENABLE_OVERWRITE) {
		err = vhdx_fail(&diag, -EINVAL, VHDX_REASON_ARGUMENT, "unknown flags %#x",
				args->flags);
	} else {
		disk = vhdx_handle_enter(handle);
		if (!disk)
			return -ENODEV;
		err = vhdx_tracking_enable(&disk->tracker, args, &diag);
		vhdx_handle_leave(handle);
	}
	if (err)
		args->reason = diag.reason;
	vhdx_uarg_message(args->message, args->message_capacity, &diag);
	return err;
}

static int tracking_disable(void *context, void *arg)
{
	struct vhdx_handle *handle = context;
	struct vhdx_tracking_disable *args = arg;
	struct vhdx_disk *disk;
	int err;

	args->reason = VHDX_REASON_NONE;
	if (args->flags || args->reserved) {
		args->reason = VHDX_REASON_ARGUMENT;
		return -EINVAL;
	}
	disk = vhdx_handle_enter(handle);
	if (!disk)
		return -ENODEV;
	err = vhdx_tracking_disable(&disk->tracker, &args->reason);
	vhdx_handle_leave(handle);
	return err;
}

static int tracking_reset(void *context, void *arg)
{
	struct vhdx_handle *handle = context;
	struct vhdx_tracking_reset *args = arg;
	struct vhdx_disk *disk;
	int err;

	args->reason = VHDX_REASON_NONE;
	memset(&args->first_point, 0, sizeof(args->first_point));
	if (args->flags || args->reserved) {
		args->reason = VHDX_REASON_ARGUMENT;
		return -EINVAL;
	}
	disk = vhdx_handle_enter(handle);
	if (!disk)
		return -ENODEV;
	err = vhdx_tracking_reset(&disk->tracker, &args->first_point, &args->reason);
	vhdx_handle_leave(handle);
	return err;
}

static int forget(void *context, void *arg)
{
	struct vhdx_handle *handle = context;
	struct vhdx_forget *args = arg;
	struct vhdx_disk *disk;
	int err;

	args->reason = VHDX_REASON_NONE;
	if (args->flags || args->reserved) {
		args->reason = VHDX_REASON_ARGUMENT;
		return -EINVAL;
	}
	disk = vhdx_handle_enter(handle);
	if (!disk)
		return -ENODEV;
	err = vhdx_tracking_forget(&disk->tracker, &args->id, &args->reason);
	vhdx_handle_leave(handle);
	return err;
}

static const struct vhdx_ioctl ioctls[] = {
	VHDX_IOCTL(VHDX_GET_INFO, struct vhdx_info, false, get_info),
	VHDX_IOCTL(VHDX_GET_TRACKING_STATE, struct vhdx_tracking_state, false,
		   get_tracking_state),
	VHDX_IOCTL(VHDX_GET_POINTS, struct vhdx_get_points, false, get_points),
	VHDX_IOCTL(VHDX_GET_VIRTUAL_DISK_CHANGES, struct vhdx_get_virtual_disk_changes, false,
		   get_changes),
	VHDX_IOCTL(VHDX_TRACKING_ENABLE, struct vhdx_tracking_enable, true, tracking_enable),
	VHDX_IOCTL(VHDX_TRACKING_DISABLE, struct vhdx_tracking_disable, true, tracking_disable),
	VHDX_IOCTL(VHDX_TRACKING_RESET, struct vhdx_tracking_reset, true, tracking_reset),
	VHDX_IOCTL(VHDX_FORGET, struct vhdx_forget, true, forget),
};

/* ---- file operations --------------------------------------------------------------- */

static int chardev_open(struct inode *inode, struct file *file)
{
	struct vhdx_handle *handle = container_of(inode->i_cdev, struct vhdx_handle, cdev);

	/* The cdev holds a reference of the device until the last close. */
	if (!vhdx_handle_enter(handle))
		return -ENODEV;
	vhdx_handle_leave(handle);
	file->private_data = handle;
	return nonseekable_open(inode, file);
}

static long chardev_ioctl(struct file *file, unsigned int command, unsigned long user)
{
	struct vhdx_handle *handle = file->private_data;

	if (!vhdx_handle_enter(handle))
		return -ENODEV;
	vhdx_handle_leave(handle);
	return vhdx_uarg_dispatch(ioctls, ARRAY_SIZE(ioctls), handle,
				  file->f_mode & FMODE_WRITE, command, user);
}

static __poll_t chardev_poll(struct file *file, poll_table *table)
{
	struct vhdx_handle *handle = file->private_data;

	poll_wait(file, &handle->gone, table);
	return READ_ONCE(handle->disk) ? 0 : EPOLLHUP;
}

static const struct file_operations chardev_fops = {
	.owner		= THIS_MODULE,
	.open		= chardev_open,
	.unlocked_ioctl	= chardev_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.poll		= chardev_poll,
};

/**
 * vhdx_handle_of() - the handle behind an open file
 * @file:	any file
 *
 * NULL if it is no /dev/vhdxcN. The file keeps the handle.
 */
struct vhdx_handle *vhdx_handle_of(struct file *file)
{
	return file->f_op == &chardev_fops ? file->private_data : NULL;
}

/* ---- devices ----------------------------------------------------------------------- */

static struct class vhdx_class = {
	.name = "vhdx",
	COMPAT_CLASS_OWNER
};

static void handle_release(struct device *dev)
{
	kfree(container_of(dev, struct vhdx_handle, dev));
}

static char *handle_devnode(COMPAT_DEVNODE_CONST struct device *dev, umode_t *mode, kuid_t *uid,
			    kgid_t *gid)
{
	/* Asked without either when the node is removed. */
	if (mode)
		*mode = 0660;
	if (gid)
		*gid = make_kgid(&init_user_ns, node_gid);
	return NULL;
}

static const struct device_type handle_type = {
	.name = "vhdxc",
	.devnode = handle_devnode,
	.release = handle_release,
};

/**
 * vhdx_handle_create() - make the character device of a disk
 * @disk:	with its index; ready to be asked
 *
 * An ERR_PTR on failure. The node can be opened when this returns.
 */
struct vhdx_handle *vhdx_handle_create(struct vhdx_disk *disk)
{
	struct vhdx_handle *handle = kzalloc(sizeof(*handle), GFP_KERNEL);
	int err;

	if (!handle)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&handle->lock);
	init_waitqueue_head(&handle->gone);
	handle->disk = disk;
	device_initialize(&handle->dev);
	handle->dev.class = &vhdx_class;
	handle->dev.type = &handle_type;
	handle->dev.devt = first_devt + disk->index;
	cdev_init(&handle->cdev, &chardev_fops);
	handle->cdev.owner = THIS_MODULE;
	err = dev_set_name(&handle->dev, "vhdxc%d", disk->index);
	if (!err)
		err = cdev_device_add(&handle->cdev, &handle->dev);
	if (err) {
		put_device(&handle->dev);
		return ERR_PTR(err);
	}
	return handle;
}

/**
 * vhdx_handle_detach() - from now on there is no disk behind it
 * @handle:	the handle
 *
 * Waits for those who work with the disk: for a bounded time.
 */
void vhdx_handle_detach(struct vhdx_handle *handle)
{
	spin_lock(&handle->lock);
	WRITE_ONCE(handle->disk, NULL);
	spin_unlock(&handle->lock);
	wake_up_all(&handle->gone);
	wait_event(handle->gone, !READ_ONCE(handle->users));
}

/**
 * vhdx_handle_remove() - remove the node; open descriptors keep the handle
 * @handle:	detached
 */
void vhdx_handle_remove(struct vhdx_handle *handle)
{
	cdev_device_del(&handle->cdev, &handle->dev);
	put_device(&handle->dev);
}

/**
 * vhdx_chardev_init() - when the module is loaded
 */
int vhdx_chardev_init(void)
{
	int err = alloc_chrdev_region(&first_devt, 0, VHDX_DISKS_MAX, "vhdxc");

	if (err)
		return err;
	err = class_register(&vhdx_class);
	if (err)
		unregister_chrdev_region(first_devt, VHDX_DISKS_MAX);
	return err;
}

/**
 * vhdx_chardev_exit() - when it is unloaded
 */
void vhdx_chardev_exit(void)
{
	class_unregister(&vhdx_class);
	unregister_chrdev_region(first_devt, VHDX_DISKS_MAX);
}
