// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver made of files, preloaded into vhdxctl: tests see which ioctls were made,
 * and choose what they answer. Everything lies below $FAKE_ROOT:
 *
 *	sys, dev	what is opened instead of /sys/block, /sys/module/vhdx, /dev/vhdx*
 *	calls		a line for each ioctl
 *	fail/NAME	"errno reason times message": the next calls of NAME fail
 *	busy.N		disk N is not detached
 *	rival		who enables tracking finds that somebody else was faster: "opened" his
 *			sidecar, "took" his descriptor, or "renamed" something over it
 *	points.N	"sequence gap_reason label" for each point
 *	layers.N	how many files it is made of
 *	guid.N.K	DataWriteGuid that its parent K had when it was attached
 *	ranges.N	"offset length", or "offset length flags", for each changed range
 *	allocated.N	the same of what it has at all
 *	delay.N		a query takes so many milliseconds
 *	state.N		"state newer_changes gap_reason unit answer_flags"
 *	real-ids	a disk has the VirtualDiskId and the DataWriteGuid of its container
 *	id.N		VirtualDiskId and DataWriteGuid of disk N
 *	copy-of		which disk the next ones are copies of
 *	state-at-attach	the same, for the next disk that is attached
 *	step.N		a query processes so many bytes at the most
 *	hang.N		while it is there, no query of disk N ends
 *	diskseq		of the newest attachment
 *	plain-renames	a rename takes no flags
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/vhdx.h>

#define DISKS		8
#define DISK_SECTORS	2097152ULL	/* 1 GiB */
#define DISK_ID_OFFSET	0x310010	/* in an image made by qemu-img */
#define DATA_WRITE_GUID_OFFSET	0x10020	/* of the first header; qemu-img writes both alike */

/* ---- below the root ---------------------------------------------------- */

static const char *const redirected[] = { "/sys/block", "/sys/class", "/sys/module/vhdx",
					   "/dev/vhdx" };

static const char *below_root(const char *path, char *buf)
{
	size_t i;

	for (i = 0; i < sizeof(redirected) / sizeof(redirected[0]); i++) {
		if (!strncmp(path, redirected[i], strlen(redirected[i]))) {
			snprintf(buf, PATH_MAX, "%s%s", getenv("FAKE_ROOT"), path);
			return buf;
		}
	}
	return path;
}

int open64(const char *path, int flags, ...);
static int redirected_open(const char *path, int flags, unsigned int mode)
{
	char buf[PATH_MAX];

	/* The nodes are plain files here: O_DIRECT may not be for them. */
	if (!strncmp(path, "/dev/vhdx", 9))
		flags &= ~O_DIRECT;
	return openat(AT_FDCWD, below_root(path, buf), flags, mode);
}

int open64(const char *path, int flags, ...)
{
	va_list args;
	unsigned int mode;

	va_start(args, flags);
	mode = va_arg(args, unsigned int);
	va_end(args);
	return redirected_open(path, flags, mode);
}

/* A node is an empty file here; one with something in it is what it is. */
int fstat64(int fd, struct stat64 *st)
{
	int (*real)(int fd, struct stat64 *st) = dlsym(RTLD_NEXT, "fstat64");
	const char *root = getenv("FAKE_ROOT");
	char path[PATH_MAX] = "";
	char link[32];
	const char *name;

	if (real(fd, st))
		return -1;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (st->st_size || readlink(link, path, sizeof(path) - 1) < 0 || !root ||
	    strncmp(path, root, strlen(root)) || strncmp(path + strlen(root), "/dev/vhdx", 9))
		return 0;
	name = path + strlen(root) + 9;
	st->st_mode = (st->st_mode & 07777) | (*name >= '0' && *name <= '9' ? S_IFBLK : S_IFCHR);
	st->st_rdev = makedev(259, strtoul(name + (*name == 'c'), NULL, 10));
	return 0;
}

int access(const char *path, int mode)
{
	char buf[PATH_MAX];

	return faccessat(AT_FDCWD, below_root(path, buf), mode, 0);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags)
{
	int (*real)(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags);
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/plain-renames", getenv("FAKE_ROOT"));
	if (flags && !faccessat(AT_FDCWD, path, F_OK, 0)) {
		errno = EINVAL;
		return -1;
	}
	real = dlsym(RTLD_NEXT, "renameat2");
	return real(from_fd, from, to_fd, to, flags);
}

