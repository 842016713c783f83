// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Jobs, against the driver made of files (fake_kernel.c, which is part of this program), under a
 * sanitizer of threads or of memory.
 *
 *	jobs CASE DISK...		all is well if it says nothing and ends with 0
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libvhdx.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define JOBS	64
#define GIB	(1ULL << 30)

#define EXPECT(condition) expect(condition, #condition, __LINE__)

static void expect(bool holds, const char *what, int line)
{
	if (holds)
		return;
	fprintf(stderr, "line %d: not %s (%s)\n", line, what, vhdx_error_message());
	exit(1);
}

static void sleep_ms(unsigned int ms)
{
	const struct timespec pause = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&pause, NULL);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void control(const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", getenv("FAKE_ROOT"), name);
	if (!text) {
		unlink(path);
		return;
	}
	file = fopen(path, "w");
	EXPECT(file && fputs(text, file) >= 0 && !fclose(file));
}

static struct vhdx_changes question(void)
{
	struct vhdx_changes question = {
		.size = sizeof(question),
		.length = VHDX_TO_END,
		.range_size = sizeof(struct vhdx_range),
	};

	EXPECT(!vhdx_id_parse("rct:01010101-0101-0101-0101-010101010101:0000000000000001",
			      &question.limit));
	return question;
}

static struct vhdx_job *start(const char *path, const struct vhdx_job_options *options)
{
	const struct vhdx_changes asked = question();
	struct vhdx_job *job;

	EXPECT(vhdx_job_start(path, &asked, options, &job) == VHDX_CODE_JOB_STARTED);
	EXPECT(job);
	return job;
}

static struct vhdx_job_info info_of(struct vhdx_job *job)
{
	struct vhdx_job_info info = { .size = sizeof(info) };

	EXPECT(!vhdx_job_get_info(job, &info));
	return info;
}

static int readable(struct vhdx_job *job, int timeout_ms)
{
	struct pollfd fd = { .fd = vhdx_job_fd(job), .events = POLLIN };

	return poll(&fd, 1, timeout_ms) == 1 && fd.revents == POLLIN;
}

static unsigned int result_of(struct vhdx_job *job)
{
	return vhdx_job_get_result(job, NULL, NULL, NULL);
}

/* Before a job is started: this one, and one of a sanitizer. */
#ifdef __SANITIZE_THREAD__
#define THREADS	2
#else
#define THREADS	1
#endif

/* Those of jobs end by themselves, sooner or later. */
static void wait_for_threads(void)
{
	const double end = now() + 10;
	unsigned int count;
	DIR *tasks;

	do {
		tasks = opendir("/proc/self/task");
		for (count = 0; readdir(tasks); count++)
			;
		closedir(tasks);
		sleep_ms(5);
	} while (count > 2 + THREADS && now() < end);
	EXPECT(count <= 2 + THREADS);
}

/* ---- many at a time ---- */

static struct vhdx_job *jobs[JOBS];
static atomic_bool enough;

static void *look_at_jobs(void *context)
{
	unsigned int last[JOBS] = { 0 };
	struct vhdx_job_info info;
	int i;

	(void)context;
	while (!enough) {
		for (i = 0; i < JOBS; i++) {
			if (i % 4 == 3)
				continue;
			info = info_of(jobs[i]);
			EXPECT(info.percent >= last[i] && info.percent <= 100);
			EXPECT((info.code == VHDX_CODE_JOB_STARTED) == info.cancellable);
			last[i] = info.percent;
		}
		sleep_ms(1);
	}
	return NULL;
}

