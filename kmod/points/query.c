// SPDX-License-Identifier: GPL-2.0-only
#include "query.h"
#include "errand.h"
#include "mapped.h"
#include "visit.h"
#include "zeroes.h"
#include "disk/disk.h"
#include "disk/cdev.h"
#include "core/rct/report.h"
#include "trace.h"

#include <linux/blkdev.h>
#include <linux/ktime.h>
#include <linux/slab.h>

/* Ranges between two calls of the sink: enough that a worker is worth its way. */
#define BATCH_RANGES	4096U
/* The same before the first one: most answers are short. */
#define FIRST_RANGES	256U
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
 * @errand:	of its batches; keeps all of this
 * @args:	what was asked
 * @sink:	where the answer goes; not the worker's
 * @diag:	what is wrong
 * @deadline:	when the caller wants it back, as ktime_get() tells the time; 0: at the end
 * @output:	the form of the answer
 * @answer:	keeps ranges or bits in its buffer until the sink takes them
 * @limit:	where the answer ends at the latest: the request does, or the room for a bitmap
 * @visitor:	of the leaves; its question is the batch that is under way
 * @stored:	what a parent's sidecar has
 * @merge:	of that
 * @mapped:	who looks into layers
 * @deltas:	of those
 * @list:	all that the answer is made of
 * @alone:	of a disk without parents
 * @zeroes:	of ranges with flags: which of them read as zeroes
 * @layer:	of which what was recorded is asked
 * @reads:	it is not all in memory: batches are a worker's, from the next one on
 * @err:	what the last batch ended with
 * @room:	ranges that its array has room for
 * @put:	ranges, or bytes of a bitmap, that the sink has taken
 */
struct query {
	struct vhdx_errand errand;
	struct vhdx_get_virtual_disk_changes args;
	struct vhdx_query_sink *sink;
	struct vhdx_diag diag;
	ktime_t deadline;
	const struct output *output;
	struct vhdx_answer answer;
	u64 limit;
	struct vhdx_visitor visitor;
	struct vhdx_stored_deltas stored;
	struct vhdx_delta_merge merge;
	struct vhdx_mapped mapped;
	struct vhdx_derived_delta *deltas;
	struct vhdx_delta_list list;
	struct vhdx_delta_source alone;
	struct vhdx_zero_stage zeroes;
	u32 layer;
	bool reads;
	int err;
	u32 room;
	u32 put;
};

static bool is_late(const struct query *q)
{
	return q->deadline && ktime_after(ktime_get(), q->deadline);
}

/* An answer about a container that is lost is a gap, once that is certain (loss.h). */
static int settle(struct query *q)
{
	int err = vhdx_loss_settle(vhdx_disk_of(q->visitor.tracker));

	if (err == -EIO) {
		vhdx_fail_plainly(&q->diag, err, VHDX_REASON_IO);
		vhdx_loss_explain(vhdx_disk_of(q->visitor.tracker), err, &q->diag);
	}
	return err;
}

/*
 * Which deltas, now: the points are looked up by their ids for every batch, since another task
 * may seal or forget points in between. The timeline is locked.
 */
static int find_route(struct query *q, const struct vhdx_history *history,
		      struct vhdx_route *route)
{
	int err = vhdx_report_route(history, &q->args, route, &q->diag);

	vhdx_loss_explain(vhdx_disk_of(q->visitor.tracker), err, &q->diag);
	q->visitor.span = route->stored;
	return err;
}

/* What was recorded may all be in memory; that is tried. What layers have is looked for in them. */
static bool reads_layers(const struct vhdx_route *route)
{
	return route->derived < route->derived_end;
}

static void add_source(struct query *q, const struct vhdx_leaf_source *ops, void *context)
{
	q->list.sources[q->list.count++] = (struct vhdx_delta_source) { ops, context };
}

