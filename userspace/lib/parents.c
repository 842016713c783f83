// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The chain of a differencing disk: from its leaf to the file that has no parent, each of
 * them open, locked against writers, and the one that its child was made of.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <core/vhdx/locator.h>
#include "image_file.h"

/* Parents that advice names; their paths may be long. */
#define NAMED_MAX	8

#define NAMED_IN_ORDER	"; each parent has a --parent of its own, that of the leaf first"

/**
 * struct walk - down a chain
 * @child:	the layer whose parent is next
 * @image:	of the child
 * @origin:	of the child
 * @images:	room for the child and its parent, in turn; the leaf's is the caller's
 * @named:	parents that somebody named and that are to come
 */
struct walk {
	struct parents *parents;
	const struct container *leaf;
	const struct vhdx_chain_options *options;
	const char *const *named;
	const struct container *child;
	struct image_file *image;
	struct origin origin;
	struct image_file images[2];
};

/* Before it is locked: our own lock on the leaf would look like somebody else's. */
static int refuse_cycle(const struct walk *walk, const struct found_parent *found)
{
	const struct parents *parents = walk->parents;
	bool known;
	struct stat st;
	size_t i;

	if (fstat(found->fd, &st))
		return fail_errno(-errno, "%s", found->path);
	known = is_same_file(walk->leaf, &st);
	for (i = 0; i < parents->count; i++)
		known = known || is_same_file(&parents->layers[i], &st);
	if (!known)
		return 0;
	return fail(-EUCLEAN, VHDX_REASON_CORRUPT,
		    "%s: its parent would be %s, which is made of it: the chain leads back to itself",
		    walk->child->path, found->path);
}

static int check_parent(const struct walk *walk, const struct container *parent,
			const struct image_file *image)
{
	struct vhdx_diag diag = { 0 };
	int err = vhdx_parent_check(&walk->image->image, &image->image, &diag);

	if (!err)
		return 0;
	return fail(err, diag.reason, "%s: %s is not its parent: %s%s", walk->child->path,
		    parent->path, diag.text,
		    walk->options->parents ? NAMED_IN_ORDER : "");
}

/* What is wrong with the parent was noted, with its name. */
static int blame_parent(const struct walk *walk, int err)
{
	return fail(err, vhdx_error_reason(), "%s: its parent cannot be used: %s",
		    walk->child->path, vhdx_error_message());
}

static int open_parent(struct walk *walk, const struct found_parent *found,
		       struct container *parent, struct image_file *image)
{
	int err;

	err = open_found(parent, found->fd, found->path, false);
	if (!err)
		err = open_image(image, parent);
	return err ? blame_parent(walk, err) : check_parent(walk, parent, image);
}

/* Every layer's address stays as it is: there is room for all. */
static int add_parent(struct walk *walk, const struct found_parent *found,
		      struct image_file *image)
{
	struct parents *parents = walk->parents;
	struct container *parent = &parents->layers[parents->count];
	int err;

	*parent = (struct container)CONTAINER_NONE;
	err = open_parent(walk, found, parent, image);
	if (err) {
		close_container(parent);
		return err;
	}
	if (parents->sidecars)
		parents->sidecars[parents->count] = -ENOENT;
	parents->count++;
	return 0;
}

static int move_origin(struct walk *walk, struct found_parent *found,
		       const struct container *parent)
{
	int root = found->root;

	release_origin(&walk->origin);
	if (root < 0)
		return origin_of(&walk->origin, parent);
	found->root = -1;
	return origin_beneath(&walk->origin, root, found->beneath);
}

/* The parent becomes the child. */
static int descend(struct walk *walk, struct found_parent *found)
{
	struct image_file *image = &walk->images[walk->parents->count % 2];
	int err;

	/* Of the grandchild: it has been done with. */
	close_image(image);
	err = add_parent(walk, found, image);
	if (err) {
		close_image(image);
		return err;
	}
	walk->child = &walk->parents->layers[walk->parents->count - 1];
	walk->image = image;
	err = move_origin(walk, found, walk->child);
	if (!err && walk->parents->sidecars)
		walk->parents->sidecars[walk->parents->count - 1] =
			open_sidecar_beside(&walk->origin, walk->child);
	return err;
}

/*
 * "--parent FILE " for each parent so far: none can be named without those before it. Of a long
 * chain only that they are to be named: there is no room for more. free() it; NULL: no memory.
 */
static char *name_parents(const struct parents *parents)
{
	char *text = NULL;
	size_t length;
	FILE *names;
	char *word;
	size_t i;

	if (parents->count > NAMED_MAX)
		return strdup("all parents, that of the leaf first: --parent FILE … ");
	names = open_memstream(&text, &length);
	if (!names)
		return NULL;
	for (i = 0; i < parents->count; i++) {
		word = shell_word(parents->layers[i].path);
		fprintf(names, "--parent %s ", word ?: "FILE");
		free(word);
	}
	if (!fclose(names))
		return text;
	free(text);
	return NULL;
}