static void check_completed(struct vhdx_job *job)
{
	struct vhdx_changes answer = { .size = sizeof(answer) };
	const struct vhdx_range *ranges;
	struct vhdx_job_info info;
	size_t count;
	int again;

	EXPECT(readable(job, 20000));
	info = info_of(job);
	EXPECT(info.state == VHDX_JOB_COMPLETED && info.percent == 100 && !info.code);
	EXPECT(!info.completion_status && !info.description[0] && !info.cancellable);
	EXPECT(info.elapsed_ns && info.start_time_ns > 1000000000ULL * 1000000000ULL);
	for (again = 0; again < 2; again++) {
		EXPECT(!vhdx_job_get_result(job, &answer, &ranges, &count));
		EXPECT(count == 2 && ranges[0].byte_length == 16384);
		EXPECT(ranges[1].byte_offset == 500000000);
		EXPECT(answer.processed == GIB && answer.changed_bytes == 32768);
	}
	EXPECT(vhdx_job_request_state_change(job, VHDX_JOB_KILL) == VHDX_CODE_INVALID_STATE);
	EXPECT(vhdx_job_request_state_change(job, VHDX_JOB_TERMINATE) == VHDX_CODE_INVALID_STATE);
	EXPECT(info_of(job).state == VHDX_JOB_COMPLETED);
}

static void check_terminated(struct vhdx_job *job)
{
	struct vhdx_job_info info;
	unsigned int code;

	code = vhdx_job_request_state_change(job, VHDX_JOB_TERMINATE);
	if (code) {
		EXPECT(code == VHDX_CODE_INVALID_STATE && !result_of(job));
		return;
	}
	EXPECT(!vhdx_job_wait(job, 1000));
	info = info_of(job);
	EXPECT(info.state == VHDX_JOB_TERMINATED && info.code == VHDX_CODE_UNKNOWN);
	EXPECT(info.completion_status == 0x800704c7 && strstr(info.description, "terminated"));
	EXPECT(result_of(job) == VHDX_CODE_UNKNOWN);
}

static void check_killed(struct vhdx_job *job)
{
	const struct vhdx_range *ranges;
	size_t count = 77;

	if (vhdx_job_request_state_change(job, VHDX_JOB_KILL))
		return;
	EXPECT(info_of(job).state == VHDX_JOB_KILLED && readable(job, 0));
	EXPECT(vhdx_job_get_result(job, NULL, &ranges, &count) == VHDX_CODE_UNKNOWN);
	EXPECT(!ranges && !count);
}

static void many(char **disks)
{
	pthread_t watcher;
	int i;

	for (i = 0; i < 8; i++) {
		char name[32];

		snprintf(name, sizeof(name), "ranges.%d", i);
		control(name, "0 16384\n500000000 16384\n");
		snprintf(name, sizeof(name), "step.%d", i);
		control(name, "134217728");
		snprintf(name, sizeof(name), "delay.%d", i);
		control(name, "20");
	}
	for (i = 0; i < JOBS; i++)
		jobs[i] = start(disks[i % 8], NULL);
	EXPECT(!pthread_create(&watcher, NULL, look_at_jobs, NULL));
	for (i = 3; i < JOBS; i += 4)
		vhdx_job_free(jobs[i]);
	for (i = 1; i < JOBS; i += 4)
		check_terminated(jobs[i]);
	for (i = 2; i < JOBS; i += 4)
		check_killed(jobs[i]);
	for (i = 0; i < JOBS; i += 4)
		check_completed(jobs[i]);
	enough = true;
	pthread_join(watcher, NULL);
	for (i = 0; i < JOBS; i++)
		if (i % 4 != 3)
			vhdx_job_free(jobs[i]);
	wait_for_threads();
}

/* ---- a device that does not answer ---- */

static void until_running(struct vhdx_job *job)
{
	while (info_of(job).state < VHDX_JOB_RUNNING)
		sleep_ms(1);
	/* And is in the driver. */
	sleep_ms(50);
}

