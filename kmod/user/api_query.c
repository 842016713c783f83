// SPDX-License-Identifier: GPL-2.0-only
/*
 * linux/vhdx_api.h: questions. The engine that answers the ioctls answers them, into sinks of its
 * own.
 */
#include "compat.h"
#include "disk/cdev.h"
#include "disk/disk.h"
#include "disk/holds.h"
#include "points/allocated.h"
#include "points/query.h"

#include <linux/export.h>
#include <linux/vhdx_api.h>

/**
 * struct array - a sink that is memory
 * @sink:	see there
 * @to:		where the next element goes
 * @size:	of one
 */
struct array {
	struct vhdx_query_sink sink;
	void *to;
	size_t size;
};

static int put_array(struct vhdx_query_sink *sink, const void *output, u32 count)
{
	struct array *array = container_of(sink, struct array, sink);

	if (output)
		memcpy(array->to, output, count * array->size);
	else
		memset(array->to, 0, count * array->size);
	array->to += count * array->size;
	return 0;
}

static struct array array_of(void *to, size_t size)
{
	return (struct array){ .sink.put = put_array, .to = to, .size = size };
}

/**
 * struct each - a sink that is a function
 * @sink:	see there
 * @fn:		is called for each range
 * @context:	of it
 * @stop:	what it returned that was not 0
 */
struct each {
	struct vhdx_query_sink sink;
	int (*fn)(void *context, const struct vhdx_range *range);
	void *context;
	int stop;
};

static int put_each(struct vhdx_query_sink *sink, const void *output, u32 count)
{
	struct each *each = container_of(sink, struct each, sink);
	const struct vhdx_range *range = output;

	for (; count && !each->stop; count--)
		each->stop = each->fn(each->context, range++);
	/* Whatever it is, positive too: to the engine it is a failure. */
	return each->stop ? -ECANCELED : 0;
}

static struct vhdx_get_virtual_disk_changes question_of(const struct vhdx_query *query)
{
	return (struct vhdx_get_virtual_disk_changes){
		.size = sizeof(struct vhdx_get_virtual_disk_changes),
		.limit_id = query->limit,
		.target_id = query->target,
		.byte_offset = query->byte_offset,
		.byte_length = query->byte_length,
		.granularity = query->granularity,
		.min_gap = query->min_gap,
		.range_size = sizeof(struct vhdx_range),
	};
}

static int ask(struct vhdx_hold *hold, struct vhdx_query *query,
	       struct vhdx_get_virtual_disk_changes *args, struct vhdx_query_sink *sink)
{
	struct vhdx_diag diag = { };
	int err = vhdx_query_changes(hold->disk->cdev, args, sink, &diag);

	query->processed_byte_length = err ? 0 : args->processed_byte_length;
	query->virtual_disk_size = args->virtual_disk_size;
	query->unit = args->unit;
	query->answer_flags = args->answer_flags;
	query->reason = err ? diag.reason : VHDX_REASON_NONE;
	return err;
}

/* What is allocated is asked without points, and has no granules. */
static bool is_of_changes(const struct vhdx_query *query)
{
	static const struct vhdx_point_id none;

	return query->granularity || memcmp(&query->limit, &none, sizeof(none)) ||
	       memcmp(&query->target, &none, sizeof(none));
}

int vhdx_hold_get_ranges(struct vhdx_hold *hold, struct vhdx_query *query,
			 struct vhdx_range *ranges, u32 capacity, u32 *count)
{
	struct vhdx_get_virtual_disk_changes args = question_of(query);
	struct array array = array_of(ranges, sizeof(*ranges));
	int err;

	*count = 0;
	args.output_capacity = capacity;
	err = ask(hold, query, &args, &array.sink);
	if (!err)
		*count = args.output_count;
	return err;
}
EXPORT_SYMBOL_VHDX(vhdx_hold_get_ranges);

int vhdx_hold_each_range(struct vhdx_hold *hold, struct vhdx_query *query,
			 int (*fn)(void *context, const struct vhdx_range *range), void *context)
{
	struct vhdx_get_virtual_disk_changes args = question_of(query);
	struct each each = { .sink.put = put_each, .fn = fn, .context = context };

	int err;

	args.output_capacity = U32_MAX;
	err = ask(hold, query, &args, &each.sink);
	return each.stop ?: err;
}
EXPORT_SYMBOL_VHDX(vhdx_hold_each_range);

int vhdx_hold_get_bits(struct vhdx_hold *hold, struct vhdx_query *query, u64 *words,
		       u32 word_count)
{
	struct vhdx_get_virtual_disk_changes args = question_of(query);
	struct array array = array_of(words, 1);
	u32 i;
	int err;

	args.flags = VHDX_CHANGES_BITMAP;
	args.range_size = 0;
	args.output_capacity = min_t(u64, word_count * sizeof(u64), U32_MAX & ~7U);
	err = ask(hold, query, &args, &array.sink);
	/* To user space bit i is bit i % 8 of byte i / 8. */
	for (i = 0; !err && i < args.output_count / sizeof(u64); i++)
		words[i] = le64_to_cpu((__force __le64)words[i]);
	return err;
}
EXPORT_SYMBOL_VHDX(vhdx_hold_get_bits);

int vhdx_hold_get_allocated(struct vhdx_hold *hold, struct vhdx_query *query,
			    struct vhdx_range *ranges, u32 capacity, u32 *count)
{
	struct vhdx_get_allocated_ranges args = {
		.size = sizeof(args),
		.byte_offset = query->byte_offset,
		.byte_length = query->byte_length,
		.min_gap = query->min_gap,
		.range_size = sizeof(*ranges),
		.output_capacity = capacity,
	};
	struct array array = array_of(ranges, sizeof(*ranges));
	struct vhdx_diag diag = { };
	int err;

	*count = 0;
	if (is_of_changes(query))
		err = vhdx_bad_argument(&diag, "what is allocated has no points, and no granularity");
	else
		err = vhdx_query_allocated(hold->disk->cdev, &args, &array.sink, &diag);
	query->processed_byte_length = err ? 0 : args.processed_byte_length;
	query->virtual_disk_size = args.virtual_disk_size;
	query->reason = err ? diag.reason : VHDX_REASON_NONE;
	if (!err)
		*count = args.output_count;
	return err;
}
EXPORT_SYMBOL_VHDX(vhdx_hold_get_allocated);
