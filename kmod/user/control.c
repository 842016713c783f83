// SPDX-License-Identifier: GPL-2.0-only
#include "control.h"
#include "attach.h"
#include "chardev.h"
#include "core/utf8.h"
#include "disk/disk.h"
#include "disk/registry.h"
#include "points/seal.h"
#include "uarg.h"

#include <linux/file.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

/* ---- attach, detach ------------------------------------------------------------- */

static int check_attach(const struct vhdx_attach *args, struct vhdx_diag *diag)
{
	if (!args->layer_count || args->layer_count > VHDX_LAYERS_MAX)
		return vhdx_fail(diag, -EINVAL, VHDX_REASON_ARGUMENT,
				 "layer_count %u: it must be 1 to %u", args->layer_count,
				 VHDX_LAYERS_MAX);
	if (args->index < VHDX_INDEX_ANY || args->index >= VHDX_DISKS_MAX)
		return vhdx_fail(diag, -EINVAL, VHDX_REASON_ARGUMENT,
				 "index %d: it must be 0 to %u, or left to the driver", args->index,
				 VHDX_DISKS_MAX - 1);
	return vhdx_uarg_check_stride(args->layer_size, VHDX_LAYER_SIZE_VER0, "layer_size", diag);
}

static int get_layer(const struct vhdx_attach *args, u32 position, struct vhdx_layer *layer,
		     struct vhdx_diag *diag)
{
	u64 user = args->layers + (u64)position * args->layer_size;
	int err = copy_struct_from_user(layer, sizeof(*layer), u64_to_user_ptr(user),
					args->layer_size);

	if (err)
		return err;
	err = vhdx_fields_check(vhdx_layer_fields, layer, diag);
	if (!err && layer->sidecar_fd < -1)
		err = vhdx_bad_argument(diag, "sidecar_fd %d: want a descriptor, or -1 for none",
					layer->sidecar_fd);
	return err;
}

static int attach(struct vhdx_call *call, void *arg)
{
	struct vhdx_attach *args = arg;
	struct vhdx_layer *layers;
	u32 i;
	int err;

	err = check_attach(args, &call->diag);
	if (err)
		return err;
	layers = kcalloc(args->layer_count, sizeof(*layers), GFP_KERNEL);
	if (!layers)
		return vhdx_no_memory(&call->diag);
	for (i = 0; i < args->layer_count && !err; i++)
		err = get_layer(args, i, &layers[i], &call->diag);
	if (!err)
		err = vhdx_attach_killably(args, layers, &call->diag);
	kfree(layers);
	return err;
}

static int detach(struct vhdx_call *call, void *arg)
{
	const struct vhdx_detach *args = arg;

	return vhdx_detach(args->index, args->disk_seq, &call->diag);
}

/* ---- seal ------------------------------------------------------------------------ */

/**
 * struct sealing - what one VHDX_SEAL holds on to
 * @files:	keep the change-tracking devices
 * @trackers:	of the disks
 * @ids:	what is given out
 * @entered:	how many of them are entered: these disks can't be detached
 */
struct sealing {
	struct file **files;
	struct vhdx_tracker **trackers;
	struct vhdx_point_id *ids;
	u32 entered;
};

static struct vhdx_cdev *cdev_at(const struct sealing *s, u32 position)
{
	return vhdx_cdev_of(s->files[position]);
}

static int get_files(struct sealing *s, const struct vhdx_seal *args, u32 *failed,
		     struct vhdx_diag *diag)
{
	const s32 __user *fds = u64_to_user_ptr(args->fds);
	s32 fd;

	for (*failed = 0; *failed < args->count; (*failed)++) {
		if (get_user(fd, fds + *failed))
			return -EFAULT;
		s->files[*failed] = fget(fd);
		if (!s->files[*failed] || !cdev_at(s, *failed))
			return vhdx_fail(diag, -EBADF, VHDX_REASON_ARGUMENT,
					 "descriptor %d is no /dev/vhdxcN", fd);
		if (!(s->files[*failed]->f_mode & FMODE_WRITE))
			return vhdx_fail(diag, -EBADF, VHDX_REASON_ARGUMENT,
					 "descriptor %d is open for reading only", fd);
	}
	*failed = 0;
	return 0;
}