static void hanging(char **disks)
{
	const struct vhdx_job_options soon = { .size = sizeof(soon), .timeout_ms = 100 };
	struct vhdx_job_info info;
	struct vhdx_job *job;
	double begin;

	control("hang.0", "");
	job = start(disks[0], NULL);
	until_running(job);
	EXPECT(result_of(job) == VHDX_CODE_JOB_STARTED);
	EXPECT(vhdx_job_wait(job, 0) == -ETIMEDOUT && vhdx_job_wait(job, 50) == -ETIMEDOUT);
	begin = now();
	EXPECT(!vhdx_job_request_state_change(job, VHDX_JOB_TERMINATE));
	EXPECT(!vhdx_job_request_state_change(job, VHDX_JOB_TERMINATE));
	EXPECT(!readable(job, 50) && info_of(job).state == VHDX_JOB_SHUTTING_DOWN);
	EXPECT(vhdx_job_request_state_change(job, 3) == VHDX_CODE_INVALID_PARAMETER);
	check_killed(job);
	EXPECT(!vhdx_job_wait(job, -1));
	vhdx_job_free(job);
	vhdx_job_free(start(disks[0], NULL));
	EXPECT(now() - begin < 1);

	job = start(disks[0], &soon);
	EXPECT(!readable(job, 20) && readable(job, 5000));
	info = info_of(job);
	EXPECT(info.state == VHDX_JOB_EXCEPTION && info.code == VHDX_CODE_TIMEOUT);
	EXPECT(info.completion_status == 0x800705b4 && strstr(info.description, "100 ms"));
	EXPECT(info.elapsed_ns >= 100000000);
	EXPECT(result_of(job) == VHDX_CODE_TIMEOUT && strstr(vhdx_error_message(), disks[0]));
	vhdx_job_free(job);
	/* Whoever waits need not look at the descriptor. */
	job = start(disks[0], &soon);
	EXPECT(!vhdx_job_wait(job, -1) && result_of(job) == VHDX_CODE_TIMEOUT);
	control("hang.0", NULL);
	wait_for_threads();
	/* That it came back since makes no difference. */
	EXPECT(result_of(job) == VHDX_CODE_TIMEOUT && info_of(job).percent == 0);
	vhdx_job_free(job);
}

/* ---- signals ---- */

static atomic_int handled;

static void handle(int signal)
{
	(void)signal;
	handled++;
}

static void signals(char **disks)
{
	struct sigaction action = { .sa_handler = handle };
	struct vhdx_job *job;
	sigset_t set;

	sigaction(SIGUSR1, &action, NULL);
	control("hang.0", "");
	job = start(disks[0], NULL);
	until_running(job);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	kill(getpid(), SIGUSR1);
	sleep_ms(50);
	EXPECT(!handled);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	EXPECT(handled == 1);
	control("hang.0", NULL);
	vhdx_job_free(job);
	wait_for_threads();
}

/* ---- progress and bounds ---- */

static void progress(char **disks)
{
	unsigned int seen = 0, percent = 0;
	struct vhdx_job_info info;
	struct vhdx_job *job;

	control("step.0", "134217728");
	control("delay.0", "20");
	job = start(disks[0], NULL);
	do {
		info = info_of(job);
		seen += info.percent != percent;
		percent = info.percent;
		sleep_ms(1);
	} while (info.cancellable);
	EXPECT(seen >= 4 && percent == 100);
	vhdx_job_free(job);

	/* It would take more than a second. */
	control("step.0", "16777216");
	job = start(disks[0], NULL);
	until_running(job);
	EXPECT(!vhdx_job_request_state_change(job, VHDX_JOB_TERMINATE));
	EXPECT(!vhdx_job_wait(job, 500));
	info = info_of(job);
	EXPECT(info.state == VHDX_JOB_TERMINATED && info.percent < 100);
	vhdx_job_free(job);
}

/* What a caller has who knows more of a range. */
struct wide {
	struct vhdx_range range;
	uint64_t newer;
};

