/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A module of the tests is told what to do by a file of debugfs:
 *
 *	static int command(char *text)			0 or -errno, for whoever wrote it
 *	DEFINE_CONTROL(command);
 *	debugfs_create_file("control", 0200, root, NULL, &control_fops);
 *
 * One command at a time; none runs any more when debugfs_remove() returns.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

static DEFINE_MUTEX(control_lock);

static inline ssize_t control_take(const char __user *from, size_t length,
				   int (*command)(char *text))
{
	char *text = memdup_user_nul(from, min_t(size_t, length, PAGE_SIZE));
	int err;

	if (IS_ERR(text))
		return PTR_ERR(text);
	mutex_lock(&control_lock);
	err = command(strim(text));
	mutex_unlock(&control_lock);
	kfree(text);
	return err ?: length;
}

#define DEFINE_CONTROL(command)							\
static ssize_t control_write(struct file *file, const char __user *from,	\
			     size_t length, loff_t *offset)			\
{										\
	return control_take(from, length, command);				\
}										\
										\
static const struct file_operations control_fops = {				\
	.owner = THIS_MODULE,							\
	.write = control_write,							\
}

#endif
