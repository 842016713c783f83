/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VHDX that is being made, whatever is to be in it: what it is like, its space, and its end.
 */
#ifndef LIBVHDX_NEW_VHDX_H
#define LIBVHDX_NEW_VHDX_H

#include <core/offline/create.h>
#include "target.h"

/**
 * struct progress - somebody who looks on, and may end it
 * @fn:		may be NULL
 */
struct progress {
	vhdx_progress_fn fn;
	void *context;
};

/* 0, the positive number that ends it, or -ECANCELED, noted. */
int tell_progress(const struct progress *progress, u64 done, u64 total);

/* As @options ask for it, with ids of its own; it is not judged yet. 0 or -errno, noted. */
int take_recipe(struct vhdx_recipe *recipe, const char *path,
		const struct vhdx_create_options *options);
/* Judge it and lay it out. 0 or -EINVAL, noted. */
int check_recipe(struct vhdx_recipe *recipe, const char *path);

/* The space of a fixed disk. 0, a positive number of the onlooker's, or -errno, noted. */
int provide_space(struct target *target, const struct vhdx_recipe *recipe,
		  const struct progress *progress);
/*
 * All blocks are written: it becomes a VHDX, once all else is durable. 0 or -errno, noted.
 */
int finish_vhdx(struct target *target, const struct vhdx_recipe *recipe);

#endif
