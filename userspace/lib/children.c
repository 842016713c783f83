// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Files that were made of a container: nothing in it says so, but a write to it is the end of
 * them (rule V7). They usually lie beside it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "image_file.h"

/* A directory may be full of other disks. */
#define LOOKED_AT_MAX	1024

static bool is_image_name(const char *name)
{
	const char *suffix = strrchr(name, '.');

	return suffix && (!strcasecmp(suffix, ".avhdx") || !strcasecmp(suffix, ".vhdx"));
}

/* A descriptor or -errno: -ENOENT for what is no regular file. */
static int open_candidate(int directory, const char *name)
{
	int found = find_beneath(directory, name);
	int fd;

	if (found < 0)
		return found;
	fd = reopen(found);
	close(found);
	return fd;
}

static bool is_child(int fd, const char *name, const vhdx_guid *data_write_guid)
{
	char path[NAME_MAX + 1];
	const struct container candidate = { .fd = fd, .path = path };
	const struct vhdx_locator *locator;
	struct image_file image;
	bool found = false;

	snprintf(path, sizeof(path), "%s", name);
	if (!open_image(&image, &candidate) && image.image.geo.has_parent) {
		locator = &image.image.locator;
		found = vhdx_guid_equal(&locator->linkage, data_write_guid) ||
			vhdx_guid_equal(&locator->linkage2, data_write_guid);
	}
	close_image(&image);
	return found;
}

static bool find_child(DIR *directory, const struct container *container,
		       const vhdx_guid *data_write_guid, char name[NAME_MAX + 1])
{
	struct dirent *entry;
	bool found = false;
	int looked_at = 0;
	struct stat st;
	int fd;

	while (!found && looked_at < LOOKED_AT_MAX && (entry = readdir(directory))) {
		if (!is_image_name(entry->d_name))
			continue;
		looked_at++;
		fd = open_candidate(dirfd(directory), entry->d_name);
		if (fd < 0)
			continue;
		found = !fstat(fd, &st) && st.st_ino != container->st.st_ino &&
			is_child(fd, entry->d_name, data_write_guid);
		if (found)
			snprintf(name, NAME_MAX + 1, "%s", entry->d_name);
		close(fd);
	}
	return found;
}

/* 1: there is one; 0: none was found; -errno, noted. */
static int find_child_beside(const struct container *container, const struct image_file *image,
			     char name[NAME_MAX + 1])
{
	struct origin origin = ORIGIN_NONE;
	DIR *directory = NULL;
	int err;
	int fd;

	err = origin_of(&origin, container);
	if (err || origin.root < 0)
		goto out;
	fd = openat(origin.root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	directory = fd < 0 ? NULL : fdopendir(fd);
	if (directory)
		err = find_child(directory, container, &image->image.header.data_write_guid,
				 name);
	else if (fd >= 0)
		close(fd);
	clear_error();
out:
	if (directory)
		closedir(directory);
	release_origin(&origin);
	return err;
}

int refuse_with_children(const struct container *container, const struct image_file *image)
{
	char name[NAME_MAX + 1];
	int found = find_child_beside(container, image, name);

	if (found <= 0)
		return found;
	return fail(-EBUSY, VHDX_REASON_IN_USE,
		    "%s: the parent of %s beside it, which can't be used any more once this is written: attach that one, or this read-only; to give that one up, --force",
		    container->path, name);
}

int refuse_left_behind(const struct container *container, const struct image_file *image)
{
	char name[NAME_MAX + 1];
	int found = find_child_beside(container, image, name);

	if (found <= 0)
		return found;
	return fail(-EUCLEAN, VHDX_REASON_CORRUPT,
		    "%s: the VHD Set says that its disk is in this file, but %s beside it was made of it: the set is damaged, or older than that; name the .avhdx that the disk is in",
		    container->path, name);
}
