// SPDX-License-Identifier: GPL-2.0-only
#include "query.h"
#include "disk/disk.h"
#include "disk/handle.h"
#include "core/rct/report.h"
#include "trace.h"

#include <linux/blkdev.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

/* Ranges between two calls of the sink. */
#define BATCH_RANGES	512
/* Leaves, and reads of the sidecar, between two looks at the locks: a seal waits for no more. */
#define BATCH_LEAVES	256
#define BATCH_READS	16

/**
 * struct query - one call under way
 * @args:	what was asked
 * @sink:	where the answer goes
 * @diag:	what is wrong
 * @deadline:	when the caller wants it back, as ktime_get() tells the time; 0: at the end
 * @answer:	ranges wait in its buffer until the sink takes them
 * @tracker:	of the disk
 * @span:	the deltas between limit and target
 * @leaf:	the leaf that is read
 * @words:	what is known of it from sealed deltas, if @begun
 * @next:	the point whose delta it goes on with; if @begun
 * @begun:	some of its deltas are read, and the lock was given up in between
 * @leaves:	that were answered from
 * @reads:	of the sidecar, in this batch
 * @put:	ranges that the sink has taken
 */
struct query {
	struct vhdx_get_virtual_disk_changes *args;
	struct vhdx_query_sink *sink;
	struct vhdx_diag *diag;
	ktime_t deadline;
	struct vhdx_answer answer;
	struct vhdx_tracker *tracker;
	struct vhdx_span span;
	u32 leaf;
	u64 *words;
	struct vhdx_point_id next;
	bool begun;
	u32 leaves;
	u32 reads;
	u32 put;
};

/*
 * Where to go on with a leaf. Points may have been forgotten since: a delta that was read
 * moves into one that was read, or into one that comes next, and is read twice then. If
 * the point to go on with is itself gone, so may be the place: the leaf begins again.
 */
static u32 next_delta(struct query *q, u32 leaf)
{
	int position = -1;

	if (q->begun && q->leaf == leaf)
		position = vhdx_timeline_find(&q->tracker->sidecar.timeline, &q->next);
	q->begun = false;
	if (position >= 0)
		return position;
	memset(q->words, 0, VHDX_PAGE);
	return q->span.first;
}

/*
 * There may be thousands of deltas, on a slow device: the lock is given up between them.
 * -EAGAIN: this batch has read enough.
 */
static int read_sealed(struct query *q, u32 leaf)
{
	const struct vhdx_sidecar *sidecar = &q->tracker->sidecar;
	u32 i = next_delta(q, leaf);
	int err = 0;

	for (; i < q->span.end && !err; i++) {
		const struct vhdx_timeline_point *point = sidecar->timeline.points[i];

		if (vhdx_delta_stores_leaf(&point->before, leaf) && q->reads++ == BATCH_READS) {
			q->begun = true;
			q->leaf = leaf;
			q->next = point->id;
			return -EAGAIN;
		}
		err = vhdx_sidecar_read_leaf(sidecar, &point->before, leaf, q->words);
	}
	return err;
}

static int read_leaf(void *context, u32 leaf, u64 *words)
{
	struct query *q = context;
	int err = read_sealed(q, leaf);

	if (err)
		return err;
	q->leaves++;
	memcpy(words, q->words, VHDX_PAGE);
	if (q->span.live)
		vhdx_changemap_leaf_or(vhdx_tracker_live(q->tracker), leaf, words);
	return 0;
}

/*
 * Which deltas, now: the points are looked up by their ids for every batch, since others
 * may seal or forget in between. tracker->lock is held.
 */
static int find_span(struct query *q, const struct vhdx_history *history)
{
	int err = vhdx_report_span(history, q->args, &q->span, q->diag);

	vhdx_loss_explain(vhdx_disk_of(q->tracker), err, q->diag);
	return err;
}

static bool is_late(const struct query *q)
{
	return q->deadline && ktime_after(ktime_get(), q->deadline);
}

/* An answer about a container that is lost is a gap, once that is certain (loss.h). */
static int settle(struct query *q)
{
	int err = vhdx_loss_settle(vhdx_disk_of(q->tracker));

	if (err == -EIO) {
		vhdx_fail_plainly(q->diag, err, VHDX_REASON_IO);
		vhdx_loss_explain(vhdx_disk_of(q->tracker), err, q->diag);
	}
	return err;
}

/* Some of the answer, into kernel memory (rule K4). 1: there is more to do. */
static int run_batch(struct query *q)
{
	struct vhdx_answer *a = &q->answer;
	struct vhdx_question question;
	u32 leaves;
	int ret;

	ret = settle(q);
	if (!ret)
		ret = vhdx_tracker_begin_question(q->tracker, &question, q->diag);
	if (ret)
		return ret;
	ret = find_span(q, &question.history);
	if (!ret) {
		a->unit_shift = q->tracker->sidecar.unit_shift;
		q->reads = 0;
		ret = 1;
		for (leaves = 0; leaves < BATCH_LEAVES && ret == 1; leaves++) {
			if (leaves && is_late(q))
				break;
			ret = vhdx_answer_leaf(a, read_leaf, q);
		}
		/* Full of what may still be joined with what follows is not the end. */
		if (!ret)
			ret = a->offset < a->end;
		if (ret == -EAGAIN)
			ret = 1;
		else if (ret < 0)
			ret = vhdx_report_failure(ret, q->diag);
	}
	vhdx_tracker_end_question(q->tracker, &question);
	return ret;
}

