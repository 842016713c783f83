// SPDX-License-Identifier: GPL-2.0-only
#include "chardev.h"
#include "disk/disk.h"
#include "disk/registry.h"
#include "points/admin.h"
#include "points/allocated.h"
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
 * @cdev:	kept by the cdev's reference until the last close
 * @generation:	of the points, as VHDX_GET_TRACKING_STATE told it last; poll compares
 */
struct opened {
	struct vhdx_cdev *cdev;
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

	vhdx_tracking_state(&call->disk->tracker, state);
	state->live_bytes = vhdx_tracking_live_bytes(&call->disk->tracker);
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
	disk = vhdx_cdev_enter(call->cdev);
	if (disk) {
		err = vhdx_tracking_points(&disk->tracker, args, points, capacity, &call->diag);
		vhdx_cdev_leave(call->cdev);
	} else {
		err = vhdx_cdev_is_gone(&call->diag);
	}
	if (!err)
		err = vhdx_uarg_put_array(args->output, args->point_size, points, sizeof(*points),
					  args->output_count);
	kvfree(points);
	return err;
}

static int get_layers(struct vhdx_call *call, void *arg)
{
	struct vhdx_get_layers *args = arg;
	u32 capacity = min(args->output_capacity, VHDX_LAYERS_MAX);
	struct vhdx_layer_info *layers;
	struct vhdx_disk *disk;
	int err = 0;

	if (capacity)
		err = vhdx_uarg_check_stride(args->layer_size, VHDX_LAYER_INFO_SIZE_VER0,
					     "layer_size", &call->diag);
	if (err)
		return err;
	layers = kvcalloc(capacity ?: 1, sizeof(*layers), GFP_KERNEL);
	if (!layers)
		return vhdx_no_memory(&call->diag);
	disk = vhdx_cdev_enter(call->cdev);
	if (disk) {
		args->layer_count = disk->layer_count;
		args->output_count = min(capacity, disk->layer_count);
		vhdx_chain_info(disk, layers, args->output_count);
		vhdx_cdev_leave(call->cdev);
	} else {
		err = vhdx_cdev_is_gone(&call->diag);
	}
	if (!err)
		err = vhdx_uarg_put_array(args->output, args->layer_size, layers, sizeof(*layers),
					  args->output_count);
	kvfree(layers);
	return err;
}

/**
 * struct user_output - ranges or a bitmap on the way to user space
 * @sink:	of the query
 * @to:		where the next range or byte goes
 * @size:	of one
 */
struct user_output {
	struct vhdx_query_sink sink;
	void __user *to;
	size_t size;
};

/*
 * Bits mostly come in pages. Where the compiler knows the size, usercopy does not look up in which
 * memory they lie.
 */
static unsigned long copy_output(void __user *to, const void *from, size_t size)
{
	return size == VHDX_PAGE ? copy_to_user(to, from, VHDX_PAGE) : copy_to_user(to, from, size);
}

static int put_output(struct vhdx_query_sink *sink, const void *output, u32 count)
{
	struct user_output *user = container_of(sink, struct user_output, sink);
	const size_t size = count * user->size;

	if (output ? copy_output(user->to, output, size) : clear_user(user->to, size))
		return -EFAULT;
	user->to += size;
	return 0;
}

static int get_changes(struct vhdx_call *call, void *arg)
{
	struct vhdx_get_virtual_disk_changes *args = arg;
	struct user_output user = {
		.sink.put = put_output,
		.to = u64_to_user_ptr(args->output),
		.size = args->flags & VHDX_CHANGES_BITMAP ? 1 : args->range_size,
	};

	return vhdx_query_changes(call->cdev, args, &user.sink, &call->diag);
}

