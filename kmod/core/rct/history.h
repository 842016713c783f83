/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * The history of a disk through all of its layers: one line of points. Of each layer, from the one
 * that has no parent to the leaf, first the references that its own sidecar has, which were sealed
 * while it was the leaf; then, but of the leaf, the snapshot that froze it, whose id is the
 * DataWriteGuid that its child names.
 *
 * What changed behind a reference, up to the end of its layer, is in that sidecar. What changed
 * behind a snapshot is derived from the layer that follows, and so is all of the layers between the
 * one that a span begins in and the one that it ends in, whatever their sidecars say. Where a span
 * ends at a reference in such a layer, all of the layer is told, which is more (COARSE).
 *
 * The driver and the offline command use it. They differ in where the history comes from, and in
 * what keeps it from changing meanwhile.
 */
#ifndef VHDX_CORE_HISTORY_H
#define VHDX_CORE_HISTORY_H

#include "delta_source.h"
#include "sidecar.h"

struct vhdx_image;

/**
 * struct vhdx_frozen_layer - a parent, and what its sidecar knows
 * @guid:	its DataWriteGuid
 * @disk_size:	of its disk, in bytes
 * @sidecar:	loaded and bound; NULL: there is none, or none that can be used
 * @error:	what a question about a point that may be in it gets; 0: there is none
 * @lost:	why
 */
struct vhdx_frozen_layer {
	vhdx_guid guid;
	u64 disk_size;
	const struct vhdx_sidecar *sidecar;
	int error;
	struct vhdx_diag lost;
};

/**
 * struct vhdx_history - a disk's history, wherever it is kept
 * @disk_size:	in bytes
 * @sector_shift: log2 of the logical sector, in which layers are what they are
 * @state:	VHDX_TRACKING_*
 * @off_reason:	while @state is OFF, why, if there is a sidecar: VHDX_REASON_*
 * @off_text:	the same in words, or NULL
 * @off_error:	what a question about changes gets then; 0: what follows from the reason
 * @sidecar:	loaded and bound, unless @state is OFF
 * @live:	the live map, while @state is ON
 * @sealing:	another one that is live as well, or NULL
 * @parents:	the nearest first
 * @parent_count: of these
 * @chain_error: there are others, which can't be read: what a question about a point gets that
 *		may be there; or 0
 * @chain_lost:	why
 */
struct vhdx_history {
	u64 disk_size;
	u32 sector_shift;
	u32 state;
	u32 off_reason;
	const char *off_text;
	int off_error;
	const struct vhdx_sidecar *sidecar;
	const struct vhdx_changemap *live;
	const struct vhdx_changemap *sealing;
	const struct vhdx_frozen_layer *parents;
	u32 parent_count;
	int chain_error;
	const struct vhdx_diag *chain_lost;
};

/* Behind all references of its layer: the snapshot that froze it; of the leaf, now. */
#define VHDX_PLACE_END	(~0U)

/**
 * struct vhdx_place - of a point in the line
 * @layer:	0: the leaf
 * @position:	in the timeline of its sidecar, or VHDX_PLACE_END
 */
struct vhdx_place {
	u32 layer;
	u32 position;
};

static inline bool vhdx_history_is_off(const struct vhdx_history *history)
{
	return history->state == VHDX_TRACKING_OFF;
}

/* There is a sidecar, or was one, that can't be used. */
static inline bool vhdx_history_is_lost(const struct vhdx_history *history)
{
	return vhdx_history_is_off(history) && history->off_reason &&
	       history->off_reason != VHDX_REASON_DISABLED;
}

/* Is there a snapshot to answer from, or may there be one? */
static inline bool vhdx_history_has_parents(const struct vhdx_history *history)
{
	return history->parent_count || history->chain_error;
}

/* The disk of a layer, in bytes. */
static inline u64 vhdx_history_size(const struct vhdx_history *history, u32 layer)
{
	return layer ? history->parents[layer - 1].disk_size : history->disk_size;
}

/* What a layer's sidecar has; without a usable one, nothing. */
const struct vhdx_timeline *vhdx_history_timeline(const struct vhdx_history *history, u32 layer);

/* Why there is no answer to a question about the leaf's own points; 0: there may be one. */
int vhdx_history_check_tracking(const struct vhdx_history *history, struct vhdx_diag *diag);

