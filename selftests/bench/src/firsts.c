// SPDX-License-Identifier: GPL-2.0-only
/*
 * firsts - how long the first write of 4 KiB to a block takes, and then one in place
 *
 *	firsts PATH BLOCK COUNT DEPTH [in-order]
 *
 * Of COUNT blocks of BLOCK MiB each, in random order, or one behind the other, 4 KiB are written
 * somewhere in the block, DEPTH at a time; and the same again, in place. Prints nanoseconds per
 * write of both, which are instructions in a machine that counts these (selftests/vm/run --icount).
 * Blocks before those were written first, so that what is done once is done.
 */
#include "aio.h"

#define WARM		32
#define PRIME		1009

struct place {
	uint64_t block_size;
	uint64_t first;
	uint64_t count;
	uint64_t stride;
};

/* Each number below count once, since it is no multiple of a prime. */
static uint64_t offset_of(const struct place *at, uint64_t i)
{
	const uint64_t block = at->first + i * at->stride % at->count;
	uint64_t state = block;

	next_random(&state);
	return block * at->block_size +
	       next_random(&state) % (at->block_size / IO_SIZE) * IO_SIZE;
}

static double per_write(struct queue *q, const struct place *at, int depth)
{
	const uint64_t start = nanoseconds();
	struct io_event events[TOGETHER];
	struct iocb *ios[TOGETHER];
	uint64_t i;
	int j;

	for (i = 0; i < at->count; i += depth) {
		for (j = 0; j < depth; j++) {
			ios[j] = &q->ios[j];
			ios[j]->aio_offset = offset_of(at, i + j);
		}
		queue_send(q, ios, depth);
		queue_wait(q, depth, events, depth);
	}
	return (double)(nanoseconds() - start) / at->count;
}

int main(int argc, char **argv)
{
	static struct queue q;
	struct place warm = { .count = WARM, .stride = PRIME };
	struct place at = { .first = WARM, .stride = PRIME };
	double first, in_place;
	int depth;

	if (argc == 6 && !strcmp(argv[5], "in-order"))
		at.stride = 1;
	else if (argc != 5)
		errx(2, "usage: firsts PATH BLOCK COUNT DEPTH [in-order]");
	at.block_size = strtoull(argv[2], NULL, 0) << 20;
	warm.block_size = at.block_size;
	at.count = strtoull(argv[3], NULL, 0);
	depth = atoi(argv[4]);
	if (!at.block_size || !at.count || at.count % PRIME == 0)
		errx(2, "BLOCK and COUNT are positive, and COUNT no multiple of %d", PRIME);
	if (depth < 1 || depth > TOGETHER || WARM % depth || at.count % depth)
		errx(2, "1 <= DEPTH <= %d, and it divides %d and COUNT", TOGETHER, WARM);
	queue_open(&q, argv[1], IOCB_CMD_PWRITE, depth);
	before_workers();
	per_write(&q, &warm, depth);
	first = per_write(&q, &at, depth);
	in_place = per_write(&q, &at, depth);
	printf("%.0f %.0f\n", first, in_place);
	return 0;
}
