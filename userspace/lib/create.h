/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container being made: what the two files that make it share.
 */
#ifndef LIBVHDX_CREATE_H
#define LIBVHDX_CREATE_H

#include "new_vhdx.h"

/**
 * struct creating - a container being made
 * @parent:	open and locked until the child is there: nobody writes it meanwhile
 * @parent_errors: that `vhdxctl check` tells of it
 * @locator:	what leads the child to it
 */
struct creating {
	const char *path;
	const struct vhdx_create_options *options;
	struct target target;
	struct container parent;
	unsigned int parent_errors;
	void *locator;
	struct vhdx_recipe recipe;
};

/* Size, sectors, id and linkage come from options->parent. 0 or -errno, noted. */
int take_from_parent(struct creating *creating);
/*
 * The child is there. Where an attach won't find what it is made of, or its parent is damaged, that
 * is noted.
 */
void note_parents(const struct creating *creating);

#endif