static int get_allocated(struct vhdx_call *call, void *arg)
{
	struct vhdx_get_allocated_ranges *args = arg;
	struct user_output user = {
		.sink.put = put_output,
		.to = u64_to_user_ptr(args->output),
		.size = args->range_size,
	};

	return vhdx_query_allocated(call->cdev, args, &user.sink, &call->diag);
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
	{ &vhdx_argument_allocated, .run = get_allocated },
	{ &vhdx_argument_layers, .run = get_layers },
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
	struct vhdx_cdev *cdev = container_of(inode->i_cdev, struct vhdx_cdev, cdev);
	struct opened *opened;
	struct vhdx_disk *disk;

	opened = kzalloc(sizeof(*opened), GFP_KERNEL);
	if (!opened)
		return -ENOMEM;
	opened->cdev = cdev;
	disk = vhdx_cdev_enter(cdev);
	if (!disk) {
		kfree(opened);
		return -ENODEV;
	}
	opened->generation = vhdx_tracker_generation(&disk->tracker);
	vhdx_cdev_leave(cdev);
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
	struct vhdx_call call = { .file = file, .cdev = vhdx_cdev_of(file) };

	if (!vhdx_cdev_enter(call.cdev))
		return -ENODEV;
	vhdx_cdev_leave(call.cdev);
	return vhdx_uarg_dispatch(ioctls, ARRAY_SIZE(ioctls), &call, command, user);
}

static __poll_t chardev_poll(struct file *file, poll_table *table)
{
	struct opened *opened = file->private_data;
	struct vhdx_disk *disk;
	__poll_t events = EPOLLHUP;

	poll_wait(file, &opened->cdev->wait, table);
	disk = vhdx_cdev_enter(opened->cdev);
	if (disk) {
		events = vhdx_tracker_generation(&disk->tracker) ==
			 READ_ONCE(opened->generation) ? 0 : EPOLLPRI;
		vhdx_cdev_leave(opened->cdev);
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
 * vhdx_cdev_of() - the change-tracking device behind an open file
 * @file:	any file
 *
 * NULL if it is no /dev/vhdxcN. The file keeps the device.
 */
struct vhdx_cdev *vhdx_cdev_of(struct file *file)
{
	struct opened *opened = file->private_data;

	return file->f_op == &chardev_fops ? opened->cdev : NULL;
}

/* ---- devices ----------------------------------------------------------------------- */

static struct class vhdx_class = {
	.name = "vhdx",
	COMPAT_CLASS_OWNER
};

static void cdev_release(struct device *dev)
{
	kfree(container_of(dev, struct vhdx_cdev, dev));
}

static char *cdev_devnode(COMPAT_DEVNODE_CONST struct device *dev, umode_t *mode, kuid_t *uid,
			  kgid_t *gid)
{
	/* Asked without either when the node is removed. */
	if (mode)
		*mode = 0660;
	if (gid)
		*gid = make_kgid(&init_user_ns, node_gid);
	return NULL;
}

static const struct device_type cdev_type = {
	.name = "vhdxc",
	.devnode = cdev_devnode,
	.release = cdev_release,
};

/**
 * vhdx_cdev_create() - make the character device of a disk: disk->cdev
 * @disk:	with its index; ready to be asked
 *
 * The node can be opened when this returns 0. On failure disk->cdev is NULL.
 */
int vhdx_cdev_create(struct vhdx_disk *disk)
{
	struct vhdx_cdev *cdev = kzalloc(sizeof(*cdev), GFP_KERNEL);
	int err;

	if (!cdev)
		return -ENOMEM;
	vhdx_cdev_init(cdev, disk);
	device_initialize(&cdev->dev);
	cdev->dev.class = &vhdx_class;
	cdev->dev.type = &cdev_type;
	cdev->dev.devt = first_devt + disk->index;
	cdev_init(&cdev->cdev, &chardev_fops);
	cdev->cdev.owner = THIS_MODULE;
	/* Once the node is there, a task may poll for new points. */
	disk->cdev = cdev;
	err = dev_set_name(&cdev->dev, "vhdxc%d", disk->index);
	if (!err)
		err = cdev_device_add(&cdev->cdev, &cdev->dev);
	if (err) {
		disk->cdev = NULL;
		put_device(&cdev->dev);
	}
	return err;
}

/**
 * vhdx_cdev_remove() - remove the node; open descriptors keep the device
 * @cdev:	detached
 */
void vhdx_cdev_remove(struct vhdx_cdev *cdev)
{
	cdev_device_del(&cdev->cdev, &cdev->dev);
}

/**
 * vhdx_cdev_put() - the disk itself lets go of it
 * @cdev:	removed; or NULL
 */
void vhdx_cdev_put(struct vhdx_cdev *cdev)
{
	if (cdev)
		put_device(&cdev->dev);
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
