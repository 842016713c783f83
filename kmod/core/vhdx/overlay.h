/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * A container seen through its dirty log, without writing a byte: for a read-only
 * attach. Holds the place of each logged sector, not its content; the log itself
 * stays where it is.
 */
#ifndef VHDX_CORE_OVERLAY_H
#define VHDX_CORE_OVERLAY_H

#include "log.h"

/* More effects than this are refused (-EOPNOTSUPP: attach read-write to replay). */
#define VHDX_OVERLAY_PAGES_MAX	(1U << 20)
#define VHDX_OVERLAY_ZEROES_MAX	1024U

struct vhdx_overlay {
	struct vhdx_store store;	/* read through this one */
	struct vhdx_store *below;
	struct vhdx_overlay_page *pages;	/* sorted by offset, newest only */
	unsigned int page_count;
	struct vhdx_overlay_zero *zeroes;
	unsigned int zero_count;
};

int vhdx_overlay_init(struct vhdx_overlay *overlay, struct vhdx_store *below,
		      const struct vhdx_image *image, struct vhdx_diag *diag);
void vhdx_overlay_release(struct vhdx_overlay *overlay);

/*
 * The same log, where the container is read through another store: @view is valid as long as
 * @overlay is, and is not released.
 */
void vhdx_overlay_through(struct vhdx_overlay *view, const struct vhdx_overlay *overlay,
			  struct vhdx_store *below);

/* Does the log touch any byte of the extent? Payload that it touches is not served. */
bool vhdx_overlay_touches(const struct vhdx_overlay *overlay, u64 offset, u64 length);

#endif
