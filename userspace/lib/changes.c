// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Asking for changes until all is told.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

#define RANGES_PER_CALL	4096
/* Of the first header of this library: for a caller who says nothing. */
#define RANGE_SIZE_DEFAULT	24U

/**
 * struct teller - joins ranges that the ends of calls cut
 * @held:	told once it is known where it ends; no length: none is held
 * @shown:	what is told: as large as the caller knows a range
 */
struct teller {
	vhdx_range_fn fn;
	void *context;
	struct vhdx_range held;
	struct vhdx_range *shown;
	size_t shown_size;
};

static int let_go(struct teller *teller)
{
	int err = 0;

	if (teller->held.byte_length) {
		give_element(teller->shown, teller->shown_size, &teller->held,
			     sizeof(teller->held));
		err = teller->fn(teller->context, teller->shown);
	}
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
	if (query->size < VHDX_GET_VIRTUAL_DISK_CHANGES_SIZE_VER0)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: a question of %u bytes: size is to be set to its sizeof",
			    disk->name, query->size);
	return disk_call(disk, VHDX_GET_VIRTUAL_DISK_CHANGES, query);
}

static int ask(struct vhdx_disk *disk, struct vhdx_changes *changes, uint64_t length,
	       struct vhdx_range *ranges, struct vhdx_get_virtual_disk_changes *query)
{
	const bool sums = changes->flags & VHDX_CHANGES_COUNT;
	int err;

	*query = (struct vhdx_get_virtual_disk_changes) {
		.size = sizeof(*query),
		.flags = changes->flags,
		.limit_id = changes->limit,
		.target_id = changes->target,
		.byte_offset = changes->offset + changes->processed,
		.byte_length = length - changes->processed,
		.output = (uintptr_t)ranges,
		.output_capacity = sums ? 0 : RANGES_PER_CALL,
		.range_size = sizeof(*ranges),
	};
	err = vhdx_disk_get_changes_once(disk, query);
	changes->disk_size = query->virtual_disk_size;
	changes->disk_seq = query->disk_seq;
	changes->gap_time_ns = query->gap_time_ns;
	if (err)
		return err;
	if (!query->processed_byte_length && query->byte_length)
		return fail(-EIO, VHDX_REASON_NONE,
			    "%s: the query makes no progress at offset %llu", disk->name,
			    (unsigned long long)query->byte_offset);
	changes->processed += query->processed_byte_length;
	changes->changed_bytes += query->changed_bytes;
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
		for (i = 0; ranges && !err && i < query.output_count; i++)
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
	struct vhdx_info info = { .size = sizeof(info) };
	int err;

	*length = changes->length;
	if (changes->length != VHDX_TO_END)
		return 0;
	err = vhdx_disk_get_info(disk, &info);
	*length = info.virtual_disk_size > changes->offset ?
		  info.virtual_disk_size - changes->offset : 0;
	return err;
}

static int check_question(const struct vhdx_disk *disk, struct vhdx_changes *changes,
			  vhdx_range_fn fn)
{
	if (!changes->range_size)
		changes->range_size = RANGE_SIZE_DEFAULT;
	if (changes->range_size < VHDX_RANGE_SIZE_VER0)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: ranges of %zu bytes: they have at least %u", disk->name,
			    changes->range_size, VHDX_RANGE_SIZE_VER0);
	if (!fn != !!(changes->flags & VHDX_CHANGES_COUNT))
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: ranges are told to a function, sums (VHDX_CHANGES_COUNT) are not",
			    disk->name);
	changes->processed = 0;
	changes->changed_bytes = 0;
	changes->answer_flags = 0;
	changes->unit = 0;
	return 0;
}

int get_changes(struct vhdx_disk *disk, struct vhdx_changes *changes, vhdx_range_fn fn,
		int (*between)(void *context), void *context)
{
	struct teller teller = { .fn = fn, .context = context };
	struct vhdx_range *ranges = NULL;
	uint64_t length;
	int err;

	clear_error();
	err = check_question(disk, changes, fn);
	if (!err)
		err = resolve_length(disk, changes, &length);
	if (err)
		return err;
	teller.shown_size = changes->range_size;
	teller.shown = malloc(teller.shown_size);
	if (fn)
		ranges = malloc(RANGES_PER_CALL * sizeof(*ranges));
	if (teller.shown && (ranges || !fn))
		err = tell_all(disk, changes, length, ranges, &teller, between);
	else
		err = fail_errno(-ENOMEM, "%s", disk->name);
	free(ranges);
	free(teller.shown);
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
	struct vhdx_changes known;
	int err;

	clear_error();
	err = take_sized(&known, sizeof(known), changes, VHDX_CHANGES_SIZE_VER0, "vhdx_changes");
	if (err)
		return err;
	err = get_changes(disk, &known, fn ? tell_listener : NULL, NULL, &listener);
	give_sized(changes, &known, sizeof(known));
	return err;
}