DIR *opendir(const char *path)
{
	DIR *(*real)(const char *path) = dlsym(RTLD_NEXT, "opendir");
	char buf[PATH_MAX];

	return real(below_root(path, buf));
}

__attribute__((format(printf, 2, 3)))
static FILE *open_file(const char *mode, const char *format, ...)
{
	char name[128];
	char path[PATH_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(name, sizeof(name), format, args);
	va_end(args);
	snprintf(path, sizeof(path), "%s/%s", getenv("FAKE_ROOT"), name);
	return fopen(path, mode);
}

static void put(int index, const char *attribute, const char *text)
{
	FILE *file = open_file("w", "sys/block/vhdx%d/%s", index, attribute);

	fprintf(file, "%s\n", text);
	fclose(file);
}

static void make_directory(int index, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/sys/block/vhdx%d%s", getenv("FAKE_ROOT"), index, name);
	mkdir(path, 0755);
}

/* ---- calls and failures ------------------------------------------------- */

__attribute__((format(printf, 1, 2)))
static void log_call(const char *format, ...)
{
	FILE *file = open_file("a", "calls");
	va_list args;

	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	fputc('\n', file);
	fclose(file);
}

/* What the test wants of this call; 0: success. */
static int wanted_failure(const char *name, __u32 *reason, __u64 message, __u32 capacity)
{
	char text[256] = "";
	int error = 0;
	int times = 0;
	FILE *file;

	file = open_file("r", "fail/%s", name);
	if (!file)
		return 0;
	if (fscanf(file, "%d %u %d %255[^\n]", &error, reason, &times, text) < 3)
		abort();
	fclose(file);
	if (!times)
		return 0;
	if (message && text[0])
		snprintf((char *)(uintptr_t)message, capacity, "%s", text);
	file = open_file("w", "fail/%s", name);
	fprintf(file, "%d %u %d %s", error, *reason, times - 1, text);
	fclose(file);
	return error;
}

/* ---- the disks ------------------------------------------------------------ */

struct state {
	unsigned int state;
	unsigned int newer_changes;
	unsigned int gap_reason;
	unsigned int unit;
	unsigned int answer_flags;
};

static struct state read_state(int index)
{
	struct state state = { .state = VHDX_TRACKING_ON, .unit = 16384 };
	FILE *file = open_file("r", "state.%d", index);

	if (file) {
		if (fscanf(file, "%u %u %u %u %u", &state.state, &state.newer_changes,
			   &state.gap_reason, &state.unit, &state.answer_flags) != 5)
			abort();
		fclose(file);
	}
	return state;
}

static void write_state(int index, unsigned int state)
{
	FILE *file = open_file("w", "state.%d", index);

	fprintf(file, "%u 0 0 %u 0\n", state, state == VHDX_TRACKING_OFF ? 0 : 16384);
	fclose(file);
}

/* state-at-attach is how the next disk begins. */
static void use_state_of_test(int index)
{
	char from[PATH_MAX];
	char to[PATH_MAX];

	snprintf(from, sizeof(from), "%s/state-at-attach", getenv("FAKE_ROOT"));
	snprintf(to, sizeof(to), "%s/state.%d", getenv("FAKE_ROOT"), index);
	rename(from, to);
}

static void make_id(struct vhdx_point_id *id, __u64 sequence)
{
	memset(id, 0, sizeof(*id));
	memset(id->guid, sequence, sizeof(id->guid));
	id->sequence = sequence;
	id->kind = VHDX_POINT_REFERENCE;
}

/* An element of the caller's size; what is behind ours in it is zero. */
static void put_element(__u64 array, unsigned int number, __u32 stride, const void *element,
			size_t size)
{
	char *to = (char *)(uintptr_t)array + (size_t)number * stride;

	memset(to, 0, stride);
	memcpy(to, element, stride < size ? stride : size);
}

static unsigned int read_points(int index, __u64 points, __u32 stride, unsigned int capacity)
{
	FILE *file = open_file("r", "points.%d", index);
	unsigned int count = 0;
	struct vhdx_point point;
	char label[VHDX_LABEL_MAX + 1];
	unsigned int gap;
	__u64 sequence;

	while (file && fscanf(file, "%llu %u %64[^\n]", &sequence, &gap, label) == 3) {
		memset(&point, 0, sizeof(point));
		make_id(&point.id, sequence);
		point.time_ns = 1700000000123456789ULL + sequence;
		point.gap_reason = gap;
		point.label_length = strcmp(label, "-") ? strlen(label) : 0;
		memcpy(point.label, label, point.label_length);
		if (count < capacity)
			put_element(points, count, stride, &point, sizeof(point));
		count++;
	}
	if (file)
		fclose(file);
	return count;
}

static __u64 add_point(int index, const char *label, int length)
{
	__u64 sequence = read_points(index, 0, 0, 0) + 1;
	FILE *file = open_file("a", "points.%d", index);

	fprintf(file, "%llu 0 %.*s\n", sequence, length ? length : 1, length ? label : "-");
	fclose(file);
	return sequence;
}

/* ---- ioctls ----------------------------------------------------------------- */

static int free_index(int wanted)
{
	char path[64];
	int index;

	for (index = 0; index < DISKS; index++) {
		snprintf(path, sizeof(path), "/sys/block/vhdx%d", index);
		if (access(path, F_OK) && (wanted < 0 || wanted == index))
			return index;
	}
	return -1;
}

/* A number that no other attachment has had. */
static __u64 next_disk_seq(int index)
{
	FILE *file = open_file("r", "diskseq");
	unsigned long long seq = 100;
	char text[32];

	if (file) {
		if (fscanf(file, "%llu", &seq) != 1)
			abort();
		fclose(file);
	}
	snprintf(text, sizeof(text), "%llu", ++seq);
	file = open_file("w", "diskseq");
	fputs(text, file);
	fclose(file);
	put(index, "diskseq", text);
	return seq;
}

static __u64 disk_seq(int index)
{
	FILE *file = open_file("r", "sys/block/vhdx%d/diskseq", index);
	unsigned long long seq = 0;

	if (file) {
		if (fscanf(file, "%llu", &seq) != 1)
			abort();
		fclose(file);
	}
	return seq;
}

static void put_path(int index, const char *attribute, int fd)
{
	char link[64];
	char text[PATH_MAX] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, text, sizeof(text) - 1) < 0)
		abort();
	put(index, attribute, text);
}

