// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Starting a job: what can be found wrong with the question, or with the disk, is told at once.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/timerfd.h>
#include "job.h"
#include "method.h"

/* Of the range that is asked for: does the disk have it? Resolves VHDX_TO_END. */
static int check_range(struct vhdx_job *job)
{
	const struct vhdx_changes *question = &job->changes;
	struct vhdx_info info = { .size = sizeof(info) };
	int err;

	err = vhdx_disk_get_info(job->disk, &info);
	if (err)
		return err;
	if (question->offset > info.virtual_disk_size)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: offset %llu is beyond the disk, which has %llu bytes", job->name,
			    (unsigned long long)question->offset,
			    (unsigned long long)info.virtual_disk_size);
	job->length = info.virtual_disk_size - question->offset;
	if (question->length == VHDX_TO_END)
		return 0;
	if (question->length > job->length)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: %llu bytes at %llu go beyond the disk, which has %llu bytes",
			    job->name, (unsigned long long)question->length,
			    (unsigned long long)question->offset,
			    (unsigned long long)info.virtual_disk_size);
	job->length = question->length;
	return 0;
}

static int check_question(const struct vhdx_job *job)
{
	const struct vhdx_changes *question = &job->changes;
	const uint64_t granularity = question->granularity;

	/* That it is not less than the unit, which the answer depends on, is judged later. */
	if (granularity & (granularity - 1))
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: granularity %llu: it must be a power of two", job->name,
			    (unsigned long long)granularity);
	if (vhdx_id_is_none(&question->limit))
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: since when? The id of a point is wanted as the limit", job->name);
	return check_changes(job->name, question);
}

static int make_timer(struct vhdx_job *job)
{
	const uint64_t deadline = job->deadline_ns;
	const struct itimerspec at = {
		.it_value = { .tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000 },
	};

	job->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (job->fd >= 0 && !timerfd_settime(job->fd, TFD_TIMER_ABSTIME, &at, NULL))
		return 0;
	return fail_errno(-errno, "%s: cannot start a job", job->name);
}

static int judge(struct vhdx_job *job)
{
	int err;

	err = check_question(job);
	if (!err)
		err = check_snapshots(job->name, &job->changes);
	if (!err)
		err = open_method_disk(job->name, &job->disk);
	return err ? err : check_range(job);
}

int prepare_job(const char *path, const struct vhdx_changes *question, size_t element_size,
		const struct vhdx_job_options *options, struct vhdx_job **out)
{
	struct vhdx_job *job;
	int err;

	err = check_method_path(path);
	if (err)
		return err;
	job = new_job(path);
	if (!job)
		return fail_errno(-ENOMEM, "%s", path);
	job->changes = *question;
	job->element_size = element_size;
	job->max_ranges = options->max_ranges ?: RANGES_MAX_DEFAULT;
	job->timeout_ms = options->timeout_ms;
	if (options->timeout_ms)
		job->deadline_ns = job->started_ns + options->timeout_ms * 1000000ULL;
	err = judge(job);
	if (err)
		put_job(job);
	else
		*out = job;
	return err;
}

static void *run_thread(void *context)
{
	struct vhdx_job *job = context;
	int err = ask_job(job);

	/* It was there when the job began: its result is lost. */
	if (err == -ENODEV)
		err = fail(-ECANCELED, VHDX_REASON_NONE, "%s: the disk was detached under the job",
			   job->name);
	end_job(job, err);
	put_job(job);
	return NULL;
}

/* Of a program's signals none is for a thread that it knows nothing of. */
static int create_thread(struct vhdx_job *job)
{
	pthread_attr_t attributes;
	sigset_t all, before;
	pthread_t thread;
	int err;

	err = pthread_attr_init(&attributes);
	if (err)
		return -err;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&thread, &attributes, run_thread, job);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return -err;
}

unsigned int start_job(struct vhdx_job *job)
{
	int err;

	err = make_timer(job);
	if (!err) {
		job->state = VHDX_JOB_STARTING;
		get_job(job);
		err = create_thread(job);
		if (!err)
			return VHDX_CODE_JOB_STARTED;
		put_job(job);
		fail_errno(err, "%s: cannot start a job", job->name);
	}
	put_job(job);
	return vhdx_code_from_errno(err, vhdx_error_reason());
}

static int take_options(const struct vhdx_job_options *theirs, struct vhdx_job_options *options)
{
	*options = (struct vhdx_job_options) { .size = sizeof(*options) };
	return theirs ? take_sized(options, sizeof(*options), theirs,
				   VHDX_JOB_OPTIONS_SIZE_VER0, "vhdx_job_options") : 0;
}

unsigned int vhdx_job_start(const char *path, const struct vhdx_changes *question,
			    const struct vhdx_job_options *options, struct vhdx_job **job)
{
	struct vhdx_job_options known_options;
	struct vhdx_changes known;
	struct vhdx_job *prepared = NULL;
	unsigned int code;
	int err;

	clear_error();
	*job = NULL;
	err = take_sized(&known, sizeof(known), question, VHDX_CHANGES_SIZE_VER0, "vhdx_changes");
	/* A job has its own, and is asked for it. */
	known.progress = NULL;
	if (!err)
		err = take_options(options, &known_options);
	if (!err)
		err = prepare_job(path, &known, known.range_size ?: RANGE_SIZE_DEFAULT,
				  &known_options, &prepared);
	if (!prepared)
		return vhdx_code_from_errno(err, vhdx_error_reason());
	code = start_job(prepared);
	if (code == VHDX_CODE_JOB_STARTED)
		*job = prepared;
	return code;
}
