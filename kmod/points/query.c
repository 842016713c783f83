// SPDX-License-Identifier: GPL-2.0-only
#include "query.h"
#include "disk/disk.h"
#include "disk/cdev.h"
#include "core/rct/report.h"
#include "trace.h"

#include <linux/blkdev.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

/* Ranges between two calls of the sink. */
#define BATCH_RANGES	512
/* Leaves, and deltas of one of them, between two looks at the timeline. */
#define BATCH_LEAVES	256
#define BATCH_DELTAS	8
/* So long, in jiffies, blocks stay out of use for a question; then it looks for them anew. */
#define READ_SIDE	HZ
/* So many times in a row the timeline may change before the leaf is read: then it has to wait. */
#define OVERDUE		4

/**
 * struct query - one call under way
 * @args:	what was asked
 * @sink:	where the answer goes
 * @diag:	what is wrong
 * @deadline:	when the caller wants it back, as ktime_get() tells the time; 0: at the end
 * @answer:	keeps ranges in its buffer until the sink takes them
 * @tracker:	of the disk
 * @question:	the batch that is under way
 * @until:	when its read side is to be left, in jiffies
 * @span:	the deltas between limit and target
 * @leaf:	the leaf that is read
 * @words:	what is known of it from sealed deltas, if @begun
 * @last:	the point whose delta was read last; if @begun
 * @begun:	some of its deltas are read, and the timeline may have changed since
 * @futile:	how often it has, in a row, without a leaf being answered
 * @leaves:	that were answered from
 * @cache:	tables of the sidecar that it has come by
 * @put:	ranges that the sink has taken
 */
struct query {
	struct vhdx_get_virtual_disk_changes *args;
	struct vhdx_query_sink *sink;
	struct vhdx_diag *diag;
	ktime_t deadline;
	struct vhdx_answer answer;
	struct vhdx_tracker *tracker;
	struct vhdx_question question;
	unsigned long until;
	struct vhdx_span span;
	u32 leaf;
	u64 *words;
	struct vhdx_point_id last;
	bool begun;
	u32 futile;
	u32 leaves;
	struct vhdx_index_cache *cache;
	u32 put;
};

/*
 * How a leaf is read.
 *
 * Sealed deltas are copied out of the timeline, some at a time, and read without a lock: their
 * blocks stay as they are within the read side. Then the maps in memory are OR-ed in, in a moment
 * in which the timeline is the one in which the deltas were found. So nothing is missed that was
 * recorded before that moment: it is in a delta of that timeline, all of which are read, or in the
 * live map, or in the map that a seal takes away (look_at_maps()). What moves in between moves with
 * the timeline's version, and then this is not that moment: a seal moves the old map into a delta,
 * a point that is forgotten its delta into the next one, or into the live map.
 *
 * Otherwise the span is looked up anew, and reading goes on behind the delta that was read last.
 * What was read before that counts still: a delta that was merged since lies in one that was read,
 * too, or in one that is to be read, as a whole. If the point of the last one is itself gone, the
 * leaf begins again.
 *
 * Who needs room in the sidecar may have to wait until the read side is left. That happens after
 * READ_SIDE and one delta more, also in the middle of a leaf: it goes on in the same way.
 */
static u32 next_delta(struct query *q, u32 leaf)
{
	int position = -1;

	if (q->begun && q->leaf == leaf)
		position = vhdx_timeline_find(&q->question.open->sidecar.timeline, &q->last);
	q->begun = false;
	if (position >= 0)
		return position + 1;
	memset(q->words, 0, VHDX_PAGE);
	return q->span.first;
}

/* The timeline is not the one in which the span was found. */
static int begin_again(struct query *q)
{
	q->futile++;
	return -EAGAIN;
}

static bool is_long(const struct query *q)
{
	return time_after_eq(jiffies, q->until);
}

