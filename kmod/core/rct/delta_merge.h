/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Many deltas of a sidecar, asked leaf by leaf.
 *
 * Each of them has a cursor, which knows the next leaf that it has; the cursors are a heap, so that
 * a leaf costs what has it, however many deltas there are. Everything is done in steps, each of
 * which reads a few blocks at the most: who asks may have to stop in between, and goes on later.
 *
 * The line of deltas may change meanwhile: of those that are the same, what is known stays known.
 */
#ifndef VHDX_CORE_DELTA_MERGE_H
#define VHDX_CORE_DELTA_MERGE_H

#include "sidecar.h"

/**
 * struct vhdx_delta_cursor - how far a delta was asked
 * @delta:	which
 * @leaf:	it has none before this one that was not asked for
 * @exact:	and it has this one; VHDX_MERGE_END: no more
 * @entry:	where that is
 */
struct vhdx_delta_cursor {
	struct vhdx_delta delta;
	u32 leaf;
	bool exact;
	struct vhdx_delta_leaf entry;
};

#define VHDX_MERGE_END	(~0U)

/**
 * struct vhdx_delta_merge - all zero: no delta
 * @cursors:	in the order of the timeline, @count of them
 * @heap:	their numbers; the one with the smallest @leaf is the first
 * @passed:	what lies before this leaf some cursors may have forgotten
 * @reading:	the leaf that vhdx_delta_merge_read() has begun with
 * @is_reading:	there is one
 * @next:	those that will take their place, @next_count of them
 * @matched:	cursors up to this one are behind those in @next
 */
struct vhdx_delta_merge {
	struct vhdx_delta_cursor *cursors;
	u32 *heap;
	u32 count;
	u32 passed;
	u32 reading;
	bool is_reading;
	struct vhdx_delta_cursor *next;
	u32 next_count;
	u32 matched;
};

/* From here on add up to @deltas, in the order of the timeline. 0 or -ENOMEM. */
int vhdx_delta_merge_begin(struct vhdx_delta_merge *merge, u32 deltas);
/* Allocates nothing. */
void vhdx_delta_merge_add(struct vhdx_delta_merge *merge, const struct vhdx_delta *delta);
/* These are the deltas. 0 or -ENOMEM: it has those that it had. */
int vhdx_delta_merge_end(struct vhdx_delta_merge *merge);
void vhdx_delta_merge_release(struct vhdx_delta_merge *merge);

/**
 * vhdx_delta_merge_find() - a step towards the first leaf that any of the deltas has
 * @merge:	of deltas that stay as they are for this step
 * @sidecar:	that they are in
 * @leaf:	from which on
 * @end:	before which; what was found, once all is known
 * @cache:	of the reader
 *
 * Returns 1: go on; 0: all is known; or as vhdx_sidecar_find_leaf().
 */
int vhdx_delta_merge_find(struct vhdx_delta_merge *merge, const struct vhdx_sidecar *sidecar,
			  u32 leaf, u32 *end, struct vhdx_index_cache *cache);

/**
 * vhdx_delta_merge_read() - a step towards all that the deltas have in a leaf
 * @merge:	of deltas that stay as they are for this step
 * @sidecar:	that they are in
 * @leaf:	which
 * @units:	what one of them has is ORed into it. The same in all steps of a leaf
 * @cache:	of the reader
 *
 * Returns 1: go on; 0: all is in it; or as vhdx_sidecar_read_leaf().
 */
int vhdx_delta_merge_read(struct vhdx_delta_merge *merge, const struct vhdx_sidecar *sidecar,
			  u32 leaf, struct vhdx_leaf_bits *units, struct vhdx_index_cache *cache);

/**
 * vhdx_delta_merge_lend() - a step towards the leaf itself, if a single delta has it
 * @merge:	of deltas that stay as they are for this step. vhdx_delta_merge_read() has not begun
 *		with this leaf; it may do so afterwards
 * @sidecar:	that they are in
 * @leaf:	which
 * @lending:	once all is known: what became of it
 * @lent:	the leaf
 * @cache:	of the reader
 *
 * Returns 1: go on; 0: all is known; or as vhdx_sidecar_find_leaf().
 */
int vhdx_delta_merge_lend(struct vhdx_delta_merge *merge, const struct vhdx_sidecar *sidecar,
			  u32 leaf, enum vhdx_lending *lending, struct vhdx_lent_leaf *lent,
			  struct vhdx_index_cache *cache);

/**
 * vhdx_delta_merge_lend_on() - lend more leaves, behind one that was just lent
 * @merge:	of deltas that have stayed as they were since
 * @sidecar:	that they are in
 * @leaf:	the first one, behind that
 * @lent:	room for @count
 * @cache:	of the reader
 *
 * As many as lie side by side in the only delta there is, and are in memory. Returns how many; of
 * the next one nothing is known.
 */
u32 vhdx_delta_merge_lend_on(struct vhdx_delta_merge *merge, const struct vhdx_sidecar *sidecar,
			     u32 leaf, struct vhdx_lent_leaf *lent, u32 count,
			     struct vhdx_index_cache *cache);

#endif
