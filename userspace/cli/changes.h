/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef VHDXCTL_CHANGES_H
#define VHDXCTL_CHANGES_H

#include "ranges.h"

/**
 * struct answer - all that changed
 * @info:	of the disk
 * @changes:	what was asked
 */
struct answer {
	struct vhdx_info info;
	struct vhdx_changes changes;
	struct ranges ranges;
};

/*
 * Scripts keep ids in files: a damaged id is no wrong usage, but needs a full backup. @target may
 * be NULL. 0 or -errno of the library.
 */
int parse_points(const char *since, const char *target, struct vhdx_changes *changes);

/* Draw it; returns an exit code. */
int print_map(const struct answer *answer);

#endif
