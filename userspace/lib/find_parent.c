// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * From the parent locator of a differencing disk to a file.
 *
 * A path is looked for below the directory of the file that has it, or below a directory that
 * whoever attaches has mapped it to. Of everything else, it is only told.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <core/vhdx/locator.h>
#include "image_file.h"

/* Of a path, in a message: whoever wrote it may have made it longer than any message. */
#define SHOWN	"%.1024s"

/**
 * struct search - for the parent of one container
 * @tried:	what came of each path, for the message
 * @err:	of the first one that is there, and can't be had
 */
struct search {
	const struct origin *origin;
	const char *const *path_maps;
	struct found_parent *found;
	FILE *tried;
	bool any;
	int err;
};

void release_found(struct found_parent *found)
{
	if (found->fd >= 0)
		close(found->fd);
	if (found->root >= 0)
		close(found->root);
	free(found->path);
	free(found->beneath);
	*found = (struct found_parent)FOUND_PARENT_NONE;
}

/* Sets @found->path. -ENOMEM: not noted. */
static int name_found(struct found_parent *found, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vasprintf(&found->path, format, args);
	va_end(args);
	if (length >= 0)
		return 0;
	found->path = NULL;
	return -ENOMEM;
}

int find_named_parent(struct found_parent *found, const char *path)
{
	found->fd = open(path, O_PATH | O_CLOEXEC);
	if (found->fd < 0)
		return explain_missing(-errno, path);
	return name_found(found, "%s", path) ? fail_errno(-ENOMEM, "%s", path) : 0;
}

static const char *reason_for(int err)
{
	switch (err) {
	case -EXDEV:
		return "it leads out of that directory";
	case -ELOOP:
		return "a symbolic link is on the way";
	case -EISDIR:
	case -EMEDIUMTYPE:
		return "no regular file";
	default:
		return strerror(-err);
	}
}

static bool is_absence(int err)
{
	return err == -ENOENT || err == -ENOTDIR || err == -EXDEV || err == -ELOOP ||
	       err == -EISDIR || err == -EMEDIUMTYPE || err == -ENAMETOOLONG;
}

__attribute__((format(printf, 2, 3)))
static void note_tried(struct search *search, const char *format, ...)
{
	va_list args;

	fputs(search->any ? ", " : "", search->tried);
	va_start(args, format);
	vfprintf(search->tried, format, args);
	va_end(args);
	search->any = true;
}

static void note_failure(struct search *search, const char *path, const char *where, int err)
{
	note_tried(search, SHOWN " in " SHOWN " (%s)", path, where, reason_for(err));
	if (!is_absence(err) && !search->err)
		search->err = err;
}

/* 1: found; 0: not; -ENOMEM. @root becomes the search's. */
static int look_beneath(struct search *search, int root, const char *directory, const char *path,
			const char *where)
{
	struct found_parent *found = search->found;

	found->root = root;
	found->beneath = path_beneath(directory, path);
	if (!found->beneath)
		return -ENOMEM;
	found->fd = find_beneath(root, found->beneath);
	if (found->fd >= 0)
		return name_found(found, "%s/%s", where, found->beneath) ?: 1;
	note_failure(search, found->beneath, where, found->fd);
	release_found(found);
	return 0;
}