/**
 * vhdx_history_find() - where a point is
 * @history:	of the disk
 * @id:		well-formed
 * @newest:	if several layers say that they have it, which only hostile ones do: the newest of
 *		them, or the oldest
 * @place:	filled in
 *
 * False: nobody knows it.
 */
bool vhdx_history_find(const struct vhdx_history *history, const struct vhdx_point_id *id,
		       bool newest, struct vhdx_place *place);

/**
 * vhdx_history_missing() - why a point is not known
 * @history:	of the disk
 * @id:		vhdx_history_find() has not found it
 * @diag:	what is wrong
 *
 * It may be in a sidecar that can't be used, which is a gap. -ENODATA; -ESTALE; -EOPNOTSUPP;
 * off_error or chain_error.
 */
int vhdx_history_missing(const struct vhdx_history *history, const struct vhdx_point_id *id,
			 struct vhdx_diag *diag);

/**
 * struct vhdx_route - the deltas between two points of any layers
 * @stored:	those in the sidecar of layer @layer; a live one is that of this layer, as it was
 *		frozen, or as it is now
 * @layer:	of the first point
 * @tracked:	there are any; else @stored is empty
 * @derived:	layers from this one on, towards the oldest,
 * @derived_end: up to this one
 * @coarse:	more is told than changed
 * @unit_shift:	log2 of the unit that all of them can be told in
 */
struct vhdx_route {
	struct vhdx_span stored;
	u32 layer;
	bool tracked;
	u32 derived;
	u32 derived_end;
	bool coarse;
	u32 unit_shift;
};

/**
 * vhdx_history_route() - which deltas lie between @limit and @target
 * @history:	of the disk
 * @limit:	all zero: -EINVAL
 * @target:	all zero: now
 * @route:	filled in; after -ESTALE its stored.gap_time_ns says when the gap came about
 * @diag:	what is wrong
 *
 * As vhdx_timeline_span(), through all layers; what is wrong with the ids themselves comes first,
 * then what is wrong with tracking of the leaf, then unknown ids and gaps.
 */
int vhdx_history_route(const struct vhdx_history *history, const struct vhdx_point_id *limit,
		       const struct vhdx_point_id *target, struct vhdx_route *route,
		       struct vhdx_diag *diag);

/**
 * vhdx_route_derive() - sources for the layers of a route
 * @route:	vhdx_history_route()
 * @history:	the same
 * @look:	what is in a layer
 * @context:	of that
 * @deltas:	room for as many as there are parents
 * @list:	they are added to it; it has room for them
 */
void vhdx_route_derive(const struct vhdx_route *route, const struct vhdx_history *history,
		       vhdx_presence_fn look, void *context, struct vhdx_derived_delta *deltas,
		       struct vhdx_delta_list *list);

/* Both maps, OR-ed into the words of one leaf; there is a live one. */
void vhdx_history_live_leaf(const struct vhdx_history *history, u32 leaf,
			    struct vhdx_leaf_bits *units);

/* The leaf itself, if only one of them has it. */
enum vhdx_lending vhdx_history_lend_live(const struct vhdx_history *history, u32 leaf,
					 struct vhdx_lent_leaf *lent);

/* The first leaf in [@leaf, @end) that one of them has; @end where there is none. */
u32 vhdx_history_find_live_leaf(const struct vhdx_history *history, u32 leaf, u32 end);

/**
 * vhdx_frozen_load() - take up the sidecar of a parent, to read it
 * @layer:	@layer->guid and @layer->disk_size are filled in, and what is wrong
 * @sidecar:	zero; release it whatever becomes of it. It is @layer->sidecar if it can be used
 * @store:	where it is kept
 * @can_grow:	a regular file
 * @image:	of the parent
 * @sequence:	SequenceNumber of its header
 *
 * It is never written. One that does not know the parent's DataWriteGuid has no points here: the
 * parent was written without it, or it is another copy's. 0, also where it can't be used; -ENOMEM
 * or -EINTR, and nothing is known.
 */
int vhdx_frozen_load(struct vhdx_frozen_layer *layer, struct vhdx_sidecar *sidecar,
		     struct vhdx_store *store, bool can_grow, const struct vhdx_image *image,
		     u64 sequence);

#endif
