/* SPDX-License-Identifier: GPL-2.0-only */
/* aio.h - direct I/O of 4 KiB, several at a time; what goes wrong ends the program */
#ifndef AIO_H
#define AIO_H

#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/aio_abi.h>

#define IO_SIZE		4096
#define TOGETHER	64

struct queue {
	aio_context_t context;
	struct iocb ios[TOGETHER];
};

static char buffers[TOGETHER][IO_SIZE] __attribute__((aligned(IO_SIZE)));

/* So many I/Os to a file or block device, none of them sent. */
static inline void queue_open(struct queue *q, const char *path, int opcode, int count)
{
	const int fd = open(path, O_RDWR | O_DIRECT);
	int i;

	if (fd < 0)
		err(1, "%s", path);
	if (syscall(SYS_io_setup, count, &q->context))
		err(1, "io_setup");
	for (i = 0; i < count; i++)
		q->ios[i] = (struct iocb){
			.aio_fildes = fd,
			.aio_lio_opcode = opcode,
			.aio_buf = (uintptr_t)buffers[i],
			.aio_nbytes = IO_SIZE,
			.aio_data = i,
		};
}

static inline void queue_send(struct queue *q, struct iocb **ios, int count)
{
	if (count && syscall(SYS_io_submit, q->context, count, ios) != count)
		err(1, "io_submit");
}

/* Waits until @least have ended; how many have. Of each, data is its number in ios. */
static inline int queue_wait(struct queue *q, int least, struct io_event *events, int most)
{
	const int ended = syscall(SYS_io_getevents, q->context, least, most, events, NULL);
	int i;

	if (ended < least)
		err(1, "io_getevents");
	for (i = 0; i < ended; i++)
		if (events[i].res != IO_SIZE)
			errx(1, "an I/O has the result %lld", events[i].res);
	return ended;
}

/* Numbers that look random, and are always the same. */
static inline uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

static inline uint64_t nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/* What this does goes before kernel threads. */
static inline void before_workers(void)
{
	const struct sched_param first = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_FIFO, &first))
		err(1, "sched_setscheduler");
}

#endif
