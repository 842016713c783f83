/* SPDX-License-Identifier: GPL-2.0-only */
/* What an administrator or an agent does with tracking, other than sealing and asking. */
#ifndef VHDX_ADMIN_H
#define VHDX_ADMIN_H

#include <linux/types.h>

struct vhdx_diag;
struct vhdx_get_points;
struct vhdx_point;
struct vhdx_point_id;
struct vhdx_tracker;
struct vhdx_tracking_enable;
struct vhdx_tracking_state;

int vhdx_tracking_enable(struct vhdx_tracker *tracker, struct vhdx_tracking_enable *args,
			 struct vhdx_diag *diag);
int vhdx_tracking_disable(struct vhdx_tracker *tracker, struct vhdx_diag *diag);
int vhdx_tracking_reset(struct vhdx_tracker *tracker, struct vhdx_point_id *id,
			struct vhdx_diag *diag);
int vhdx_tracking_forget(struct vhdx_tracker *tracker, const struct vhdx_point_id *id,
			 struct vhdx_diag *diag);
void vhdx_tracking_state(struct vhdx_tracker *tracker, struct vhdx_tracking_state *state);
u64 vhdx_tracking_live_bytes(struct vhdx_tracker *tracker);
int vhdx_tracking_points(struct vhdx_tracker *tracker, struct vhdx_get_points *args,
			 struct vhdx_point *points, u32 capacity, struct vhdx_diag *diag);

#endif
