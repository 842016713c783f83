/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Messages about a disk in the kernel log, each of which begins with its name. A disk is given by
 * its number here, N of /dev/vhdxN, which rooms that know no struct vhdx_disk have, too.
 */
#ifndef VHDX_MESSAGE_H
#define VHDX_MESSAGE_H

#include <linux/printk.h>

#define vhdx_say_err(disk, fmt, ...)	pr_err("vhdx%d: " fmt "\n", disk, ##__VA_ARGS__)
#define vhdx_say_warn(disk, fmt, ...)	pr_warn("vhdx%d: " fmt "\n", disk, ##__VA_ARGS__)
#define vhdx_say_info(disk, fmt, ...)	pr_info("vhdx%d: " fmt "\n", disk, ##__VA_ARGS__)

#endif
