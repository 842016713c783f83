/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One use of a disk's leaf for writing (struct vhdx_session), and what its sidecar is told of it.
 *
 * A session begins with the first visible change, not at attach: a disk that is only
 * read leaves its container as it was, byte for byte.
 */
#ifndef VHDX_SESSION_H
#define VHDX_SESSION_H

struct vhdx_diag;
struct vhdx_disk;

int vhdx_session_begin(struct vhdx_disk *disk);
int vhdx_session_end(struct vhdx_disk *disk, struct vhdx_diag *gap);
int vhdx_session_shut(struct vhdx_disk *disk);

#endif
