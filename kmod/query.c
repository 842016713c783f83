// SPDX-License-Identifier: GPL-2.0-only
#include "query.h"
#include "chardev.h"
#include "disk.h"
#include "core/answer.h"

#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

/* Ranges between two copies to user space, and leaves between two looks at the locks. */
#define BATCH_RANGES	512
#define BATCH_LEAVES	256

/**
 * struct query - one call under way
 * @args:	what was asked
 * @answer:	ranges wait in its buffer until they are copied out
 * @tracker:	of the disk
 * @span:	the deltas between limit and target
 * @copied:	ranges in user space already
 */
struct query {
	struct vhdx_get_virtual_disk_changes *args;
	struct vhdx_answer answer;
	struct vhdx_tracker *tracker;
	struct vhdx_span span;
	u32 copied;
};

static int fail(struct vhdx_get_virtual_disk_changes *args, int err, u32 reason)
{
	args->reason = reason;
	return err;
}

static int read_leaf(void *context, u32 leaf, u64 *words)
{
	struct query *q = context;
	const struct vhdx_sidecar *sidecar = &q->tracker->sidecar;
	u32 i;
	int err = 0;

	for (i = q->span.first; i < q->span.end && !err; i++)
		err = vhdx_sidecar_read_leaf(sidecar, &sidecar->timeline.points[i]->before, leaf,
					     words);
	if (!err && q->span.live)
		vhdx_changemap_leaf_or(vhdx_tracker_live(q->tracker), leaf, words);
	return err;
}

static int check_args(const struct vhdx_disk *disk, struct vhdx_get_virtual_disk_changes *args)
{
	u64 end;

	args->virtual_disk_size = disk->image.geo.disk_size;
	if (args->flags & ~VHDX_CHANGES_BITMAP || args->reserved || !args->output_capacity)
		return fail(args, -EINVAL, VHDX_REASON_ARGUMENT);
	if (args->flags & VHDX_CHANGES_BITMAP || args->granularity || args->min_gap)
		return fail(args, -EOPNOTSUPP, VHDX_REASON_UNSUPPORTED);
	if (check_add_overflow(args->byte_offset, args->byte_length, &end) ||
	    end > args->virtual_disk_size)
		return fail(args, -EINVAL, VHDX_REASON_ARGUMENT);
	return 0;
}

/*
 * Which deltas, now: the points are looked up by their ids for every batch, since others
 * may seal or forget in between. tracker->lock is held.
 */
static int find_span(struct query *q)
{
	struct vhdx_tracker *t = q->tracker;
	struct vhdx_get_virtual_disk_changes *args = q->args;
	int err;

	err = vhdx_timeline_span(&t->sidecar.timeline, &args->limit_id, &args->target_id, &q->span,
				 &args->reason);
	if (err == -EINVAL)
		return err;
	if (t->state == VHDX_TRACKING_OFF && t->off_reason)
		return fail(args, t->off_reason == VHDX_REASON_UNSUPPORTED ? -EOPNOTSUPP : -ESTALE,
			    t->off_reason);
	if (t->state != VHDX_TRACKING_ON)
		return fail(args, -EOPNOTSUPP, VHDX_REASON_DISABLED);
	if (err)
		return err;
	args->unit = 1U << t->sidecar.unit_shift;
	args->answer_flags = (q->span.flags & VHDX_DELTA_COARSE ? VHDX_ANSWER_COARSE : 0) |
			     (q->span.live ? VHDX_ANSWER_LIVE : 0);
	return 0;
}

/* An answer about a container that is lost is a gap, once that is certain (loss.h). */
static int settle(struct query *q)
{
	int err = vhdx_loss_settle(q->tracker->disk);

	return err == -EIO ? fail(q->args, err, VHDX_REASON_IO) : err;
}

