// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Changes, range by range: asks for more when it has to, and joins what the ends of calls cut.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

#define RANGES_PER_CALL	4096

/**
 * struct vhdx_changes_iter - a question under way
 * @question:	and what is known of the answer
 * @length:	of the question, in bytes
 * @range_size:	of those that are asked for; short ones where the caller knows no flags
 * @ranges:	of the last call; NULL: sums alone are wanted
 * @count:	how many
 * @at:		the next of them
 * @held:	told once it is known where it ends; no length: none is held
 * @asked:	once at least: a question about nothing can be wrong, too
 * @time_limit_ms: of each call; 0: none
 * @ended:	all was told
 * @err:	the first failure, which stays
 */
struct vhdx_changes_iter {
	struct vhdx_disk *disk;
	struct vhdx_changes question;
	uint64_t length;
	uint32_t range_size;
	char *ranges;
	uint32_t count;
	uint32_t at;
	struct vhdx_range held;
	uint32_t time_limit_ms;
	bool asked;
	bool ended;
	int err;
};

int vhdx_disk_get_changes_once(struct vhdx_disk *disk, struct vhdx_get_virtual_disk_changes *query)
{
	if (query->size < VHDX_GET_VIRTUAL_DISK_CHANGES_SIZE_VER0)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: a question of %u bytes: size is to be set to its sizeof",
			    disk->name, query->size);
	return disk_call(disk, VHDX_GET_VIRTUAL_DISK_CHANGES, query);
}

int check_changes(const char *name, const struct vhdx_changes *question)
{
	if (question->range_size && question->range_size < VHDX_RANGE_SIZE_VER0)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: ranges of %zu bytes: they have at least %u", name,
			    question->range_size, VHDX_RANGE_SIZE_VER0);
	if (question->flags & VHDX_CHANGES_BITMAP)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: a bitmap is had from vhdx_disk_get_change_bitmap()", name);
	return 0;
}

/* An offset behind the end is the driver's to refuse. */
int resolve_length(struct vhdx_disk *disk, uint64_t offset, uint64_t *length)
{
	struct vhdx_info info = { .size = sizeof(info) };
	int err;

	if (*length != VHDX_TO_END)
		return 0;
	err = vhdx_disk_get_info(disk, &info);
	*length = info.virtual_disk_size > offset ? info.virtual_disk_size - offset : 0;
	return err;
}

int begin_changes(struct vhdx_disk *disk, const struct vhdx_changes *question,
		  struct vhdx_changes_iter **out)
{
	struct vhdx_changes_iter *iter = calloc(1, sizeof(*iter));
	int err;

	if (!iter)
		return fail_errno(-ENOMEM, "%s", disk->name);
	iter->disk = disk;
	iter->question = *question;
	iter->question.processed = 0;
	iter->question.changed_bytes = 0;
	iter->question.answer_flags = 0;
	iter->question.unit = 0;
	iter->length = question->length;
	iter->range_size = question->range_size && question->range_size < sizeof(iter->held) ?
			   VHDX_RANGE_SIZE_VER0 : sizeof(iter->held);
	err = check_changes(disk->name, question);
	if (!err)
		err = resolve_length(disk, question->offset, &iter->length);
	if (!err && !(question->flags & VHDX_CHANGES_COUNT)) {
		iter->ranges = malloc((size_t)RANGES_PER_CALL * iter->range_size);
		if (!iter->ranges)
			err = fail_errno(-ENOMEM, "%s", disk->name);
	}
	if (err) {
		free(iter);
		return err;
	}
	*out = iter;
	return 0;
}

void limit_calls(struct vhdx_changes_iter *iter, uint32_t time_limit_ms)
{
	iter->time_limit_ms = time_limit_ms;
}

bool is_all_asked(const struct vhdx_changes_iter *iter)
{
	return iter->asked && iter->question.processed == iter->length;
}

uint64_t bytes_asked(const struct vhdx_changes_iter *iter)
{
	return iter->question.processed;
}

int ask_once(struct vhdx_changes_iter *iter)
{
	struct vhdx_changes *question = &iter->question;
	struct vhdx_get_virtual_disk_changes query = {
		.size = sizeof(query),
		.flags = question->flags,
		.limit_id = question->limit,
		.target_id = question->target,
		.byte_offset = question->offset + question->processed,
		.byte_length = iter->length - question->processed,
		.granularity = question->granularity,
		.min_gap = question->min_gap,
		.output = (uintptr_t)iter->ranges,
		.output_capacity = iter->ranges ? RANGES_PER_CALL : 0,
		.range_size = iter->range_size,
		.time_limit_ms = iter->time_limit_ms ?: slice_of(question->progress),
	};
	int err;

	iter->count = 0;
	iter->at = 0;
	err = vhdx_disk_get_changes_once(iter->disk, &query);
	question->disk_size = query.virtual_disk_size;
	question->disk_seq = query.disk_seq;
	question->gap_time_ns = query.gap_time_ns;
	if (err)
		return err;
	if (!query.processed_byte_length && query.byte_length)
		return fail(-EIO, VHDX_REASON_NONE,
			    "%s: the query makes no progress at offset %llu", iter->disk->name,
			    (unsigned long long)query.byte_offset);
	iter->asked = true;
	iter->count = query.output_count;
	question->processed += query.processed_byte_length;
	question->changed_bytes += query.changed_bytes;
	question->unit = query.unit;
	question->answer_flags |= query.answer_flags;
	if (!question->progress)
		return 0;
	return result_of_caller(question->progress(question->progress_context,
						   question->processed, iter->length));
}

