// SPDX-License-Identifier: GPL-2.0-only
/*
 * fuzz_attach - damage containers and sidecars, attach them, use what attaches
 *
 *	fuzz_attach SEEDS WORK SAVE SEED FIRST ROUNDS SECONDS JUDGE
 *
 * SEEDS is a directory with good containers NAME.vhdx, some with a sidecar NAME.vhdx.lrct, some
 * with a parent NAME.vhdx.parent, which the driver never changes. Round number N, counted from
 * FIRST, damages one of them in a way that only SEED and N decide, as WORK/disk.vhdx, and attaches
 * it for reading and for writing. It ends after ROUNDS rounds or SECONDS seconds, whichever is
 * first.
 *
 * One container in JUDGE that attached and was written is handed over to be judged: a
 * line "judge BEFORE AFTER" on standard output, which a line on standard input answers
 * ("good", or what is wrong). Inputs that fail are kept in SAVE. The last line is "done"
 * with the numbers.
 */
#include "exercise.h"
#include "victim.h"
#include "watch.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ORIGINALS	32
#define FAILURES	10
/* Under emulation, with everything checked, and neighbours on the machine. */
#define PATIENCE	100

/* A file that is damaged: as it is good, as it is damaged, and on disk. */
struct file {
	struct victim good;
	struct victim bad;
	bool is_there;
};

struct original {
	char *name;
	struct file container;
	struct file sidecar;
	struct file parent;
};

/* What the driver gets; mapped, since copying would cost more than all the rest. */
struct place {
	char path[256];
	int fd;
	uint8_t *bytes;
};

static struct original originals[ORIGINALS];
static unsigned int original_count;
static struct place container_place, sidecar_place, parent_place;

static struct {
	const char *work, *save;
	unsigned long seed, round, judge;
} options;

static struct {
	unsigned long rounds, refused, accepted[2], written, judged, tracked, failures;
} counts;

static struct original *victim_now;

/* ---- files -------------------------------------------------------------------------------- */

static uint8_t *canvas(void)
{
	uint8_t *bytes = mmap(NULL, VICTIM_MAX, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (bytes == MAP_FAILED)
		err(2, "memory");
	return bytes;
}

/* Damaged are all in the same memory, one after the other. */
static void load(struct file *file, const char *path, uint8_t *bad)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return;
	if (fstat(fd, &st) || (uint64_t)st.st_size > VICTIM_MAX / 2)
		errx(2, "%s is too large", path);
	file->is_there = true;
	file->good.size = st.st_size;
	file->good.bytes = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	file->bad.bytes = bad;
	if (file->good.bytes == MAP_FAILED)
		err(2, "%s", path);
	close(fd);
}

static void load_originals(const char *directory)
{
	uint8_t *bad_container = canvas(), *bad_sidecar = canvas(), *bad_parent = canvas();
	struct dirent **names;
	char path[512];
	int i, count = scandir(directory, &names, NULL, alphasort);

	for (i = 0; i < count && original_count < ORIGINALS; i++) {
		struct original *o = &originals[original_count];
		const char *end = strrchr(names[i]->d_name, '.');

		if (!end || strcmp(end, ".vhdx"))
			continue;
		o->name = names[i]->d_name;
		snprintf(path, sizeof(path), "%s/%s", directory, o->name);
		load(&o->container, path, bad_container);
		victim_survey(&o->container.good);
		survey_child(&o->container.good);
		strcat(path, ".lrct");
		load(&o->sidecar, path, bad_sidecar);
		snprintf(path, sizeof(path), "%s/%s.parent", directory, o->name);
		load(&o->parent, path, bad_parent);
		if (o->parent.is_there)
			victim_survey(&o->parent.good);
		original_count++;
	}
	if (!original_count)
		errx(2, "%s: no containers", directory);
}

