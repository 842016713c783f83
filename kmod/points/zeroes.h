/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which parts of what changed read as zeroes now: between an answer and its sink, for those who
 * ask for the flags of ranges.
 */
#ifndef VHDX_ZEROES_H
#define VHDX_ZEROES_H

#include "core/rct/zeroes.h"

#include <linux/ktime.h>

struct vhdx_cdev;
struct vhdx_diag;
struct vhdx_query_sink;

/**
 * struct vhdx_zero_stage - one call under way
 * @cdev:	of the disk, which is entered for some of it at a time
 * @sink:	where parts of ranges go, with their flags
 * @diag:	what is wrong
 * @deadline:	when the caller wants the answer, as ktime_get() tells the time; 0: at the end
 * @begin:	where the answer begins
 * @capacity:	how many parts there is room for
 * @put:	how many the sink has taken
 * @parts:	what is told, and up to where
 */
struct vhdx_zero_stage {
	struct vhdx_cdev *cdev;
	struct vhdx_query_sink *sink;
	struct vhdx_diag *diag;
	ktime_t deadline;
	u64 begin;
	u32 capacity;
	u32 put;
	struct vhdx_zeroes parts;
};

int vhdx_zero_stage_init(struct vhdx_zero_stage *stage);
void vhdx_zero_stage_release(struct vhdx_zero_stage *stage);
int vhdx_zero_stage_put(struct vhdx_zero_stage *stage, const struct vhdx_range *ranges, u32 count);

#endif
