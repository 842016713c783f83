// SPDX-License-Identifier: GPL-2.0-only
/*
 * changes - how many instructions it takes to be told what changed
 *
 *	changes ranges DEVICE LIMIT TARGET ROUNDS	of /dev/vhdxcN, ids as 80 hex digits
 *	changes flagged DEVICE LIMIT TARGET ROUNDS	the same with flags: what is zeroes now
 *	changes bits DEVICE LIMIT TARGET ROUNDS
 *	changes pagemap PAGES LIST ROUNDS		PAGEMAP_SCAN of memory; numbers of the
 *							pages that are written, a line each
 *	changes copy FILE BYTES ROUNDS			a plain read() of so many
 *	changes run ROUNDS COMMAND [ARGUMENT]...	a process, its output thrown away
 *
 * Prints the instructions of the cheapest of so many rounds, and how many ranges, bytes or regions
 * there were. Everything is told 4096 ranges at a time. The time stamp counter must count
 * instructions, on a single CPU: selftests/vm/run --icount.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>
#include <linux/userfaultfd.h>
#include <linux/vhdx.h>

#define AT_ONCE		4096
#define BITS_AT_ONCE	(8U << 20)

/* What linux/fs.h and linux/userfaultfd.h have from 6.7 on. */
struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN		_IOWR('f', 16, struct scan)
#define WRITTEN		(1 << 1)
#define PROTECT		(1 << 0)
#define WP_UNPOPULATED	(1 << 13)
#define WP_ASYNC	(1 << 15)

struct question {
	int fd;
	struct vhdx_get_virtual_disk_changes changes;
	struct scan scan;
	size_t length;
	char **command;
};

static char output[BITS_AT_ONCE] __attribute__((aligned(4096)));

static uint64_t ask(struct question *q)
{
	struct vhdx_get_virtual_disk_changes args = q->changes;
	uint64_t told = 0;

	while (args.byte_length) {
		if (ioctl(q->fd, VHDX_GET_VIRTUAL_DISK_CHANGES, &args))
			err(1, "VHDX_GET_VIRTUAL_DISK_CHANGES");
		told += args.output_count;
		args.byte_offset += args.processed_byte_length;
		args.byte_length -= args.processed_byte_length;
	}
	return told;
}

static void open_disk(struct question *q, char **arguments, uint32_t flags, uint32_t range_size)
{
	struct vhdx_info info = { .size = sizeof(info) };
	struct vhdx_point_id *ids[] = { &q->changes.limit_id, &q->changes.target_id };
	unsigned int byte;
	size_t i, j;

	q->fd = open(arguments[0], O_RDONLY);
	if (q->fd < 0 || ioctl(q->fd, VHDX_GET_INFO, &info))
		err(1, "%s", arguments[0]);
	q->changes.size = sizeof(q->changes);
	q->changes.flags = flags;
	q->changes.byte_length = info.virtual_disk_size;
	q->changes.output = (uintptr_t)output;
	q->changes.output_capacity = flags ? BITS_AT_ONCE : AT_ONCE;
	q->changes.range_size = flags ? 0 : range_size;
	for (i = 0; i < 2; i++) {
		for (j = 0; j < sizeof(*ids[i]); j++) {
			if (sscanf(arguments[1 + i] + 2 * j, "%2x", &byte) != 1)
				errx(2, "%s: no id", arguments[1 + i]);
			((uint8_t *)ids[i])[j] = byte;
		}
	}
}

static uint64_t scan(struct question *q)
{
	struct scan arg = q->scan;
	uint64_t told = 0;
	long found;

	while (arg.start < arg.end) {
		found = ioctl(q->fd, SCAN, &arg);
		if (found < 0)
			err(1, "PAGEMAP_SCAN");
		told += found;
		arg.start = arg.walk_end;
	}
	return told;
}

static void open_memory(struct question *q, char **arguments)
{
	struct uffdio_api api = { .api = UFFD_API, .features = WP_UNPOPULATED | WP_ASYNC };
	const size_t length = strtoull(arguments[0], NULL, 10) * 4096;
	struct uffdio_register what = { .mode = UFFDIO_REGISTER_MODE_WP };
	FILE *list = fopen(arguments[1], "r");
	unsigned long long page;
	char *memory;
	int uffd;

	memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!list || memory == MAP_FAILED || madvise(memory, length, MADV_NOHUGEPAGE))
		err(1, "%s", arguments[1]);
	memset(memory, 1, length);
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		err(1, "userfaultfd");
	what.range.start = (uintptr_t)memory;
	what.range.len = length;
	if (ioctl(uffd, UFFDIO_REGISTER, &what))
		err(1, "UFFDIO_REGISTER");
	q->fd = open("/proc/self/pagemap", O_RDONLY);
	q->scan = (struct scan) {
		.size = sizeof(q->scan),
		.start = (uintptr_t)memory,
		.end = (uintptr_t)memory + length,
		.vec = (uintptr_t)output,
		.vec_len = AT_ONCE,
		.flags = PROTECT,
		.category_mask = WRITTEN,
		.return_mask = WRITTEN,
	};
	scan(q);
	q->scan.flags = 0;
	while (fscanf(list, "%llu", &page) == 1)
		memory[page * 4096] = 2;
	fclose(list);
}

static uint64_t copy(struct question *q)
{
	uint64_t done = 0;
	ssize_t got;

	while (done < q->length) {
		got = pread(q->fd, output, q->length - done < BITS_AT_ONCE ?
			    q->length - done : BITS_AT_ONCE, done);
		if (got <= 0)
			err(1, "read");
		done += got;
	}
	return done;
}

static uint64_t run(struct question *q)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		dup2(q->fd, STDOUT_FILENO);
		execvp(q->command[0], q->command);
		err(127, "%s", q->command[0]);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || status)
		errx(1, "%s failed", q->command[0]);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t (*function)(struct question *q) = NULL;
	uint64_t start, taken, least = UINT64_MAX, told = 0;
	struct question q = { 0 };
	int rounds;

	if (argc == 6 && (!strcmp(argv[1], "ranges") || !strcmp(argv[1], "flagged") ||
			  !strcmp(argv[1], "bits"))) {
		function = ask;
		open_disk(&q, argv + 2, *argv[1] == 'b' ? VHDX_CHANGES_BITMAP : 0,
			  *argv[1] == 'f' ? sizeof(struct vhdx_range) : VHDX_RANGE_SIZE_VER0);
	} else if (argc == 5 && !strcmp(argv[1], "pagemap")) {
		function = scan;
		open_memory(&q, argv + 2);
	} else if (argc == 5 && !strcmp(argv[1], "copy")) {
		function = copy;
		q.fd = open(argv[2], O_RDONLY);
		q.length = strtoull(argv[3], NULL, 10);
	} else if (argc > 3 && !strcmp(argv[1], "run")) {
		function = run;
		q.fd = open("/dev/null", O_WRONLY);
		q.command = argv + 3;
	}
	if (!function)
		errx(2, "usage: see the source");
	rounds = atoi(function == run ? argv[2] : argv[argc - 1]);
	memset(output, 1, sizeof(output));
	while (rounds--) {
		start = __rdtsc();
		told = function(&q);
		taken = __rdtsc() - start;
		if (taken < least)
			least = taken;
	}
	printf("%llu %llu\n", (unsigned long long)least, (unsigned long long)told);
	return 0;
}