static struct vhdx_range range_at(const struct vhdx_changes_iter *iter, uint32_t index)
{
	struct vhdx_range range = { 0 };

	memcpy(&range, iter->ranges + (size_t)index * iter->range_size, iter->range_size);
	return range;
}

/*
 * A call knows nothing of what the one before ended with. What reads as zeroes is joined only where
 * it touches: of a gap that is not known.
 */
static bool joins(struct vhdx_changes_iter *iter, const struct vhdx_range *range)
{
	struct vhdx_range *held = &iter->held;
	uint64_t end = held->byte_offset + held->byte_length;
	uint64_t gap = range->byte_offset - end;

	if (gap && (gap >= iter->question.min_gap || held->flags))
		return false;
	if (held->flags != range->flags)
		return false;
	held->byte_length += gap + range->byte_length;
	iter->question.changed_bytes += gap;
	return true;
}

/* 1: there is one. */
static int take_held(struct vhdx_changes_iter *iter, const struct vhdx_range *next,
		     struct vhdx_range *range)
{
	static const struct vhdx_range none;

	*range = iter->held;
	iter->held = next ? *next : none;
	return range->byte_length ? 1 : 0;
}

/* 1: a range; 0: there is none in what was asked so far, beside the one that is held. */
int next_range(struct vhdx_changes_iter *iter, struct vhdx_range *range)
{
	struct vhdx_range next;

	while (iter->at < iter->count) {
		next = range_at(iter, iter->at++);
		if (iter->held.byte_length && joins(iter, &next))
			continue;
		if (take_held(iter, &next, range))
			return 1;
	}
	return is_all_asked(iter) ? take_held(iter, NULL, range) : 0;
}

int vhdx_changes_begin(struct vhdx_disk *disk, const struct vhdx_changes *question,
		       struct vhdx_changes_iter **iter)
{
	struct vhdx_changes known;
	int err;

	clear_error();
	*iter = NULL;
	err = take_sized(&known, sizeof(known), question, VHDX_CHANGES_SIZE_VER0, "vhdx_changes");
	if (err)
		return err;
	if (known.flags & VHDX_CHANGES_COUNT)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: of sums (VHDX_CHANGES_COUNT) there are no ranges", disk->name);
	return begin_changes(disk, &known, iter);
}

int vhdx_changes_next(struct vhdx_changes_iter *iter, struct vhdx_range *range, size_t range_size)
{
	struct vhdx_range known;

	if (!iter->err)
		clear_error();
	if (range_size < VHDX_RANGE_SIZE_VER0)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: ranges of %zu bytes: they have at least %u", iter->disk->name,
			    range_size, VHDX_RANGE_SIZE_VER0);
	while (!iter->err) {
		if (next_range(iter, &known)) {
			give_element(range, range_size, &known, sizeof(known));
			return 1;
		}
		if (is_all_asked(iter)) {
			iter->ended = true;
			return 0;
		}
		iter->err = ask_once(iter);
		if (iter->err > 0)
			iter->err = fail(-ECANCELED, VHDX_REASON_NONE,
					 "%s: the caller's own function ended it with %d",
					 iter->disk->name, iter->err);
	}
	return iter->err;
}

uint64_t vhdx_changes_position(const struct vhdx_changes_iter *iter)
{
	if (iter->held.byte_length)
		return iter->held.byte_offset;
	if (iter->at < iter->count)
		return range_at(iter, iter->at).byte_offset;
	return iter->question.offset + iter->question.processed;
}

void free_changes(struct vhdx_changes_iter *iter, struct vhdx_changes *answer)
{
	*answer = iter->question;
	free(iter->ranges);
	free(iter);
}

int vhdx_changes_end(struct vhdx_changes_iter *iter, struct vhdx_changes *answer)
{
	struct vhdx_changes known;
	int err = iter->err;

	if (!err && !iter->ended)
		err = fail(-ECANCELED, VHDX_REASON_NONE,
			   "%s: only changes before offset %llu were told, and not all were asked for",
			   iter->disk->name, (unsigned long long)vhdx_changes_position(iter));
	free_changes(iter, &known);
	if (answer)
		give_sized(answer, &known, sizeof(known));
	return err;
}
