/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * What the parts of a check share.
 */
#ifndef VHDX_CORE_CHECK_PRIVATE_H
#define VHDX_CORE_CHECK_PRIVATE_H

#include "core/vhdx/overlay.h"
#include "core/vhdx/space.h"
#include "census.h"
#include "check.h"

/**
 * struct vhdx_check_state - a container under examination
 * @store:	its structures are read from: the container, or the overlay of its log
 * @unwritten:	what is wrong with a log that was never begun
 * @told:	entries of the BAT, for each severity; beyond VHDX_CHECK_ENTRIES_MAX they count only
 * @padding:	entries that are not zero, and of a block behind the disk's end
 * @first_padding: index of the first of them
 * @behind:	likewise, behind the last entry
 * @first_behind: index of the first of them
 */
struct vhdx_check_state {
	struct vhdx_store *store;
	vhdx_finding_fn_t fn;
	void *context;
	struct vhdx_image image;
	struct vhdx_overlay overlay;
	struct vhdx_space space;
	struct vhdx_diag unwritten;
	u64 told[VHDX_SEVERITY_FATAL + 1];
	u64 padding;
	u64 first_padding;
	u64 behind;
	u64 first_behind;
};

/* Tell of a finding. Returns what the caller's function does. */
__attribute__((format(printf, 3, 4)))
int vhdx_check_tell(struct vhdx_check_state *check, enum vhdx_severity severity,
		    const char *format, ...);

#define note(check, ...)	vhdx_check_tell(check, VHDX_SEVERITY_NOTE, __VA_ARGS__)
#define warn(check, ...)	vhdx_check_tell(check, VHDX_SEVERITY_WARNING, __VA_ARGS__)
#define error(check, ...)	vhdx_check_tell(check, VHDX_SEVERITY_ERROR, __VA_ARGS__)

/* check_tables.c: both copies of each, and what an attach does not look at. 0 or as @fn. */

int vhdx_check_headers(struct vhdx_check_state *check, struct vhdx_diag *diag);
/* @bat_length: out: of the BAT's region */
int vhdx_check_tables(struct vhdx_check_state *check, u64 *bat_length, struct vhdx_diag *diag);

#endif
