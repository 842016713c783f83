// SPDX-License-Identifier: GPL-2.0-only
#include "chardev.h"
#include "disk/disk.h"
#include "disk/registry.h"
#include "points/admin.h"
#include "points/query.h"
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

/**
 * struct opened - an open descriptor
 * @handle:	kept by the cdev's reference until the last close
 * @generation:	of the points, as VHDX_GET_TRACKING_STATE told it last; poll compares
 */
struct opened {
	struct vhdx_handle *handle;
	u64 generation;
};

/* ---- ioctls ---------------------------------------------------------------------- */

static int get_info(struct vhdx_call *call, void *arg)
{
	vhdx_disk_info(call->disk, arg);
	return 0;
}

static int get_tracking_state(struct vhdx_call *call, void *arg)
{
	struct opened *opened = call->file->private_data;
	struct vhdx_tracking_state *state = arg;
	u64 live_bytes;
	int err;

	err = vhdx_tracking_state(&call->disk->tracker, state, &call->diag);
	if (!err)
		err = vhdx_tracking_live_bytes(&call->disk->tracker, &live_bytes, &call->diag);
	if (err)
		return err;
	state->live_bytes = live_bytes;
	WRITE_ONCE(opened->generation, state->generation);
	return 0;
}

/* User memory is touched when the disk is let go of: it may answer late, or never. */
static int get_points(struct vhdx_call *call, void *arg)
{
	struct vhdx_get_points *args = arg;
	u32 capacity = min(args->output_capacity, VHDX_POINTS_MAX);
	struct vhdx_point *points;
	struct vhdx_disk *disk;
	int err = 0;

	if (capacity)
		err = vhdx_uarg_check_stride(args->point_size, VHDX_POINT_SIZE_VER0, "point_size",
					     &call->diag);
	if (err)
		return err;
	points = kvcalloc(capacity ?: 1, sizeof(*points), GFP_KERNEL);
	if (!points)
		return vhdx_no_memory(&call->diag);
	disk = vhdx_handle_enter(call->handle);
	if (disk) {
		err = vhdx_tracking_points(&disk->tracker, args, points, capacity, &call->diag);
		vhdx_handle_leave(call->handle);
	} else {
		err = vhdx_handle_is_gone(&call->diag);
	}
	if (!err)
		err = vhdx_uarg_put_array(args->output, args->point_size, points, sizeof(*points),
					  args->output_count);
	kvfree(points);
	return err;
}

/**
 * struct user_ranges - ranges on their way to user space
 * @sink:	of the query
 * @to:		where the next one goes
 * @size:	of one
 */
struct user_ranges {
	struct vhdx_query_sink sink;
	void __user *to;
	size_t size;
};

static int put_ranges(struct vhdx_query_sink *sink, const void *ranges, u32 count)
{
	struct user_ranges *user = container_of(sink, struct user_ranges, sink);

	if (copy_to_user(user->to, ranges, count * user->size))
		return -EFAULT;
	user->to += count * user->size;
	return 0;
}

static int get_changes(struct vhdx_call *call, void *arg)
{
	struct vhdx_get_virtual_disk_changes *args = arg;
	struct user_ranges user = {
		.sink.put = put_ranges,
		.to = u64_to_user_ptr(args->output),
		.size = args->range_size,
	};

	return vhdx_query_changes(call->handle, args, &user.sink, &call->diag);
}

static int not_yet(struct vhdx_call *call, void *arg)
{
	return vhdx_unsupported(&call->diag, "this is not supported yet");
}

static int tracking_enable(struct vhdx_call *call, void *arg)
{
	return vhdx_tracking_enable(&call->disk->tracker, arg, &call->diag);
}

static int tracking_disable(struct vhdx_call *call, void *arg)
{
	return vhdx_tracking_disable(&call->disk->tracker, &call->diag);
}

static int tracking_reset(struct vhdx_call *call, void *arg)
{
	struct vhdx_tracking_reset *args = arg;

	return vhdx_tracking_reset(&call->disk->tracker, &args->first_point, &call->diag);
}

static int forget(struct vhdx_call *call, void *arg)
{
	struct vhdx_forget *args = arg;

	return vhdx_tracking_forget(&call->disk->tracker, &args->id, &call->diag);
}