/* Some of the answer, into kernel memory (rule K4). 1: there is more to do. */
static int run_batch(struct query *q)
{
	struct vhdx_answer *a = &q->answer;
	u32 leaves;
	int ret;

	ret = settle(q);
	if (ret)
		return ret;
	if (down_read_killable(&q->tracker->lock))
		return -EINTR;
	ret = find_span(q);
	if (!ret) {
		a->unit_shift = q->tracker->sidecar.unit_shift;
		ret = 1;
		for (leaves = 0; leaves < BATCH_LEAVES && ret == 1; leaves++)
			ret = vhdx_answer_leaf(a, read_leaf, q);
		/* Full of what may still be joined with what follows is not the end. */
		if (!ret)
			ret = a->offset < a->end;
		if (ret == -EUCLEAN)
			ret = fail(q->args, -ESTALE, VHDX_REASON_INCONSISTENT);
		else if (ret == -EIO)
			q->args->reason = VHDX_REASON_IO;
	}
	up_read(&q->tracker->lock);
	return ret;
}

/* The last range stays back while it may still grow. */
static int copy_out(struct query *q, bool final)
{
	struct vhdx_answer *a = &q->answer;
	struct vhdx_range __user *out = u64_to_user_ptr(q->args->output);
	u32 n = final || !a->count ? a->count : a->count - 1;

	if (copy_to_user(out + q->copied, a->ranges, n * sizeof(*a->ranges)))
		return -EFAULT;
	q->copied += n;
	if (n < a->count)
		a->ranges[0] = a->ranges[n];
	a->count -= n;
	return 0;
}

static struct vhdx_disk *enter(struct vhdx_handle *handle, struct query *q)
{
	struct vhdx_disk *disk = vhdx_handle_enter(handle);

	if (disk)
		q->tracker = &disk->tracker;
	return disk;
}

static int run(struct vhdx_handle *handle, struct query *q)
{
	struct vhdx_answer *a = &q->answer;
	u64 begin = a->offset;
	int ret = 1;

	while (ret == 1) {
		a->capacity = min_t(u32, BATCH_RANGES, q->args->output_capacity - q->copied);
		if (a->count && a->count >= a->capacity)
			break;
		if (!enter(handle, q))
			return -ENODEV;
		ret = run_batch(q);
		vhdx_handle_leave(handle);
		if (ret < 0)
			return ret;
		if (copy_out(q, !ret))
			return -EFAULT;
		if (fatal_signal_pending(current))
			return -EINTR;
		if (signal_pending(current) && a->offset > begin)
			break;
		cond_resched();
	}
	return copy_out(q, true);
}

/**
 * vhdx_query_changes() - VHDX_GET_VIRTUAL_DISK_CHANGES
 * @handle:	of the disk, which may be detached meanwhile
 * @args:	in and out, in kernel memory
 *
 * No lock is held while user memory is touched. Returns 0 or -errno, with
 * args->reason; nothing is processed on failure.
 */
int vhdx_query_changes(struct vhdx_handle *handle, struct vhdx_get_virtual_disk_changes *args)
{
	struct query q = { .args = args };
	struct vhdx_disk *disk;
	int err;

	args->output_count = 0;
	args->processed_byte_length = 0;
	memset(&args->complete_to_id, 0, sizeof(args->complete_to_id));
	args->unit = 0;
	args->answer_flags = 0;
	args->reason = VHDX_REASON_NONE;

	disk = enter(handle, &q);
	if (!disk)
		return -ENODEV;
	err = check_args(disk, args) ?: settle(&q);
	if (!err)
		err = down_read_killable(&q.tracker->lock);
	if (!err) {
		err = find_span(&q);
		up_read(&q.tracker->lock);
	}
	vhdx_handle_leave(handle);
	if (err)
		return err;

	q.answer.offset = args->byte_offset;
	q.answer.end = args->byte_offset + args->byte_length;
	if (args->byte_length) {
		err = -ENOMEM;
		q.answer.ranges = kvmalloc_array(BATCH_RANGES, sizeof(struct vhdx_range),
						 GFP_KERNEL);
		q.answer.words = kvmalloc_array(VHDX_LEAF_WORDS, sizeof(u64), GFP_KERNEL);
		if (q.answer.ranges && q.answer.words)
			err = run(handle, &q);
		kvfree(q.answer.words);
		kvfree(q.answer.ranges);
	}
	if (err) {
		args->answer_flags = 0;
		return err;
	}
	args->output_count = q.copied;
	args->processed_byte_length = q.answer.offset - args->byte_offset;
	args->complete_to_id = args->target_id;
	return 0;
}
