// SPDX-License-Identifier: GPL-2.0-only
/* Until 6.3 a class has an owner. */
#include <linux/device/class.h>
#include <linux/module.h>

struct class probe;
struct class probe = { .name = "probe", .owner = THIS_MODULE };
