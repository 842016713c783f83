// SPDX-License-Identifier: GPL-2.0-only
#include "query.h"
#include "visit.h"
#include "zeroes.h"
#include "disk/disk.h"
#include "disk/cdev.h"
#include "core/rct/report.h"
#include "trace.h"

#include <linux/blkdev.h>
#include <linux/ktime.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

/* Ranges between two calls of the sink. */
#define BATCH_RANGES	512
/* Leaves between two looks at the timeline. */
#define BATCH_LEAVES	256
/* So long, in jiffies, blocks stay out of use for a question; then it looks for them anew. */
#define READ_SIDE	HZ
/* So many times in a row the timeline may change before a visit ends: then it has to wait. */
#define OVERDUE		4

struct query;

/**
 * struct output - in which form an answer is put together here, and goes to the sink
 * @make_room:	for the next batch; false: the sink has no more
 * @put:	what can be told by now, or, at last, all that was found
 * @comes_on:	if it ended here, there would be progress
 */
struct output {
	bool (*make_room)(struct query *q);
	int (*put)(struct query *q, bool at_last);
	bool (*comes_on)(const struct query *q);
};

/**
 * struct query - one call under way
 * @args:	what was asked
 * @sink:	where the answer goes
 * @diag:	what is wrong
 * @deadline:	when the caller wants it back, as ktime_get() tells the time; 0: at the end
 * @output:	the form of the answer
 * @answer:	keeps ranges or bits in its buffer until the sink takes them
 * @limit:	where the answer ends at the latest: the request does, or the room for a bitmap
 * @visitor:	of the leaves; its question is the batch that is under way
 * @zeroes:	of ranges with flags: which of them read as zeroes
 * @put:	ranges, or bytes of a bitmap, that the sink has taken
 */
struct query {
	struct vhdx_get_virtual_disk_changes *args;
	struct vhdx_query_sink *sink;
	struct vhdx_diag *diag;
	ktime_t deadline;
	const struct output *output;
	struct vhdx_answer answer;
	u64 limit;
	struct vhdx_visitor visitor;
	struct vhdx_zero_stage zeroes;
	u32 put;
};

/*
 * Which deltas, now: the points are looked up by their ids for every batch, since another task
 * may seal or forget points in between. The timeline is locked.
 */
static int find_span(struct query *q, const struct vhdx_history *history)
{
	int err = vhdx_report_span(history, q->args, &q->visitor.span, q->diag);

	vhdx_loss_explain(vhdx_disk_of(q->visitor.tracker), err, q->diag);
	return err;
}

static bool is_late(const struct query *q)
{
	return q->deadline && ktime_after(ktime_get(), q->deadline);
}

/* An answer about a container that is lost is a gap, once that is certain (loss.h). */
static int settle(struct query *q)
{
	int err = vhdx_loss_settle(vhdx_disk_of(q->visitor.tracker));

	if (err == -EIO) {
		vhdx_fail_plainly(q->diag, err, VHDX_REASON_IO);
		vhdx_loss_explain(vhdx_disk_of(q->visitor.tracker), err, q->diag);
	}
	return err;
}

/* The span is known, and the sidecar is open. */
static int run_leaves(struct query *q)
{
	u32 leaves;
	int ret = 1;

	for (leaves = 0; leaves < BATCH_LEAVES && ret == 1; leaves++) {
		if (leaves && (is_late(q) || vhdx_visitor_is_long(&q->visitor)))
			break;
		ret = vhdx_answer_leaf(&q->answer, &vhdx_visitor_source, &q->visitor);
	}
	return ret < 0 && ret != -EAGAIN ? vhdx_report_failure(ret, q->diag) : 0;
}

/* The question is begun: look away from it, and read what was seen. */
static int look_and_read(struct query *q, struct vhdx_open_sidecar *open)
{
	int reader, ret;

	/* Before the span is looked up: what it names is not reused from here on. */
	reader = srcu_read_lock(&open->readers);
	q->visitor.until = jiffies + READ_SIDE;
	ret = find_span(q, &q->visitor.question.history);
	if (!ret)
		q->answer.unit_shift = open->sidecar.unit_shift;
	vhdx_tracker_look_away(&q->visitor.question);
	if (!ret)
		ret = run_leaves(q);
	srcu_read_unlock(&open->readers, reader);
	return ret;
}

