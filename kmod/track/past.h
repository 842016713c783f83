/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the parents of a disk tell of its history: the sidecars that they were written with, opened
 * for reading at attach. They never change, so whoever has the disk reads them without a lock.
 */
#ifndef VHDX_PAST_H
#define VHDX_PAST_H

#include "core/rct/history.h"

struct vhdx_open_layer;
struct vhdx_past_sidecar;

/**
 * struct vhdx_past - of all parents; zero: there are none
 * @count:	how many
 * @layers:	the nearest first
 * @sidecars:	of each: open, or NULL
 */
struct vhdx_past {
	u32 count;
	struct vhdx_frozen_layer *layers;
	struct vhdx_past_sidecar **sidecars;
};

int vhdx_past_init(struct vhdx_past *past, u32 count);
int vhdx_past_take(struct vhdx_past *past, u32 position, const struct vhdx_open_layer *layer,
		   int disk, struct file *file, struct vhdx_diag *diag);
void vhdx_past_explain(const struct vhdx_past *past, struct vhdx_diag *diag);
void vhdx_past_destroy(struct vhdx_past *past);

#endif
