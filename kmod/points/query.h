/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * VHDX_GET_VIRTUAL_DISK_CHANGES, see the uapi header.
 */
#ifndef VHDX_QUERY_H
#define VHDX_QUERY_H

struct vhdx_diag;
struct vhdx_get_virtual_disk_changes;
struct vhdx_handle;

int vhdx_query_changes(struct vhdx_handle *handle, struct vhdx_get_virtual_disk_changes *args,
		       struct vhdx_diag *diag);

#endif
