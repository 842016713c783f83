// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What a new differencing disk has of its parent, and the paths that lead to it: as
 * Windows has them, since disks move between hosts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <core/offline/check.h>
#include <core/offline/locator_write.h>
#include <core/utf8.h>
#include "create.h"
#include "image_file.h"

/* No volume that Windows has is called so; it looks at the other paths then. */
#define NO_VOLUME	"\\\\?\\Volume{00000000-0000-0000-0000-000000000000}"

/* ---- Paths ---- */

static int refuse_name(const char *path)
{
	return fail(-EINVAL, VHDX_REASON_ARGUMENT,
		    "%s: a backslash in its path is taken for what separates names: rename it",
		    path);
}

static int refuse_bytes(const char *path)
{
	return fail(-EINVAL, VHDX_REASON_ARGUMENT,
		    "%s: its path is no UTF-8, and a parent locator can't have it: rename what is not",
		    path);
}

/* A child can name it. */
static int check_name_of(const char *path)
{
	const u8 *at = (const u8 *)path;
	size_t rest = strlen(path);
	u32 character;
	size_t bytes;

	if (strchr(path, '\\'))
		return refuse_name(path);
	for (; rest; at += bytes, rest -= bytes) {
		bytes = vhdx_utf8_decode(at, rest, &character);
		if (!bytes)
			return refuse_bytes(path);
	}
	return 0;
}

static void to_backslashes(char *path)
{
	for (; *path; path++)
		if (*path == '/')
			*path = '\\';
}

/* Where the new file will be, symbolic links followed; free() it. Or NULL, and errno. */
static char *directory_of(const char *path)
{
	char *copy = strdup(path);
	char *directory;
	char *slash;

	if (!copy)
		return NULL;
	slash = strrchr(copy, '/');
	if (slash)
		slash[slash == copy] = '\0';
	directory = realpath(slash ? copy : ".", NULL);
	free(copy);
	return directory;
}

/* How much of both paths is the same directories: up to behind a slash, or to the end. */
static size_t common_length(const char *directory, const char *path)
{
	size_t common = 0;
	size_t i;

	for (i = 0; directory[i] && directory[i] == path[i]; i++)
		if (path[i] == '/')
			common = i + 1;
	if (!directory[i] && path[i] == '/')
		common = i + 1;
	return common;
}

/* From @directory to @path, both from the root; free() it. */
static char *relative_path(const char *directory, const char *path)
{
	size_t common = common_length(directory, path);
	const char *rest = strlen(directory) < common ? "" : directory + common;
	char *up = strdup(*rest ? "../" : "./");
	char *relative;
	char *longer;

	for (; up && (rest = strchr(rest, '/')); rest++) {
		if (asprintf(&longer, "../%s", up) < 0)
			longer = NULL;
		free(up);
		up = longer;
	}
	if (!up || asprintf(&relative, "%s%s", up, path + common) < 0)
		relative = NULL;
	free(up);
	return relative;
}

/* ---- The locator ---- */

static int write_locator(struct creating *creating, const vhdx_guid *linkage, char *relative,
			 char *absolute)
{
	struct vhdx_locator_text text = {
		.linkage = *linkage,
		.relative = relative,
		.absolute = absolute,
	};
	struct vhdx_diag diag = { 0 };
	char *volume;
	int err;

	to_backslashes(relative);
	to_backslashes(absolute);
	if (asprintf(&volume, NO_VOLUME "%s", absolute) < 0)
		return fail_errno(-ENOMEM, "%s", creating->path);
	text.volume = volume;
	err = vhdx_locator_write(&text, creating->locator, VHDX_RECIPE_LOCATOR_MAX,
				 &creating->recipe.locator_length, &diag);
	free(volume);
	return err ? fail_kernel(err, diag.reason, creating->parent.path, diag.text) : 0;
}

static int make_locator(struct creating *creating, const vhdx_guid *linkage)
{
	const char *parent = creating->parent.path;
	char *relative = NULL;
	char *absolute = NULL;
	char *directory;
	int err;

	err = check_name_of(parent);
	if (err)
		return err;
	directory = directory_of(creating->path);
	if (!directory)
		return fail_errno(-errno, "%s: cannot tell where it is to be", creating->path);
	if (strchr(directory, '\\')) {
		err = refuse_name(directory);
		goto out;
	}
	relative = relative_path(directory, parent);
	absolute = strdup(parent);
	creating->locator = vhdx_alloc(VHDX_RECIPE_LOCATOR_MAX);
	if (!relative || !absolute || !creating->locator)
		err = fail_errno(-ENOMEM, "%s", creating->path);
	else
		err = write_locator(creating, linkage, relative, absolute);
	creating->recipe.locator = creating->locator;
out:
	free(absolute);
	free(relative);
	free(directory);
	return err;
}

/* ---- The parent ---- */

static int check_options(const struct creating *creating, const struct vhdx_geometry *parent)
{
	const struct vhdx_create_options *options = creating->options;

	if (options->type != VHDX_TYPE_DYNAMIC)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: a differencing disk can't be fixed: leave its type out",
			    creating->path);
	if (options->disk_size && options->disk_size != parent->disk_size)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: a size of %llu bytes, but %s has %llu: leave it out",
			    creating->path, (unsigned long long)options->disk_size,
			    creating->parent.path, parent->disk_size);
	if (options->logical_sector_size &&
	    options->logical_sector_size != parent->logical_sector_size)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: a logical sector size of %u, but %s has %u: leave it out",
			    creating->path, options->logical_sector_size, creating->parent.path,
			    parent->logical_sector_size);
	return 0;
}