/* @directory: "vhdx" or "parentK" */
static void describe_container(int index, const char *directory, int fd)
{
	char name[64];
	char text[64];
	struct stat st;

	fstat(fd, &st);
	snprintf(name, sizeof(name), "%s/container", directory);
	put_path(index, name, fd);
	snprintf(name, sizeof(name), "%s/container_dev", directory);
	snprintf(text, sizeof(text), "%u:%u", major(st.st_dev), minor(st.st_dev));
	put(index, name, text);
	snprintf(name, sizeof(name), "%s/container_ino", directory);
	snprintf(text, sizeof(text), "%" PRIuMAX, (uintmax_t)st.st_ino);
	put(index, name, text);
}

static void describe_parent(int index, unsigned int position, int fd)
{
	/* A device is open for direct I/O. */
	static unsigned char header[4096] __attribute__((aligned(4096)));
	const __u64 offset = DATA_WRITE_GUID_OFFSET / sizeof(header) * sizeof(header);
	char directory[32];
	FILE *file;

	snprintf(directory, sizeof(directory), "/parent%u", position);
	make_directory(index, directory);
	describe_container(index, directory + 1, fd);
	snprintf(directory, sizeof(directory), "parent%u/lost", position);
	put(index, directory, "0");
	if (pread(fd, header, sizeof(header), offset) != sizeof(header))
		abort();
	file = open_file("w", "guid.%d.%u", index, position);
	fwrite(header + DATA_WRITE_GUID_OFFSET - offset, 16, 1, file);
	fclose(file);
}

static void describe_layers(int index, const struct vhdx_layer *layers, unsigned int count)
{
	FILE *file = open_file("w", "layers.%d", index);
	unsigned int i;

	fprintf(file, "%u", count);
	fclose(file);
	describe_container(index, "vhdx", layers[0].container_fd);
	for (i = 1; i < count; i++)
		describe_parent(index, i, layers[i].container_fd);
}

