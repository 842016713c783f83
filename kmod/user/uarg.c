// SPDX-License-Identifier: GPL-2.0-only
#include "uarg.h"
#include "disk/disk.h"
#include "disk/cdev.h"
#include "store/scope.h"

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/uaccess.h>
#include <uapi/linux/vhdx.h>

#include "uapi_layout.h"

static const struct vhdx_ioctl *find_row(const struct vhdx_ioctl *table, unsigned int count,
					 unsigned int command)
{
	const struct vhdx_ioctl *row;

	for (row = table; row < table + count; row++) {
		if (row->argument->command == command)
			return row;
	}
	return NULL;
}

static int copy_in(const struct vhdx_ioctl *row, void *arg, const void __user *argp, u32 *size)
{
	if (get_user(*size, (const u32 __user *)argp))
		return -EFAULT;
	if (*size < row->argument->first_size)
		return -EINVAL;
	/* As elsewhere in the kernel: a caller can't have gigabytes of zeros looked through. */
	if (*size > PAGE_SIZE)
		return -E2BIG;
	return copy_struct_from_user(arg, row->argument->size, argp, *size);
}

/* What is wrong whatever the fields mean. */
static int check(const struct vhdx_ioctl *row, const void *arg, struct vhdx_call *call)
{
	if (row->needs_write && !(call->file->f_mode & FMODE_WRITE))
		return vhdx_fail(&call->diag, -EBADF, VHDX_REASON_ARGUMENT,
				 "the descriptor is open for reading only");
	if (row->needs_admin && !capable(CAP_SYS_ADMIN))
		return vhdx_fail(&call->diag, -EPERM, VHDX_REASON_NONE,
				 "this needs root (CAP_SYS_ADMIN)");
	return vhdx_argument_check(row->argument, arg, &call->diag);
}

/*
 * What is done to a disk takes locks that its I/O waits for. While they are held, no
 * allocation may wait for memory that this I/O has to free (rule K3).
 */
static int run(const struct vhdx_ioctl *row, void *arg, struct vhdx_call *call)
{
	unsigned int flags;
	int err;

	if (!row->needs_disk)
		return row->run(call, arg);
	call->disk = vhdx_cdev_enter(call->cdev);
	if (!call->disk)
		return vhdx_cdev_is_gone(&call->diag);
	flags = vhdx_scope_enter();
	err = row->run(call, arg);
	vhdx_scope_leave(flags);
	vhdx_loss_explain(call->disk, err, &call->diag);
	vhdx_cdev_leave(call->cdev);
	return err;
}

/* A bad buffer is ignored: the errno matters more. */
static void put_message(const struct vhdx_argument *argument, void *arg,
			const struct vhdx_diag *diag)
{
	u64 user = *vhdx_argument_message(argument, arg);
	u32 capacity = *vhdx_argument_capacity(argument, arg);
	size_t length = strnlen(diag->text, sizeof(diag->text) - 1);
	void __user *to;

	if (!user || !capacity)
		return;
	to = u64_to_user_ptr(user);
	length = min_t(size_t, length, capacity - 1);
	if (copy_to_user(to, diag->text, length) || put_user((char)0, (char __user *)to + length))
		return;
}

/**
 * vhdx_uarg_dispatch() - copy in, judge, run, copy out
 * @table:	the device's ioctls
 * @count:	rows
 * @call:	file and cdev are set
 * @command:	what the caller wants
 * @user:	the caller's structure
 *
 * On failure the structure goes back too, with the reason and the message, and without
 * results; not after EFAULT and a bad size. Sleeps.
 * Returns what the row's function returned; -ENOTTY; -EFAULT; -EINVAL (size, flags,
 * reserved fields); -E2BIG; -EBADF; -EPERM; -EOPNOTSUPP; -ENODEV.
 */
long vhdx_uarg_dispatch(const struct vhdx_ioctl *table, unsigned int count,
			struct vhdx_call *call, unsigned int command, unsigned long user)
{
	const struct vhdx_ioctl *row = find_row(table, count, command);
	void __user *argp = (void __user *)user;
	union vhdx_any_argument arg;
	const struct vhdx_argument *argument;
	u32 size;
	int err;

	if (!row)
		return -ENOTTY;
	err = copy_in(row, &arg, argp, &size);
	if (err)
		return err;
	argument = row->argument;
	err = check(row, &arg, call);
	vhdx_argument_clear(argument, &arg, VHDX_FIELD_RESULT);
	vhdx_argument_clear(argument, &arg, VHDX_FIELD_VERDICT);
	if (!err)
		err = run(row, &arg, call);
	if (err == -EFAULT)
		return err;
	if (err)
		vhdx_argument_clear(argument, &arg, VHDX_FIELD_RESULT);
	*vhdx_argument_reason(argument, &arg) = call->diag.reason;
	put_message(argument, &arg, &call->diag);
	if (copy_to_user(argp, &arg, min_t(u32, size, argument->size)))
		return -EFAULT;
	return err;
}

/**
 * vhdx_uarg_check_stride() - may the caller's elements have this size?
 * @size:	as the caller gives it
 * @first_size:	first published
 * @name:	of the field, for the message
 * @diag:	what is wrong
 *
 * 0 or -EINVAL.
 */
int vhdx_uarg_check_stride(u32 size, u32 first_size, const char *name, struct vhdx_diag *diag)
{
	if (size < first_size || size > PAGE_SIZE || size % sizeof(u64))
		return vhdx_bad_argument(diag,
			"%s %u: it must be the size of one element, at least %u", name, size,
			first_size);
	return 0;
}

/**
 * vhdx_uarg_put_array() - hand an array to user space, in elements of the caller's size
 * @user:	where to
 * @user_size:	of one of the caller's elements; what is behind ours in it becomes zero
 * @array:	what
 * @size:	of one of our elements
 * @count:	how many
 *
 * 0 or -EFAULT.
 */
int vhdx_uarg_put_array(u64 user, u32 user_size, const void *array, u32 size, u32 count)
{
	u32 known = min(user_size, size);
	void __user *to;
	u32 i;

	if (user_size == size)
		return copy_to_user(u64_to_user_ptr(user), array, (size_t)count * size) ?
		       -EFAULT : 0;
	for (i = 0; i < count; i++) {
		to = u64_to_user_ptr(user + (u64)i * user_size);
		if (copy_to_user(to, array + (size_t)i * size, known) ||
		    clear_user(to + known, user_size - known))
			return -EFAULT;
	}
	return 0;
}
