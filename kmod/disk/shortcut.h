/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shortcuts through the parents of a disk: which parent is the first that has anything of a part of
 * the disk. A read of what the last of many layers has would ask each of them otherwise.
 *
 * What a parent does not have it never comes to have, for no parent is written while it is in use:
 * a shortcut is true for as long as the disk has these layers, and none is ever taken back. The
 * leaf, which is written, is asked first by every read. A shortcut does not say where the data is:
 * that is left to the parents that have something, each of which may be damaged, or be lost.
 *
 * A part is a block of the parent with the smallest blocks, so that each parent names it by one
 * entry of its BAT. There is a place for each part, up to VHDX_SHORTCUTS_MAX; of parts that share a
 * place it has the one that was read last. It is one word that is true by itself, so there is no
 * lock.
 */
#ifndef VHDX_SHORTCUT_H
#define VHDX_SHORTCUT_H

#include "core/platform.h"

/* 512 KiB: disks of 256 GiB, with blocks of 1 MiB, have a place for each part. */
#define VHDX_SHORTCUTS_MAX_BITS	18

/**
 * struct vhdx_shortcuts - those of a disk
 * @places:	part / places in the upper half, the position of the layer in the lower one; zero:
 *		nothing is known. NULL: it has less than two parents
 * @bits:	log2 of how many places there are
 * @shift:	log2 of the bytes of a part
 */
struct vhdx_shortcuts {
	u16 *places;
	unsigned int bits;
	unsigned int shift;
};

int vhdx_shortcuts_init(struct vhdx_shortcuts *shortcuts, u64 disk_size, unsigned int shift);
void vhdx_shortcuts_destroy(struct vhdx_shortcuts *shortcuts);
unsigned int vhdx_shortcut_find(const struct vhdx_shortcuts *shortcuts, u64 offset, u64 length);
void vhdx_shortcut_learn(struct vhdx_shortcuts *shortcuts, u64 offset, unsigned int position);

#endif
