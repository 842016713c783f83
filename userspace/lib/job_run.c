// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What a job does: ask, in calls that take no longer than somebody who wants it to end will wait.
 */
#include <errno.h>
#include <stdlib.h>
#include "job.h"

static int make_room(struct vhdx_job *job)
{
	size_t capacity = job->capacity ? 2 * job->capacity : 256;
	char *longer;

	if (job->count == job->max_ranges)
		return fail(-ENOMEM, VHDX_REASON_NONE,
			    "%s: more than %zu ranges: take them one by one (vhdx_changes_begin()), or let such that are close to each other be told as one (min_gap, granularity)",
			    job->name, job->max_ranges);
	if (job->count < job->capacity)
		return 0;
	if (capacity > job->max_ranges)
		capacity = job->max_ranges;
	longer = reallocarray(job->ranges, capacity, job->element_size);
	if (!longer)
		return fail_errno(-ENOMEM, "%s: %zu ranges", job->name, capacity);
	job->ranges = longer;
	job->capacity = capacity;
	return 0;
}

static int keep_range(struct vhdx_job *job, const struct vhdx_range *range)
{
	int err = make_room(job);

	if (err)
		return err;
	give_element(job->ranges + job->count * job->element_size, job->element_size, range,
		     sizeof(*range));
	job->count++;
	return 0;
}

static int keep_ranges(struct vhdx_job *job, struct vhdx_changes_iter *iter)
{
	struct vhdx_range range;
	int err = 0;

	while (!err && next_range(iter, &range))
		err = keep_range(job, &range);
	return err;
}

static int ask_all(struct vhdx_job *job)
{
	struct vhdx_changes_iter *iter;
	int err;

	clear_error();
	forget_layers();
	err = begin_changes(job->disk, &job->changes, &iter);
	if (err)
		return err;
	limit_calls(iter, SLICE_MS);
	do {
		err = ask_once(iter);
		if (!err)
			err = keep_ranges(job, iter);
		if (!err)
			err = note_progress(job, bytes_asked(iter));
	} while (!err && !is_all_asked(iter));
	free_changes(iter, &job->changes);
	return err;
}

int ask_job(struct vhdx_job *job)
{
	int err;

	begin_job(job);
	err = ask_all(job);
	/* Whoever waits for the end finds the files free of our locks. */
	vhdx_disk_close(job->disk);
	job->disk = NULL;
	return err;
}
