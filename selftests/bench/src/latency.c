// SPDX-License-Identifier: GPL-2.0-only
/*
 * latency - writes 4 KiB again and again, and says how long the slowest write took
 *
 *	latency PATH DEPTH PAUSE
 *
 * Random places of the first 64 KiB are written, DEPTH together, and then again after PAUSE
 * microseconds. For each line that it reads it prints a line: nanoseconds of the slowest write
 * since the line before, and how many there were. Ends with its input.
 */
#include "aio.h"
#include <poll.h>

#define BLOCKS		(64 * 1024 / IO_SIZE)

/* Was a line read? Ends the program where there are no more. */
static int is_asked(void)
{
	struct pollfd input = { .fd = 0, .events = POLLIN };
	char line;

	if (!poll(&input, 1, 0))
		return 0;
	if (read(0, &line, 1) != 1)
		exit(0);
	return line == '\n';
}

/* Sends all; the time until the last one has ended. */
static uint64_t batch(struct queue *q, struct iocb **ios, int depth, uint64_t *state)
{
	const uint64_t start = nanoseconds();
	struct io_event events[TOGETHER];
	int i;

	for (i = 0; i < depth; i++)
		ios[i]->aio_offset = next_random(state) % BLOCKS * IO_SIZE;
	queue_send(q, ios, depth);
	queue_wait(q, depth, events, depth);
	return nanoseconds() - start;
}

int main(int argc, char **argv)
{
	static struct queue q;
	struct iocb *ios[TOGETHER];
	uint64_t state = 0, taken, longest = 0, writes = 0;
	int depth, pause, i;

	if (argc != 4)
		errx(2, "usage: latency PATH DEPTH PAUSE");
	depth = atoi(argv[2]);
	pause = atoi(argv[3]);
	if (depth < 1 || depth > TOGETHER)
		errx(2, "1 <= DEPTH <= %d", TOGETHER);
	queue_open(&q, argv[1], IOCB_CMD_PWRITE, depth);
	before_workers();
	for (i = 0; i < depth; i++)
		ios[i] = &q.ios[i];
	for (;;) {
		taken = batch(&q, ios, depth, &state);
		writes += depth;
		if (taken > longest)
			longest = taken;
		if (is_asked()) {
			printf("%llu %llu\n", (unsigned long long)longest,
			       (unsigned long long)writes);
			fflush(stdout);
			longest = 0;
			writes = 0;
		}
		usleep(pause);
	}
}
