/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A question under way: asked by a thread of its own, or by the caller's.
 */
#ifndef LIBVHDX_JOB_H
#define LIBVHDX_JOB_H

#include <pthread.h>
#include "internal.h"

/* The array of the method can't be asked for in parts. */
#define RANGES_MAX_DEFAULT	(16UL << 20)

/**
 * struct job_end - what came of a job
 * @elapsed_ns:	from its start
 */
struct job_end {
	int err;
	unsigned int reason;
	uint64_t elapsed_ns;
	char description[VHDX_JOB_TEXT];
	char child[VHDX_PATH_TEXT];
	char parent[VHDX_PATH_TEXT];
};

/**
 * struct vhdx_job - one question, and its answer
 * @name:	for messages
 * @length:	of the question, in bytes
 * @element_size: of an element of @ranges
 * @timeout_ms:	and @deadline_ns: on the clock that nobody sets; 0: it has as long as it takes
 * @started_ns:	likewise on that clock; @start_time_ns: since 1970
 * @fd:		a timer that expires when the job has ended, or at @deadline_ns; -1: there is none
 * @disk:	and what follows: of whoever asks, until the end; then the answer stays as it is. A
 *		job that was killed, or has no time left, has ended although somebody still asks: he
 *		finds out when the driver lets go of him
 * @lock:	guards what follows it
 * @ended:	signalled when @state is one of an end
 * @users:	the caller, until he frees it, and the thread, until it is done
 */
struct vhdx_job {
	char *name;
	uint64_t length;
	size_t element_size;
	size_t max_ranges;
	unsigned int timeout_ms;
	uint64_t deadline_ns;
	uint64_t started_ns;
	uint64_t start_time_ns;
	int fd;

	struct vhdx_disk *disk;
	struct vhdx_changes changes;
	char *ranges;
	size_t count;
	size_t capacity;

	pthread_mutex_t lock;
	pthread_cond_t ended;
	unsigned int users;
	unsigned int state;
	unsigned int percent;
	struct job_end end;
};

/* ---- job.c: life and states ---- */

/* With one user. NULL: no memory. */
struct vhdx_job *new_job(const char *path);
void get_job(struct vhdx_job *job);
void put_job(struct vhdx_job *job);

/* The driver may be asked from now on. */
void begin_job(struct vhdx_job *job);
/* So much is done. -ECANCELED, noted: nobody wants the rest. */
int note_progress(struct vhdx_job *job, uint64_t processed);
/* All was asked, or @err came of it, which was noted. An end that came before it stays. */
void end_job(struct vhdx_job *job, int err);

/* ---- job_run.c: asking ---- */

/* Ask until all is told, and close the disk. 0 or -errno, noted; the job has not ended yet. */
int ask_job(struct vhdx_job *job);

/* ---- job_start.c ---- */

/*
 * A job that is only to be run; what can be judged before was. Its ranges are kept as elements of
 * @element_size; @options are whole. 0 or -errno, noted.
 */
int prepare_job(const char *path, const struct vhdx_changes *question, size_t element_size,
		const struct vhdx_job_options *options, struct vhdx_job **job);
/* In a thread of its own. VHDX_CODE_JOB_STARTED; or why not, and @job is gone. */
unsigned int start_job(struct vhdx_job *job);

#endif
