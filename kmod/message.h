/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is said of a disk in the kernel log: everything that is, begins with its name. A disk is its
 * number here, N of /dev/vhdxN, which also those know that know no disk.
 */
#ifndef VHDX_MESSAGE_H
#define VHDX_MESSAGE_H

#include <linux/printk.h>

#define vhdx_say_err(disk, fmt, ...)	pr_err("vhdx%d: " fmt "\n", disk, ##__VA_ARGS__)
#define vhdx_say_warn(disk, fmt, ...)	pr_warn("vhdx%d: " fmt "\n", disk, ##__VA_ARGS__)
#define vhdx_say_info(disk, fmt, ...)	pr_info("vhdx%d: " fmt "\n", disk, ##__VA_ARGS__)

#endif
