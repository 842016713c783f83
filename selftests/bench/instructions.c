// SPDX-License-Identifier: GPL-2.0-only
/*
 * instructions - how many a random 4 KiB read or write takes, of 16 that are sent together
 *
 *	instructions PATH read|write
 *
 * PATH is a file or a block device, of which the first 64 MiB are used. The time stamp counter
 * must count instructions, on a single CPU: selftests/vm/run --icount. All rounds do the same;
 * the cheapest counts: no timer ticked in it. Workers run while this waits, never in between, so
 * that each finds all 16.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/aio_abi.h>
#include <x86intrin.h>

#define IO_SIZE		4096
#define BLOCKS		(64 * 1024 * 1024 / IO_SIZE)
#define TOGETHER	16
#define BATCHES		4
#define ROUNDS		500

static char buffers[TOGETHER][IO_SIZE] __attribute__((aligned(IO_SIZE)));

/* Blocks in an order that has nothing to do with their numbers, and is always the same. */
static uint64_t next_block(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (*state >> 33) % BLOCKS;
}

static void batch(aio_context_t context, struct iocb **ios)
{
	struct io_event events[TOGETHER];
	int i;

	if (syscall(SYS_io_submit, context, TOGETHER, ios) != TOGETHER)
		err(1, "io_submit");
	if (syscall(SYS_io_getevents, context, TOGETHER, TOGETHER, events, NULL) != TOGETHER)
		err(1, "io_getevents");
	for (i = 0; i < TOGETHER; i++)
		if (events[i].res != IO_SIZE)
			errx(1, "an I/O has the result %lld", events[i].res);
}

static uint64_t one_round(aio_context_t context, struct iocb **ios)
{
	const uint64_t start = __rdtsc();
	uint64_t state = 0;
	int i, j;

	for (i = 0; i < BATCHES; i++) {
		for (j = 0; j < TOGETHER; j++)
			ios[j]->aio_offset = next_block(&state) * IO_SIZE;
		batch(context, ios);
	}
	return __rdtsc() - start;
}

int main(int argc, char **argv)
{
	struct iocb list[TOGETHER], *ios[TOGETHER];
	uint64_t taken, least = UINT64_MAX;
	const struct sched_param before_workers = { .sched_priority = 1 };
	aio_context_t context = 0;
	int fd, i;

	if (argc != 3 || (strcmp(argv[2], "read") && strcmp(argv[2], "write")))
		errx(2, "usage: instructions PATH read|write");
	fd = open(argv[1], O_RDWR | O_DIRECT);
	if (fd < 0)
		err(1, "%s", argv[1]);
	if (sched_setscheduler(0, SCHED_FIFO, &before_workers))
		err(1, "sched_setscheduler");
	if (syscall(SYS_io_setup, TOGETHER, &context))
		err(1, "io_setup");
	for (i = 0; i < TOGETHER; i++) {
		list[i] = (struct iocb){
			.aio_fildes = fd,
			.aio_lio_opcode = *argv[2] == 'r' ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE,
			.aio_buf = (uintptr_t)buffers[i],
			.aio_nbytes = IO_SIZE,
		};
		ios[i] = &list[i];
	}
	for (i = 0; i < ROUNDS; i++) {
		taken = one_round(context, ios);
		if (taken < least)
			least = taken;
	}
	printf("%.0f\n", (double)least / (BATCHES * TOGETHER));
	return 0;
}
