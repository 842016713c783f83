/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container being made: what the two files that make it share.
 */
#ifndef LIBVHDX_CREATE_H
#define LIBVHDX_CREATE_H

#include <core/offline/create.h>
#include "file_store.h"
#include "internal.h"

/**
 * struct creating - a container being made
 * @parent:	open and locked until the child is there: nobody writes it meanwhile
 * @locator:	what leads the child to it
 * @made:	the file is ours, or what was written to the device is
 */
struct creating {
	const char *path;
	const struct vhdx_create_options *options;
	struct container container;
	struct container parent;
	void *locator;
	struct file_store file;
	struct vhdx_recipe recipe;
	bool made;
};

/* Size, sectors, id and linkage come from options->parent. 0 or -errno, noted. */
int take_from_parent(struct creating *creating);

#endif