/* What the test has in copy-of, or "none". */
static void put_copy_of(int index)
{
	FILE *file = open_file("r", "copy-of");
	char text[16] = "none";

	if (file) {
		if (fscanf(file, "%15s", text) != 1)
			abort();
		fclose(file);
	}
	put(index, "vhdx/copy_of", text);
}

/* VirtualDiskId lies where qemu-img puts it; most tests had rather know it. */
static void describe_disk(int index, int fd)
{
	FILE *file = open_file("r", "real-ids");
	unsigned char data_write_guid[16];
	unsigned char g[16];
	char text[40];

	memset(g, 0x11, sizeof(g));
	memset(data_write_guid, 0x22, sizeof(data_write_guid));
	if (file) {
		fclose(file);
		if (pread(fd, g, sizeof(g), DISK_ID_OFFSET) < 0 ||
		    pread(fd, data_write_guid, sizeof(data_write_guid),
			  DATA_WRITE_GUID_OFFSET) < 0)
			abort();
	}
	file = open_file("w", "id.%d", index);
	fwrite(g, sizeof(g), 1, file);
	fwrite(data_write_guid, sizeof(data_write_guid), 1, file);
	fclose(file);
	snprintf(text, sizeof(text),
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12],
		 g[13], g[14], g[15]);
	put(index, "vhdx/virtual_disk_id", text);
}

/* A line for each layer below the leaf. */
static void log_parents(const struct vhdx_layer *layers, unsigned int count)
{
	char link[64];
	char path[PATH_MAX];
	unsigned int i;
	ssize_t length;

	for (i = 1; i < count; i++) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", layers[i].container_fd);
		length = readlink(link, path, sizeof(path) - 1);
		path[length < 0 ? 0 : length] = '\0';
		log_call("PARENT writable=%d sidecar=%d %s",
			 (fcntl(layers[i].container_fd, F_GETFL) & O_ACCMODE) == O_RDWR,
			 layers[i].sidecar_fd >= 0, path);
	}
}

static int attach(struct vhdx_attach *args)
{
	const struct vhdx_layer *layer = (const void *)(uintptr_t)args->layers;
	char sectors[32];
	char number[32];
	int error;
	int index;

	log_call("ATTACH flags=%u index=%d writable=%d sidecar=%d", args->flags, args->index,
		 (fcntl(layer->container_fd, F_GETFL) & O_ACCMODE) == O_RDWR,
		 layer->sidecar_fd >= 0);
	log_parents(layer, args->layer_count);
	error = wanted_failure("ATTACH", &args->reason, args->message, args->message_capacity);
	if (error)
		return error;
	index = free_index(args->index);
	if (index < 0)
		return EBUSY;
	args->index = index;
	make_directory(index, "");
	make_directory(index, "/vhdx");
	args->disk_seq = next_disk_seq(index);
	snprintf(sectors, sizeof(sectors), "%llu", DISK_SECTORS);
	put(index, "size", sectors);
	snprintf(number, sizeof(number), "259:%d", index);
	put(index, "dev", number);
	put(index, "vhdx/read_only", args->flags & VHDX_ATTACH_READ_ONLY ? "1" : "0");
	put(index, "vhdx/tracking", layer->sidecar_fd >= 0 ? "on" : "off");
	put(index, "vhdx/reason", "none");
	put(index, "vhdx/unit", layer->sidecar_fd >= 0 ? "16384" : "0");
	put(index, "vhdx/io", "direct");
	put(index, "vhdx/scan", "pending");
	put_copy_of(index);
	describe_layers(index, layer, args->layer_count);
	describe_disk(index, layer->container_fd);
	if (layer->sidecar_fd >= 0)
		put_path(index, "vhdx/sidecar", layer->sidecar_fd);
	write_state(index, layer->sidecar_fd >= 0 ? VHDX_TRACKING_ON : VHDX_TRACKING_OFF);
	use_state_of_test(index);
	fclose(open_file("a", "dev/vhdx%d", index));
	fclose(open_file("a", "dev/vhdxc%d", index));
	return 0;
}