static void bounds(char **disks)
{
	struct vhdx_job_options options = { .size = sizeof(options), .max_ranges = 1 };
	struct vhdx_changes asked = question();
	struct vhdx_changes answer = { .size = sizeof(answer) };
	const struct vhdx_range *ranges;
	const struct wide *wide;
	struct vhdx_job *job;
	size_t count;

	control("ranges.0", "0 16384\n500000000 16384\n");
	job = start(disks[0], &options);
	EXPECT(!vhdx_job_wait(job, -1));
	EXPECT(vhdx_job_get_result(job, NULL, &ranges, &count) == VHDX_CODE_OUT_OF_MEMORY);
	EXPECT(!ranges && !count && strstr(vhdx_error_message(), "vhdx_changes_begin"));
	vhdx_job_free(job);
	options.max_ranges = 2;
	job = start(disks[0], &options);
	EXPECT(!vhdx_job_wait(job, -1) && !result_of(job));
	vhdx_job_free(job);

	asked.range_size = sizeof(struct wide);
	EXPECT(vhdx_job_start(disks[0], &asked, NULL, &job) == VHDX_CODE_JOB_STARTED);
	EXPECT(!vhdx_job_wait(job, -1) && !vhdx_job_get_result(job, &answer, &ranges, &count));
	wide = (const void *)ranges;
	EXPECT(count == 2 && wide[1].range.byte_offset == 500000000 && !wide[1].newer);
	vhdx_job_free(job);

	asked.flags = VHDX_CHANGES_COUNT;
	EXPECT(vhdx_job_start(disks[0], &asked, NULL, &job) == VHDX_CODE_JOB_STARTED);
	EXPECT(!vhdx_job_wait(job, -1) && !vhdx_job_get_result(job, &answer, &ranges, &count));
	EXPECT(!count && answer.changed_bytes == 32768);
	vhdx_job_free(job);
	vhdx_job_free(NULL);
}

/* ---- what is judged before it starts ---- */

#define REFUSED(path, code) do {						\
	EXPECT(vhdx_job_start(path, &asked, &options, &job) == (code) && !job);	\
	EXPECT(*vhdx_error_message());						\
} while (0)

static void refused(char **disks)
{
	struct vhdx_job_options options = { .size = sizeof(options) };
	struct vhdx_changes asked = question();
	struct vhdx_job *job;

	REFUSED("relative", VHDX_CODE_INVALID_PARAMETER);
	REFUSED(NULL, VHDX_CODE_INVALID_PARAMETER);
	REFUSED("/nowhere", VHDX_CODE_FILE_NOT_FOUND);
	REFUSED("/dev/null", VHDX_CODE_BAD_TYPE);
	asked.offset = GIB + 1;
	REFUSED(disks[0], VHDX_CODE_INVALID_PARAMETER);
	asked.length = 0;
	REFUSED(disks[0], VHDX_CODE_INVALID_PARAMETER);
	asked.offset = 1;
	asked.length = GIB;
	REFUSED(disks[0], VHDX_CODE_INVALID_PARAMETER);
	asked = question();
	asked.size = VHDX_CHANGES_SIZE_VER0 - 1;
	REFUSED(disks[0], VHDX_CODE_INVALID_PARAMETER);
	asked = question();
	asked.range_size = 8;
	REFUSED(disks[0], VHDX_CODE_INVALID_PARAMETER);
	asked = question();
	asked.granularity = 3;
	REFUSED(disks[0], VHDX_CODE_INVALID_PARAMETER);
	asked = question();
	asked.flags = VHDX_CHANGES_BITMAP;
	REFUSED(disks[0], VHDX_CODE_INVALID_PARAMETER);
	asked = question();
	memset(&asked.limit, 0, sizeof(asked.limit));
	REFUSED(disks[0], VHDX_CODE_INVALID_PARAMETER);
	asked = question();
	options.size = 3;
	REFUSED(disks[0], VHDX_CODE_INVALID_PARAMETER);
	wait_for_threads();
}

static const struct {
	const char *name;
	void (*run)(char **disks);
} cases[] = {
	{ "many", many },
	{ "hanging", hanging },
	{ "signals", signals },
	{ "progress", progress },
	{ "bounds", bounds },
	{ "refused", refused },
};

int main(int count, char **arguments)
{
	size_t i;

	for (i = 0; count > 2 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!strcmp(arguments[1], cases[i].name)) {
			cases[i].run(arguments + 2);
			return 0;
		}
	}
	return 2;
}
