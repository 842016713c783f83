// SPDX-License-Identifier: GPL-2.0-only
/*
 * The mapping is asked after the change map: what it says is as of a later moment of the call. A
 * write that was acknowledged before the call is mapped, and so is never told as zeroes. One that
 * comes later is up to change tracking: what it makes of zeroes is a change of the next answer.
 */
#include "zeroes.h"
#include "extent.h"
#include "query.h"
#include "disk/cdev.h"
#include "disk/disk.h"

#include <linux/mm.h>
#include <linux/sched/signal.h>

/* Parts between two calls of the sink. */
#define BATCH_PARTS	512U
/* Extents for which a detach may have to wait. */
#define BATCH_EXTENTS	256

/**
 * struct batch - ranges that are being split
 * @range:	the next one; the one before is, as long as its end is not reached
 * @end:	behind the last one
 * @full:	the caller has no room for the next part
 */
struct batch {
	const struct vhdx_range *range;
	const struct vhdx_range *end;
	bool full;
};

/**
 * vhdx_zero_stage_init() - room for parts
 * @stage:	the rest of it is set
 *
 * Returns 0 or -ENOMEM. vhdx_zero_stage_release() gives it back, also where this was not called.
 */
int vhdx_zero_stage_init(struct vhdx_zero_stage *stage)
{
	struct vhdx_ranges *told = &stage->parts.told;

	stage->parts.done = stage->begin;
	told->size = sizeof(struct vhdx_range);
	told->array = kvmalloc_array(BATCH_PARTS, told->size, GFP_KERNEL);
	return told->array ? 0 : -ENOMEM;
}

/**
 * vhdx_zero_stage_release() - without it
 * @stage:	all zero, or in use
 */
void vhdx_zero_stage_release(struct vhdx_zero_stage *stage)
{
	kvfree(stage->parts.told.array);
}

static bool is_in_range(const struct vhdx_zeroes *parts)
{
	return parts->at < parts->to;
}

/* There is a range to go on with. */
static bool go_on(struct vhdx_zero_stage *stage, struct batch *batch)
{
	struct vhdx_zeroes *parts = &stage->parts;

	if (is_in_range(parts))
		return true;
	if (batch->range == batch->end)
		return false;
	vhdx_zeroes_begin(parts, batch->range->byte_offset,
			  batch->range->byte_offset + batch->range->byte_length);
	batch->range++;
	return true;
}

/*
 * Whatever can't be told to read as zeroes does not: a block that a write is just making; and what
 * can't be looked up, which whoever reads it is to hear of.
 */
static int look(struct vhdx_zero_stage *stage, struct vhdx_disk *disk, u64 *length, bool *zero)
{
	const struct vhdx_zeroes *parts = &stage->parts;
	struct vhdx_mapping extent;
	int err;

	err = vhdx_extent_find(stage->cdev, disk, parts->at, parts->to - parts->at, &extent);
	if (err == -EINTR || err == -ENOMEM)
		return err;
	*zero = !err && extent.kind == VHDX_MAPPING_ZERO;
	*length = err ? parts->to - parts->at : extent.length;
	return 0;
}

/* Some extents. 0 or -errno. */
static int look_at_some(struct vhdx_zero_stage *stage, struct vhdx_disk *disk, struct batch *batch)
{
	struct vhdx_zeroes *parts = &stage->parts;
	u32 count, room;
	u64 length;
	bool zero;
	int err;

	for (count = 0; count < BATCH_EXTENTS && go_on(stage, batch); count++) {
		room = parts->told.capacity - parts->told.count;
		if (room < VHDX_ZEROES_ROOM && parts->told.capacity == BATCH_PARTS)
			break;
		err = look(stage, disk, &length, &zero);
		if (err)
			return err;
		batch->full = !vhdx_zeroes_add(parts, length, zero);
		if (batch->full || fatal_signal_pending(current))
			break;
		cond_resched();
	}
	return 0;
}

static int look_on(struct vhdx_zero_stage *stage, struct batch *batch)
{
	struct vhdx_disk *disk = vhdx_cdev_enter(stage->cdev);
	int err;

	if (!disk)
		return vhdx_cdev_is_gone(stage->diag);
	err = vhdx_loss_settle(disk);
	if (!err)
		err = look_at_some(stage, disk, batch);
	vhdx_loss_explain(disk, err, stage->diag);
	vhdx_cdev_leave(stage->cdev);
	return err;
}

/* No part goes on in the next one: they are told as they end. */
static int hand_on(struct vhdx_zero_stage *stage)
{
	struct vhdx_ranges *told = &stage->parts.told;
	int err;

	if (!told->count)
		return 0;
	err = stage->sink->put(stage->sink, told->array, told->count);
	if (err)
		return err;
	stage->put += told->count;
	vhdx_ranges_taken(told, 0);
	told->any = false;
	return 0;
}

static bool is_late(const struct vhdx_zero_stage *stage)
{
	return signal_pending(current) ||
	       (stage->deadline && ktime_after(ktime_get(), stage->deadline));
}

/* Some extents more, and on to the sink with what they made. 0 or -errno. */
static int split_some(struct vhdx_zero_stage *stage, struct batch *batch, bool *late)
{
	struct vhdx_zeroes *parts = &stage->parts;
	int err;

	parts->told.capacity = min(BATCH_PARTS, stage->capacity - stage->put);
	err = look_on(stage, batch);
	if (!err && fatal_signal_pending(current))
		err = -EINTR;
	*late = !err && !batch->full && is_late(stage);
	if (*late && is_in_range(parts))
		batch->full = !vhdx_zeroes_cut(parts);
	return err ?: hand_on(stage);
}

/**
 * vhdx_zero_stage_put() - split ranges of an answer, and hand their parts to the sink
 * @stage:	the disk is not entered, and nothing is held (rule K4)
 * @ranges:	ascending, behind those before; none of them grows any more
 * @count:	how many
 *
 * Sleeps, as long as the containers take to be read. Returns 0; 1: the answer ends early, at
 * @stage->parts.done, and there is progress; what the sink failed with; -EINTR killed; -ENODEV
 * detached; -EIO the container is lost; -ENOMEM.
 */
int vhdx_zero_stage_put(struct vhdx_zero_stage *stage, const struct vhdx_range *ranges, u32 count)
{
	struct batch batch = { .range = ranges, .end = ranges + count };
	bool late;
	int err;

	while (go_on(stage, &batch)) {
		err = split_some(stage, &batch, &late);
		if (err)
			return err;
		if (batch.full)
			return 1;
		if (late && stage->parts.done > stage->begin &&
		    (is_in_range(&stage->parts) || batch.range < batch.end))
			return 1;
		cond_resched();
	}
	return 0;
}