/* What was found out of them in the batch before holds still, if they are the same. */
static void list_stored(struct query *q, const struct vhdx_sidecar *sidecar,
			const struct vhdx_span *span)
{
	struct vhdx_stored_deltas *stored = &q->stored;

	if (stored->sidecar == sidecar && stored->first == span->first &&
	    stored->end == span->end && stored->live == span->live)
		return;
	*stored = (struct vhdx_stored_deltas) {
		.sidecar = sidecar,
		.first = span->first,
		.end = span->end,
		.live = span->live,
		.cache = q->visitor.cache,
		.merge = &q->merge,
	};
}

/* What the route leads along. Layers, and the sidecars of parents, stay what they are. */
static void list_sources(struct query *q, const struct vhdx_history *history,
			 const struct vhdx_route *route)
{
	q->list.count = 0;
	q->layer = route->layer;
	vhdx_route_derive(route, history, vhdx_mapped_in_layer, &q->mapped, q->deltas, &q->list);
	if (!route->tracked)
		return;
	if (!route->layer) {
		add_source(q, &vhdx_visitor_source, &q->visitor);
		return;
	}
	list_stored(q, history->parents[route->layer - 1].sidecar, &route->stored);
	add_source(q, &vhdx_stored_source, &q->stored);
}

/* The deltas are known, and the sidecar stays open. */
static int run_leaves(struct query *q)
{
	u32 leaves;
	int ret = 1;

	for (leaves = 0; leaves < BATCH_LEAVES && ret == 1; leaves++) {
		if (leaves && (is_late(q) || vhdx_visitor_is_long(&q->visitor)))
			break;
		if (vhdx_errand_is_killed(&q->errand))
			return -EINTR;
		ret = vhdx_answer_leaf(&q->answer, &vhdx_delta_list_source, &q->list);
		/* What is in memory is answered at once: nothing else lets others run. */
		cond_resched();
	}
	if (ret >= 0 || ret == -EAGAIN)
		return 0;
	ret = vhdx_report_failure(ret, q->layer, &q->diag);
	vhdx_loss_explain(q->mapped.disk, ret, &q->diag);
	return ret;
}

/* The question is begun: look away from it. 1: its deltas are known; 0: to a worker; -errno. */
static int look(struct query *q, struct vhdx_route *route)
{
	struct vhdx_question *question = &q->visitor.question;
	int ret = find_route(q, &question->history, route);

	if (!ret && !q->reads && reads_layers(route)) {
		q->reads = true;
	} else if (!ret) {
		q->answer.unit_shift = route->unit_shift;
		list_sources(q, &question->history, route);
		ret = 1;
	}
	vhdx_tracker_look_away(question);
	return ret;
}

/*
 * Read what was seen. From before the deltas are looked up nothing that they name is reused; but of
 * what the leaf's own sidecar does not have, nobody who needs room in that waits for the reader.
 */
static int look_and_read(struct query *q)
{
	struct vhdx_open_sidecar *open = q->visitor.question.open;
	struct vhdx_route route;
	int reader, ret;

	if (open) {
		reader = srcu_read_lock(&open->readers);
		ret = look(q, &route);
		if (ret > 0 && route.tracked && !route.layer)
			ret = run_leaves(q);
		srcu_read_unlock(&open->readers, reader);
	} else {
		ret = look(q, &route);
	}
	return ret > 0 ? run_leaves(q) : ret;
}

/*
 * Some of the answer, into kernel memory (rule K4). By the task that asks, as long as all of it is
 * in memory: that waits for no device, and ends soon. What is not is a worker's (errand.h). 0 or
 * -errno.
 */
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
	q->visitor.until = jiffies + READ_SIDE;
	ret = look_and_read(q);
	vhdx_tracker_end_question(question);
	if (overdue)
		vhdx_precedence_drop(&q->visitor.tracker->overdue);
	return ret;
}

static void run_errand(struct vhdx_errand *errand)
{
	struct query *q = container_of(errand, struct query, errand);

	q->err = run_batch(q);
}

