/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * What a disk tells of its history: state, points, and the checks of a question about
 * changes. The driver and the offline command use it. They differ in where the history
 * comes from, and in what keeps it from changing meanwhile.
 */
#ifndef VHDX_CORE_REPORT_H
#define VHDX_CORE_REPORT_H

#include "history.h"

/**
 * vhdx_report_state() - VHDX_GET_TRACKING_STATE
 * @history:	of the disk
 * @state:	filled in, but for live_bytes, generation and what is only an input
 */
void vhdx_report_state(const struct vhdx_history *history, struct vhdx_tracking_state *state);

/**
 * vhdx_report_count_live() - how much changed since the newest point: a part of the count
 * @history:	of the disk, the same for all parts but for what is marked meanwhile
 * @count:	with words, else zero before the first part; in the end ranges.sum is the result
 * @leaves:	of how many the part is, at most
 *
 * Returns 1: go on; 0: all was counted; -ENODATA: there is no newest point, or a gap behind it.
 */
int vhdx_report_count_live(const struct vhdx_history *history, struct vhdx_answer *count,
			   u32 leaves);

/**
 * vhdx_report_live_bytes() - how much changed since the newest point
 * @history:	of the disk
 *
 * In bytes, whole units. Reads all of the live map. VHDX_BYTES_UNKNOWN where there is no
 * newest point, where a gap lies behind it, or where the map can't be read.
 */
u64 vhdx_report_live_bytes(const struct vhdx_history *history);

/**
 * vhdx_report_points() - VHDX_GET_POINTS
 * @history:	of the disk
 * @args:	@args->after is judged; point_count and output_count are filled in
 * @points:	room for @capacity of them
 * @diag:	what is wrong
 *
 * All of the line, whatever layer a point is on. Points that were never issued don't exist for a
 * caller. 0; where it is known that there may be others, with words and a reason in @diag, as there
 * are without any where tracking is off. -EINVAL; -ENODATA; if there are none but in a sidecar that
 * can't be used, as vhdx_report_route().
 */
int vhdx_report_points(const struct vhdx_history *history, struct vhdx_get_points *args,
		       struct vhdx_point *points, u32 capacity, struct vhdx_diag *diag);

/**
 * vhdx_report_check_allocated() - is this a question about what is allocated?
 * @args:	known flags, nothing that is reserved; virtual_disk_size is filled in
 * @diag:	what is wrong
 *
 * 0 or -EINVAL.
 */
int vhdx_report_check_allocated(const struct vhdx_get_allocated_ranges *args,
				struct vhdx_diag *diag);

/**
 * vhdx_report_check() - is this a question?
 * @history:	of the disk; of it, only the size is looked at
 * @args:	known flags, nothing that is reserved. Which ids are known is
 *		vhdx_report_route()'s to say
 * @diag:	what is wrong
 *
 * 0 or -EINVAL.
 */
int vhdx_report_check(const struct vhdx_history *history,
		      const struct vhdx_get_virtual_disk_changes *args, struct vhdx_diag *diag);

/**
 * vhdx_report_route() - which deltas answer the question
 * @history:	of the disk
 * @args:	unit and answer_flags are filled in
 * @route:	filled in
 * @diag:	what is wrong
 *
 * As vhdx_history_route(). 0; -EINVAL; -ENODATA; -ESTALE; -EOPNOTSUPP; off_error or chain_error.
 */
int vhdx_report_route(const struct vhdx_history *history,
		      struct vhdx_get_virtual_disk_changes *args, struct vhdx_route *route,
		      struct vhdx_diag *diag);

/**
 * vhdx_report_begin() - the form in which the answer is wanted
 * @args:	judged by vhdx_report_check() and vhdx_report_route(); now by the unit of the latter
 * @answer:	zero, but for where it is put together
 * @diag:	what is wrong
 *
 * 0 or -EINVAL.
 */
int vhdx_report_begin(const struct vhdx_get_virtual_disk_changes *args,
		      struct vhdx_answer *answer, struct vhdx_diag *diag);

/* Where a bitmap ends at the latest: there is no room for more. */
u64 vhdx_report_bitmap_end(const struct vhdx_get_virtual_disk_changes *args,
			   const struct vhdx_answer *answer);

/**
 * vhdx_report_end() - how far the answer came
 * @args:	filled in, but for output_count
 * @answer:	of vhdx_report_begin()
 */
void vhdx_report_end(struct vhdx_get_virtual_disk_changes *args,
		     const struct vhdx_answer *answer);

/**
 * vhdx_report_failure() - what reading a leaf failed with, as the question's answer
 * @err:	of vhdx_answer_leaf()
 * @layer:	whose sidecar was read, as struct vhdx_route has it; 0: the leaf's
 * @diag:	gets reason and text
 *
 * Damage of the sidecar is a gap like any other: -ESTALE. Else @err.
 */
int vhdx_report_failure(int err, u32 layer, struct vhdx_diag *diag);

#endif
