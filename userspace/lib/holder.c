// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What keeps a disk in use until an administrator ends it: mounts, device mapper, swap, modules of
 * the kernel. A process that merely has it open, as udev does to look into it, is not found here.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

/**
 * struct part - a disk or a partition of it
 * @index:	the disk's
 * @name:	"vhdx0", "vhdx0p1"
 * @at:		its directory, from the disk's: "" or "vhdx0p1/"
 */
struct part {
	int index;
	char name[VHDX_DEVICE_NAME];
	char at[VHDX_DEVICE_NAME];
};

/* As a line of /proc/self/mountinfo has it. Of btrfs only the source tells the device. */
static bool is_of(char *line, const char *name, const char *number)
{
	char *source = strstr(line, " - ");
	char found[16];

	if (sscanf(line, "%*s %*s %15s", found) == 1 && !strcmp(found, number))
		return true;
	source = source ? strchr(source + 3, ' ') : NULL;
	if (!source || strncmp(source, " /dev/", 6) != 0)
		return false;
	source += 6;
	return !strncmp(source, name, strlen(name)) && source[strlen(name)] == ' ';
}

static bool is_mounted(const struct part *part, char *text, size_t size)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	char attribute[VHDX_DEVICE_NAME + 8];
	char number[16];
	char *line = NULL;
	size_t room = 0;
	bool found = false;
	int begin, end;

	if (!mounts)
		return false;
	snprintf(attribute, sizeof(attribute), "%sdev", part->at);
	sysfs_read(part->index, attribute, number, sizeof(number));
	while (!found && getline(&line, &room, mounts) >= 0) {
		end = 0;
		/* Nothing is assigned: 0 is all that it can return, unless the line is empty. */
		found = sscanf(line, "%*s %*s %*s %*s %n%*s%n", &begin, &end) == 0 && end &&
			is_of(line, part->name, number);
	}
	if (found)
		snprintf(text, size, "/dev/%s is mounted on %.*s", part->name, end - begin,
			 line + begin);
	free(line);
	fclose(mounts);
	return found;
}

static bool is_swap(const struct part *part, char *text, size_t size)
{
	FILE *swaps = fopen("/proc/swaps", "re");
	char *line = NULL;
	size_t room = 0;
	bool found = false;
	char node[32];

	if (!swaps)
		return false;
	while (!found && getline(&line, &room, swaps) >= 0)
		found = sscanf(line, "/dev/%31s", node) == 1 && !strcmp(node, part->name);
	if (found)
		snprintf(text, size, "/dev/%s is used as swap", part->name);
	free(line);
	fclose(swaps);
	return found;
}

static bool is_below_another(const struct part *part, char *text, size_t size)
{
	char path[128];
	struct dirent *entry;
	bool found = false;
	DIR *holders;

	snprintf(path, sizeof(path), SYS_BLOCK "/vhdx%d/%sholders", part->index, part->at);
	holders = opendir(path);
	if (!holders)
		return false;
	while (!found && (entry = readdir(holders))) {
		found = entry->d_name[0] != '.';
		if (found)
			snprintf(text, size, "/dev/%s is used by %s", part->name, entry->d_name);
	}
	closedir(holders);
	return found;
}

static bool is_held(const struct part *part, char *text, size_t size)
{
	return is_mounted(part, text, size) || is_below_another(part, text, size) ||
	       is_swap(part, text, size);
}

/* It was told to let go, and did not. */
static bool is_held_by_module(int index, char *text, size_t size)
{
	char names[256];

	if (sysfs_read(index, "vhdx/holders", names, sizeof(names)) || !names[0])
		return false;
	snprintf(text, size, "the kernel module %.*s holds it", (int)strcspn(names, "\n"), names);
	return true;
}

bool vhdx_is_held(int index, char *text, size_t size)
{
	struct part part = { .index = index };
	struct dirent *entry;
	bool held;
	char path[64];
	size_t length;
	DIR *parts;

	text[0] = '\0';
	snprintf(part.name, sizeof(part.name), "vhdx%d", index);
	held = is_held(&part, text, size) || is_held_by_module(index, text, size);
	length = strlen(part.name);
	snprintf(path, sizeof(path), SYS_BLOCK "/vhdx%d", index);
	parts = held ? NULL : opendir(path);
	if (!parts)
		return held;
	while (!held && (entry = readdir(parts))) {
		if (strncmp(entry->d_name, path + sizeof(SYS_BLOCK), length) != 0 ||
		    entry->d_name[length] != 'p' ||
		    strlen(entry->d_name) >= sizeof(part.name) - 1)
			continue;
		snprintf(part.name, sizeof(part.name), "%s", entry->d_name);
		snprintf(part.at, sizeof(part.at), "%s/", part.name);
		held = is_held(&part, text, size);
	}
	closedir(parts);
	return held;
}