/* At most 256 disks: comparing each with each is nothing beside the seal itself. */
static bool is_repeated(const struct sealing *s, u32 position)
{
	u32 i;

	for (i = 0; i < position; i++) {
		if (cdev_at(s, i) == cdev_at(s, position))
			return true;
	}
	return false;
}

static int enter_all(struct sealing *s, u32 count, u32 *failed, struct vhdx_diag *diag)
{
	struct vhdx_disk *disk;

	for (; s->entered < count; s->entered++) {
		*failed = s->entered;
		if (is_repeated(s, s->entered))
			return vhdx_bad_argument(diag, "a seal takes each disk once");
		disk = vhdx_cdev_enter(cdev_at(s, s->entered));
		if (!disk)
			return vhdx_cdev_is_gone(diag);
		s->trackers[s->entered] = &disk->tracker;
	}
	*failed = 0;
	return 0;
}

static int check_seal(const struct vhdx_seal *args, struct vhdx_diag *diag)
{
	if (!args->count || args->count > VHDX_SEAL_MAX)
		return vhdx_bad_argument(diag, "count %u: it must be 1 to %u", args->count,
					 VHDX_SEAL_MAX);
	if (args->label_length > VHDX_LABEL_MAX)
		return vhdx_bad_argument(diag, "label_length %u: %u is the most",
					 args->label_length, VHDX_LABEL_MAX);
	if (!vhdx_label_is_valid(args->label, args->label_length))
		return vhdx_bad_argument(diag,
			"label: not text: it must be UTF-8 without control characters");
	if (memchr_inv(args->label + args->label_length, 0, VHDX_LABEL_MAX - args->label_length))
		return vhdx_bad_argument(diag, "label: something lies behind its end");
	return 0;
}

static int seal(struct vhdx_call *call, void *arg)
{
	struct vhdx_seal *args = arg;
	struct sealing s = { };
	u32 i, count = args->count;
	int err;

	err = check_seal(args, &call->diag);
	if (err)
		return err;
	s.files = kcalloc(count, sizeof(*s.files), GFP_KERNEL);
	s.trackers = kcalloc(count, sizeof(*s.trackers), GFP_KERNEL);
	s.ids = kcalloc(count, sizeof(*s.ids), GFP_KERNEL);
	if (!s.files || !s.trackers || !s.ids) {
		err = vhdx_no_memory(&call->diag);
		goto out;
	}
	err = get_files(&s, args, &args->failed, &call->diag);
	if (err)
		goto out;
	/* Points whose ids can't be delivered had better not come to be. */
	err = -EFAULT;
	if (copy_to_user(u64_to_user_ptr(args->ids), s.ids, count * sizeof(*s.ids)))
		goto out;
	err = enter_all(&s, count, &args->failed, &call->diag);
	if (!err)
		err = vhdx_seal(s.trackers, count, args, s.ids, &call->diag);
	for (i = 0; i < s.entered; i++)
		vhdx_cdev_leave(cdev_at(&s, i));
	if (!err && copy_to_user(u64_to_user_ptr(args->ids), s.ids, count * sizeof(*s.ids)))
		err = -EFAULT;
out:
	for (i = 0; s.files && i < count && s.files[i]; i++)
		fput(s.files[i]);
	kfree(s.ids);
	kfree(s.trackers);
	kfree(s.files);
	return err;
}

/* ---- the device -------------------------------------------------------------------- */

static const struct vhdx_ioctl ioctls[] = {
	{ &vhdx_argument_attach, .needs_admin = true, .run = attach },
	{ &vhdx_argument_detach, .needs_admin = true, .run = detach },
	{ &vhdx_argument_seal, .run = seal },
};

static long control_ioctl(struct file *file, unsigned int command, unsigned long user)
{
	struct vhdx_call call = { .file = file };

	return vhdx_uarg_dispatch(ioctls, ARRAY_SIZE(ioctls), &call, command, user);
}

static const struct file_operations control_fops = {
	.owner		= THIS_MODULE,
	.open		= nonseekable_open,
	.unlocked_ioctl	= control_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

/* Anybody may open it: sealing asks for no more than the descriptors that it is given. */
static struct miscdevice control_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "vhdx-control",
	.fops	= &control_fops,
	.mode	= 0666,
};

/**
 * vhdx_control_init() - make the node
 */
int vhdx_control_init(void)
{
	return misc_register(&control_device);
}

/**
 * vhdx_control_exit() - remove it
 */
void vhdx_control_exit(void)
{
	misc_deregister(&control_device);
}
