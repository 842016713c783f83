// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every thread has a set of its own: plain, read-only, at the end of a mapping, and late.
 * Late memory is there only when a thread of ours has answered the fault: after a while,
 * with what it is to hold; or never, and the address turns out to be bad after all.
 */
#include "memory.h"
#include "victim.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How long a fault waits for its answer, at most. */
#define LATE_US		100000

struct memory {
	unsigned char *plain;
	/* One memory, mapped for us and, for reading only, for the kernel. */
	unsigned char *writable, *readable;
	/* Its last byte is the last of its page, and nothing follows. */
	unsigned char *end;
	unsigned char *late;
};

static _Thread_local struct memory mine;
static int late_fd = -1;

static void *map(size_t length, int protection)
{
	void *address = mmap(NULL, length, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (address == MAP_FAILED)
		err(2, "mmap");
	return address;
}

/* ---- late memory ------------------------------------------------------------------------- */

static void answer(uint64_t page)
{
	static unsigned char content[PAGE] __attribute__((aligned(4096)));
	struct uffdio_copy copy = { .dst = page, .src = (uintptr_t)content, .len = PAGE };
	struct uffdio_range range = { .start = page, .len = PAGE };

	usleep(random_below(LATE_US));
	if (one_in(4)) {
		/* The fault is tried again, and finds memory that can't be accessed. */
		mprotect((void *)page, PAGE, PROT_NONE);
		ioctl(late_fd, UFFDIO_WAKE, &range);
		return;
	}
	/* A structure of which only the size makes sense, or nothing. */
	memset(content, 0, PAGE);
	if (one_in(2))
		content[0] = 8 * random_below(32);
	if (ioctl(late_fd, UFFDIO_COPY, &copy))
		ioctl(late_fd, UFFDIO_WAKE, &range);
}

static void *answer_faults(void *seed)
{
	struct uffd_msg message;

	random_seed((uintptr_t)seed);
	for (;;) {
		ssize_t length = read(late_fd, &message, sizeof(message));

		if (length < 0 && errno == EINTR)
			continue;
		if (length != sizeof(message))
			err(2, "userfaultfd");
		if (message.event == UFFD_EVENT_PAGEFAULT)
			answer(message.arg.pagefault.address & ~(PAGE - 1));
	}
	return NULL;
}

/* Gone again, for the next caller. */
static void make_late(void)
{
	mprotect(mine.late, MEMORY_MAX, PROT_READ | PROT_WRITE);
	madvise(mine.late, MEMORY_MAX, MADV_DONTNEED);
}

/* ---- setup ---------------------------------------------------------------------------------- */

/**
 * memory_setup() - once, before there are threads
 */
void memory_setup(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	pthread_t thread;

	late_fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (late_fd < 0 || ioctl(late_fd, UFFDIO_API, &api))
		err(2, "userfaultfd");
	if (pthread_create(&thread, NULL, answer_faults, (void *)random_next()))
		errx(2, "no thread");
}

/**
 * memory_new_thread() - for each thread that wants memory
 */
void memory_new_thread(void)
{
	struct uffdio_register late = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	mine.plain = map(MEMORY_MAX, PROT_READ | PROT_WRITE);
	mine.end = map(MEMORY_MAX + PAGE, PROT_READ | PROT_WRITE);
	munmap(mine.end + MEMORY_MAX, PAGE);
	mine.late = map(MEMORY_MAX, PROT_READ | PROT_WRITE);
	late.range.start = (uintptr_t)mine.late;
	late.range.len = MEMORY_MAX;
	if (ioctl(late_fd, UFFDIO_REGISTER, &late))
		err(2, "userfaultfd");
	if (fd < 0 || ftruncate(fd, MEMORY_MAX))
		err(2, "memfd");
	mine.writable = mmap(NULL, MEMORY_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	mine.readable = mmap(NULL, MEMORY_MAX, PROT_READ, MAP_SHARED, fd, 0);
	if (mine.writable == MAP_FAILED || mine.readable == MAP_FAILED)
		err(2, "mmap");
	close(fd);
}

/* ---- use ----------------------------------------------------------------- */

static uint64_t nowhere(void)
{
	const uint64_t addresses[] = {
		0, 1, 8, PAGE - 4, ~0ULL, ~0ULL - 3, ~0ULL - PAGE, 1ULL << 47, (1ULL << 47) - PAGE,
		(1ULL << 47) - 8, 1ULL << 63, 0xffff888000000000, 0xffffffff81000000,
		0xffffc90000000000, 0xffffea0000000000, (uintptr_t)mine.end + MEMORY_MAX,
	};

	return addresses[random_below(sizeof(addresses) / sizeof(*addresses))];
}

/**
 * memory_any() - an address, good or bad
 * @content:	what is to be there, if it is a good one
 * @length:	at most MEMORY_MAX
 */
uint64_t memory_any(const void *content, size_t length)
{
	unsigned char *at;

	switch (random_below(16)) {
	case 0:
		return nowhere();
	case 1:
		memcpy(mine.writable, content, length);
		return (uintptr_t)mine.readable;
	case 2:
	case 3:
		at = mine.end + MEMORY_MAX - length;
		memcpy(at, content, length);
		return (uintptr_t)at;
	case 4:
		/* The rest of it is beyond the end. */
		length = random_below(length + 1);
		at = mine.end + MEMORY_MAX - length;
		memcpy(at, content, length);
		return (uintptr_t)at;
	case 5:
		make_late();
		/* Part of it is there, or none. */
		return (uintptr_t)mine.late + (one_in(2) ? 0 : random_below(2 * PAGE));
	default:
		at = mine.plain + random_below(MEMORY_MAX / 2 / PAGE) * PAGE;
		if (at + length > mine.plain + MEMORY_MAX)
			at = mine.plain;
		memcpy(at, content, length);
		return (uintptr_t)at;
	}
}