/* Deltas from this position on, and their points; how many. */
static u32 copy_deltas(const struct query *q, u32 position, struct vhdx_delta *deltas,
		       struct vhdx_point_id *points)
{
	const struct vhdx_timeline *timeline = &q->question.open->sidecar.timeline;
	u32 count = 0;

	while (position < q->span.end && count < BATCH_DELTAS) {
		points[count] = timeline->points[position]->id;
		deltas[count++] = timeline->points[position++]->before;
	}
	return count;
}

/* One of them at least, however long that takes. How many, or -errno. */
static int read_deltas(struct query *q, u32 leaf, const struct vhdx_delta *deltas, u32 count)
{
	u32 i = 0;
	int err;

	do {
		err = vhdx_sidecar_read_leaf(&q->question.open->sidecar, &deltas[i++], leaf,
					     q->words, q->cache);
	} while (!err && i < count && !is_long(q));
	return err ?: i;
}

static int read_leaf(void *context, u32 leaf, u64 *words)
{
	struct query *q = context;
	struct vhdx_delta deltas[BATCH_DELTAS];
	struct vhdx_point_id points[BATCH_DELTAS];
	u32 position;
	int count;

	if (!vhdx_tracker_look_again(q->tracker, &q->question))
		return begin_again(q);
	for (position = next_delta(q, leaf); position < q->span.end; position += count) {
		count = copy_deltas(q, position, deltas, points);
		vhdx_tracker_look_away(&q->question);
		count = read_deltas(q, leaf, deltas, count);
		if (count < 0)
			return count;
		q->begun = true;
		q->leaf = leaf;
		q->last = points[count - 1];
		if (fatal_signal_pending(current))
			return -EINTR;
		if (is_long(q))
			return -EAGAIN;
		if (!vhdx_tracker_look_again(q->tracker, &q->question))
			return begin_again(q);
	}
	memcpy(words, q->words, VHDX_PAGE);
	if (q->span.live)
		vhdx_history_live_leaf(&q->question.history, leaf, words);
	vhdx_tracker_look_away(&q->question);
	q->begun = false;
	q->futile = 0;
	q->leaves++;
	return 0;
}

/*
 * Which deltas, now: the points are looked up by their ids for every batch, since another task
 * may seal or forget points in between. The timeline is locked.
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

/* The span is known, and the sidecar is open. 1: there is more to do. */
static int run_leaves(struct query *q)
{
	struct vhdx_answer *a = &q->answer;
	u32 leaves;
	int ret = 1;

	for (leaves = 0; leaves < BATCH_LEAVES && ret == 1; leaves++) {
		if (leaves && (is_late(q) || is_long(q)))
			break;
		ret = vhdx_answer_leaf(a, read_leaf, q);
	}
	/* Full of what may still be joined with what follows is not the end. */
	if (!ret)
		ret = a->offset < a->end;
	if (ret == -EAGAIN)
		ret = 1;
	return ret < 0 ? vhdx_report_failure(ret, q->diag) : ret;
}

/* The question is begun: look away from it, and read what was seen. */
static int look_and_read(struct query *q, struct vhdx_open_sidecar *open)
{
	int reader, ret;

	/* Before the span is looked up: what it names is not reused from here on. */
	reader = srcu_read_lock(&open->readers);
	q->until = jiffies + READ_SIDE;
	ret = find_span(q, &q->question.history);
	if (!ret)
		q->answer.unit_shift = open->sidecar.unit_shift;
	vhdx_tracker_look_away(&q->question);
	if (!ret)
		ret = run_leaves(q);
	srcu_read_unlock(&open->readers, reader);
	return ret;
}

