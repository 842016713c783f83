// SPDX-License-Identifier: GPL-2.0-only
#include "past.h"
#include "layer/layer.h"

#include <linux/slab.h>

/**
 * struct vhdx_past_sidecar - one of them
 * @file:	where it is kept
 * @sidecar:	loaded from there
 */
struct vhdx_past_sidecar {
	struct vhdx_container file;
	struct vhdx_sidecar sidecar;
};

/**
 * vhdx_past_init() - room for the parents of a disk
 * @past:	zeroed; vhdx_past_destroy() it whatever this returns
 * @count:	of them
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_past_init(struct vhdx_past *past, u32 count)
{
	if (!count)
		return 0;
	past->layers = kvcalloc(count, sizeof(*past->layers), GFP_KERNEL);
	past->sidecars = kvcalloc(count, sizeof(*past->sidecars), GFP_KERNEL);
	if (!past->layers || !past->sidecars)
		return -ENOMEM;
	past->count = count;
	return 0;
}

/* Of several files; a tool sees to what is odd in a name. */
static void name_file(struct vhdx_frozen_layer *frozen, struct vhdx_past_sidecar *mine)
{
	struct vhdx_diag lost = { };

	if (!frozen->error)
		return;
	vhdx_fail(&lost, frozen->error, frozen->lost.reason, "%pD: %s", mine->file.file,
		  frozen->lost.text);
	frozen->lost = lost;
}

/* Else its points are not known. */
static bool ends_attach(int err)
{
	return err == -ENOMEM || err == -EINTR;
}

static int open_sidecar(struct vhdx_frozen_layer *frozen, struct vhdx_past_sidecar *mine,
			struct file *file, struct vhdx_diag *diag)
{
	int err = vhdx_container_open(&mine->file, file, true, "sidecar", &frozen->lost);

	if (!err)
		return 0;
	if (ends_attach(err)) {
		*diag = frozen->lost;
		return err;
	}
	frozen->error = err;
	vhdx_fail_plainly(&frozen->lost, err, VHDX_REASON_IO);
	return 0;
}

/**
 * vhdx_past_take() - what one parent tells
 * @past:	vhdx_past_init()
 * @position:	of the parent, 0: the nearest
 * @layer:	it
 * @disk:	number of the disk
 * @file:	its sidecar, from vhdx_container_file(); NULL: there is none
 * @diag:	on failure: what is wrong
 *
 * A sidecar that is no good does not keep the disk from being attached: its points are not known,
 * and whoever asks for one of them is told why. Sleeps. Returns 0; -ENOMEM; or -EINTR killed.
 */
int vhdx_past_take(struct vhdx_past *past, u32 position, const struct vhdx_open_layer *layer,
		   int disk, struct file *file, struct vhdx_diag *diag)
{
	struct vhdx_frozen_layer *frozen = &past->layers[position];
	struct vhdx_past_sidecar *mine;
	int err;

	frozen->guid = layer->image.header.data_write_guid;
	frozen->disk_size = layer->image.geo.disk_size;
	if (!file)
		return 0;
	mine = kzalloc(sizeof(*mine), GFP_KERNEL);
	if (!mine)
		return vhdx_no_memory(diag);
	past->sidecars[position] = mine;
	mine->file.claim.disk = disk;
	err = open_sidecar(frozen, mine, file, diag);
	if (err || frozen->error)
		return err;
	err = vhdx_frozen_load(frozen, &mine->sidecar, &mine->file.store,
			       mine->file.ops->can_grow, &layer->image, layer->found_sequence);
	if (err == -ENOMEM)
		vhdx_no_memory(diag);
	else if (!err)
		name_file(frozen, mine);
	return err;
}

/**
 * vhdx_past_explain() - the first sidecar of a parent that can't be used
 * @past:	of the disk
 * @diag:	says so, unless it says something already
 */
void vhdx_past_explain(const struct vhdx_past *past, struct vhdx_diag *diag)
{
	u32 i;

	for (i = 0; i < past->count; i++) {
		if (past->layers[i].error)
			vhdx_fail(diag, 0, VHDX_REASON_NONE, "points of layer %u are not known: %s",
				  i + 1, past->layers[i].lost.text);
	}
}

/**
 * vhdx_past_destroy() - close all of them; harmless where there is nothing
 * @past:	nobody asks any more
 *
 * Sleeps; no lock is held.
 */
void vhdx_past_destroy(struct vhdx_past *past)
{
	struct vhdx_past_sidecar *mine;
	u32 i;

	for (i = 0; i < past->count; i++) {
		mine = past->sidecars[i];
		if (!mine)
			continue;
		vhdx_sidecar_release(&mine->sidecar);
		vhdx_container_close_now(&mine->file);
		kfree(mine);
	}
	kvfree(past->sidecars);
	kvfree(past->layers);
	memset(past, 0, sizeof(*past));
}
