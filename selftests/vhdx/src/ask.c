// SPDX-License-Identifier: GPL-2.0-only
/*
 * ask - use <linux/vhdx.h> from C; built for 64 and for 32 bits, to say the same
 *
 *	ask layout				sizes and offsets of all structures
 *	ask questions NODE LIMIT TARGET OFFSET LENGTH CAPACITY
 *	ask seal NODE LABEL
 *	ask forget NODE ID
 *
 * NODE is a /dev/vhdxcN; LIMIT, TARGET and ID are struct vhdx_point_id in hex. What
 * comes back is printed in hex, byte by byte, but for the pointers that went in.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/vhdx.h>

static void print_hex(const char *name, const void *data, size_t length)
{
	const uint8_t *bytes = data;
	size_t i;

	printf("%s ", name);
	for (i = 0; i < length; i++)
		printf("%02x", bytes[i]);
	putchar('\n');
}

static struct vhdx_point_id id_from(const char *text)
{
	struct vhdx_point_id id;
	uint8_t *bytes = (uint8_t *)&id;
	size_t i;

	if (strlen(text) != 2 * sizeof(id))
		errx(2, "%s: an id has %zu digits", text, 2 * sizeof(id));
	for (i = 0; i < sizeof(id); i++)
		if (sscanf(text + 2 * i, "%2hhx", &bytes[i]) != 1)
			errx(2, "%s: no hex", text);
	return id;
}

static int open_node(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static void call(int fd, const char *name, unsigned long command, void *argument)
{
	int result = ioctl(fd, command, argument) ? errno : 0;

	printf("%s errno %d\n", name, result);
}

#define SIZE(type)		printf("%s %zu\n", #type, sizeof(struct type))
#define OFFSET(type, field)	printf("%s.%s %zu\n", #type, #field, offsetof(struct type, field))

static void layout(void)
{
	SIZE(vhdx_point_id);
	OFFSET(vhdx_point_id, sequence);
	SIZE(vhdx_range);
	SIZE(vhdx_layer);
	SIZE(vhdx_attach);
	OFFSET(vhdx_attach, message);
	OFFSET(vhdx_attach, reason);
	SIZE(vhdx_detach);
	SIZE(vhdx_seal);
	OFFSET(vhdx_seal, ids);
	OFFSET(vhdx_seal, reason);
	SIZE(vhdx_info);
	OFFSET(vhdx_info, virtual_disk_size);
	OFFSET(vhdx_info, reason);
	SIZE(vhdx_tracking_state);
	OFFSET(vhdx_tracking_state, most_recent_id);
	OFFSET(vhdx_tracking_state, reason);
	SIZE(vhdx_tracking_enable);
	OFFSET(vhdx_tracking_enable, message);
	OFFSET(vhdx_tracking_enable, first_point);
	SIZE(vhdx_tracking_disable);
	SIZE(vhdx_tracking_reset);
	OFFSET(vhdx_tracking_reset, first_point);
	SIZE(vhdx_point);
	OFFSET(vhdx_point, time_ns);
	OFFSET(vhdx_point, label);
	SIZE(vhdx_get_points);
	OFFSET(vhdx_get_points, output);
	OFFSET(vhdx_get_points, reason);
	SIZE(vhdx_forget);
	OFFSET(vhdx_forget, id);
	OFFSET(vhdx_forget, reason);
	SIZE(vhdx_get_virtual_disk_changes);
	OFFSET(vhdx_get_virtual_disk_changes, target_id);
	OFFSET(vhdx_get_virtual_disk_changes, byte_offset);
	OFFSET(vhdx_get_virtual_disk_changes, output);
	OFFSET(vhdx_get_virtual_disk_changes, processed_byte_length);
	OFFSET(vhdx_get_virtual_disk_changes, complete_to_id);
	OFFSET(vhdx_get_virtual_disk_changes, reason);
	SIZE(vhdx_get_allocated_ranges);
	SIZE(vhdx_layer_info);
	SIZE(vhdx_get_layers);
}

static void ask_points(int fd)
{
	static struct vhdx_point points[64];
	struct vhdx_get_points argument = {
		.size = sizeof(argument),
		.output = (uintptr_t)points,
		.output_capacity = 64,
		.point_size = sizeof(points[0]),
	};

	call(fd, "points", VHDX_GET_POINTS, &argument);
	argument.output = 0;
	print_hex("points", &argument, sizeof(argument));
	print_hex("points", points, argument.output_count * sizeof(*points));
}

static void ask_changes(int fd, char **words)
{
	uint32_t capacity = strtoul(words[4], NULL, 0);
	struct vhdx_range *ranges = calloc(capacity, sizeof(*ranges));
	struct vhdx_get_virtual_disk_changes argument = {
		.size = sizeof(argument),
		.limit_id = id_from(words[0]),
		.target_id = id_from(words[1]),
		.byte_offset = strtoull(words[2], NULL, 0),
		.byte_length = strtoull(words[3], NULL, 0),
		.output = (uintptr_t)ranges,
		.output_capacity = capacity,
		.range_size = sizeof(*ranges),
	};

	call(fd, "changes", VHDX_GET_VIRTUAL_DISK_CHANGES, &argument);
	argument.output = 0;
	print_hex("changes", &argument, sizeof(argument));
	print_hex("changes", ranges, argument.output_count * sizeof(*ranges));
	free(ranges);
}

static void questions(char **words)
{
	struct vhdx_tracking_state state = { .size = sizeof(state) };
	struct vhdx_info info = { .size = sizeof(info) };
	int fd = open_node(words[0]);

	call(fd, "info", VHDX_GET_INFO, &info);
	print_hex("info", &info, sizeof(info));
	call(fd, "state", VHDX_GET_TRACKING_STATE, &state);
	print_hex("state", &state, sizeof(state));
	ask_points(fd);
	ask_changes(fd, words + 1);
}

static void seal(char **words)
{
	struct vhdx_point_id id = { 0 };
	__s32 fd = open_node(words[0]);
	struct vhdx_seal argument = {
		.size = sizeof(argument),
		.fds = (uintptr_t)&fd,
		.ids = (uintptr_t)&id,
		.count = 1,
		.label_length = strnlen(words[1], VHDX_LABEL_MAX),
	};

	memcpy(argument.label, words[1], argument.label_length);
	call(open_node("/dev/vhdx-control"), "seal", VHDX_SEAL, &argument);
	print_hex("id", &id, sizeof(id));
}

static void forget(char **words)
{
	struct vhdx_forget argument = { .size = sizeof(argument), .id = id_from(words[1]) };

	call(open_node(words[0]), "forget", VHDX_FORGET, &argument);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "layout"))
		layout();
	else if (argc == 8 && !strcmp(argv[1], "questions"))
		questions(argv + 2);
	else if (argc == 4 && !strcmp(argv[1], "seal"))
		seal(argv + 2);
	else if (argc == 4 && !strcmp(argv[1], "forget"))
		forget(argv + 2);
	else
		errx(2, "usage: ask layout | questions NODE LIMIT TARGET OFFSET LENGTH CAPACITY | seal NODE LABEL | forget NODE ID");
	return 0;
}