static int take_from(struct creating *creating, const struct vhdx_image *parent)
{
	struct vhdx_geometry *geo = &creating->recipe.geo;
	int err;

	err = check_options(creating, &parent->geo);
	if (err)
		return err;
	if (vhdx_guid_is_zero(&parent->header.data_write_guid))
		return fail(-EINVAL, VHDX_REASON_UNSUPPORTED,
			    "%s: its DataWriteGuid is zero, so no child can name it: attach it for writing once, and write to it",
			    creating->parent.path);
	geo->has_parent = true;
	geo->disk_size = parent->geo.disk_size;
	geo->disk_id = parent->geo.disk_id;
	geo->logical_sector_size = parent->geo.logical_sector_size;
	if (!creating->options->physical_sector_size)
		geo->physical_sector_size = parent->geo.physical_sector_size;
	return make_locator(creating, &parent->header.data_write_guid);
}

/* As far as the paths in the files lead: where they don't, nobody can tell. */
static int check_chain_length(const struct creating *creating, struct image_file *image)
{
	static const struct vhdx_chain_options nowhere_else = { .size = sizeof(nowhere_else) };
	struct parents parents;
	size_t count;

	open_parents(&parents, &creating->parent, image, &nowhere_else, NULL, NULL);
	count = 1 + parents.count;
	release_parents(&parents);
	clear_error();
	if (count < VHDX_LAYERS_MAX)
		return 0;
	return fail(-EOPNOTSUPP, VHDX_REASON_UNSUPPORTED,
		    "%s: its chain is %u files long already, and a longer one can't be attached: make one file of it (vhdxctl convert), and go on from that",
		    creating->parent.path, VHDX_LAYERS_MAX);
}

static int count_error(void *context, enum vhdx_severity severity, const struct vhdx_diag *diag)
{
	struct creating *creating = context;

	(void)diag;
	if (severity > VHDX_SEVERITY_WARNING)
		creating->parent_errors++;
	return 0;
}

/* What is fatal has been refused; with all else it can be read, but for some blocks. */
static int look_for_damage(struct creating *creating, struct image_file *image)
{
	struct vhdx_diag diag = { 0 };
	int err = vhdx_check_store(&image->file.store, is_block(&creating->parent), count_error,
				   creating, &diag);

	return err ? fail_kernel(err, diag.reason, creating->parent.path, diag.text) : 0;
}

int take_from_parent(struct creating *creating)
{
	struct image_file image;
	int err;

	err = open_container(&creating->parent, creating->options->parent, false);
	if (err)
		return err;
	err = open_image(&image, &creating->parent);
	if (!err)
		err = check_chain_length(creating, &image);
	if (!err)
		err = look_for_damage(creating, &image);
	if (!err)
		err = take_from(creating, &image.image);
	close_image(&image);
	return err;
}

/* ---- The child ---- */

/*
 * What maps a path of the locator to where the parent lies, as FROM=TO; free() it. "" where no
 * FROM can: the first = ends it. NULL: no memory.
 */
static char *map_to(const struct container *parent)
{
	const char *path = parent->path;
	int length = strrchr(path, '/') - path;
	char *word;
	char *map;

	/* A device is no file of its directory; and the root would map all that there is. */
	if (!length || is_block(parent))
		length = strlen(path);
	if (memchr(path, '=', length))
		return strdup("");
	if (asprintf(&map, "%.*s=%.*s", length, path, length, path) < 0)
		return NULL;
	word = shell_word(map);
	free(map);
	return word;
}

static void note_unfound(const struct creating *creating)
{
	const char *parent = creating->parent.path;
	char *map = map_to(&creating->parent);
	char *word = shell_word(parent);
	bool maps = map && *map;

	fail(0, VHDX_REASON_NONE,
	     "%s: made, but attach looks for parents only below the directory of their child, and will not find %s: name it (--parent %s)%s%s%s",
	     creating->path, parent, word ?: "FILE",
	     maps ? ", or say where it lies (--map-path " : "", maps ? map : "", maps ? ")" : "");
	free(word);
	free(map);
}

/* @image is the child's, by its own paths. */
static void look_for_parents(const struct creating *creating, const struct container *child,
			     struct image_file *image)
{
	static const struct vhdx_chain_options nowhere_else = { .size = sizeof(nowhere_else) };
	struct parents parents;

	if (!open_parents(&parents, child, image, &nowhere_else, NULL, NULL))
		clear_error();
	else if (!parents.count)
		note_unfound(creating);
	else
		fail(0, vhdx_error_reason(), "%s: made, but attach will not find all of its chain: %s",
		     creating->path, vhdx_error_message());
	release_parents(&parents);
}

static void note_lost_parents(const struct creating *creating)
{
	struct container child = creating->target.container;
	struct image_file image;

	child.path = realpath(creating->path, NULL);
	if (!child.path)
		return;
	if (!open_image(&image, &child))
		look_for_parents(creating, &child, &image);
	close_image(&image);
	free(child.path);
}

/* Beside what is noted already. */
static void note_damaged_parent(const struct creating *creating)
{
	const char *noted = vhdx_error_message();
	char *word;

	if (!creating->parent_errors)
		return;
	word = shell_word(creating->parent.path);
	fail(0, VHDX_REASON_CORRUPT,
	     "%s%s `vhdxctl check %s` finds damage in its parent: what can't be read there, can't be read here",
	     *noted ? noted : creating->path, *noted ? "; and" : ": made, but", word ?: "FILE");
	free(word);
}

void note_parents(const struct creating *creating)
{
	note_lost_parents(creating);
	note_damaged_parent(creating);
}