/* Some of the answer, into kernel memory (rule K4). 1: there is more to do. */
static int run_batch(struct query *q)
{
	struct vhdx_question *question = &q->question;
	bool overdue = q->futile >= OVERDUE;
	int ret;

	ret = settle(q);
	if (ret)
		return ret;
	if (overdue)
		vhdx_precedence_claim(&q->tracker->overdue);
	vhdx_tracker_begin_question(q->tracker, question);
	if (question->open) {
		ret = look_and_read(q, question->open);
	} else {
		ret = find_span(q, &question->history);
		vhdx_tracker_look_away(question);
	}
	vhdx_tracker_end_question(question);
	if (overdue)
		vhdx_precedence_drop(&q->tracker->overdue);
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

static struct vhdx_disk *enter(struct vhdx_cdev *cdev, struct query *q)
{
	struct vhdx_disk *disk = vhdx_cdev_enter(cdev);

	if (disk)
		q->tracker = &disk->tracker;
	return disk;
}

static int run(struct vhdx_cdev *cdev, struct query *q)
{
	struct vhdx_answer *a = &q->answer;
	u64 begin = a->offset;
	int ret = 1, err;

	while (ret == 1) {
		a->capacity = min_t(u32, BATCH_RANGES, q->args->output_capacity - q->put);
		if (a->count && a->count >= a->capacity)
			break;
		if (!enter(cdev, q))
			return vhdx_cdev_is_gone(q->diag);
		ret = run_batch(q);
		vhdx_cdev_leave(cdev);
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
static int answer(struct vhdx_cdev *cdev, struct query *q)
{
	struct vhdx_answer *a = &q->answer;
	bool sums = q->args->flags & VHDX_CHANGES_COUNT;
	int err = -ENOMEM;

	a->range_size = q->args->range_size;
	if (!sums)
		a->ranges = kvmalloc_array(BATCH_RANGES, a->range_size, GFP_KERNEL);
	a->words = kvmalloc_array(VHDX_LEAF_WORDS, sizeof(u64), GFP_KERNEL);
	q->words = kvmalloc_array(VHDX_LEAF_WORDS, sizeof(u64), GFP_KERNEL);
	q->cache = vhdx_index_cache_new(q->span.end - q->span.first + 1);
	if (a->words && q->words && q->cache && (a->ranges || sums))
		err = run(cdev, q);
	vhdx_index_cache_free(q->cache);
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
	struct vhdx_question *question = &q->question;
	int err;

	args->virtual_disk_size = geometry.disk_size;
	args->disk_seq = disk->gd->diskseq;
	err = vhdx_report_check(&geometry, args, q->diag);
	if (err)
		return err;
	vhdx_tracker_begin_question(q->tracker, question);
	err = find_span(q, &question->history);
	vhdx_tracker_look_away(question);
	vhdx_tracker_end_question(question);
	return err;
}

/**
 * vhdx_query_changes() - VHDX_GET_VIRTUAL_DISK_CHANGES
 * @cdev:	of the disk, which may be detached meanwhile
 * @args:	in and out, in kernel memory; outputs are zero. @args->output is not looked at
 * @sink:	gets the ranges, in order
 * @diag:	what is wrong
 *
 * Sleeps, as long as the sidecar takes to be read; waits for nobody who writes it. Returns 0; what
 * the sink failed with; or -errno, see the uapi header.
 */
int vhdx_query_changes(struct vhdx_cdev *cdev, struct vhdx_get_virtual_disk_changes *args,
		       struct vhdx_query_sink *sink, struct vhdx_diag *diag)
{
	struct query q = { .args = args, .sink = sink, .diag = diag };
	struct vhdx_disk *disk;
	int index, err;

	if (args->time_limit_ms)
		q.deadline = ktime_add_ms(ktime_get(), args->time_limit_ms);
	disk = enter(cdev, &q);
	if (!disk)
		return vhdx_cdev_is_gone(diag);
	index = disk->index;
	err = settle(&q) ?: judge(disk, &q);
	vhdx_cdev_leave(cdev);
	if (err)
		return err;

	q.answer.offset = args->byte_offset;
	q.answer.end = args->byte_offset + args->byte_length;
	if (args->byte_length)
		err = answer(cdev, &q);
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