/* An answer that turns out to be long gets a larger array; without memory its own will do. */
static void grow(struct query *q)
{
	const u32 room = min(BATCH_RANGES, q->args.output_capacity);
	struct vhdx_ranges *list = &q->answer.ranges;
	void *array;

	if (!q->put || q->room == room)
		return;
	array = kvmalloc_array(room, list->size, GFP_KERNEL | __GFP_NOWARN);
	if (!array)
		return;
	memcpy(array, list->array, (size_t)list->count * list->size);
	kvfree(list->array);
	list->array = array;
	q->room = room;
}

static bool room_for_ranges(struct query *q)
{
	struct vhdx_ranges *list = &q->answer.ranges;

	grow(q);
	list->capacity = min(q->room, q->args.output_capacity - q->put);
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
	return q->answer.offset > q->args.byte_offset;
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

static int put_words(void *context, const void *words, u32 count)
{
	struct query *q = context;
	const u32 bytes = sizeof(u64) * count;

	if (fatal_signal_pending(current))
		return -EINTR;
	cond_resched();
	q->put += bytes;
	return q->sink->put(q->sink, words, bytes);
}

/* Bits stay back until there is room for no more. */
static int put_bits(struct query *q, bool at_last)
{
	if (!vhdx_answer_bits_are_full(&q->answer) && !at_last)
		return 0;
	return vhdx_answer_bits_tell(&q->answer, put_words, q);
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
	q->mapped.disk = disk;
	return disk;
}

static int run_once(struct vhdx_cdev *cdev, struct query *q)
{
	struct vhdx_disk *disk = enter(cdev, q);
	int err;

	if (!disk)
		return vhdx_cdev_is_gone(&q->diag);
	q->visitor.cache->in_memory = !q->reads;
	if (q->reads)
		err = vhdx_errand_run(&q->errand, disk->question_wq) ?: q->err;
	else
		err = run_batch(q);
	vhdx_cdev_leave(cdev);
	/* Who was killed leaves all to the worker. */
	if (!err && q->visitor.cache->missed)
		q->reads = true;
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

	if (q->args.flags & VHDX_CHANGES_COUNT)
		return 0;
	if (q->output == &bits)
		return vhdx_answer_bits_room(a);
	q->room = min(FIRST_RANGES, q->args.output_capacity);
	a->ranges.array = kvmalloc_array(q->room, a->ranges.size, GFP_KERNEL);
	if (!a->ranges.array)
		return -ENOMEM;
	return q->output == &flagged ? vhdx_zero_stage_init(&q->zeroes) : 0;
}

/* What is looked at, and read. Without parents nothing is derived from layers. */
static int make_sources(struct query *q, u32 parents)
{
	struct vhdx_visitor *visitor = &q->visitor;

	visitor->cache = vhdx_index_cache_new(visitor->span.end - visitor->span.first + 1);
	q->list.sources = &q->alone;
	if (!visitor->cache)
		return -ENOMEM;
	if (!parents)
		return 0;
	q->list.sources = kvcalloc(parents + 1, sizeof(*q->list.sources), GFP_KERNEL);
	q->deltas = kvcalloc(parents + 1, sizeof(*q->deltas), GFP_KERNEL);
	if (vhdx_mapped_init(&q->mapped, parents + 1))
		return -ENOMEM;
	return q->list.sources && q->deltas ? 0 : -ENOMEM;
}

static void free_query(struct vhdx_errand *errand)
{
	struct query *q = container_of(errand, struct query, errand);

	vhdx_mapped_release(&q->mapped);
	kvfree(q->deltas);
	if (q->list.sources != &q->alone)
		kvfree(q->list.sources);
	vhdx_delta_merge_release(&q->merge);
	vhdx_delta_merge_release(&q->visitor.merge);
	vhdx_index_cache_free(q->visitor.cache);
	kvfree(q->answer.units);
	vhdx_answer_bits_release(&q->answer);
	kvfree(q->answer.ranges.array);
	vhdx_zero_stage_release(&q->zeroes);
	kfree(q);
}

static struct query *new_query(struct vhdx_cdev *cdev,
			       const struct vhdx_get_virtual_disk_changes *args,
			       struct vhdx_query_sink *sink)
{
	struct query *q = kzalloc(sizeof(*q), GFP_KERNEL);

	if (!q)
		return NULL;
	vhdx_errand_init(&q->errand, cdev, run_errand, free_query);
	q->args = *args;
	q->sink = sink;
	q->visitor.errand = &q->errand;
	q->mapped.errand = &q->errand;
	if (args->time_limit_ms)
		q->deadline = ktime_add_ms(ktime_get(), args->time_limit_ms);
	return q;
}

static int answer(struct vhdx_cdev *cdev, struct query *q, u32 parents)
{
	int err = make_buffer(q);

	if (!err)
		err = make_sources(q, parents);
	if (!err)
		err = run(cdev, q);
	return err == -ENOMEM ? vhdx_no_memory(&q->diag) : err;
}

/* Who asks for the flags of ranges has them looked for. */
static void choose_output(struct vhdx_cdev *cdev, struct query *q)
{
	struct vhdx_get_virtual_disk_changes *args = &q->args;
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
			.diag = &q->diag,
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
	struct vhdx_get_virtual_disk_changes *args = &q->args;
	const struct vhdx_history geometry = {
		.disk_size = vhdx_disk_leaf(disk)->image.geo.disk_size,
	};
	struct vhdx_question *question = &q->visitor.question;
	struct vhdx_route route;
	int err;

	args->virtual_disk_size = geometry.disk_size;
	args->disk_seq = disk->gd->diskseq;
	err = vhdx_report_check(&geometry, args, &q->diag);
	if (err)
		return err;
	vhdx_tracker_begin_question(q->visitor.tracker, question);
	err = find_route(q, &question->history, &route);
	vhdx_tracker_look_away(question);
	vhdx_tracker_end_question(question);
	q->reads = reads_layers(&route);
	return err ?: vhdx_report_begin(args, &q->answer, &q->diag);
}

static int ask(struct vhdx_cdev *cdev, struct query *q)
{
	struct vhdx_disk *disk = enter(cdev, q);
	u32 parents;
	int index, err;

	if (!disk)
		return vhdx_cdev_is_gone(&q->diag);
	index = disk->index;
	parents = disk->layer_count - 1;
	err = settle(q) ?: judge(disk, q);
	vhdx_cdev_leave(cdev);
	if (err)
		return err;
	choose_output(cdev, q);
	if (q->args.byte_length)
		err = answer(cdev, q, parents);
	/* Who was killed has let go of it. */
	if (err == -EINTR)
		return err;
	trace_vhdx_query(index, q->args.byte_offset, q->answer.offset - q->args.byte_offset,
			 q->put, q->visitor.leaves, err);
	if (err)
		return err;
	q->args.output_count = q->put;
	vhdx_report_end(&q->args, &q->answer);
	return 0;
}

/**
 * vhdx_query_changes() - VHDX_GET_VIRTUAL_DISK_CHANGES
 * @cdev:	of the disk, which may be detached meanwhile
 * @args:	in and out, in kernel memory; outputs are zero. @args->output is not looked at
 * @sink:	gets the ranges, in order
 * @diag:	what is wrong
 *
 * Sleeps, as long as sidecars and layers take to be read, but for no longer than the caller lives;
 * waits for nobody who writes a sidecar. Returns 0; what the sink failed with; or -errno, see the
 * uapi header.
 */
int vhdx_query_changes(struct vhdx_cdev *cdev, struct vhdx_get_virtual_disk_changes *args,
		       struct vhdx_query_sink *sink, struct vhdx_diag *diag)
{
	struct query *q = new_query(cdev, args, sink);
	int err;

	if (!q)
		return vhdx_no_memory(diag);
	err = ask(cdev, q);
	if (err != -EINTR) {
		*args = q->args;
		*diag = q->diag;
	}
	vhdx_errand_put(&q->errand);
	return err;
}
