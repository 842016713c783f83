/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sector bitmaps of a layer that has a parent: which sectors of a block that is partially present
 * are its own. The BAT names one sector bitmap block for each chunk, and its pages are in the same
 * cache as those of the BAT.
 */
#ifndef VHDX_BITMAP_H
#define VHDX_BITMAP_H

#include "mapping.h"

#include <linux/mutex.h>

/* So many sector bitmaps may be made between two commits. */
#define VHDX_BITMAPS_YOUNG	32

/**
 * struct vhdx_young_bitmap - a sector bitmap block that no commit has made durable yet
 * @chunk:	of the disk that it is of
 * @made_in:	the transaction that its entry of the BAT is part of
 */
struct vhdx_young_bitmap {
	u64 chunk;
	u64 made_in;
};

/**
 * struct vhdx_bitmaps - all of these
 * @lock:	one is made at a time; and what is below
 * @young:	in no order
 * @count:	how many
 */
struct vhdx_bitmaps {
	struct mutex lock;
	struct vhdx_young_bitmap young[VHDX_BITMAPS_YOUNG];
	unsigned int count;
};

void vhdx_bitmap_look(struct vhdx_open_layer *layer, u64 offset, u64 wanted, bool write,
		      struct vhdx_mapping *extent);
int vhdx_bitmap_load(struct vhdx_open_layer *layer, struct vhdx_container *container, u64 offset,
		     bool wait, struct vhdx_pin *pin);

/* bitmap_make.c */
void vhdx_bitmaps_init(struct vhdx_bitmaps *bitmaps);
int vhdx_bitmap_prepare(struct vhdx_open_layer *layer, u64 offset, u64 length, bool *needed,
			bool *whole);

#endif
