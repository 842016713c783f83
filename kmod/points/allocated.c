// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which parts of the disk have anything: for those who copy all of it.
 *
 * Asked of the mapping, layer by layer as a read does it, and told as of any moment of the call: a
 * write that was acknowledged before it is mapped, and so is told. One that comes later is up to
 * change tracking.
 */
#include "allocated.h"
#include "errand.h"
#include "mapped.h"
#include "query.h"
#include "core/ranges.h"
#include "core/rct/report.h"
#include "disk/cdev.h"
#include "disk/disk.h"

#include <linux/blkdev.h>
#include <linux/ktime.h>
#include <linux/slab.h>

/* Ranges between two calls of the sink. */
#define BATCH_RANGES	512
/* Extents for which a detach may have to wait. */
#define BATCH_EXTENTS	256

/**
 * struct scan - one call under way
 * @errand:	of its batches; keeps all of this
 * @mapped:	who looks into layers; its disk is there while a batch is under way
 * @args:	what was asked
 * @sink:	where the answer goes; not the worker's
 * @diag:	what is wrong
 * @deadline:	when the caller wants it back, as ktime_get() tells the time; 0: at the end
 * @offset:	everything before it is told
 * @end:	of the request
 * @ranges:	those that the sink has not taken
 * @err:	what the last batch ended with
 * @put:	how many it has
 */
struct scan {
	struct vhdx_errand errand;
	struct vhdx_mapped mapped;
	struct vhdx_get_allocated_ranges args;
	struct vhdx_query_sink *sink;
	struct vhdx_diag diag;
	ktime_t deadline;
	u64 offset;
	u64 end;
	struct vhdx_ranges ranges;
	int err;
	u32 put;
};

/*
 * Whatever can't be told to read as zeroes is allocated: a block that a write is just making, and
 * one that can't be read, which whoever copies it is to hear of. False: there is no room.
 */
static bool tell(struct scan *scan, const struct vhdx_mapping *extent)
{
	u64 to = scan->offset + extent->length;
	bool zero = extent->kind == VHDX_MAPPING_ZERO;

	if (!zero || scan->args.flags & VHDX_ALLOCATED_ZEROES) {
		if (!vhdx_ranges_add(&scan->ranges, scan->offset, to,
				     zero ? VHDX_RANGE_ZERO : 0))
			return false;
	}
	scan->offset = to;
	return true;
}

static int find(struct scan *scan, struct vhdx_mapping *extent)
{
	int err = vhdx_mapped_find(&scan->mapped, scan->offset, scan->end - scan->offset, extent);

	if (!err)
		return 0;
	return err == -ENOMEM ? vhdx_no_memory(&scan->diag) :
	       vhdx_io_failed(&scan->diag, err, "where offset %llu of the disk is can't be read",
			      scan->offset);
}

/* Some of it. 0 or -errno. */
static int run_batch(struct scan *scan)
{
	struct vhdx_mapping extent;
	u32 count;
	int err;

	for (count = 0; count < BATCH_EXTENTS && scan->offset < scan->end; count++) {
		err = find(scan, &extent);
		if (err)
			return err;
		if (!tell(scan, &extent) || vhdx_errand_is_killed(&scan->errand))
			break;
		cond_resched();
	}
	return 0;
}

static void run_errand(struct vhdx_errand *errand)
{
	struct scan *scan = container_of(errand, struct scan, errand);

	scan->err = vhdx_loss_settle(scan->mapped.disk) ?: run_batch(scan);
	vhdx_loss_explain(scan->mapped.disk, scan->err, &scan->diag);
}

/* The last range stays back while it may still grow. */
static int put(struct scan *scan, u32 keep)
{
	u32 n;
	int err;

	keep = min(keep, scan->ranges.count);
	n = scan->ranges.count - keep;
	if (!n)
		return 0;
	err = scan->sink->put(scan->sink, scan->ranges.array, n);
	if (err)
		return err;
	scan->put += n;
	vhdx_ranges_taken(&scan->ranges, keep);
	return 0;
}

static bool make_room(struct scan *scan)
{
	scan->ranges.capacity = min_t(u32, BATCH_RANGES,
				      scan->args.output_capacity - scan->put);
	return !scan->ranges.count || scan->ranges.count < scan->ranges.capacity;
}

static bool is_late(const struct scan *scan)
{
	return scan->deadline && ktime_after(ktime_get(), scan->deadline);
}

