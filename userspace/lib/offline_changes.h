/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What changed in a disk that is not attached.
 */
#ifndef LIBVHDX_OFFLINE_CHANGES_H
#define LIBVHDX_OFFLINE_CHANGES_H

#include "offline_chain.h"

/*
 * VHDX_GET_VIRTUAL_DISK_CHANGES, as the driver answers it. The chain is open, if the history has
 * parents. 0 or -errno.
 */
int offline_changes(const struct vhdx_history *history, struct offline_chain *chain,
		    struct vhdx_get_virtual_disk_changes *query, struct vhdx_diag *diag);

#endif
