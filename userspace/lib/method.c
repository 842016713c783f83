// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Msvm_ImageManagementService.GetVirtualDiskChanges, with its return values; at
 * once or as a job in a thread of its own.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "internal.h"

/**
 * struct vhdx_job - one call of the method
 * @lock:	guards what follows it
 * @ended:	signalled when @done becomes true
 * @threaded:	a thread runs it; @thread is to be joined
 */
struct vhdx_job {
	struct vhdx_disk *disk;
	struct vhdx_changes changes;
	struct vhdx_range *ranges;
	size_t count;
	size_t capacity;

	pthread_t thread;
	bool threaded;

	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool done;
	bool cancelled;
	bool handed_out;
	unsigned int percent;
	unsigned int code;
	unsigned int reason;
	char message[512];
};

static int keep_range(void *context, const struct vhdx_range *range)
{
	struct vhdx_job *job = context;
	struct vhdx_range *longer;
	size_t capacity;

	if (job->count == job->capacity) {
		capacity = job->capacity ? 2 * job->capacity : 256;
		longer = realloc(job->ranges, capacity * sizeof(*longer));
		if (!longer)
			return fail_errno(-ENOMEM, "%s", job->disk->name);
		job->ranges = longer;
		job->capacity = capacity;
	}
	job->ranges[job->count++] = (struct vhdx_range) {
		.byte_offset = range->byte_offset,
		.byte_length = range->byte_length,
	};
	return 0;
}

static int note_progress(void *context)
{
	struct vhdx_job *job = context;
	const double done = job->changes.processed;
	bool cancelled;

	pthread_mutex_lock(&job->lock);
	if (job->changes.length)
		job->percent = 100 * done / job->changes.length;
	cancelled = job->cancelled;
	pthread_mutex_unlock(&job->lock);
	return cancelled ? fail(-ECANCELED, VHDX_REASON_NONE, "%s: the job was cancelled",
				job->disk->name) : 0;
}

static void run(struct vhdx_job *job)
{
	int err;

	err = get_changes(job->disk, &job->changes, keep_range, note_progress, job);
	/* To a job, a disk that went away is a result that was lost. */
	if (err == -ENODEV && job->threaded)
		err = -ECANCELED;

	pthread_mutex_lock(&job->lock);
	job->code = vhdx_code_from_errno(err, vhdx_error_reason());
	job->reason = vhdx_error_reason();
	snprintf(job->message, sizeof(job->message), "%s", err ? vhdx_error_message() : "");
	if (!err)
		job->percent = 100;
	job->done = true;
	pthread_cond_broadcast(&job->ended);
	pthread_mutex_unlock(&job->lock);
}

static void *run_thread(void *context)
{
	run(context);
	return NULL;
}

static void init_waiting(struct vhdx_job *job)
{
	pthread_condattr_t attributes;

	pthread_mutex_init(&job->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&job->ended, &attributes);
	pthread_condattr_destroy(&attributes);
}

static int prepare(struct vhdx_job **out, const char *path, const char *limit_id,
		   const char *target_snapshot_id, uint64_t byte_offset, uint64_t byte_length)
{
	struct vhdx_job *job;
	int err;

	clear_error();
	if (!path || !limit_id)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT, "a path and a limit id are needed");
	if (target_snapshot_id)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: a target snapshot is valid for VHD Set files only", path);
	job = calloc(1, sizeof(*job));
	if (!job)
		return fail_errno(-ENOMEM, "%s", path);
	init_waiting(job);
	job->changes = (struct vhdx_changes) {
		.size = sizeof(job->changes),
		.offset = byte_offset,
		.length = byte_length,
		/* The method knows no flags. */
		.range_size = VHDX_RANGE_SIZE_VER0,
	};
	err = vhdx_id_parse(limit_id, &job->changes.limit);
	/* The method knows no "to the end": this length goes beyond any disk. */
	if (!err && byte_length == VHDX_TO_END)
		err = fail(-EINVAL, VHDX_REASON_ARGUMENT, "%s: the range goes beyond the disk",
			   path);
	if (!err)
		err = vhdx_disk_open(path, NULL, 0, &job->disk);
	if (err)
		vhdx_job_free(job);
	else
		*out = job;
	return err;
}

static void no_answer(uint64_t *processed_byte_length, struct vhdx_range **ranges,
		      size_t *range_count)
{
	if (processed_byte_length)
		*processed_byte_length = 0;
	if (ranges)
		*ranges = NULL;
	if (range_count)
		*range_count = 0;
}