static int detach(struct vhdx_detach *args)
{
	char from[PATH_MAX];
	char to[PATH_MAX];
	int error;

	log_call("DETACH index=%d", args->index);
	error = wanted_failure("DETACH", &args->reason, args->message, args->message_capacity);
	if (error)
		return error;
	if (args->disk_seq && args->disk_seq != disk_seq(args->index))
		return ENODEV;
	snprintf(from, sizeof(from), "%s/busy.%d", getenv("FAKE_ROOT"), args->index);
	if (!faccessat(AT_FDCWD, from, F_OK, 0)) {
		args->reason = VHDX_REASON_IN_USE;
		return EBUSY;
	}
	snprintf(from, sizeof(from), "%s/sys/block/vhdx%d", getenv("FAKE_ROOT"), args->index);
	snprintf(to, sizeof(to), "%s/gone.%d.%d", getenv("FAKE_ROOT"), getpid(), args->index);
	return rename(from, to) ? ENODEV : 0;
}

/* The number in the name of one of our nodes; -1: it is none. */
static int number_of(int fd, const char *prefix)
{
	char link[64];
	char path[PATH_MAX];
	const char *name;
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	path[length < 0 ? 0 : length] = '\0';
	name = strrchr(path, '/');
	return name && !strncmp(name, prefix, strlen(prefix)) ? atoi(name + strlen(prefix)) : -1;
}

static int index_of(int fd)
{
	return number_of(fd, "/vhdxc");
}

static int seal(struct vhdx_seal *args)
{
	const __s32 *fds = (const void *)(uintptr_t)args->fds;
	struct vhdx_point_id *ids = (void *)(uintptr_t)args->ids;
	unsigned int i;
	int error;

	log_call("SEAL count=%u label=%.*s", args->count, args->label_length,
		 (const char *)args->label);
	args->failed = args->count - 1;
	error = wanted_failure("SEAL", &args->reason, args->message, args->message_capacity);
	if (error)
		return error;
	for (i = 0; i < args->count; i++)
		make_id(&ids[i], add_point(index_of(fds[i]), (const char *)args->label,
					   args->label_length));
	return 0;
}

static unsigned int read_layer_count(int index)
{
	FILE *file = open_file("r", "layers.%d", index);
	unsigned int count = 1;

	if (!file)
		return count;
	if (fscanf(file, "%u", &count) != 1)
		abort();
	fclose(file);
	return count;
}

static int get_info(int index, struct vhdx_info *info)
{
	int error = wanted_failure("INFO", &info->reason, info->message,
				   info->message_capacity);
	FILE *file = open_file("r", "id.%d", index);

	if (!file || fread(info->virtual_disk_id, 16, 1, file) != 1 ||
	    fread(info->data_write_guid, 16, 1, file) != 1)
		abort();
	fclose(file);
	info->index = index;
	info->virtual_disk_size = DISK_SECTORS * 512;
	info->block_size = 8 << 20;
	info->logical_sector_size = 512;
	info->physical_sector_size = 4096;
	info->disk_flags = VHDX_DISK_DIRECT_IO;
	info->disk_seq = disk_seq(index);
	info->layer_count = read_layer_count(index);
	return error ? error : info->disk_seq ? 0 : ENODEV;
}

static void read_guid(__u8 *guid, const char *format, int index, unsigned int position)
{
	char name[64];
	FILE *file;

	snprintf(name, sizeof(name), format, index, position);
	file = open_file("r", "%s", name);
	if (!file)
		return;
	/* Behind the VirtualDiskId, of the leaf. */
	if ((!position && fread(guid, 16, 1, file) != 1) || fread(guid, 16, 1, file) != 1)
		abort();
	fclose(file);
}

static bool is_lost(int index, unsigned int position)
{
	FILE *file = open_file("r", "sys/block/vhdx%d/parent%u/lost", index, position);
	bool lost = file && fgetc(file) == '1';

	if (file)
		fclose(file);
	return lost;
}

static int get_layers(int index, struct vhdx_get_layers *args)
{
	struct vhdx_layer_info layer;
	unsigned int i;

	args->layer_count = read_layer_count(index);
	for (i = 0; i < args->layer_count && i < args->output_capacity; i++) {
		memset(&layer, 0, sizeof(layer));
		memset(layer.virtual_disk_id, 0x11, sizeof(layer.virtual_disk_id));
		layer.virtual_disk_size = DISK_SECTORS * 512;
		layer.block_size = 8 << 20;
		layer.disk_flags = VHDX_DISK_DIRECT_IO | (is_lost(index, i) ? VHDX_DISK_LOST : 0);
		read_guid(layer.data_write_guid, i ? "guid.%d.%u" : "id.%d", index, i);
		put_element(args->output, i, args->layer_size, &layer, sizeof(layer));
	}
	args->output_count = i;
	return 0;
}

