/* SPDX-License-Identifier: GPL-2.0-only */
/* One disk's part in a seal. */
#ifndef VHDX_SEAL_PART_H
#define VHDX_SEAL_PART_H

#include "core/rct/timeline.h"

struct vhdx_changemap;
struct vhdx_seal;
struct vhdx_tracker;

/**
 * struct vhdx_seal_part - see the file comment
 * @tracker:	of the disk that is sealed
 * @old:	its live map until the window
 * @new:	its live map from then on
 * @point:	to be
 * @guid:	the DataWriteGuid that goes with it
 * @swapped:	the maps were exchanged
 * @pending:	the point is in the timeline, and in the sidecar
 * @broken:	the sidecar can't be trusted any more: why
 * @of_container: it is the container that failed
 */
struct vhdx_seal_part {
	struct vhdx_tracker *tracker;
	struct vhdx_changemap *old;
	struct vhdx_changemap *new;
	struct vhdx_timeline_point point;
	vhdx_guid guid;
	bool swapped;
	bool pending;
	int broken;
	bool of_container;
};

int vhdx_seal_prepare(struct vhdx_seal_part *part, const struct vhdx_seal *args);
void vhdx_seal_exchange(struct vhdx_seal_part *part);
int vhdx_seal_make_durable(struct vhdx_seal_part *part);
int vhdx_seal_issue(struct vhdx_seal_part *part);
int vhdx_seal_roll_back(struct vhdx_seal_part *part);

#endif
