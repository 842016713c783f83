/* SPDX-License-Identifier: GPL-2.0-only */
/* VHDX_SEAL, see the uapi header. */
#ifndef VHDX_SEAL_H
#define VHDX_SEAL_H

#include <linux/types.h>

struct vhdx_diag;
struct vhdx_point_id;
struct vhdx_seal;
struct vhdx_tracker;

int vhdx_seal(struct vhdx_tracker **trackers, u32 count, struct vhdx_seal *args,
	      struct vhdx_point_id *ids, struct vhdx_diag *diag);
int vhdx_seal_init(void);
void vhdx_seal_exit(void);

#endif