/* The last range stays back while it may still grow. */
static int put(struct query *q, bool final)
{
	struct vhdx_answer *a = &q->answer;
	u32 n = final || !a->count ? a->count : a->count - 1;
	int err;

	if (!n)
		return 0;
	err = q->sink->put(q->sink, a->ranges, n);
	if (err)
		return err;
	q->put += n;
	if (n < a->count)
		memcpy(a->ranges, vhdx_answer_range(a, n), a->range_size);
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
	int ret = 1, err;

	while (ret == 1) {
		a->capacity = min_t(u32, BATCH_RANGES, q->args->output_capacity - q->put);
		if (a->count && a->count >= a->capacity)
			break;
		if (!enter(handle, q))
			return vhdx_handle_is_gone(q->diag);
		ret = run_batch(q);
		vhdx_handle_leave(handle);
		if (ret < 0)
			return ret;
		err = put(q, !ret);
		if (err)
			return err;
		if (fatal_signal_pending(current))
			return -EINTR;
		if ((signal_pending(current) || is_late(q)) && a->offset > begin)
			break;
		cond_resched();
	}
	return put(q, true);
}

/* Room for what the sink gets next. Sums alone need none. */
static int answer(struct vhdx_handle *handle, struct query *q)
{
	struct vhdx_answer *a = &q->answer;
	bool sums = q->args->flags & VHDX_CHANGES_COUNT;
	int err = -ENOMEM;

	a->range_size = q->args->range_size;
	if (!sums)
		a->ranges = kvmalloc_array(BATCH_RANGES, a->range_size, GFP_KERNEL);
	a->words = kvmalloc_array(VHDX_LEAF_WORDS, sizeof(u64), GFP_KERNEL);
	q->words = kvmalloc_array(VHDX_LEAF_WORDS, sizeof(u64), GFP_KERNEL);
	if (a->words && q->words && (a->ranges || sums))
		err = run(handle, q);
	kvfree(q->words);
	kvfree(a->words);
	kvfree(a->ranges);
	return err == -ENOMEM ? vhdx_no_memory(q->diag) : err;
}

/* All that can be said before the first range is looked for. */
static int judge(struct vhdx_disk *disk, struct query *q)
{
	struct vhdx_get_virtual_disk_changes *args = q->args;
	const struct vhdx_history geometry = {
		.disk_size = vhdx_disk_leaf(disk)->image.geo.disk_size,
	};
	struct vhdx_question question;
	int err;

	args->virtual_disk_size = geometry.disk_size;
	args->disk_seq = disk->gd->diskseq;
	err = vhdx_report_check(&geometry, args, q->diag);
	if (!err)
		err = vhdx_tracker_begin_question(q->tracker, &question, q->diag);
	if (!err) {
		err = find_span(q, &question.history);
		vhdx_tracker_end_question(q->tracker, &question);
	}
	return err;
}

/**
 * vhdx_query_changes() - VHDX_GET_VIRTUAL_DISK_CHANGES
 * @handle:	of the disk, which may be detached meanwhile
 * @args:	in and out, in kernel memory; outputs are zero. @args->output is not looked at
 * @sink:	gets the ranges, in order
 * @diag:	what is wrong
 *
 * Sleeps; waits for tracker->lock for a bounded time, see vhdx_tracker_begin_question().
 * Returns 0; what the sink failed with; or -errno, see the uapi header.
 */
int vhdx_query_changes(struct vhdx_handle *handle, struct vhdx_get_virtual_disk_changes *args,
		       struct vhdx_query_sink *sink, struct vhdx_diag *diag)
{
	struct query q = { .args = args, .sink = sink, .diag = diag };
	struct vhdx_disk *disk;
	int index, err;

	if (args->time_limit_ms)
		q.deadline = ktime_add_ms(ktime_get(), args->time_limit_ms);
	disk = enter(handle, &q);
	if (!disk)
		return vhdx_handle_is_gone(diag);
	index = disk->index;
	err = settle(&q) ?: judge(disk, &q);
	vhdx_handle_leave(handle);
	if (err)
		return err;

	q.answer.offset = args->byte_offset;
	q.answer.end = args->byte_offset + args->byte_length;
	if (args->byte_length)
		err = answer(handle, &q);
	trace_vhdx_query(index, args->byte_offset, q.answer.offset - args->byte_offset, q.put,
			 q.leaves, err);
	if (err)
		return err;
	args->output_count = q.put;
	args->processed_byte_length = q.answer.offset - args->byte_offset;
	args->changed_bytes = q.answer.changed;
	args->complete_to_id = args->target_id;
	return 0;
}