static int find_in_locator(const struct walk *walk, struct found_parent *found)
{
	char *named = name_parents(walk->parents);
	int err;

	if (!named)
		return fail_errno(-ENOMEM, "%s", walk->child->path);
	err = find_parent(found, walk->child, walk->image, &walk->origin,
			  walk->options, named);
	free(named);
	return err;
}

static int find_next(struct walk *walk, struct found_parent *found)
{
	if (walk->parents->count + 1 >= VHDX_LAYERS_MAX)
		return fail(-EOPNOTSUPP, VHDX_REASON_UNSUPPORTED,
			    "%s: the chain of %s is longer than %u files: merge some of them where they were made",
			    walk->child->path, walk->leaf->path, VHDX_LAYERS_MAX);
	if (walk->named && *walk->named)
		return find_named_parent(found, *walk->named++);
	return find_in_locator(walk, found);
}

/* It is not found: then by the first path that its child has to it, as Windows wrote it. */
static void note_failure(const struct walk *walk, const struct found_parent *found)
{
	enum vhdx_locator_path which;
	struct vhdx_diag diag = { 0 };
	char *path = NULL;

	for (which = 0; which < VHDX_LOCATOR_PATHS && !found->path && !path; which++)
		vhdx_locator_path(image_store(walk->image), &walk->image->image.locator, which,
				  &path, &diag);
	note_layers(walk->child->path, found->path ?: path ?: "");
	vhdx_free(path);
}

static int step(struct walk *walk)
{
	struct found_parent found = FOUND_PARENT_NONE;
	int err;

	err = find_next(walk, &found);
	if (!err)
		err = refuse_cycle(walk, &found);
	if (!err)
		err = descend(walk, &found);
	if (err)
		note_failure(walk, &found);
	release_found(&found);
	return err;
}

static int check_maps(const struct walk *walk)
{
	const char *const *map;
	const char *equals;

	for (map = walk->options->path_maps; map && *map; map++) {
		equals = strchr(*map, '=');
		if (!equals || equals == *map || !equals[1])
			return fail(-EINVAL, VHDX_REASON_ARGUMENT,
				    "%s: \"%s\" maps no path: FROM=TO is wanted", walk->leaf->path,
				    *map);
	}
	return 0;
}

/* A name that nobody needed was meant for another disk. */
static int check_all_used(const struct walk *walk)
{
	if (!walk->named || !*walk->named)
		return 0;
	return fail(-EINVAL, VHDX_REASON_ARGUMENT,
		    "%s: it has no parent, so %s can't be its parent", walk->child->path,
		    *walk->named);
}

static int walk_down(struct walk *walk, layer_fn fn, void *context)
{
	int err;

	err = check_maps(walk);
	if (!err)
		err = origin_of(&walk->origin, walk->leaf);
	if (!err && fn)
		err = fn(context, walk->child, walk->image);
	while (!err && walk->image->image.geo.has_parent) {
		err = step(walk);
		if (!err && fn)
			err = fn(context, walk->child, walk->image);
	}
	return err ? err : check_all_used(walk);
}

static int open_all(struct parents *parents, const struct container *leaf,
		    struct image_file *image, const struct vhdx_chain_options *options,
		    layer_fn fn, void *context)
{
	struct walk walk = {
		.parents = parents,
		.leaf = leaf,
		.options = options,
		.named = options->parents,
		.child = leaf,
		.image = image,
		.origin = ORIGIN_NONE,
	};
	int err;

	parents->count = 0;
	parents->layers = calloc(VHDX_LAYERS_MAX, sizeof(*parents->layers));
	if (!parents->layers)
		return fail_errno(-ENOMEM, "%s", leaf->path);
	err = walk_down(&walk, fn, context);
	close_image(&walk.images[0]);
	close_image(&walk.images[1]);
	release_origin(&walk.origin);
	return err;
}

int open_parents(struct parents *parents, const struct container *leaf,
		 struct image_file *image, const struct vhdx_chain_options *options,
		 layer_fn fn, void *context)
{
	parents->sidecars = NULL;
	return open_all(parents, leaf, image, options, fn, context);
}

int open_parents_with_sidecars(struct parents *parents, const struct container *leaf,
			       struct image_file *image,
			       const struct vhdx_chain_options *options, layer_fn fn,
			       void *context)
{
	parents->count = 0;
	parents->layers = NULL;
	parents->sidecars = calloc(VHDX_LAYERS_MAX, sizeof(*parents->sidecars));
	if (!parents->sidecars)
		return fail_errno(-ENOMEM, "%s", leaf->path);
	return open_all(parents, leaf, image, options, fn, context);
}

void release_parents(struct parents *parents)
{
	while (parents->count) {
		parents->count--;
		if (parents->sidecars && parents->sidecars[parents->count] >= 0)
			close(parents->sidecars[parents->count]);
		close_container(&parents->layers[parents->count]);
	}
	free(parents->sidecars);
	parents->sidecars = NULL;
	free(parents->layers);
	parents->layers = NULL;
}
