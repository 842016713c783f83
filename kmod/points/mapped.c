// SPDX-License-Identifier: GPL-2.0-only
#include "mapped.h"
#include "errand.h"
#include "disk/chain.h"
#include "disk/disk.h"
#include "store/scope.h"

#include <linux/mm.h>
#include <linux/rcupdate.h>

/* Pages of metadata that are read at once for one question, in all layers together. */
#define SURVEY_PAGES	256U
#define SURVEY_LEAST	4U

/**
 * vhdx_mapped_init() - somebody asks about much of a disk
 * @mapped:	of his; all zero
 * @layers:	how many the disk has
 *
 * vhdx_mapped_release() undoes it. Returns 0 or -ENOMEM.
 */
int vhdx_mapped_init(struct vhdx_mapped *mapped, u32 layers)
{
	u32 i;

	mapped->surveys = kvcalloc(layers, sizeof(*mapped->surveys), GFP_KERNEL);
	if (!mapped->surveys)
		return -ENOMEM;
	mapped->survey_count = layers;
	for (i = 0; i < layers; i++)
		mapped->surveys[i].most = clamp(SURVEY_PAGES / layers, SURVEY_LEAST,
						VHDX_SURVEY_PAGES);
	return 0;
}

/**
 * vhdx_mapped_release() - he asks no more
 * @mapped:	vhdx_mapped_init(), or all zero
 */
void vhdx_mapped_release(struct vhdx_mapped *mapped)
{
	u32 i;

	for (i = 0; i < mapped->survey_count; i++)
		vhdx_survey_release(&mapped->surveys[i]);
	kvfree(mapped->surveys);
}

static void look_in_layer(struct vhdx_open_layer *layer, u64 offset, u64 wanted,
			  struct vhdx_mapping *extent)
{
	rcu_read_lock();
	layer->mapping->lookup(layer, offset, wanted, false, extent);
	rcu_read_unlock();
	extent->length = min(extent->length, wanted);
}

/* What is not in memory may be read with much of what lies beside it. */
static void survey_layer(const struct vhdx_mapped *mapped, u32 layer, u64 offset, u64 wanted,
			 struct vhdx_mapping *extent)
{
	struct vhdx_layer_user *user = &mapped->disk->layers[layer];

	look_in_layer(user->layer, offset, wanted, extent);
	if (extent->kind == VHDX_MAPPING_UNKNOWN && mapped->surveys)
		user->layer->mapping->survey(user->layer, &user->container,
					     &mapped->surveys[layer], offset, wanted, extent);
	extent->length = min(extent->length, wanted);
}

/* ---- through all layers -------------------------------------------------------------------- */

/**
 * vhdx_mapped_look() - where bytes of the disk are, if that is in memory
 * @disk:	held
 * @offset:	of the first one
 * @wanted:	how many are asked for
 * @extent:	receives what is mapped there, for a read: never VHDX_MAPPING_PARENT
 *
 * Any context; waits for nothing.
 */
void vhdx_mapped_look(struct vhdx_disk *disk, u64 offset, u64 wanted, struct vhdx_mapping *extent)
{
	struct vhdx_open_layer *leaf = vhdx_disk_leaf(disk);
	struct vhdx_container *container;

	rcu_read_lock();
	leaf->mapping->lookup(leaf, offset, wanted, false, extent);
	if (extent->kind == VHDX_MAPPING_PARENT)
		vhdx_chain_look(disk, offset, wanted, extent, &container);
	rcu_read_unlock();
	extent->length = min(extent->length, wanted);
}

static int load_and_look(struct vhdx_disk *disk, u64 offset, u64 wanted,
			 struct vhdx_mapping *extent)
{
	struct vhdx_chain_pins pins;
	int err = vhdx_chain_load(disk, offset, wanted, false, &pins);

	if (err)
		return err;
	vhdx_mapped_look(disk, offset, wanted, extent);
	vhdx_chain_unload(disk, &pins);
	return 0;
}

