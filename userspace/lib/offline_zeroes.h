/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ranges with flags, of a disk that is not attached.
 */
#ifndef LIBVHDX_OFFLINE_ZEROES_H
#define LIBVHDX_OFFLINE_ZEROES_H

#include <core/rct/report.h>
#include "offline_chain.h"

/* Who asks for the flags of ranges has them looked for. */
static inline bool wants_flags(const struct vhdx_get_virtual_disk_changes *query)
{
	return query->range_size == sizeof(struct vhdx_range) &&
	       !(query->flags & (VHDX_CHANGES_BITMAP | VHDX_CHANGES_COUNT));
}

/*
 * Ranges into the output of @query, split where they read as zeroes. 0: all of it; 1: the array is
 * full, or the time is over (@deadline, of now_ms()); -errno. @answer says up to where.
 */
int offline_flagged(struct offline_chain *chain, struct vhdx_answer *answer,
		    struct vhdx_delta_list *list, struct vhdx_get_virtual_disk_changes *query,
		    uint64_t deadline);

#endif
