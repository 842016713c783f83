// SPDX-License-Identifier: GPL-2.0-only
/*
 * native - how long it takes on this machine to find out what changed
 *
 *	native SIDECAR ROUNDS	between its first point and the last one
 *
 * The driver's own engine, in this process: timeline, index, leaves, ranges, asked 4096 ranges at
 * a time as by a caller of the ioctl, with all blocks of the sidecar in memory. What it does not
 * have: the way into the kernel, the copy to user space, and the locks of a disk that others write
 * and seal. Prints the nanoseconds of the fastest of so many rounds, and how many ranges there
 * were.
 */
#include <err.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>
#include <core/rct/delta_source.h>
#include <core/rct/sidecar.h>

#define AT_ONCE	4096

struct file {
	struct vhdx_store store;
	int fd;
};

static struct vhdx_range output[AT_ONCE];

static int read_file(struct vhdx_store *store, u64 offset, void *buf, size_t length)
{
	ssize_t got = pread(container_of(store, struct file, store)->fd, buf, length, offset);

	if (got < 0)
		return -errno;
	memset((char *)buf + got, 0, length - got);
	return 0;
}

/* Up to AT_ONCE ranges, as one call makes them. How many; @offset is where the next one begins. */
static u32 ask_once(const struct vhdx_sidecar *sidecar, u64 *offset)
{
	struct vhdx_delta_merge merge = { 0 };
	struct vhdx_stored_deltas stored = {
		.sidecar = sidecar,
		.first = 1,
		.end = sidecar->timeline.count,
		.cache = vhdx_index_cache_new(sidecar->timeline.count),
		.merge = &merge,
	};
	struct vhdx_delta_source source = { &vhdx_stored_source, &stored };
	struct vhdx_delta_list list = { .sources = &source, .count = 1 };
	struct vhdx_answer answer = {
		.form = &vhdx_answer_ranges,
		.begin = *offset,
		.offset = *offset,
		.end = sidecar->disk_size,
		.unit_shift = sidecar->unit_shift,
		.granule_shift = sidecar->unit_shift,
		.ranges = {
			.array = output,
			.size = VHDX_RANGE_SIZE_VER0,
			.capacity = AT_ONCE,
		},
	};
	int more;

	do {
		more = vhdx_answer_leaf(&answer, &vhdx_delta_list_source, &list);
	} while (more > 0);
	if (more)
		errx(1, "no answer: %d", more);
	*offset = answer.offset;
	vhdx_free(answer.units);
	vhdx_delta_merge_release(&merge);
	vhdx_index_cache_free(stored.cache);
	return answer.ranges.count;
}

static u64 ask(const struct vhdx_sidecar *sidecar)
{
	u64 offset = 0, told = 0;

	while (offset < sidecar->disk_size)
		told += ask_once(sidecar, &offset);
	return told;
}

static u64 now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

int main(int argc, char **argv)
{
	struct vhdx_block_cache blocks = { 0 };
	struct vhdx_sidecar sidecar = { 0 };
	struct vhdx_diag diag = { 0 };
	u64 start, taken, told, least = UINT64_MAX;
	struct file file;
	int rounds;

	if (argc != 3)
		errx(2, "usage: native SIDECAR ROUNDS");
	file.fd = open(argv[1], O_RDONLY);
	if (file.fd < 0)
		err(1, "%s", argv[1]);
	file.store = (struct vhdx_store) {
		.size = lseek(file.fd, 0, SEEK_END),
		.read = read_file,
	};
	if (vhdx_sidecar_load(&sidecar, &file.store, true, true, &diag) ||
	    sidecar.timeline.count < 2 || vhdx_sidecar_keep_blocks(&sidecar, &blocks))
		errx(1, "%s: %s", argv[1], diag.text);
	told = ask(&sidecar);
	for (rounds = atoi(argv[2]); rounds > 0; rounds--) {
		start = now();
		ask(&sidecar);
		taken = now() - start;
		least = min(least, taken);
	}
	printf("%llu %llu\n", least, told);
	vhdx_block_cache_release(&blocks);
	vhdx_sidecar_release(&sidecar);
	return 0;
}