/* As a read goes through the layers. VHDX_MAPPING_UNKNOWN where one of them has to be loaded. */
static void survey_all(const struct vhdx_mapped *mapped, u64 offset, u64 wanted,
		       struct vhdx_mapping *extent)
{
	const struct vhdx_disk *disk = mapped->disk;
	u64 size;
	u32 i;

	extent->kind = VHDX_MAPPING_PARENT;
	for (i = 0; i < disk->layer_count && extent->kind == VHDX_MAPPING_PARENT; i++) {
		size = disk->layers[i].layer->image.geo.disk_size;
		if (offset >= size) {
			/* Behind a parent's end there are zeroes. */
			extent->kind = VHDX_MAPPING_ZERO;
			extent->length = wanted;
			break;
		}
		wanted = min(wanted, size - offset);
		survey_layer(mapped, i, offset, wanted, extent);
		wanted = min(wanted, extent->length);
	}
}

/**
 * vhdx_mapped_find() - where bytes of the disk are
 * @mapped:	who asks; the disk is held
 * @offset:	of the first one
 * @wanted:	how many are asked for
 * @extent:	receives what is mapped there, for a read: never VHDX_MAPPING_UNKNOWN, and never
 *		VHDX_MAPPING_PARENT. Its place in the container only where nothing is surveyed
 *
 * Where a write, or a read, changes meanwhile what is needed, it takes more than one time. Sleeps.
 * Returns 0 or -errno.
 */
int vhdx_mapped_find(const struct vhdx_mapped *mapped, u64 offset, u64 wanted,
		     struct vhdx_mapping *extent)
{
	struct vhdx_disk *disk = mapped->disk;
	int err = 0;

	vhdx_scope_assert();
	vhdx_mapped_look(disk, offset, wanted, extent);
	if (extent->kind == VHDX_MAPPING_UNKNOWN && mapped->surveys)
		survey_all(mapped, offset, wanted, extent);
	while (!err && extent->kind == VHDX_MAPPING_UNKNOWN)
		err = load_and_look(disk, offset, wanted, extent);
	return err;
}

/* ---- in one layer -------------------------------------------------------------------------- */

static int load_and_look_in_layer(struct vhdx_layer_user *user, u64 offset, u64 wanted,
				  struct vhdx_mapping *extent)
{
	struct vhdx_open_layer *layer = user->layer;
	struct vhdx_pin pin;
	int err = layer->mapping->load(layer, &user->container, offset, &pin);

	if (err)
		return err;
	look_in_layer(layer, offset, wanted, extent);
	layer->mapping->unload(layer, &pin);
	return 0;
}

/**
 * vhdx_mapped_in_layer() - does a layer itself have bytes of the disk?
 * @context:	struct vhdx_mapped
 * @layer:	which one, 0: the leaf; it has a parent
 * @offset:	of the first byte
 * @to:		in: behind the last one that is asked for; out: behind the last one of which that is
 *		true
 *
 * What it says of the leaf is true of some moment of the call: a write that was acknowledged before
 * is mapped already. A block that is damaged is there, whoever reads it gets the error. Sleeps.
 * Returns 1, 0 or -errno.
 */
int vhdx_mapped_in_layer(void *context, u32 layer, u64 offset, u64 *to)
{
	const struct vhdx_mapped *mapped = context;
	struct vhdx_layer_user *user = &mapped->disk->layers[layer];
	struct vhdx_mapping extent;
	int err = 0;

	vhdx_scope_assert();
	survey_layer(mapped, layer, offset, *to - offset, &extent);
	while (!err && extent.kind == VHDX_MAPPING_UNKNOWN)
		err = load_and_look_in_layer(user, offset, *to - offset, &extent);
	if (!err && vhdx_errand_is_killed(mapped->errand))
		err = -EINTR;
	if (!err && vhdx_layer_is_lost(user->layer, &user->container))
		err = -EIO;
	if (err)
		return err;
	*to = offset + extent.length;
	return extent.kind != VHDX_MAPPING_PARENT;
}
