// SPDX-License-Identifier: GPL-2.0-only
#include "watch.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* ---- the watchdog ------------------------------------------------------------------ */

#define THREADS		64

/* What each thread is in, and since when. */
static struct {
	const char *_Atomic what;
	_Atomic time_t since;
	_Atomic int tid;
} slots[THREADS];

static atomic_uint next_slot;
static _Thread_local unsigned int my_slot = THREADS;
static unsigned int patience;
static void (*when_hung)(const char *what, unsigned int thread);

static time_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/**
 * watch_begin() - this thread enters a system call that must return
 * @what:	its name, a string that stays
 */
void watch_begin(const char *what)
{
	if (my_slot == THREADS) {
		my_slot = atomic_fetch_add(&next_slot, 1);
		if (my_slot >= THREADS)
			errx(2, "more than %u threads", THREADS);
		slots[my_slot].tid = syscall(SYS_gettid);
	}
	slots[my_slot].since = now();
	slots[my_slot].what = what;
}

/**
 * watch_end() - it has returned
 */
void watch_end(void)
{
	slots[my_slot].what = NULL;
}

static void print_stack(int tid)
{
	char line[256];
	FILE *stack;

	snprintf(line, sizeof(line), "/proc/self/task/%d/stack", tid);
	stack = fopen(line, "r");
	if (!stack)
		return;
	while (fgets(line, sizeof(line), stack))
		printf("# %d: %s", tid, line);
	fclose(stack);
}

static void *watchdog(void *unused)
{
	(void)unused;
	for (;;) {
		unsigned int i;

		sleep(1);
		for (i = 0; i < THREADS; i++) {
			const char *what = slots[i].what;

			if (!what || now() - slots[i].since <= (time_t)patience)
				continue;
			print_stack(slots[i].tid);
			when_hung(what, i);
		}
	}
	return NULL;
}

/**
 * watch_start() - from now on
 * @seconds:	how long a call may take
 * @hung:	called when one takes longer
 */
void watch_start(unsigned int seconds, void (*hung)(const char *what, unsigned int thread))
{
	pthread_t thread;

	patience = seconds;
	when_hung = hung;
	if (pthread_create(&thread, NULL, watchdog, NULL))
		errx(2, "no thread");
}

/* ---- the kernel's log ---------------------------------------------------------------- */

static int log_fd = -1;

/**
 * kernel_log_open() - ignore what the kernel has said so far
 */
void kernel_log_open(void)
{
	log_fd = open("/dev/kmsg", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (log_fd < 0)
		err(2, "/dev/kmsg");
	lseek(log_fd, 0, SEEK_END);
}

/**
 * kernel_log_defect() - a message since the last call that tells of a defect, or NULL
 *
 * The machine's runner knows more of them; what matters here is to stop at the input
 * that did it.
 */
const char *kernel_log_defect(void)
{
	static const char *const marks[] = {
		"WARNING:", "BUG:", "Oops", "UBSAN:", "KASAN:", "INFO: ", "refcount_t:",
		"general protection", "list_add corruption", "list_del corruption", "kernel BUG at",
		"sysfs: cannot create duplicate", "ODEBUG:",
	};
	static char record[8192];
	ssize_t length;
	unsigned int i;
	char *text;

	while ((length = read(log_fd, record, sizeof(record) - 1)) != 0) {
		if (length < 0) {
			/* EPIPE: overwritten before it was read. */
			if (errno == EPIPE || errno == EINTR)
				continue;
			return NULL;
		}
		record[length] = 0;
		text = strchr(record, ';');
		text = text ? text + 1 : record;
		for (i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
			if (!strncmp(text, marks[i], strlen(marks[i])))
				return text;
		}
	}
	return NULL;
}

/**
 * kernel_log_note() - leave a note in it: a machine that panics leaves nothing else
 * @text:	one line
 */
void kernel_log_note(const char *text)
{
	char line[256];
	int length = snprintf(line, sizeof(line), "<5>%s\n", text);

	if (write(log_fd, line, length) != length)
		err(2, "/dev/kmsg");
}