static unsigned int last_code(int err)
{
	return vhdx_code_from_errno(err, vhdx_error_reason());
}

unsigned int vhdx_get_virtual_disk_changes(const char *path, const char *limit_id,
					   const char *target_snapshot_id, uint64_t byte_offset,
					   uint64_t byte_length, uint64_t *processed_byte_length,
					   struct vhdx_range **ranges, size_t *range_count,
					   struct vhdx_job **job)
{
	struct vhdx_job *call = NULL;
	unsigned int code;
	int err;

	if (job)
		*job = NULL;
	else
		no_answer(processed_byte_length, ranges, range_count);
	err = prepare(&call, path, limit_id, target_snapshot_id, byte_offset, byte_length);
	if (!call)
		return last_code(err);
	if (!job) {
		run(call);
		code = vhdx_job_result(call, processed_byte_length, ranges, range_count);
		vhdx_job_free(call);
		return code;
	}
	call->threaded = true;
	err = -pthread_create(&call->thread, NULL, run_thread, call);
	if (err) {
		call->threaded = false;
		fail_errno(err, "%s: cannot start a job", path);
		vhdx_job_free(call);
		return last_code(err);
	}
	*job = call;
	return VHDX_CODE_JOB_STARTED;
}

unsigned int vhdx_job_progress(struct vhdx_job *job)
{
	unsigned int percent;

	pthread_mutex_lock(&job->lock);
	percent = job->percent;
	pthread_mutex_unlock(&job->lock);
	return percent;
}

static void deadline_in(struct timespec *deadline, int timeout_ms)
{
	clock_gettime(CLOCK_MONOTONIC, deadline);
	deadline->tv_sec += timeout_ms / 1000;
	deadline->tv_nsec += timeout_ms % 1000 * 1000000L;
	if (deadline->tv_nsec >= 1000000000L) {
		deadline->tv_sec++;
		deadline->tv_nsec -= 1000000000L;
	}
}

int vhdx_job_wait(struct vhdx_job *job, int timeout_ms)
{
	struct timespec deadline;
	int err = 0;

	if (timeout_ms >= 0)
		deadline_in(&deadline, timeout_ms);
	pthread_mutex_lock(&job->lock);
	while (!job->done && !err)
		err = timeout_ms < 0 ? pthread_cond_wait(&job->ended, &job->lock) :
		      pthread_cond_timedwait(&job->ended, &job->lock, &deadline);
	if (job->done)
		err = 0;
	pthread_mutex_unlock(&job->lock);
	return err ? fail(-err, VHDX_REASON_NONE, "the job has not ended yet") : 0;
}

void vhdx_job_cancel(struct vhdx_job *job)
{
	pthread_mutex_lock(&job->lock);
	job->cancelled = true;
	pthread_mutex_unlock(&job->lock);
}

/* The array goes to the caller; the figures can be had again. */
static void hand_out(struct vhdx_job *job, uint64_t *processed_byte_length,
		     struct vhdx_range **ranges, size_t *range_count)
{
	if (processed_byte_length)
		*processed_byte_length = job->changes.processed;
	if (range_count)
		*range_count = job->count;
	if (ranges) {
		*ranges = job->ranges;
		job->ranges = NULL;
		job->handed_out = true;
	}
}

unsigned int vhdx_job_result(struct vhdx_job *job, uint64_t *processed_byte_length,
			     struct vhdx_range **ranges, size_t *range_count)
{
	unsigned int code;

	no_answer(processed_byte_length, ranges, range_count);
	vhdx_job_wait(job, -1);
	pthread_mutex_lock(&job->lock);
	code = job->code;
	fail(0, job->reason, "%s", job->message);
	if (code == VHDX_CODE_OK && ranges && job->handed_out)
		code = VHDX_CODE_UNKNOWN;
	if (code == VHDX_CODE_OK)
		hand_out(job, processed_byte_length, ranges, range_count);
	pthread_mutex_unlock(&job->lock);
	return code;
}

void vhdx_job_free(struct vhdx_job *job)
{
	if (!job)
		return;
	if (job->threaded) {
		vhdx_job_cancel(job);
		pthread_join(job->thread, NULL);
	}
	vhdx_disk_close(job->disk);
	pthread_cond_destroy(&job->ended);
	pthread_mutex_destroy(&job->lock);
	free(job->ranges);
	free(job);
}
