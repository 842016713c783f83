// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * From what a person types to the number of a disk.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "internal.h"

int index_from_name(const char *name)
{
	if (!strncmp(name, "/dev/vhdx", 9))
		name += 9;
	else if (!strncmp(name, "vhdx", 4))
		name += 4;
	if (!*name || strspn(name, "0123456789") != strlen(name) || strlen(name) > 9)
		return -1;
	return strtoul(name, NULL, 10);
}

static bool same_device(const char *text, dev_t device)
{
	char known[32];

	snprintf(known, sizeof(known), "%u:%u", major(device), minor(device));
	return !strcmp(text, known);
}

bool is_layer(int index, unsigned int position, const struct stat *st)
{
	char text[VHDX_PATH_TEXT];
	struct stat other;
	char inode[32];

	if (sysfs_read_layer(index, position, "container_dev", text, sizeof(text)))
		return false;
	if (sysfs_read_layer(index, position, "container_ino", inode, sizeof(inode)) ||
	    strtoull(inode, NULL, 10) != (S_ISBLK(st->st_mode) ? 0 : st->st_ino))
		return false;
	if (same_device(text, S_ISBLK(st->st_mode) ? st->st_rdev : st->st_dev))
		return true;
	/* btrfs and others show stat(2) another device than the kernel's own. */
	return !S_ISBLK(st->st_mode) &&
	       !sysfs_read_layer(index, position, "container", text, sizeof(text)) &&
	       !stat(text, &other) &&
	       other.st_dev == st->st_dev && other.st_ino == st->st_ino;
}

bool is_container(int index, const struct stat *st)
{
	return is_layer(index, 0, st);
}

static bool is_parent(int index, const struct stat *st)
{
	char text[32];
	unsigned int i;

	for (i = 1; !sysfs_read_layer(index, i, "container_ino", text, sizeof(text)); i++)
		if (is_layer(index, i, st))
			return true;
	return false;
}

/* Is it another node, or a link to a node, of the disk? */
static bool is_node(int index, const struct stat *st)
{
	char text[32];

	return !sysfs_read(index, "dev", text, sizeof(text)) && same_device(text, st->st_rdev);
}

/* The first disk that @matches; -ENODEV: none. */
static int find(bool (*matches)(int index, const struct stat *st), const struct stat *st,
		int *index)
{
	int found = -ENODEV;
	int *indices;
	size_t count;
	size_t i;
	int err;

	err = sysfs_indices(&indices, &count);
	if (err)
		return err;
	for (i = 0; i < count && found; i++) {
		if (matches(indices[i], st)) {
			*index = indices[i];
			found = 0;
		}
	}
	free(indices);
	return found;
}

/* Is a name of the kernel's the prefix and a number, and what comes behind it? */
static bool is_numbered(const char *name, const char *prefix, int *index, char **rest)
{
	const size_t length = strlen(prefix);

	if (strncmp(name, prefix, length) != 0 || name[length] < '0' || name[length] > '9')
		return false;
	*index = (int)strtol(name + length, rest, 10);
	return true;
}

int explain_no_disk(const char *name)
{
	char link[64];
	char target[512];
	const char *own;
	char *rest;
	struct stat st;
	ssize_t length;
	int index;

	if (stat(name, &st))
		return 0;
	if (!S_ISBLK(st.st_mode) && !S_ISCHR(st.st_mode))
		return check_kind(name, &st);
	snprintf(link, sizeof(link), "/sys/dev/%s/%u:%u", S_ISBLK(st.st_mode) ? "block" : "char",
		 major(st.st_rdev), minor(st.st_rdev));
	length = readlink(link, target, sizeof(target) - 1);
	if (length < 0)
		return check_kind(name, &st);
	target[length] = '\0';
	own = strrchr(target, '/');
	own = own ? own + 1 : target;
	if (is_numbered(own, "vhdx", &index, &rest) && *rest == 'p')
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: a partition: name the disk that it is on, /dev/vhdx%d (offsets are the whole disk's)",
			    name, index);
	if (is_numbered(own, "vhdxc", &index, &rest) && !*rest)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: the change-tracking device of a disk: name the disk itself, /dev/vhdx%d",
			    name, index);
	return check_kind(name, &st);
}

int find_by_container(const struct stat *st, int *index)
{
	return find(is_container, st, index);
}

int find_by_parent(const struct stat *st, int *index)
{
	return find(is_parent, st, index);
}

/* Was it attached by this path, as the kernel shows it? */
static bool has_path(int index, const char *path)
{
	char text[VHDX_PATH_TEXT];

	return !sysfs_read(index, "vhdx/container", text, sizeof(text)) && !strcmp(text, path);
}

