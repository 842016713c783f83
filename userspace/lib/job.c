// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Jobs: their states, and who waits for them. Nothing here waits for the thread that asks, which
 * may be in the driver for as long as some device does not answer.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "job.h"

#define NS_PER_MS	1000000ULL
#define NS_PER_S	1000000000ULL

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec) { .tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S };
}

/* ---- life ---- */

struct vhdx_job *new_job(const char *path)
{
	struct vhdx_job *job = calloc(1, sizeof(*job));
	pthread_condattr_t attributes;

	if (!job)
		return NULL;
	job->name = strdup(path);
	if (!job->name) {
		free(job);
		return NULL;
	}
	pthread_mutex_init(&job->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&job->ended, &attributes);
	pthread_condattr_destroy(&attributes);
	job->fd = -1;
	job->users = 1;
	job->state = VHDX_JOB_NEW;
	job->started_ns = now_ns(CLOCK_MONOTONIC);
	job->start_time_ns = now_ns(CLOCK_REALTIME);
	return job;
}

void get_job(struct vhdx_job *job)
{
	pthread_mutex_lock(&job->lock);
	job->users++;
	pthread_mutex_unlock(&job->lock);
}

void put_job(struct vhdx_job *job)
{
	bool last;

	pthread_mutex_lock(&job->lock);
	last = !--job->users;
	pthread_mutex_unlock(&job->lock);
	if (!last)
		return;
	vhdx_disk_close(job->disk);
	if (job->fd >= 0)
		close(job->fd);
	pthread_cond_destroy(&job->ended);
	pthread_mutex_destroy(&job->lock);
	free(job->ranges);
	free(job->name);
	free(job);
}

/* ---- states, under the lock ---- */

static bool has_ended(const struct vhdx_job *job)
{
	return job->state >= VHDX_JOB_COMPLETED;
}

static void arm(const struct vhdx_job *job, uint64_t ns)
{
	const struct itimerspec at = { .it_value = to_timespec(ns) };

	if (job->fd >= 0)
		timerfd_settime(job->fd, TFD_TIMER_ABSTIME, &at, NULL);
}

/* What this thread has noted is what is said of it. */
static void end_with(struct vhdx_job *job, unsigned int state, int err)
{
	struct job_end *end = &job->end;
	const char *child, *parent;

	end->err = err;
	end->elapsed_ns = now_ns(CLOCK_MONOTONIC) - job->started_ns;
	if (err) {
		end->reason = vhdx_error_reason();
		snprintf(end->description, sizeof(end->description), "%s", vhdx_error_message());
	}
	if (err && last_error_is_of(&child, &parent)) {
		snprintf(end->child, sizeof(end->child), "%s", child);
		snprintf(end->parent, sizeof(end->parent), "%s", parent);
	}
	job->state = state;
	/* Zero would disarm it; this is long past. */
	arm(job, 1);
	pthread_cond_broadcast(&job->ended);
}

/* Nobody looks at the clock for it: whoever looks at the job does. */
static void look_at_clock(struct vhdx_job *job)
{
	if (has_ended(job) || !job->deadline_ns || now_ns(CLOCK_MONOTONIC) < job->deadline_ns)
		return;
	forget_layers();
	end_with(job, VHDX_JOB_EXCEPTION,
		 fail(-ETIMEDOUT, VHDX_REASON_NONE,
		      "%s: there is no answer after %u ms, which is the job's time limit",
		      job->name, job->timeout_ms));
}

static void lock_job(struct vhdx_job *job)
{
	pthread_mutex_lock(&job->lock);
	look_at_clock(job);
}

static int note_end_by_request(const struct vhdx_job *job, const char *what)
{
	forget_layers();
	return fail(-ECANCELED, VHDX_REASON_NONE, "%s: the job was %s", job->name, what);
}

/* ---- for whoever asks ---- */

void begin_job(struct vhdx_job *job)
{
	lock_job(job);
	if (job->state < VHDX_JOB_RUNNING)
		job->state = VHDX_JOB_RUNNING;
	pthread_mutex_unlock(&job->lock);
}

/* Not 100 before the end. */
static unsigned int percent_of(const struct vhdx_job *job, uint64_t processed)
{
	const double part = job->length ? (double)processed / job->length : 1;

	return part < 1 ? 100 * part : 99;
}

int note_progress(struct vhdx_job *job, uint64_t processed)
{
	int err = 0;

	lock_job(job);
	if (job->state == VHDX_JOB_RUNNING)
		job->percent = percent_of(job, processed);
	else
		err = note_end_by_request(job, "ended before it was done");
	pthread_mutex_unlock(&job->lock);
	return err;
}

void end_job(struct vhdx_job *job, int err)
{
	lock_job(job);
	if (job->state == VHDX_JOB_SHUTTING_DOWN)
		end_with(job, VHDX_JOB_TERMINATED, note_end_by_request(job, "terminated"));
	else if (!has_ended(job))
		end_with(job, err ? VHDX_JOB_EXCEPTION : VHDX_JOB_COMPLETED, err);
	if (job->state == VHDX_JOB_COMPLETED)
		job->percent = 100;
	pthread_mutex_unlock(&job->lock);
}

/* ---- for the caller ---- */

int vhdx_job_fd(const struct vhdx_job *job)
{
	return job->fd;
}

static unsigned int code_of(const struct vhdx_job *job)
{
	return has_ended(job) ? vhdx_code_from_errno(job->end.err, job->end.reason) :
				VHDX_CODE_JOB_STARTED;
}