/* Those that don't need the disk find it by themselves, for a moment at a time. */
static const struct vhdx_ioctl ioctls[] = {
	{ &vhdx_argument_info, .needs_disk = true, .run = get_info },
	{ &vhdx_argument_tracking_state, .needs_disk = true, .run = get_tracking_state },
	{ &vhdx_argument_points, .run = get_points },
	{ &vhdx_argument_changes, .run = get_changes },
	{ &vhdx_argument_allocated, .needs_disk = true, .run = not_yet },
	{ &vhdx_argument_layers, .needs_disk = true, .run = not_yet },
	{ &vhdx_argument_enable, .needs_disk = true, .needs_write = true,
	  .run = tracking_enable },
	{ &vhdx_argument_disable, .needs_disk = true, .needs_write = true,
	  .run = tracking_disable },
	{ &vhdx_argument_reset, .needs_disk = true, .needs_write = true,
	  .run = tracking_reset },
	{ &vhdx_argument_forget, .needs_disk = true, .needs_write = true, .run = forget },
};

/* ---- file operations --------------------------------------------------------------- */

static int chardev_open(struct inode *inode, struct file *file)
{
	struct vhdx_handle *handle = container_of(inode->i_cdev, struct vhdx_handle, cdev);
	struct opened *opened;
	struct vhdx_disk *disk;

	opened = kzalloc(sizeof(*opened), GFP_KERNEL);
	if (!opened)
		return -ENOMEM;
	opened->handle = handle;
	disk = vhdx_handle_enter(handle);
	if (!disk) {
		kfree(opened);
		return -ENODEV;
	}
	opened->generation = vhdx_tracker_generation(&disk->tracker);
	vhdx_handle_leave(handle);
	file->private_data = opened;
	return nonseekable_open(inode, file);
}

static int chardev_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static long chardev_ioctl(struct file *file, unsigned int command, unsigned long user)
{
	struct vhdx_call call = { .file = file, .handle = vhdx_handle_of(file) };

	if (!vhdx_handle_enter(call.handle))
		return -ENODEV;
	vhdx_handle_leave(call.handle);
	return vhdx_uarg_dispatch(ioctls, ARRAY_SIZE(ioctls), &call, command, user);
}

static __poll_t chardev_poll(struct file *file, poll_table *table)
{
	struct opened *opened = file->private_data;
	struct vhdx_disk *disk;
	__poll_t events = EPOLLHUP;

	poll_wait(file, &opened->handle->wait, table);
	disk = vhdx_handle_enter(opened->handle);
	if (disk) {
		events = vhdx_tracker_generation(&disk->tracker) ==
			 READ_ONCE(opened->generation) ? 0 : EPOLLPRI;
		vhdx_handle_leave(opened->handle);
	}
	return events;
}

static const struct file_operations chardev_fops = {
	.owner		= THIS_MODULE,
	.open		= chardev_open,
	.release	= chardev_release,
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
	struct opened *opened = file->private_data;

	return file->f_op == &chardev_fops ? opened->handle : NULL;
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
 * vhdx_handle_create() - make the character device of a disk: disk->handle
 * @disk:	with its index; ready to be asked
 *
 * The node can be opened when this returns 0. On failure disk->handle is NULL.
 */
int vhdx_handle_create(struct vhdx_disk *disk)
{
	struct vhdx_handle *handle = kzalloc(sizeof(*handle), GFP_KERNEL);
	int err;

	if (!handle)
		return -ENOMEM;
	vhdx_handle_init(handle, disk);
	device_initialize(&handle->dev);
	handle->dev.class = &vhdx_class;
	handle->dev.type = &handle_type;
	handle->dev.devt = first_devt + disk->index;
	cdev_init(&handle->cdev, &chardev_fops);
	handle->cdev.owner = THIS_MODULE;
	/* Once the node is there, somebody may want to be told of new points. */
	disk->handle = handle;
	err = dev_set_name(&handle->dev, "vhdxc%d", disk->index);
	if (!err)
		err = cdev_device_add(&handle->cdev, &handle->dev);
	if (err) {
		disk->handle = NULL;
		put_device(&handle->dev);
	}
	return err;
}

/**
 * vhdx_handle_remove() - remove the node; open descriptors keep the handle
 * @handle:	detached
 */
void vhdx_handle_remove(struct vhdx_handle *handle)
{
	cdev_device_del(&handle->cdev, &handle->dev);
}

/**
 * vhdx_handle_put() - the disk itself lets go of it
 * @handle:	removed; or NULL
 */
void vhdx_handle_put(struct vhdx_handle *handle)
{
	if (handle)
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
