/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Blocks that lie in the same place: at most one of them has the content that it should have, and
 * nobody can say which.
 */
#ifndef VHDX_CORE_OVERLAP_H
#define VHDX_CORE_OVERLAP_H

#include "core/vhdx/image.h"

/**
 * vhdx_refuse_overlaps() - look through all of a BAT before its blocks are read
 * @store:	what vhdx_image_load() has judged, through its log if that is dirty
 *
 * An entry that is bad by itself is passed over: reading its block says so, if anybody does.
 *
 * Returns 0; -EUCLEAN, and @diag tells of the first that overlaps another, or of a block that
 * lacks its sector bitmap; -EOPNOTSUPP, as vhdx_space_init(); or -EIO/-ENOMEM/-EINTR.
 */
int vhdx_refuse_overlaps(struct vhdx_store *store, const struct vhdx_image *image,
			 struct vhdx_diag *diag);

#endif