/* Some of the answer, into kernel memory (rule K4). 0 or -errno. */
static int run_batch(struct query *q)
{
	struct vhdx_question *question = &q->visitor.question;
	bool overdue = q->visitor.futile >= OVERDUE;
	int ret;

	ret = settle(q);
	if (ret)
		return ret;
	if (overdue)
		vhdx_precedence_claim(&q->visitor.tracker->overdue);
	vhdx_tracker_begin_question(q->visitor.tracker, question);
	if (question->open) {
		ret = look_and_read(q, question->open);
	} else {
		ret = find_span(q, &question->history);
		vhdx_tracker_look_away(question);
	}
	vhdx_tracker_end_question(question);
	if (overdue)
		vhdx_precedence_drop(&q->visitor.tracker->overdue);
	return ret;
}

static bool room_for_ranges(struct query *q)
{
	struct vhdx_ranges *list = &q->answer.ranges;

	list->capacity = min_t(u32, BATCH_RANGES, q->args->output_capacity - q->put);
	return !list->count || list->count < list->capacity;
}

/* The last range stays back while it may still grow. */
static int put_ranges(struct query *q, bool at_last)
{
	struct vhdx_ranges *list = &q->answer.ranges;
	u32 keep = at_last || !list->count ? 0 : 1;
	u32 n = list->count - keep;
	int err;

	if (!n)
		return 0;
	err = q->sink->put(q->sink, list->array, n);
	if (err)
		return err;
	q->put += n;
	vhdx_ranges_taken(list, keep);
	return 0;
}

static bool ranges_come_on(const struct query *q)
{
	return q->answer.offset > q->args->byte_offset;
}

static const struct output ranges = {
	.make_room = room_for_ranges,
	.put = put_ranges,
	.comes_on = ranges_come_on,
};

/* Where their parts take all the room there is, the answer ends. */
static int put_flagged(struct query *q, bool at_last)
{
	struct vhdx_ranges *list = &q->answer.ranges;
	u32 keep = at_last || !list->count ? 0 : 1;
	int ret = vhdx_zero_stage_put(&q->zeroes, list->array, list->count - keep);

	q->put = q->zeroes.put;
	if (ret == 1) {
		q->answer.offset = q->zeroes.parts.done;
		q->limit = q->answer.offset;
		list->sum = q->zeroes.parts.sum;
		keep = 0;
	}
	vhdx_ranges_taken(list, keep);
	return min(ret, 0);
}

static const struct output flagged = {
	.make_room = room_for_ranges,
	.put = put_flagged,
	.comes_on = ranges_come_on,
};

/* Bits that wait to be put are gone on with. */
static bool room_for_bits(struct query *q)
{
	if (q->answer.begin == q->answer.offset)
		vhdx_answer_bits_begin(&q->answer, q->limit);
	return true;
}

/* Bits stay back until there is room for no more. */
static int put_bits(struct query *q, bool at_last)
{
	struct vhdx_answer *a = &q->answer;
	u32 bytes;
	int err;

	if (a->offset < a->end && !at_last)
		return 0;
	bytes = sizeof(u64) * vhdx_answer_bits_finish(a);
	err = bytes ? q->sink->put(q->sink, a->bits, bytes) : 0;
	q->put += bytes;
	a->begin = a->offset;
	return err;
}

/* Only whole words are told. */
static bool bits_come_on(const struct query *q)
{
	const struct vhdx_answer *a = &q->answer;

	return q->put || (a->offset - a->begin) >> a->granule_shift >= 64;
}

static const struct output bits = {
	.make_room = room_for_bits,
	.put = put_bits,
	.comes_on = bits_come_on,
};

static struct vhdx_disk *enter(struct vhdx_cdev *cdev, struct query *q)
{
	struct vhdx_disk *disk = vhdx_cdev_enter(cdev);

	if (disk)
		q->visitor.tracker = &disk->tracker;
	return disk;
}

static int run_once(struct vhdx_cdev *cdev, struct query *q)
{
	int err;

	if (!enter(cdev, q))
		return vhdx_cdev_is_gone(q->diag);
	err = run_batch(q);
	vhdx_cdev_leave(cdev);
	if (!err)
		err = q->output->put(q, false);
	if (!err && fatal_signal_pending(current))
		err = -EINTR;
	return err;
}

