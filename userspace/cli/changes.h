/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VHDXCTL_CHANGES_H
#define VHDXCTL_CHANGES_H

#include "cli.h"

/**
 * struct answer - all that changed
 * @info:	of the disk
 * @changes:	what was asked
 * @ranges:	ascending
 */
struct answer {
	struct vhdx_info info;
	struct vhdx_changes changes;
	struct vhdx_range *ranges;
	size_t count;
	size_t capacity;
};

/* Draw it; returns an exit code. */
int print_map(const struct answer *answer);

#endif
