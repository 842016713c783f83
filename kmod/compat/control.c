// SPDX-License-Identifier: GPL-2.0-only
/* Compiles everywhere, or the probes mean nothing. */
#include <linux/module.h>
#include <linux/blkdev.h>
