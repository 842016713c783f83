// SPDX-License-Identifier: GPL-2.0-only
#include "uarg.h"
#include "core/diag.h"

#include <linux/uaccess.h>
#include <uapi/linux/vhdx.h>

#include "uapi_layout.h"

/**
 * vhdx_uarg_dispatch() - copy in, run, copy out
 * @table:	the device's ioctls
 * @count:	rows
 * @context:	for the row's function
 * @writable:	the descriptor is open for writing
 * @command:	what the caller wants
 * @user:	his structure
 *
 * On failure the structure goes back too, with the reason; not after EFAULT and ENODEV.
 * Returns what the function returned; -ENOTTY, -EBADF, -EFAULT, -EINVAL (size), -E2BIG.
 */
long vhdx_uarg_dispatch(const struct vhdx_ioctl *table, unsigned int count, void *context,
			bool writable, unsigned int command, unsigned long user)
{
	void __user *argp = (void __user *)user;
	u64 arg[VHDX_UARG_MAX / sizeof(u64)] = { };
	const struct vhdx_ioctl *row;
	u32 size;
	int err;

	for (row = table; row < table + count; row++) {
		if (row->command == command)
			break;
	}
	if (row == table + count)
		return -ENOTTY;
	if (row->write && !writable)
		return -EBADF;

	if (get_user(size, (u32 __user *)argp))
		return -EFAULT;
	if (size < row->size)
		return -EINVAL;
	/* As elsewhere in the kernel: nobody has us look through gigabytes of zeros. */
	if (size > PAGE_SIZE)
		return -E2BIG;
	err = copy_struct_from_user(arg, row->size, argp, size);
	if (err)
		return err;

	err = row->run(context, arg);
	if (err != -EFAULT && err != -ENODEV && copy_to_user(argp, arg, row->size))
		return -EFAULT;
	return err;
}

/**
 * vhdx_uarg_message() - hand a message to user space
 * @user:	his buffer, or 0
 * @capacity:	its size
 * @diag:	the message; the text is cut to fit and ends with a NUL
 *
 * A bad buffer is ignored: the errno matters more.
 */
void vhdx_uarg_message(u64 user, u32 capacity, const struct vhdx_diag *diag)
{
	void __user *to = u64_to_user_ptr(user);
	size_t length = strnlen(diag->text, sizeof(diag->text) - 1);

	if (!user || !capacity)
		return;
	length = min_t(size_t, length, capacity - 1);
	if (copy_to_user(to, diag->text, length) || put_user((char)0, (char __user *)to + length))
		return;
}
