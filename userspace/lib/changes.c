// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Asking for changes until all is told.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

#define RANGES_PER_CALL	4096

/**
 * struct teller - joins ranges that the ends of calls cut
 * @held:	told once it is known where it ends; no length: none is held
 */
struct teller {
	vhdx_range_fn fn;
	void *context;
	struct vhdx_range held;
};

static int let_go(struct teller *teller)
{
	int err = 0;

	if (teller->held.byte_length)
		err = teller->fn(teller->context, &teller->held);
	teller->held.byte_length = 0;
	return err;
}

static int tell(struct teller *teller, const struct vhdx_range *range)
{
	struct vhdx_range *held = &teller->held;
	int err;

	if (held->byte_length && held->byte_offset + held->byte_length == range->byte_offset) {
		held->byte_length += range->byte_length;
		return 0;
	}
	err = let_go(teller);
	*held = *range;
	return err;
}

int vhdx_disk_get_changes_once(struct vhdx_disk *disk, struct vhdx_get_virtual_disk_changes *query)
{
	query->size = sizeof(*query);
	query->reason = VHDX_REASON_NONE;
	return disk_call(disk, VHDX_GET_VIRTUAL_DISK_CHANGES, query, &query->reason);
}

/* The driver only says that something about the question is wrong. */
static int explain(const struct vhdx_disk *disk,
		   const struct vhdx_get_virtual_disk_changes *query)
{
	const uint64_t size = query->virtual_disk_size;

	if (query->byte_offset > size || query->byte_length > size - query->byte_offset)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: %llu bytes at offset %llu are asked for, but the disk has only %llu",
			    disk->name, (unsigned long long)query->byte_length,
			    (unsigned long long)query->byte_offset, (unsigned long long)size);
	if (!vhdx_id_is_none(&query->target_id))
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: the target is an older point than the one to begin with: exchange the two",
			    disk->name);
	return -EINVAL;
}

static int ask(struct vhdx_disk *disk, struct vhdx_changes *changes, uint64_t length,
	       struct vhdx_range *ranges, struct vhdx_get_virtual_disk_changes *query)
{
	int err;

	*query = (struct vhdx_get_virtual_disk_changes) {
		.limit_id = changes->limit,
		.target_id = changes->target,
		.byte_offset = changes->offset + changes->processed,
		.byte_length = length - changes->processed,
		.output = (uintptr_t)ranges,
		.output_capacity = RANGES_PER_CALL,
	};
	err = vhdx_disk_get_changes_once(disk, query);
	if (err)
		return err == -EINVAL ? explain(disk, query) : err;
	if (!query->processed_byte_length && query->byte_length)
		return fail(-EIO, VHDX_REASON_NONE,
			    "%s: the query makes no progress at offset %llu", disk->name,
			    (unsigned long long)query->byte_offset);
	changes->processed += query->processed_byte_length;
	changes->disk_size = query->virtual_disk_size;
	changes->unit = query->unit;
	changes->answer_flags |= query->answer_flags;
	return 0;
}

static int tell_all(struct vhdx_disk *disk, struct vhdx_changes *changes, uint64_t length,
		    struct vhdx_range *ranges, struct teller *teller,
		    int (*between)(void *context))
{
	struct vhdx_get_virtual_disk_changes query;
	uint32_t i;
	int err;

	do {
		err = ask(disk, changes, length, ranges, &query);
		for (i = 0; !err && i < query.output_count; i++)
			err = tell(teller, &ranges[i]);
		if (!err && between)
			err = between(teller->context);
	} while (!err && changes->processed < length);
	return err ? err : let_go(teller);
}

/* An offset behind the end is the driver's to refuse. */
static int resolve_length(struct vhdx_disk *disk, const struct vhdx_changes *changes,
			  uint64_t *length)
{
	struct vhdx_info info;
	int err;

	*length = changes->length;
	if (changes->length != VHDX_TO_END)
		return 0;
	err = vhdx_disk_get_info(disk, &info);
	*length = info.virtual_disk_size > changes->offset ?
		  info.virtual_disk_size - changes->offset : 0;
	return err;
}

int get_changes(struct vhdx_disk *disk, struct vhdx_changes *changes, vhdx_range_fn fn,
		int (*between)(void *context), void *context)
{
	struct teller teller = { .fn = fn, .context = context };
	struct vhdx_range *ranges;
	uint64_t length;
	int err;

	clear_error();
	if (changes->size < sizeof(*changes))
		return fail(-EINVAL, VHDX_REASON_ARGUMENT, "%s: a question of an unknown size",
			    disk->name);
	changes->processed = 0;
	changes->answer_flags = 0;
	err = resolve_length(disk, changes, &length);
	if (err)
		return err;
	ranges = malloc(RANGES_PER_CALL * sizeof(*ranges));
	if (!ranges)
		return fail_errno(-ENOMEM, "%s", disk->name);
	err = tell_all(disk, changes, length, ranges, &teller, between);
	free(ranges);
	return err;
}

struct listener {
	vhdx_range_fn fn;
	void *context;
};

static int tell_listener(void *context, const struct vhdx_range *range)
{
	const struct listener *listener = context;

	return result_of_caller(listener->fn(listener->context, range));
}

int vhdx_disk_get_changes(struct vhdx_disk *disk, struct vhdx_changes *changes, vhdx_range_fn fn,
			  void *context)
{
	struct listener listener = { .fn = fn, .context = context };

	return get_changes(disk, changes, tell_listener, NULL, &listener);
}
