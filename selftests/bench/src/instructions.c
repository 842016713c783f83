// SPDX-License-Identifier: GPL-2.0-only
/*
 * instructions - how many a 4 KiB read or write takes, of several that are sent together
 *
 *	instructions PATH read|write [DEPTH [random|sequential]]	(default: 16 random)
 *
 * PATH is a file or a block device, of which the first 64 MiB are used. The time stamp counter
 * must count instructions, on a single CPU: selftests/vm/run --icount. All rounds do the same;
 * the cheapest counts: no timer ticked in it. Workers run while this waits, never in between, so
 * that each finds all of them.
 */
#include "aio.h"
#include <x86intrin.h>

#define BLOCKS		(64 * 1024 * 1024 / IO_SIZE)
#define DEPTH		16
#define IOS		64
#define ROUNDS		500

static uint64_t one_round(struct queue *q, struct iocb **ios, int depth, int random)
{
	const uint64_t start = __rdtsc();
	struct io_event events[TOGETHER];
	uint64_t state = 0;
	int i, j;

	for (i = 0; i < IOS; i += depth) {
		for (j = 0; j < depth; j++)
			ios[j]->aio_offset = IO_SIZE * (random ? next_random(&state) % BLOCKS :
								 (uint64_t)i + j);
		queue_send(q, ios, depth);
		queue_wait(q, depth, events, depth);
	}
	return __rdtsc() - start;
}

int main(int argc, char **argv)
{
	const int depth = argc > 3 ? atoi(argv[3]) : DEPTH;
	const int random = argc < 5 || !strcmp(argv[4], "random");
	static struct queue q;
	struct iocb *ios[TOGETHER];
	uint64_t taken, least = UINT64_MAX;
	int i;

	if (argc < 3 || argc > 5 || (strcmp(argv[2], "read") && strcmp(argv[2], "write")) ||
	    depth < 1 || depth > TOGETHER || IOS % depth ||
	    (!random && strcmp(argv[4], "sequential")))
		errx(2, "usage: instructions PATH read|write [DEPTH [random|sequential]]");
	queue_open(&q, argv[1], *argv[2] == 'r' ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE, depth);
	before_workers();
	for (i = 0; i < depth; i++)
		ios[i] = &q.ios[i];
	for (i = 0; i < ROUNDS; i++) {
		taken = one_round(&q, ios, depth, random);
		if (taken < least)
			least = taken;
	}
	printf("%.0f\n", (double)least / IOS);
	return 0;
}
