// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What a first, full backup has to copy.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <core/ranges.h>
#include "internal.h"

#define RANGES_PER_CALL	4096

/**
 * struct asking - until all is told
 * @question:	and what is known of the answer
 * @length:	of the question, in bytes
 * @found:	of the last call
 * @held:	one range, told once it is known where it ends
 */
struct asking {
	struct vhdx_disk *disk;
	struct vhdx_allocated question;
	uint64_t length;
	struct vhdx_range *found;
	struct vhdx_range held;
	vhdx_range_fn fn;
	void *context;
};

static int let_go(struct asking *asking)
{
	int err = 0;

	if (asking->held.byte_length)
		err = result_of_caller(asking->fn(asking->context, &asking->held));
	asking->held.byte_length = 0;
	return err;
}

/* A call knows nothing of what the one before ended with. */
static int tell(struct asking *asking, const struct vhdx_range *range)
{
	struct vhdx_range *held = &asking->held;
	uint64_t gap = range->byte_offset - held->byte_offset - held->byte_length;
	int err;

	if (held->byte_length && held->flags == range->flags &&
	    (!gap || gap < asking->question.min_gap)) {
		held->byte_length += gap + range->byte_length;
		return 0;
	}
	err = let_go(asking);
	*held = *range;
	return err;
}

static int ask_part(struct asking *asking)
{
	struct vhdx_allocated *question = &asking->question;
	struct vhdx_get_allocated_ranges query = {
		.size = sizeof(query),
		.flags = question->flags,
		.byte_offset = question->offset + question->processed,
		.byte_length = asking->length - question->processed,
		.min_gap = question->min_gap,
		.output = (uintptr_t)asking->found,
		.output_capacity = RANGES_PER_CALL,
		.range_size = sizeof(*asking->found),
		.time_limit_ms = slice_of(question->progress),
	};
	int err = disk_call(asking->disk, VHDX_GET_ALLOCATED_RANGES, &query);
	uint32_t i;

	question->disk_size = query.virtual_disk_size;
	if (err)
		return err;
	if (!query.processed_byte_length && query.byte_length)
		return fail(-EIO, VHDX_REASON_NONE,
			    "%s: the query makes no progress at offset %llu", asking->disk->name,
			    (unsigned long long)query.byte_offset);
	question->processed += query.processed_byte_length;
	for (i = 0; i < query.output_count && !err; i++)
		err = tell(asking, &asking->found[i]);
	if (!err && question->progress)
		err = result_of_caller(question->progress(question->progress_context,
							  question->processed, asking->length));
	return err;
}

static int get_allocated(struct asking *asking)
{
	int err;

	asking->question.processed = 0;
	asking->length = asking->question.length;
	err = resolve_length(asking->disk, asking->question.offset, &asking->length);
	if (err)
		return err;
	asking->found = malloc(RANGES_PER_CALL * sizeof(*asking->found));
	if (!asking->found)
		return fail_errno(-ENOMEM, "%s", asking->disk->name);
	do {
		err = ask_part(asking);
	} while (!err && asking->question.processed < asking->length);
	free(asking->found);
	return err ? err : let_go(asking);
}

int vhdx_disk_get_allocated(struct vhdx_disk *disk, struct vhdx_allocated *question,
			    vhdx_range_fn fn, void *context)
{
	struct asking asking = { .disk = disk, .fn = fn, .context = context };
	int err;

	clear_error();
	err = take_sized(&asking.question, sizeof(asking.question), question,
			 VHDX_ALLOCATED_SIZE_VER0, "vhdx_allocated");
	if (err)
		return err;
	err = get_allocated(&asking);
	give_sized(question, &asking.question, sizeof(asking.question));
	return err;
}