static int explain_several(const char *name, const int *indices, size_t count)
{
	char device[VHDX_DEVICE_NAME];
	char *names = NULL;
	size_t length;
	FILE *list;
	size_t i;
	int err;

	list = open_memstream(&names, &length);
	if (!list)
		return fail_errno(-ENOMEM, "%s", name);
	for (i = 0; i < count; i++) {
		device_name(indices[i], device, sizeof(device));
		fprintf(list, "%s%s", i ? ", " : "", device);
	}
	if (fclose(list))
		err = fail_errno(-ENOMEM, "%s", name);
	else
		err = fail(-EINVAL, VHDX_REASON_ARGUMENT,
			   "%s: the container of several disks: name the disk, one of %s", name,
			   names);
	free(names);
	return err;
}

/*
 * The disk that is meant by the path @name of its container, which is @st. Of several that read
 * one file it is the one that was attached by this very path, if it is the only one: whichever
 * came first may have another sidecar, or be somebody else's. -ENODEV: none.
 */
static int find_by_path(const char *name, const struct stat *st, int *index)
{
	char *path = NULL;
	size_t named = 0;
	size_t count = 0;
	int *indices;
	size_t all;
	size_t i;
	int err;

	err = sysfs_indices(&indices, &all);
	if (err)
		return err;
	for (i = 0; i < all; i++)
		if (is_container(indices[i], st))
			indices[count++] = indices[i];
	if (count > 1)
		path = realpath(name, NULL);
	for (i = 0; path && i < count; i++) {
		if (has_path(indices[i], path)) {
			*index = indices[i];
			named++;
		}
	}
	if (!count)
		err = -ENODEV;
	else if (count == 1)
		*index = indices[0];
	else if (named != 1)
		err = explain_several(name, indices, count);
	free(path);
	free(indices);
	return err;
}

static bool is_sidecar(int index, const struct stat *st)
{
	char path[VHDX_PATH_TEXT];
	struct stat other;

	return !sysfs_read(index, "vhdx/sidecar", path, sizeof(path)) && !stat(path, &other) &&
	       (S_ISBLK(st->st_mode) ? S_ISBLK(other.st_mode) && other.st_rdev == st->st_rdev :
		other.st_dev == st->st_dev && other.st_ino == st->st_ino);
}

static bool is_sidecar_of_writer(int index, const struct stat *st)
{
	char text[8];

	return !sysfs_read(index, "vhdx/read_only", text, sizeof(text)) && text[0] == '0' &&
	       is_sidecar(index, st);
}

int find_by_sidecar(const struct stat *st, bool write, int *index)
{
	return find(write ? is_sidecar : is_sidecar_of_writer, st, index);
}

static int find_by_number(const char *name, int number, int *index)
{
	if (sysfs_exists(number)) {
		*index = number;
		return 0;
	}
	if (!strchr(name, '/') && !access(name, F_OK))
		return fail(-ENODEV, VHDX_REASON_NONE,
			    "%s: no such disk (`vhdxctl list` shows them all); the file of this name is ./%s",
			    name, name);
	if (!module_is_loaded())
		return fail(-ENODEV, VHDX_REASON_NONE,
			    "%s: no such disk, and the module is not loaded: `modprobe vhdx`",
			    name);
	return fail(-ENODEV, VHDX_REASON_NONE, "%s: no such disk: `vhdxctl list` shows them all",
		    name);
}

int check_name(const char *name)
{
	return name ? 0 : fail(-EINVAL, VHDX_REASON_ARGUMENT,
			       "no name (NULL), where a disk or a file is wanted");
}

int find_disk(const char *name, int *index)
{
	struct stat st;
	int number;
	int err;

	err = check_name(name);
	if (err)
		return err;
	number = index_from_name(name);
	if (number >= 0)
		return find_by_number(name, number, index);
	if (stat(name, &st))
		return explain_missing(-errno, name);
	if (S_ISBLK(st.st_mode)) {
		err = find(is_node, &st, index);
		if (err != -ENODEV)
			return err;
	}
	err = find_by_path(name, &st, index);
	if (err != -ENODEV)
		return err;
	/* What is wrong with a set is for who opens it. */
	err = find_by_set(name, index);
	clear_error();
	return err ? 1 : 0;
}

int vhdx_find(const char *name, int *index)
{
	int err;

	clear_error();
	err = find_disk(name, index);
	if (err == 1)
		err = explain_no_disk(name) ?: 1;
	if (err == 1)
		return fail(-ENODEV, VHDX_REASON_NONE,
			    "%s: not attached: `vhdxctl list` shows what is", name);
	return err;
}
