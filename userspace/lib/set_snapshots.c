// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Snapshots of a VHD Set, as far as they are known: the parents of the file that its disk is in.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"
#include "method.h"

/* All layers but the leaf, however the disk is open. Other than 0 ends it. */
static int list_layers(const char *path, vhdx_chain_fn fn, void *context)
{
	struct vhdx_disk *disk;
	int err;

	err = vhdx_disk_open(path, NULL, 0, &disk);
	if (err)
		return err;
	if (vhdx_disk_index(disk) >= 0)
		err = vhdx_disk_list_chain(disk, sizeof(struct vhdx_chain_layer), fn, context);
	else
		err = vhdx_chain_list(path, NULL, sizeof(struct vhdx_chain_layer), fn, context);
	vhdx_disk_close(disk);
	return err;
}

static void id_of_layer(const struct vhdx_chain_layer *layer, struct vhdx_point_id *id)
{
	memset(id, 0, sizeof(*id));
	memcpy(id->guid, layer->data_write_guid, sizeof(id->guid));
	id->kind = VHDX_POINT_SNAPSHOT;
}

/* ---- for callers ---- */

/**
 * struct listing - of snapshots to a caller
 * @shown:	one of the caller's size
 * @past_leaf:	the leaf was told of, which is no snapshot
 * @no_memory:	which ended it
 * @held:	told when it is known what it was made of; @path is its own copy, or NULL: none
 */
struct listing {
	vhdx_set_snapshot_fn fn;
	void *context;
	struct vhdx_set_snapshot *shown;
	size_t shown_size;
	bool past_leaf;
	bool no_memory;
	struct vhdx_set_snapshot held;
	char *path;
};

static int tell_held(struct listing *listing)
{
	int result;

	if (!listing->path)
		return 0;
	listing->held.path = listing->path;
	give_sized(listing->shown, &listing->held, sizeof(listing->held));
	result = result_of_caller(listing->fn(listing->context, listing->shown));
	free(listing->path);
	listing->path = NULL;
	return result;
}

static int hold_layer(struct listing *listing, const struct vhdx_chain_layer *layer)
{
	struct stat st;

	memset(&listing->held, 0, sizeof(listing->held));
	id_of_layer(layer, &listing->held.id);
	if (!layer->deleted && !stat(layer->path, &st))
		listing->held.time_ns = st.st_mtim.tv_sec * 1000000000ULL + st.st_mtim.tv_nsec;
	listing->path = strdup(layer->path);
	listing->no_memory = !listing->path;
	return listing->no_memory;
}

static int take_layer(void *context, const struct vhdx_chain_layer *layer)
{
	struct listing *listing = context;
	int result;

	if (!listing->past_leaf) {
		listing->past_leaf = true;
		return 0;
	}
	id_of_layer(layer, &listing->held.parent);
	result = tell_held(listing);
	return result ? result : hold_layer(listing, layer);
}

static int list(const char *path, struct listing *listing)
{
	int err;

	err = list_layers(path, take_layer, listing);
	if (listing->no_memory)
		return fail_errno(-ENOMEM, "%s", path);
	if (!err)
		err = tell_held(listing);
	free(listing->path);
	return err;
}

int vhdx_set_list_snapshots(const char *path, size_t snapshot_size, vhdx_set_snapshot_fn fn,
			    void *context)
{
	struct listing listing = { .fn = fn, .context = context };
	int err;

	clear_error();
	err = check_name(path);
	if (!err)
		err = check_sized(&snapshot_size, VHDX_SET_SNAPSHOT_SIZE_VER0,
				  "vhdx_set_snapshot");
	if (err)
		return err;
	if (!is_vhd_set(path))
		return fail(-EMEDIUMTYPE, VHDX_REASON_BAD_TYPE,
			    "%s: not a VHD Set, or it can't be read", path);
	listing.shown = malloc(snapshot_size);
	if (!listing.shown)
		return fail_errno(-ENOMEM, "%s", path);
	listing.shown->size = snapshot_size;
	err = list(path, &listing);
	free(listing.shown);
	return err;
}

/* ---- for the method ---- */

/**
 * struct looking - for snapshots in a chain
 * @found:	in the order of @wanted
 * @names:	of all that there are
 */
struct looking {
	const struct vhdx_point_id *wanted[2];
	bool found[2];
	bool past_leaf;
	FILE *names;
	bool any;
};

static int look_at_layer(void *context, const struct vhdx_chain_layer *layer)
{
	struct looking *looking = context;
	struct vhdx_point_id id;
	char text[VHDX_ID_TEXT];
	int i;

	if (!looking->past_leaf) {
		looking->past_leaf = true;
		return 0;
	}
	id_of_layer(layer, &id);
	for (i = 0; i < 2; i++)
		looking->found[i] |= !memcmp(&id, looking->wanted[i], sizeof(id));
	vhdx_id_format(&id, text);
	fprintf(looking->names, "%s%s", looking->any ? ", " : "", text);
	looking->any = true;
	return 0;
}

static int explain_missing_snapshot(const char *path, const struct looking *looking,
				    const char *names)
{
	char text[VHDX_ID_TEXT];
	int i;

	for (i = 0; i < 2; i++) {
		if (looking->found[i] || looking->wanted[i]->kind != VHDX_POINT_SNAPSHOT)
			continue;
		vhdx_id_format(looking->wanted[i], text);
		return fail(-ENODATA, VHDX_REASON_ID_MISSING,
			    "%s: %s is no snapshot that its disk was made of, and of other branches nothing is known here: make a full backup; its snapshots: %s",
			    path, text, looking->any ? names : "none");
	}
	return 0;
}

int check_snapshots(const char *path, const struct vhdx_changes *question)
{
	struct looking looking = { .wanted = { &question->limit, &question->target } };
	char *names = NULL;
	size_t length;
	int err;

	if ((question->limit.kind != VHDX_POINT_SNAPSHOT &&
	     question->target.kind != VHDX_POINT_SNAPSHOT) || !is_vhd_set(path))
		return 0;
	looking.names = open_memstream(&names, &length);
	if (!looking.names)
		return fail_errno(-ENOMEM, "%s", path);
	err = list_layers(path, look_at_layer, &looking);
	if (fclose(looking.names) && !err)
		err = fail_errno(-ENOMEM, "%s", path);
	if (!err)
		err = explain_missing_snapshot(path, &looking, names);
	free(names);
	return err;
}