static int run(struct vhdx_cdev *cdev, struct query *q)
{
	int err;

	while (q->answer.offset < q->limit && q->output->make_room(q)) {
		err = run_once(cdev, q);
		if (err)
			return err;
		if ((signal_pending(current) || is_late(q)) && q->output->comes_on(q))
			break;
		cond_resched();
	}
	return q->output->put(q, true);
}

/* Room for what the sink gets next. Sums alone need none. */
static int make_buffer(struct query *q)
{
	struct vhdx_answer *a = &q->answer;

	if (q->args->flags & VHDX_CHANGES_COUNT)
		return 0;
	if (q->output == &bits)
		a->bits = kvmalloc_array(VHDX_ANSWER_WORDS, sizeof(u64), GFP_KERNEL);
	else
		a->ranges.array = kvmalloc_array(BATCH_RANGES, a->ranges.size, GFP_KERNEL);
	if (!a->bits && !a->ranges.array)
		return -ENOMEM;
	return q->output == &flagged ? vhdx_zero_stage_init(&q->zeroes) : 0;
}

static int answer(struct vhdx_cdev *cdev, struct query *q)
{
	struct vhdx_answer *a = &q->answer;
	struct vhdx_visitor *visitor = &q->visitor;
	int err = make_buffer(q);

	a->words = kvmalloc_array(VHDX_LEAF_WORDS, sizeof(u64), GFP_KERNEL);
	visitor->words = kvmalloc_array(VHDX_LEAF_WORDS, sizeof(u64), GFP_KERNEL);
	visitor->cache = vhdx_index_cache_new(visitor->span.end - visitor->span.first + 1);
	if (!a->words || !visitor->words || !visitor->cache)
		err = -ENOMEM;
	if (!err)
		err = run(cdev, q);
	vhdx_index_cache_free(visitor->cache);
	kvfree(visitor->words);
	kvfree(a->words);
	kvfree(a->bits);
	kvfree(a->ranges.array);
	vhdx_zero_stage_release(&q->zeroes);
	return err == -ENOMEM ? vhdx_no_memory(q->diag) : err;
}

/* Who asks for the flags of ranges has them looked for. */
static void choose_output(struct vhdx_cdev *cdev, struct query *q)
{
	struct vhdx_get_virtual_disk_changes *args = q->args;
	struct vhdx_answer *a = &q->answer;

	q->limit = a->end;
	q->output = &ranges;
	if (args->flags & VHDX_CHANGES_BITMAP) {
		q->limit = vhdx_report_bitmap_end(args, a);
		q->output = &bits;
	} else if (args->range_size == sizeof(struct vhdx_range) &&
		   !(args->flags & VHDX_CHANGES_COUNT)) {
		q->output = &flagged;
		q->zeroes = (struct vhdx_zero_stage) {
			.cdev = cdev,
			.sink = q->sink,
			.diag = q->diag,
			.deadline = q->deadline,
			.begin = args->byte_offset,
			.capacity = args->output_capacity,
			.parts = { .granule_shift = a->granule_shift, .min_gap = args->min_gap },
		};
	}
}

/* All that can be said before the first range is looked for. */
static int judge(struct vhdx_disk *disk, struct query *q)
{
	struct vhdx_get_virtual_disk_changes *args = q->args;
	const struct vhdx_history geometry = {
		.disk_size = vhdx_disk_leaf(disk)->image.geo.disk_size,
	};
	struct vhdx_question *question = &q->visitor.question;
	int err;

	args->virtual_disk_size = geometry.disk_size;
	args->disk_seq = disk->gd->diskseq;
	err = vhdx_report_check(&geometry, args, q->diag);
	if (err)
		return err;
	vhdx_tracker_begin_question(q->visitor.tracker, question);
	err = find_span(q, &question->history);
	vhdx_tracker_look_away(question);
	vhdx_tracker_end_question(question);
	return err ?: vhdx_report_begin(args, &q->answer, q->diag);
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

	choose_output(cdev, &q);
	if (args->byte_length)
		err = answer(cdev, &q);
	trace_vhdx_query(index, args->byte_offset, q.answer.offset - args->byte_offset, q.put,
			 q.visitor.leaves, err);
	if (err)
		return err;
	args->output_count = q.put;
	vhdx_report_end(args, &q.answer);
	return 0;
}