static int run_once(struct vhdx_cdev *cdev, struct scan *scan)
{
	struct vhdx_disk *disk = vhdx_cdev_enter(cdev);
	int err;

	if (!disk)
		return vhdx_cdev_is_gone(&scan->diag);
	scan->mapped.disk = disk;
	err = vhdx_errand_run(&scan->errand, disk->question_wq) ?: scan->err;
	vhdx_cdev_leave(cdev);
	if (!err)
		err = put(scan, 1);
	if (!err && fatal_signal_pending(current))
		err = -EINTR;
	return err;
}

static int run(struct vhdx_cdev *cdev, struct scan *scan)
{
	u64 begin = scan->offset;
	int err;

	while (scan->offset < scan->end && make_room(scan)) {
		err = run_once(cdev, scan);
		if (err)
			return err;
		if ((signal_pending(current) || is_late(scan)) && scan->offset > begin)
			break;
		cond_resched();
	}
	return put(scan, 0);
}

static int begin(struct vhdx_cdev *cdev, struct scan *scan, u32 *layers)
{
	struct vhdx_get_allocated_ranges *args = &scan->args;
	struct vhdx_disk *disk = vhdx_cdev_enter(cdev);

	if (!disk)
		return vhdx_cdev_is_gone(&scan->diag);
	args->virtual_disk_size = vhdx_disk_leaf(disk)->image.geo.disk_size;
	args->disk_seq = disk->gd->diskseq;
	*layers = disk->layer_count;
	vhdx_cdev_leave(cdev);
	return vhdx_report_check_allocated(args, &scan->diag);
}

static void free_scan(struct vhdx_errand *errand)
{
	struct scan *scan = container_of(errand, struct scan, errand);

	vhdx_mapped_release(&scan->mapped);
	kvfree(scan->ranges.array);
	kfree(scan);
}

static struct scan *new_scan(struct vhdx_cdev *cdev, const struct vhdx_get_allocated_ranges *args,
			     struct vhdx_query_sink *sink)
{
	struct scan *scan = kzalloc(sizeof(*scan), GFP_KERNEL);

	if (!scan)
		return NULL;
	vhdx_errand_init(&scan->errand, cdev, run_errand, free_scan);
	scan->args = *args;
	scan->sink = sink;
	scan->mapped.errand = &scan->errand;
	scan->offset = args->byte_offset;
	scan->ranges.size = args->range_size;
	scan->ranges.min_gap = args->min_gap;
	if (args->time_limit_ms)
		scan->deadline = ktime_add_ms(ktime_get(), args->time_limit_ms);
	return scan;
}

static int ask(struct vhdx_cdev *cdev, struct scan *scan)
{
	u32 layers;
	int err = begin(cdev, scan, &layers);

	if (err)
		return err;
	scan->end = scan->args.byte_offset + scan->args.byte_length;
	scan->ranges.array = kvmalloc_array(BATCH_RANGES, scan->args.range_size, GFP_KERNEL);
	if (!scan->ranges.array || vhdx_mapped_init(&scan->mapped, layers))
		return vhdx_no_memory(&scan->diag);
	err = run(cdev, scan);
	if (err)
		return err;
	scan->args.output_count = scan->put;
	scan->args.processed_byte_length = scan->offset - scan->args.byte_offset;
	scan->args.allocated_bytes = scan->ranges.sum;
	return 0;
}

/**
 * vhdx_query_allocated() - VHDX_GET_ALLOCATED_RANGES
 * @cdev:	of the disk, which may be detached meanwhile
 * @args:	in and out, in kernel memory; outputs are zero. @args->output is not looked at
 * @sink:	gets the ranges, in order
 * @diag:	what is wrong
 *
 * Sleeps, as long as the containers take to be read, but for no longer than the caller lives.
 * Returns 0; what the sink failed with; or -errno, see the uapi header.
 */
int vhdx_query_allocated(struct vhdx_cdev *cdev, struct vhdx_get_allocated_ranges *args,
			 struct vhdx_query_sink *sink, struct vhdx_diag *diag)
{
	struct scan *scan = new_scan(cdev, args, sink);
	int err;

	if (!scan)
		return vhdx_no_memory(diag);
	err = ask(cdev, scan);
	if (err != -EINTR) {
		*args = scan->args;
		*diag = scan->diag;
	}
	vhdx_errand_put(&scan->errand);
	return err;
}
