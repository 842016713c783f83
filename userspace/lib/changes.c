// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Asking for changes until all is told.
 */
#include <errno.h>
#include <stdlib.h>
#include "internal.h"

/**
 * struct listener - who is told
 * @fn:		NULL: sums alone are wanted
 * @shown:	what is told: as large as the caller knows a range
 */
struct listener {
	vhdx_range_fn fn;
	void *context;
	struct vhdx_range *shown;
	size_t shown_size;
};

static int tell_ranges(struct vhdx_changes_iter *iter, const struct listener *listener)
{
	struct vhdx_range range;
	int err = 0;

	while (!err && next_range(iter, &range)) {
		give_element(listener->shown, listener->shown_size, &range, sizeof(range));
		err = listener->fn(listener->context, listener->shown);
	}
	return err;
}

static int tell_all(struct vhdx_changes_iter *iter, const struct listener *listener)
{
	int err;

	do {
		err = ask_once(iter);
		if (!err && listener->fn)
			err = tell_ranges(iter, listener);
	} while (!err && !is_all_asked(iter));
	return err;
}

static int get_changes(struct vhdx_disk *disk, struct vhdx_changes *changes, vhdx_range_fn fn,
		       void *context)
{
	struct listener listener = { .fn = fn, .context = context };
	struct vhdx_changes_iter *iter;
	int err;

	clear_error();
	if (!fn != !!(changes->flags & VHDX_CHANGES_COUNT))
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: ranges are told to a function, sums (VHDX_CHANGES_COUNT) are not",
			    disk->name);
	listener.shown_size = changes->range_size ? changes->range_size : RANGE_SIZE_DEFAULT;
	err = begin_changes(disk, changes, &iter);
	if (err)
		return err;
	listener.shown = malloc(listener.shown_size);
	if (listener.shown)
		err = tell_all(iter, &listener);
	else
		err = fail_errno(-ENOMEM, "%s", disk->name);
	free(listener.shown);
	free_changes(iter, changes);
	return err;
}

struct caller {
	vhdx_range_fn fn;
	void *context;
};

static int tell_caller(void *context, const struct vhdx_range *range)
{
	const struct caller *caller = context;

	return result_of_caller(caller->fn(caller->context, range));
}

int vhdx_disk_get_changes(struct vhdx_disk *disk, struct vhdx_changes *changes, vhdx_range_fn fn,
			  void *context)
{
	struct caller caller = { .fn = fn, .context = context };
	struct vhdx_changes known;
	int err;

	clear_error();
	err = take_sized(&known, sizeof(known), changes, VHDX_CHANGES_SIZE_VER0, "vhdx_changes");
	if (err)
		return err;
	err = get_changes(disk, &known, fn ? tell_caller : NULL, &caller);
	give_sized(changes, &known, sizeof(known));
	return err;
}
