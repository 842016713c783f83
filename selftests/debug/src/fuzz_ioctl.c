// SPDX-License-Identifier: GPL-2.0-only
/*
 * fuzz_ioctl - all ioctls of all devices, by many at once, while disks come and go
 *
 *	fuzz_ioctl WORK SEED SECONDS
 *
 * WORK has good0.vhdx and good1.vhdx, each with its .lrct. Copies of them are attached as
 * disks 0 and 1, over and over, while others call, write, close what is open, and try to
 * unload the module. The last line on standard output is "done".
 */
#include "calls.h"
#include "exercise.h"
#include "memory.h"
#include "victim.h"
#include "watch.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/vhdx.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CALLERS		6
/* Longer than anything here, under emulation, with everything checked. */
#define PATIENCE	100

static const char *work;
static unsigned long seed;
static atomic_bool stop;
static atomic_ulong calls, attached, detached, refused, written, unloaded, failures;

static struct {
	int container, sidecar;
} files[DISKS];

int container_fd(unsigned int disk)
{
	return files[disk].container;
}

int sidecar_fd(unsigned int disk)
{
	return files[disk].sidecar;
}

/* ---- failures ------------------------------------------------------------------------------- */

void failed(const char *format, ...)
{
	va_list arguments;

	flockfile(stdout);
	printf("failure seed %lu: ", seed);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
	funlockfile(stdout);
	failures++;
	stop = true;
}

static void report(void)
{
	printf("done %lu calls, %lu attached, %lu refused, %lu detached, %lu written, %lu unloaded, %lu failures\n",
	       calls, attached, refused, detached, written, unloaded, failures);
	fflush(stdout);
}

/* It can't be ended: this process never goes away. */
static void hung(const char *what, unsigned int thread)
{
	failed("hang: %s in thread %u has not returned in %u s", what, thread, PATIENCE);
	report();
	_exit(1);
}

/* ---- disks that come and go ---------------------------------------------- */

static void copy(const char *format, unsigned int disk, int to)
{
	char path[512];
	struct stat st;
	off_t from = 0;
	int fd;

	snprintf(path, sizeof(path), format, work, disk);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || ftruncate(to, 0) || lseek(to, 0, SEEK_SET))
		err(2, "%s", path);
	while (from < st.st_size) {
		if (sendfile(to, fd, &from, st.st_size - from) <= 0)
			err(2, "%s", path);
	}
	close(fd);
}

/* Somebody may have made a sidecar of a container, or attached either as something else. */
static void renew_files(unsigned int disk)
{
	copy("%s/good%u.vhdx", disk, files[disk].container);
	copy("%s/good%u.vhdx.lrct", disk, files[disk].sidecar);
}

static void open_files(unsigned int disk)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/disk%u.vhdx", work, disk);
	files[disk].container = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	strcat(path, ".lrct");
	files[disk].sidecar = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (files[disk].container < 0 || files[disk].sidecar < 0)
		err(2, "%s", path);
	renew_files(disk);
}

static int attach_at(int control, unsigned int disk)
{
	struct vhdx_layer layer = {
		.container_fd = files[disk].container,
		.sidecar_fd = files[disk].sidecar,
	};
	struct vhdx_attach argument = {
		.size = sizeof(argument),
		.layers = (uintptr_t)&layer,
		.layer_count = 1,
		.layer_size = sizeof(layer),
		.index = disk,
	};

	return WATCHED("ATTACH", ioctl(control, VHDX_ATTACH, &argument)) ? errno : 0;
}

static int detach_at(int control, int index)
{
	struct vhdx_detach argument = { .size = sizeof(argument), .index = index };

	return WATCHED("DETACH", ioctl(control, VHDX_DETACH, &argument)) ? errno : 0;
}

static void come_and_go(unsigned int disk)
{
	int control = WATCHED("open", open("/dev/vhdx-control", O_RDWR | O_CLOEXEC));
	int error = control < 0 ? ENODEV : attach_at(control, disk);

	if (!error) {
		attached++;
	} else if (error != EBUSY && error != ENODEV) {
		refused++;
		renew_files(disk);
	}
	usleep(random_below(200000));
	/* Also disks that others attached, anywhere. */
	if (control >= 0 && !detach_at(control, one_in(4) ? random_below(8) : disk))
		detached++;
	close(control);
}

static void try_to_unload(void)
{
	if (WATCHED("delete_module", syscall(SYS_delete_module, "vhdx", O_NONBLOCK)))
		return;
	unloaded++;
	if (system("modprobe vhdx"))
		failed("the module can't be loaded again");
}

static void write_to(unsigned int disk)
{
	static _Thread_local unsigned char data[16 * KIB] __attribute__((aligned(4096)));
	char path[32];
	unsigned int n = random_below(16);
	int fd;

	snprintf(path, sizeof(path), "/dev/vhdx%u", disk);
	fd = WATCHED("open", open(path, O_RDWR | O_CLOEXEC | (one_in(2) ? O_DIRECT : 0)));
	if (fd < 0)
		return;
	while (n--) {
		memset(data, random_next(), sizeof(data));
		if (WATCHED("write", pwrite(fd, data, sizeof(data),
					    random_below(1000) * sizeof(data))) > 0)
			written++;
	}
	if (one_in(2))
		WATCHED("fsync", fsync(fd));
	WATCHED("close", close(fd));
}

/* ---- threads ------------------------------------------------------------- */

static void *thread(void *number)
{
	uintptr_t me = (uintptr_t)number;

	random_seed(seed * 1000 + me);
	memory_new_thread();
	while (!stop) {
		switch (me) {
		case 0 ... DISKS - 1:
			come_and_go(me);
			break;
		case DISKS:
			replace_shared_fd();
			usleep(random_below(2000));
			break;
		case DISKS + 1:
			if (one_in(64))
				try_to_unload();
			else
				write_to(random_below(DISKS));
			usleep(random_below(20000));
			break;
		default:
			any_call();
			calls++;
		}
	}
	return NULL;
}

/* All that was left attached, in many tries: somebody's last close may be on its way. */
static void detach_all(void)
{
	int control = open("/dev/vhdx-control", O_RDWR | O_CLOEXEC);
	unsigned int tries, left = 1;
	int index;

	for (tries = 0; left && tries < 200; tries++) {
		left = 0;
		for (index = 0; index < 16; index++)
			left += detach_at(control, index) == EBUSY;
		if (left)
			usleep(50000);
	}
	if (left)
		failed("%u disks can't be detached", left);
	close(control);
}

int main(int argc, char **argv)
{
	pthread_t threads[CALLERS + DISKS + 2];
	unsigned int i, count = sizeof(threads) / sizeof(*threads);
	const char *defect;
	time_t end;

	if (argc != 4)
		errx(2, "usage: fuzz_ioctl WORK SEED SECONDS");
	work = argv[1];
	seed = strtoul(argv[2], NULL, 0);
	end = time(NULL) + strtoul(argv[3], NULL, 0);
	random_seed(seed);
	kernel_log_open();
	for (i = 0; i < DISKS; i++)
		open_files(i);
	for (i = 0; i < SHARED_FDS; i++)
		replace_shared_fd();
	memory_setup();
	watch_start(PATIENCE, hung);
	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, thread, (void *)(uintptr_t)i))
			errx(2, "no thread");
	while (!stop && time(NULL) < end) {
		usleep(100000);
		defect = kernel_log_defect();
		if (defect)
			failed("the kernel says: %s", defect);
	}
	stop = true;
	for (i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	close_shared_fds();
	detach_all();
	report();
	return failures ? 1 : 0;
}