static void open_place(struct place *place, const char *name)
{
	snprintf(place->path, sizeof(place->path), "%s/%s", options.work, name);
	place->fd = open(place->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (place->fd < 0)
		err(2, "%s", place->path);
	place->bytes = mmap(NULL, VICTIM_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, place->fd, 0);
	if (place->bytes == MAP_FAILED)
		err(2, "%s", place->path);
}

static uint64_t size_of(const struct place *place)
{
	struct stat st;

	if (fstat(place->fd, &st))
		err(2, "%s", place->path);
	return st.st_size;
}

/* The file becomes what the victim is. */
static void put_in_place(struct place *place, const struct victim *v)
{
	uint64_t at, here;

	if (ftruncate(place->fd, v->size))
		err(2, "%s", place->path);
	for (at = 0; at < v->size; at += here) {
		here = v->size - at < PAGE ? v->size - at : PAGE;
		if (memcmp(place->bytes + at, v->bytes + at, here))
			memcpy(place->bytes + at, v->bytes + at, here);
	}
}

static bool is_unchanged(const struct place *place, const struct victim *v)
{
	return size_of(place) == v->size && !memcmp(place->bytes, v->bytes, v->size);
}

static void save_file(const char *path, const uint8_t *bytes, uint64_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	uint64_t at;

	/* Sparse: most of a container is. */
	for (at = 0; at < size; at += PAGE) {
		uint64_t here = size - at < PAGE ? size - at : PAGE;

		if (bytes[at] || memcmp(bytes + at, bytes + at + 1, here - 1))
			if (pwrite(fd, bytes + at, here, at) != (ssize_t)here)
				err(2, "%s", path);
	}
	if (fd < 0 || ftruncate(fd, size))
		err(2, "%s", path);
	close(fd);
}

/* ---- failures ----------------------------------------------------------------------------- */

static void save_bad(const struct file *file, const char *suffix)
{
	char path[512];

	if (!file->is_there)
		return;
	snprintf(path, sizeof(path), "%s/fuzz-%lu-%lu.vhdx%s", options.save, options.seed,
		 options.round, suffix);
	save_file(path, file->bad.bytes, file->bad.size);
}

static void save_input(void)
{
	if (!victim_now)
		return;
	save_bad(&victim_now->container, "");
	save_bad(&victim_now->sidecar, ".lrct");
	save_bad(&victim_now->parent, ".parent");
}

static void report(void)
{
	printf("done %lu rounds, %lu attaches refused, %lu accepted for reading, %lu for writing, %lu written, %lu tracked, %lu judged, %lu failures\n",
	       counts.rounds, counts.refused, counts.accepted[1], counts.accepted[0],
	       counts.written, counts.tracked, counts.judged, counts.failures);
	fflush(stdout);
}

void failed(const char *format, ...)
{
	va_list arguments;

	printf("failure seed %lu round %lu (%s): ", options.seed, options.round,
	       victim_now ? victim_now->name : "-");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
	save_input();
	counts.failures++;
}

/* A thread that hangs in the kernel can't be ended: this process never goes away. */
static void hung(const char *what, unsigned int thread)
{
	(void)thread;
	failed("hang: %s has not returned in %u s", what, PATIENCE);
	report();
	_exit(1);
}

/* ---- a round ------------------------------------------------------------------------------- */

static void spoil(struct file *file, void (*damage)(struct victim *),
		  void (*repair)(struct victim *))
{
	unsigned int n = 1;

	while (n < 8 && one_in(2))
		n++;
	while (n--)
		damage(&file->bad);
	/* What is damaged behind a wrong checksum is damaged in vain, mostly. */
	if (!one_in(12))
		repair(&file->bad);
}

static void reset(struct file *file)
{
	uint8_t *bytes = file->bad.bytes;

	if (!file->is_there)
		return;
	memcpy(bytes, file->good.bytes, file->good.size);
	file->bad = file->good;
	file->bad.bytes = bytes;
}

/* One of them or several; a sidecar is never read where the container is refused. */
static void make_victim(struct original *o)
{
	bool sidecar = o->sidecar.is_there && !one_in(3);
	bool parent = o->parent.is_there && one_in(4);

	reset(&o->container);
	reset(&o->sidecar);
	reset(&o->parent);
	if (sidecar)
		spoil(&o->sidecar, damage_sidecar, repair_sidecar);
	if (parent)
		spoil(&o->parent, damage_container, repair_container);
	if (!(sidecar || parent) || one_in(4))
		spoil(&o->container, damage_container, repair_container);
	put_in_place(&container_place, &o->container.bad);
	if (o->sidecar.is_there)
		put_in_place(&sidecar_place, &o->sidecar.bad);
	if (o->parent.is_there)
		put_in_place(&parent_place, &o->parent.bad);
}

static void have_judged(struct original *o)
{
	char before[512], after[512], answer[1024];

	snprintf(before, sizeof(before), "%s/before.vhdx", options.work);
	snprintf(after, sizeof(after), "%s/after.vhdx", options.work);
	save_file(before, o->container.bad.bytes, o->container.bad.size);
	save_file(after, container_place.bytes, size_of(&container_place));
	printf("judge %s %s\n", before, after);
	fflush(stdout);
	if (!fgets(answer, sizeof(answer), stdin))
		errx(2, "no judge");
	answer[strcspn(answer, "\n")] = 0;
	counts.judged++;
	if (strcmp(answer, "good")) {
		failed("%s", answer);
		snprintf(before, sizeof(before), "%s/fuzz-%lu-%lu.after.vhdx", options.save,
			 options.seed, options.round);
		save_file(before, container_place.bytes, size_of(&container_place));
	}
}

static void expect_parent_unchanged(struct original *o)
{
	if (o->parent.is_there && !is_unchanged(&parent_place, &o->parent.bad))
		failed("the parent was changed");
}

static void expect_unchanged(struct original *o, const char *by)
{
	if (!is_unchanged(&container_place, &o->container.bad))
		failed("the container was changed by %s", by);
	if (o->sidecar.is_there && !is_unchanged(&sidecar_place, &o->sidecar.bad))
		failed("the sidecar was changed by %s", by);
}

static void try_to_attach(struct original *o, bool read_only)
{
	const char *sidecar = o->sidecar.is_there && !one_in(6) ? sidecar_place.path : NULL;
	const char *parent = o->parent.is_there ? parent_place.path : NULL;
	struct attachment a = { .read_only = read_only, .sidecar_fd = -1 };
	int error;

	a.index = attach_disk(container_place.path, sidecar, parent, read_only);
	if (a.index < 0) {
		counts.refused++;
		expect_unchanged(o, "an attach that was refused");
		return;
	}
	counts.accepted[read_only]++;
	counts.tracked += !!sidecar;
	if (!read_only)
		a.sidecar_fd = sidecar_place.fd;
	exercise(&a);
	error = detach_disk(a.index);
	if (error)
		failed("detach fails with errno %d", -error);
	if (read_only) {
		expect_unchanged(o, "a reader");
		return;
	}
	if (!a.written)
		return;
	counts.written++;
	/* What was written and closed can be attached again. */
	if (one_in(4)) {
		a.index = attach_disk(container_place.path, sidecar, parent, true);
		if (a.index < 0)
			failed("what was written is refused with errno %d", -a.index);
		else if (detach_disk(a.index))
			failed("what was written can't be detached");
	}
	if (!(counts.written % options.judge) && size_of(&container_place) <= VICTIM_MAX)
		have_judged(o);
}

static void run_round(void)
{
	const char *defect;
	char note[64];

	random_seed(options.seed * 0x9e3779b97f4a7c15ULL + options.round);
	snprintf(note, sizeof(note), "fuzz_attach: seed %lu round %lu", options.seed,
		 options.round);
	kernel_log_note(note);
	victim_now = &originals[random_below(original_count)];
	make_victim(victim_now);
	try_to_attach(victim_now, true);
	try_to_attach(victim_now, false);
	expect_parent_unchanged(victim_now);
	defect = kernel_log_defect();
	if (defect)
		failed("the kernel says: %s", defect);
	counts.rounds++;
}

static unsigned long number(const char *text)
{
	return strtoul(text, NULL, 0);
}

int main(int argc, char **argv)
{
	unsigned long rounds, seconds;
	time_t begin;

	if (argc != 9)
		errx(2, "usage: fuzz_attach SEEDS WORK SAVE SEED FIRST ROUNDS SECONDS JUDGE");
	options.work = argv[2];
	options.save = argv[3];
	options.seed = number(argv[4]);
	options.round = number(argv[5]);
	rounds = number(argv[6]);
	seconds = number(argv[7]);
	options.judge = number(argv[8]);
	load_originals(argv[1]);
	open_place(&container_place, "disk.vhdx");
	open_place(&sidecar_place, "disk.vhdx.lrct");
	open_place(&parent_place, "parent.vhdx");
	kernel_log_open();
	watch_start(PATIENCE, hung);
	begin = time(NULL);
	while (counts.rounds < rounds && time(NULL) - begin < (time_t)seconds &&
	       counts.failures < FAILURES) {
		run_round();
		options.round++;
	}
	report();
	return counts.failures ? 1 : 0;
}