int vhdx_job_get_info(struct vhdx_job *job, struct vhdx_job_info *info)
{
	struct vhdx_job_info known = { .size = sizeof(known) };
	int err;

	clear_error();
	err = check_sized(info, VHDX_JOB_INFO_SIZE_VER0, "vhdx_job_info");
	if (err)
		return err;
	lock_job(job);
	known.state = job->state;
	known.percent = job->percent;
	known.code = code_of(job);
	known.reason = job->end.reason;
	known.completion_status = vhdx_hresult(job->end.err, job->end.reason);
	known.cancellable = !has_ended(job);
	known.start_time_ns = job->start_time_ns;
	known.elapsed_ns = has_ended(job) ? job->end.elapsed_ns :
					    now_ns(CLOCK_MONOTONIC) - job->started_ns;
	memcpy(known.description, job->end.description, sizeof(known.description));
	memcpy(known.child, job->end.child, sizeof(known.child));
	memcpy(known.parent, job->end.parent, sizeof(known.parent));
	pthread_mutex_unlock(&job->lock);
	clear_error();
	give_sized(info, &known, sizeof(known));
	return 0;
}

/* Until it is @until, or the job's own time is over; UINT64_MAX: whenever. */
static void sleep_until(struct vhdx_job *job, uint64_t until)
{
	struct timespec at;

	if (job->deadline_ns && job->deadline_ns < until)
		until = job->deadline_ns;
	if (until == UINT64_MAX) {
		pthread_cond_wait(&job->ended, &job->lock);
		return;
	}
	at = to_timespec(until);
	pthread_cond_timedwait(&job->ended, &job->lock, &at);
}

int vhdx_job_wait(struct vhdx_job *job, int timeout_ms)
{
	uint64_t until = UINT64_MAX;
	bool ended;

	clear_error();
	if (timeout_ms >= 0)
		until = now_ns(CLOCK_MONOTONIC) + timeout_ms * NS_PER_MS;
	lock_job(job);
	while (!has_ended(job) && now_ns(CLOCK_MONOTONIC) < until) {
		sleep_until(job, until);
		look_at_clock(job);
	}
	ended = has_ended(job);
	pthread_mutex_unlock(&job->lock);
	clear_error();
	return ended ? 0 : fail(-ETIMEDOUT, VHDX_REASON_NONE, "%s: the job has not ended yet",
				job->name);
}

unsigned int vhdx_job_request_state_change(struct vhdx_job *job, unsigned int requested)
{
	unsigned int code = VHDX_CODE_OK;

	clear_error();
	if (requested != VHDX_JOB_TERMINATE && requested != VHDX_JOB_KILL) {
		fail(-EINVAL, VHDX_REASON_ARGUMENT,
		     "%s: a job can be terminated (%u) or killed (%u), and no more: %u", job->name,
		     VHDX_JOB_TERMINATE, VHDX_JOB_KILL, requested);
		return VHDX_CODE_INVALID_PARAMETER;
	}
	lock_job(job);
	if (has_ended(job))
		code = VHDX_CODE_INVALID_STATE;
	else if (requested == VHDX_JOB_TERMINATE)
		job->state = VHDX_JOB_SHUTTING_DOWN;
	else
		end_with(job, VHDX_JOB_KILLED, note_end_by_request(job, "killed"));
	pthread_mutex_unlock(&job->lock);
	clear_error();
	if (code)
		fail(0, VHDX_REASON_NONE, "%s: the job has ended already", job->name);
	return code;
}

/* What is lent stays as it is: after its end nobody but the caller has anything to do with it. */
static void lend(struct vhdx_job *job, struct vhdx_changes *answer,
		 const struct vhdx_range **ranges, size_t *range_count)
{
	if (answer)
		give_sized(answer, &job->changes, sizeof(job->changes));
	if (ranges)
		*ranges = (const void *)job->ranges;
	if (range_count)
		*range_count = job->count;
}

unsigned int vhdx_job_get_result(struct vhdx_job *job, struct vhdx_changes *answer,
				 const struct vhdx_range **ranges, size_t *range_count)
{
	unsigned int code;

	clear_error();
	if (ranges)
		*ranges = NULL;
	if (range_count)
		*range_count = 0;
	if (answer && check_sized(answer, VHDX_CHANGES_SIZE_VER0, "vhdx_changes"))
		return VHDX_CODE_INVALID_PARAMETER;
	lock_job(job);
	code = code_of(job);
	pthread_mutex_unlock(&job->lock);
	clear_error();
	if (code == VHDX_CODE_OK)
		lend(job, answer, ranges, range_count);
	else if (code == VHDX_CODE_JOB_STARTED)
		fail(0, VHDX_REASON_NONE, "%s: the job has not ended yet", job->name);
	else
		fail(job->end.err, job->end.reason, "%s", job->end.description);
	return code;
}

void vhdx_job_free(struct vhdx_job *job)
{
	if (!job)
		return;
	lock_job(job);
	if (!has_ended(job))
		end_with(job, VHDX_JOB_KILLED, note_end_by_request(job, "killed"));
	/* The thread may stay for long, with what it has; but of this, it knows nothing. */
	if (job->fd >= 0)
		close(job->fd);
	job->fd = -1;
	pthread_mutex_unlock(&job->lock);
	put_job(job);
	clear_error();
}
