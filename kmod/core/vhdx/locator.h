/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * The parent of a differencing disk: where it is said to be, and whether a container is
 * it. The kernel opens no paths: they are for those who attach.
 */
#ifndef VHDX_CORE_LOCATOR_H
#define VHDX_CORE_LOCATOR_H

#include "image.h"

/**
 * vhdx_locator_path() - one of the paths to a parent, as text
 * @store:	what @locator was loaded from
 * @locator:	of a differencing disk's image
 * @which:	VHDX_LOCATOR_*
 * @text:	out: UTF-8 as it was written, in Windows' syntax; vhdx_free() it. NULL: the
 *		locator doesn't have it. It may hold any character but NUL
 * @diag:	what is wrong
 *
 * Returns 0, -EUCLEAN if it isn't what it was when it was judged, or -EIO/-ENOMEM.
 */
int vhdx_locator_path(struct vhdx_store *store, const struct vhdx_locator *locator,
		      enum vhdx_locator_path which, char **text, struct vhdx_diag *diag);

/**
 * vhdx_parent_check() - was @child made of this @parent, as it is now?
 * @child:	a differencing disk, loaded
 * @parent:	what is taken for its parent, loaded
 * @diag:	what is wrong; of the child, for whom the parent has no name here
 *
 * A child may be larger than its parent, which reads as zeroes behind its end then.
 *
 * Returns 0 or -EUCLEAN.
 */
int vhdx_parent_check(const struct vhdx_image *child, const struct vhdx_image *parent,
		      struct vhdx_diag *diag);

#endif
