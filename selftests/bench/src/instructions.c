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
#include "aio.h"
#include <x86intrin.h>

#define BLOCKS		(64 * 1024 * 1024 / IO_SIZE)
#define BATCH		16
#define BATCHES		4
#define ROUNDS		500

static uint64_t one_round(struct queue *q, struct iocb **ios)
{
	const uint64_t start = __rdtsc();
	struct io_event events[BATCH];
	uint64_t state = 0;
	int i, j;

	for (i = 0; i < BATCHES; i++) {
		for (j = 0; j < BATCH; j++)
			ios[j]->aio_offset = next_random(&state) % BLOCKS * IO_SIZE;
		queue_send(q, ios, BATCH);
		queue_wait(q, BATCH, events, BATCH);
	}
	return __rdtsc() - start;
}

int main(int argc, char **argv)
{
	static struct queue q;
	struct iocb *ios[BATCH];
	uint64_t taken, least = UINT64_MAX;
	int i;

	if (argc != 3 || (strcmp(argv[2], "read") && strcmp(argv[2], "write")))
		errx(2, "usage: instructions PATH read|write");
	queue_open(&q, argv[1], *argv[2] == 'r' ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE, BATCH);
	before_workers();
	for (i = 0; i < BATCH; i++)
		ios[i] = &q.ios[i];
	for (i = 0; i < ROUNDS; i++) {
		taken = one_round(&q, ios);
		if (taken < least)
			least = taken;
	}
	printf("%.0f\n", (double)least / (BATCHES * BATCH));
	return 0;
}
