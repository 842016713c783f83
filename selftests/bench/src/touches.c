// SPDX-License-Identifier: GPL-2.0-only
/*
 * touches - how long it takes to write 4 KiB to each of many places, in random order
 *
 *	touches PATH STEP PLACES COUNT DEPTH
 *
 * There are PLACES places, one each STEP bytes; COUNT of them are written once, DEPTH at a time.
 * Prints nanoseconds for each.
 */
#include "aio.h"

static uint64_t number(const char *text)
{
	return strtoull(text, NULL, 0);
}

/* The numbers below @count, shuffled. */
static uint64_t *shuffled(uint64_t count)
{
	uint64_t *order = malloc(count * sizeof(*order));
	uint64_t state = 0, i, other;

	if (!order)
		err(1, "malloc");
	for (i = 0; i < count; i++) {
		other = next_random(&state) % (i + 1);
		order[i] = order[other];
		order[other] = i;
	}
	return order;
}

static uint64_t touch(struct queue *q, const uint64_t *order, uint64_t step, uint64_t count,
		      int depth)
{
	const uint64_t start = nanoseconds();
	struct io_event events[TOGETHER];
	struct iocb *ios[TOGETHER];
	uint64_t sent = 0, ended = 0;
	int ready, i;

	for (ready = 0; ready < depth; ready++)
		ios[ready] = &q->ios[ready];
	while (ended < count) {
		if (ready > (int)(count - sent))
			ready = count - sent;
		for (i = 0; i < ready; i++)
			ios[i]->aio_offset = order[sent++] * step;
		queue_send(q, ios, ready);
		ready = queue_wait(q, 1, events, depth);
		ended += ready;
		for (i = 0; i < ready; i++)
			ios[i] = &q->ios[events[i].data];
	}
	return nanoseconds() - start;
}

int main(int argc, char **argv)
{
	static struct queue q;
	uint64_t step, places, count;
	int depth;

	if (argc != 6)
		errx(2, "usage: touches PATH STEP PLACES COUNT DEPTH");
	step = number(argv[2]);
	places = number(argv[3]);
	count = number(argv[4]);
	depth = number(argv[5]);
	if (count > places || depth < 1 || depth > TOGETHER || (uint64_t)depth > count)
		errx(2, "1 <= DEPTH <= %d, DEPTH <= COUNT <= PLACES", TOGETHER);
	queue_open(&q, argv[1], IOCB_CMD_PWRITE, depth);
	printf("%.0f\n", (double)touch(&q, shuffled(places), step, count, depth) / count);
	return 0;
}