/* Who maps a path trusts what it is mapped to: a file or device, or what is in a directory. */
static int look_where_mapped(struct search *search, const char *to, const char *rest)
{
	struct found_parent *found = search->found;
	int root;

	if (*rest) {
		root = open(to, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (root >= 0)
			return look_beneath(search, root, "", rest, to);
		note_failure(search, rest, to, -errno);
		return 0;
	}
	found->fd = open(to, O_PATH | O_CLOEXEC);
	if (found->fd >= 0)
		return name_found(found, "%s", to) ?: 1;
	note_tried(search, "%s (%s)", to, strerror(errno));
	return 0;
}

/* By the first map that the path begins with. -ENXIO: there is none. */
static int look_by_maps(struct search *search, const char *path)
{
	const char *const *map;
	const char *equals;
	const char *rest;
	char *from;

	for (map = search->path_maps; map && *map; map++) {
		equals = strchr(*map, '=');
		from = strndup(*map, equals - *map);
		if (!from)
			return -ENOMEM;
		rest = path_behind(path, from);
		free(from);
		if (rest)
			return look_where_mapped(search, equals + 1, rest);
	}
	return -ENXIO;
}

/* Of the directory, for people: /proc knows. */
static void name_root(int root, char name[VHDX_PATH_TEXT])
{
	char link[32];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", root);
	length = readlink(link, name, VHDX_PATH_TEXT - 1);
	name[length < 0 ? 0 : length] = '\0';
}

static int look_beside(struct search *search, const char *path)
{
	const struct origin *origin = search->origin;
	char where[VHDX_PATH_TEXT];
	int root;

	if (origin->root < 0) {
		note_tried(search, SHOWN " (of a file that is in no directory)", path);
		return 0;
	}
	root = fcntl(origin->root, F_DUPFD_CLOEXEC, 0);
	if (root < 0) {
		note_failure(search, path, origin->directory, -errno);
		return 0;
	}
	name_root(root, where);
	return look_beneath(search, root, origin->directory, path, where);
}

static int look(struct search *search, const char *path)
{
	int found = look_by_maps(search, path);

	if (found != -ENXIO)
		return found;
	if (is_relative_path(path))
		return look_beside(search, path);
	note_tried(search, SHOWN " (looked for nowhere)", path);
	return 0;
}

static int look_by_locator(struct search *search, struct image_file *image,
			   const struct container *child)
{
	const struct vhdx_locator *locator = &image->image.locator;
	enum vhdx_locator_path which;
	struct vhdx_diag diag = { 0 };
	int found = 0;
	char *path;
	int err;

	for (which = 0; which < VHDX_LOCATOR_PATHS && !found; which++) {
		err = vhdx_locator_path(image_store(image), locator, which, &path, &diag);
		if (err)
			return fail_kernel(err, diag.reason, child->path, diag.text);
		if (path)
			found = look(search, path);
		vhdx_free(path);
	}
	return found < 0 ? fail_errno(found, "%s", child->path) : found;
}

const struct vhdx_chain_options below_the_child = { .size = sizeof(below_the_child) };

static int explain_not_found(const struct search *search, const char *child, const char *tried,
			     const struct vhdx_chain_options *options, const char *named)
{
	const int err = search->err ? search->err : -ENOENT;
	const char *why = search->any ? tried : "it has no path to it";

	if (options != &below_the_child)
		return fail(err, VHDX_REASON_NONE,
			    "%s: a differencing disk, whose parent is not found: %s: name it (%s--parent FILE), or say where such paths lie (--map-path FROM=TO)",
			    child, why, named);
	return fail(err, VHDX_REASON_NONE,
		    "%s: a differencing disk, whose parent is not found: %s: attach the disk for reading (`vhdxctl attach --read-only %s--parent FILE DISK`), and ask it; or move the parent below the directory of its child",
		    child, why, named);
}

int find_parent(struct found_parent *found, const struct container *child,
		struct image_file *image, const struct origin *origin,
		const struct vhdx_chain_options *options, const char *named)
{
	struct search search = {
		.origin = origin,
		.path_maps = options->path_maps,
		.found = found,
	};
	char *tried = NULL;
	size_t length;
	int err;

	search.tried = open_memstream(&tried, &length);
	if (!search.tried)
		return fail_errno(-ENOMEM, "%s", child->path);
	err = look_by_locator(&search, image, child);
	if (fclose(search.tried) && err >= 0)
		err = fail_errno(-ENOMEM, "%s", child->path);
	else if (!err)
		err = explain_not_found(&search, child->path, tried, options, named);
	free(tried);
	return err > 0 ? 0 : err;
}
