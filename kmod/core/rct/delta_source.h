/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Where the deltas of a span are known from: a sidecar, the maps in memory, or the layers of a
 * differencing chain. Each is a source of leaves (struct vhdx_leaf_source), in the unit of the
 * answer; an answer is made of any list of them.
 */
#ifndef VHDX_CORE_DELTA_SOURCE_H
#define VHDX_CORE_DELTA_SOURCE_H

#include "answer.h"
#include "delta_merge.h"
#include "sidecar.h"

struct vhdx_history;

/* One of them, and its context. */
struct vhdx_delta_source {
	const struct vhdx_leaf_source *ops;
	void *context;
};

/**
 * struct vhdx_delta_list - all of a span; context of vhdx_delta_list_source
 * @sources:	in any order
 * @count:	how many
 */
struct vhdx_delta_list {
	struct vhdx_delta_source *sources;
	u32 count;
};

/* What changed in any of them. */
extern const struct vhdx_leaf_source vhdx_delta_list_source;

/**
 * struct vhdx_stored_deltas - at rest in a sidecar; context of vhdx_stored_source
 * @sidecar:	which does not change meanwhile. The answer has its unit
 * @first:	position of the point that the first delta leads to
 * @end:	behind the last one
 * @live:	and what was live when the sidecar was closed for good: the checkpoint, and every
 *		unit of the regions that are set
 * @cache:	of the reader
 * @merge:	of the reader, for this alone: all zero at first; to be released
 * @listed:	it has the deltas
 */
struct vhdx_stored_deltas {
	const struct vhdx_sidecar *sidecar;
	u32 first;
	u32 end;
	bool live;
	struct vhdx_index_cache *cache;
	struct vhdx_delta_merge *merge;
	bool listed;
};

extern const struct vhdx_leaf_source vhdx_stored_source;

/* The live maps; the context is a struct vhdx_history. */
extern const struct vhdx_leaf_source vhdx_live_source;

/*
 * Does a layer itself have the bytes from @offset on, so that its parent's are hidden? 1, or 0, for
 * all before *@to, which becomes where that ends, above @offset; or -errno. Where the layer is
 * damaged it is 1.
 */
typedef int (*vhdx_presence_fn)(void *context, u32 layer, u64 offset, u64 *to);

/**
 * struct vhdx_derived_delta - what a layer hides of its parent; context of vhdx_derived_source
 * @look:	what is in it, to the sector
 * @context:	of that
 * @layer:	which one, 0: the leaf
 * @parent_size: the parent's disk, in bytes: what is behind it counts as changed
 * @size:	the layer's own disk, not less
 * @unit_shift:	log2 of the answer's unit, a sector at least
 */
struct vhdx_derived_delta {
	vhdx_presence_fn look;
	void *context;
	u32 layer;
	u64 parent_size;
	u64 size;
	u32 unit_shift;
};

extern const struct vhdx_leaf_source vhdx_derived_source;

#endif