static int get_state(int index, struct vhdx_tracking_state *args)
{
	int error = wanted_failure("STATE", &args->reason, args->message,
				   args->message_capacity);
	unsigned int count = read_points(index, 0, 0, 0);
	struct state state = read_state(index);

	args->state = state.state;
	args->newer_changes = state.newer_changes;
	args->gap_reason = state.gap_reason;
	args->unit = state.unit;
	args->point_count = count;
	if (count)
		make_id(&args->most_recent_id, count);
	return error;
}

static int get_points(int index, struct vhdx_get_points *args)
{
	int error = wanted_failure("POINTS", &args->reason, args->message,
				   args->message_capacity);

	args->point_count = read_points(index, args->output, args->point_size,
					args->output_capacity);
	args->output_count = args->point_count < args->output_capacity ?
			     args->point_count : args->output_capacity;
	return error;
}

static __u64 step_of(int index, __u64 length)
{
	FILE *file = open_file("r", "step.%d", index);
	__u64 step = length;

	if (file) {
		if (fscanf(file, "%llu", &step) != 1)
			abort();
		fclose(file);
	}
	return step < length ? step : length;
}

/* As a device does that does not answer, or takes its time. */
static void take_time(int index)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	unsigned int ms = 0;
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/hang.%d", getenv("FAKE_ROOT"), index);
	while (!faccessat(AT_FDCWD, path, F_OK, 0))
		nanosleep(&pause, NULL);
	file = open_file("r", "delay.%d", index);
	if (!file)
		return;
	if (fscanf(file, "%u", &ms) != 1)
		abort();
	fclose(file);
	usleep(ms * 1000);
}

static int get_changes(int index, struct vhdx_get_virtual_disk_changes *args)
{
	struct vhdx_range range = { .flags = 0 };
	const bool sums = args->flags & VHDX_CHANGES_COUNT;
	const __u64 start = args->byte_offset;
	__u64 end = start + step_of(index, args->byte_length);
	struct state state = read_state(index);
	__u64 offset, length;
	char line[80];
	FILE *file;
	int error;

	log_call("CHANGES offset=%llu length=%llu%s", args->byte_offset, args->byte_length,
		 sums ? " capacity=0" : "");
	take_time(index);
	args->virtual_disk_size = DISK_SECTORS * 512;
	args->disk_seq = disk_seq(index);
	error = wanted_failure("CHANGES", &args->reason, args->message, args->message_capacity);
	if (error)
		return error;
	args->output_count = 0;
	args->unit = state.unit;
	args->answer_flags = state.answer_flags;
	file = open_file("r", "ranges.%d", index);
	while (file && fgets(line, sizeof(line), file)) {
		__u64 from, to;

		range.flags = 0;
		if (sscanf(line, "%llu %llu %u", &offset, &length, &range.flags) < 2)
			abort();
		from = offset > start ? offset : start;
		to = offset + length < end ? offset + length : end;
		if (from >= to)
			continue;
		if (!sums && args->output_count == args->output_capacity) {
			end = from;
			break;
		}
		range.byte_offset = from;
		range.byte_length = to - from;
		if (!sums)
			put_element(args->output, args->output_count++, args->range_size, &range,
				    sizeof(range));
		args->changed_bytes += to - from;
	}
	if (file)
		fclose(file);
	args->processed_byte_length = end - start;
	return 0;
}

static int get_allocated(int index, struct vhdx_get_allocated_ranges *args)
{
	struct vhdx_range range = { .flags = 0 };
	const __u64 end = args->byte_offset + args->byte_length;
	FILE *file = open_file("r", "allocated.%d", index);
	__u64 offset, length;

	log_call("ALLOCATED offset=%llu length=%llu flags=%u", args->byte_offset,
		 args->byte_length, args->flags);
	args->virtual_disk_size = DISK_SECTORS * 512;
	args->disk_seq = disk_seq(index);
	args->output_count = 0;
	while (file && fscanf(file, "%llu %llu", &offset, &length) == 2) {
		range.byte_offset = offset > args->byte_offset ? offset : args->byte_offset;
		range.byte_length = (offset + length < end ? offset + length : end) -
				    range.byte_offset;
		put_element(args->output, args->output_count++, args->range_size, &range,
			    sizeof(range));
	}
	if (file)
		fclose(file);
	args->processed_byte_length = args->byte_length;
	return 0;
}

