/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of a tracker share. */
#ifndef VHDX_TRACKER_PRIVATE_H
#define VHDX_TRACKER_PRIVATE_H

#include "tracker.h"

/* failure.c */
void vhdx_tracker_disown(struct vhdx_tracker *t, const struct vhdx_sidecar *sidecar, int err);
void vhdx_tracker_init_failure(struct vhdx_tracker *tracker);
void vhdx_tracker_turn_off(struct vhdx_tracker *t, u32 reason);

/* face.c */
void vhdx_tracker_show(struct vhdx_tracker *t, u32 reason);
void vhdx_tracker_remember(struct vhdx_tracker *t, struct vhdx_open_sidecar *open);

/* cover.c, walk.c */
void vhdx_tracker_init_cover(struct vhdx_tracker *tracker);
void vhdx_tracker_init_walk(struct vhdx_tracker *tracker);

#endif
