/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Commands that make a disk: what they take, and what they tell of it.
 */
#ifndef VHDXCTL_MADE_H
#define VHDXCTL_MADE_H

#include "cli.h"

/* 0; or EXIT_USAGE, told, for what no size of its kind can be. The rest the library judges. */
int take_size(const char *option, uint64_t size, uint32_t *field);

/* The library has made it, and may have something to say to it. Returns an exit code. */
int report_made_vhdx(const char *path, const char *type);
/* The same of a raw image of @size bytes. */
int report_made_raw(const char *path, uint64_t size);

#endif