/* What somebody else does with the sidecar that was just made; see the file's comment. */
static void be_rival(int index, int fd)
{
	FILE *file = open_file("r", "rival");
	char deed[16] = "";
	char from[PATH_MAX];
	char path[PATH_MAX] = "";
	char link[64];

	if (!file)
		return;
	if (fscanf(file, "%15s", deed) != 1)
		abort();
	fclose(file);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (!strcmp(deed, "opened") && open(link, O_RDWR | O_CLOEXEC) < 0)
		abort();
	if (!strcmp(deed, "took"))
		put_path(index, "vhdx/sidecar", fd);
	snprintf(from, sizeof(from), "%s/rival", getenv("FAKE_ROOT"));
	if (!strcmp(deed, "renamed") &&
	    (readlink(link, path, sizeof(path) - 1) < 0 || rename(from, path)))
		abort();
}

static int enable(int index, struct vhdx_tracking_enable *args)
{
	int error;

	log_call("ENABLE flags=%u sidecar=%d unit=%u", args->flags, args->sidecar_fd >= 0,
		 args->unit);
	error = wanted_failure("ENABLE", &args->reason, args->message, args->message_capacity);
	be_rival(index, args->sidecar_fd);
	if (error)
		return error;
	make_id(&args->first_point, add_point(index, NULL, 0));
	write_state(index, VHDX_TRACKING_ON);
	return 0;
}

static int disable(int index, struct vhdx_tracking_disable *args)
{
	int error;

	log_call("DISABLE");
	error = wanted_failure("DISABLE", &args->reason, args->message, args->message_capacity);
	if (!error)
		write_state(index, VHDX_TRACKING_DISABLED);
	return error;
}

static int reset(int index, struct vhdx_tracking_reset *args)
{
	int error;

	log_call("RESET");
	error = wanted_failure("RESET", &args->reason, args->message, args->message_capacity);
	if (!error)
		make_id(&args->first_point, add_point(index, NULL, 0));
	return error;
}

static int forget(struct vhdx_forget *args)
{
	log_call("FORGET sequence=%llu", args->id.sequence);
	return wanted_failure("FORGET", &args->reason, args->message, args->message_capacity);
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int fd, unsigned long request, ...) = dlsym(RTLD_NEXT, "ioctl");
	const int index = index_of(fd);
	va_list args;
	void *arg;
	int error;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);

	switch (request) {
	case VHDX_ATTACH:
		error = attach(arg);
		break;
	case VHDX_DETACH:
		error = detach(arg);
		break;
	case VHDX_SEAL:
		error = seal(arg);
		break;
	case VHDX_GET_INFO:
		error = get_info(index, arg);
		break;
	case VHDX_GET_LAYERS:
		error = get_layers(index, arg);
		break;
	case VHDX_GET_TRACKING_STATE:
		error = get_state(index, arg);
		break;
	case VHDX_GET_POINTS:
		error = get_points(index, arg);
		break;
	case VHDX_GET_VIRTUAL_DISK_CHANGES:
		error = get_changes(index, arg);
		break;
	case VHDX_GET_ALLOCATED_RANGES:
		error = get_allocated(index, arg);
		break;
	case VHDX_TRACKING_ENABLE:
		error = enable(index, arg);
		break;
	case VHDX_TRACKING_DISABLE:
		error = disable(index, arg);
		break;
	case VHDX_TRACKING_RESET:
		error = reset(index, arg);
		break;
	case VHDX_FORGET:
		error = forget(arg);
		break;
	case BLKGETDISKSEQ:
		*(__u64 *)arg = disk_seq(number_of(fd, "/vhdx"));
		error = 0;
		break;
	default:
		return real(fd, request, arg);
	}
	if (!error)
		return 0;
	errno = error;
	return -1;
}
