// SPDX-License-Identifier: GPL-2.0-only
#include "mapped.h"
#include "errand.h"
#include "disk/chain.h"
#include "disk/disk.h"
#include "store/scope.h"

#include <linux/rcupdate.h>

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

/**
 * vhdx_mapped_find() - where bytes of the disk are
 * @disk:	held
 * @offset:	of the first one
 * @wanted:	how many are asked for
 * @extent:	receives what is mapped there, for a read: never VHDX_MAPPING_UNKNOWN, and never
 *		VHDX_MAPPING_PARENT
 *
 * Where a write, or a read, changes meanwhile what is needed, it takes more than one time. Sleeps.
 * Returns 0 or -errno.
 */
int vhdx_mapped_find(struct vhdx_disk *disk, u64 offset, u64 wanted, struct vhdx_mapping *extent)
{
	int err = 0;

	vhdx_scope_assert();
	vhdx_mapped_look(disk, offset, wanted, extent);
	while (!err && extent->kind == VHDX_MAPPING_UNKNOWN)
		err = load_and_look(disk, offset, wanted, extent);
	return err;
}

/* ---- in one layer -------------------------------------------------------------------------- */

static void look_in_layer(struct vhdx_open_layer *layer, u64 offset, u64 wanted,
			  struct vhdx_mapping *extent)
{
	rcu_read_lock();
	layer->mapping->lookup(layer, offset, wanted, false, extent);
	rcu_read_unlock();
	extent->length = min(extent->length, wanted);
}

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
	look_in_layer(user->layer, offset, *to - offset, &extent);
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
