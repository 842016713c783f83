/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The deltas of a span that the leaf's own sidecar has, asked leaf by leaf while others seal and
 * forget.
 */
#ifndef VHDX_VISIT_H
#define VHDX_VISIT_H

#include "track/tracker.h"
#include "errand.h"
#include "core/rct/delta_merge.h"

#include <linux/jiffies.h>

/**
 * struct vhdx_visitor - who asks
 * @tracker:	of the disk
 * @errand:	that this is part of
 * @question:	begun, and looked away from; its sidecar is open, and its read side entered
 * @until:	when that is to be left, in jiffies
 * @span:	the deltas to ask, found in this question
 * @cache:	tables of the sidecar that were come by
 * @merge:	the sealed deltas of the span, as they were in
 * @merged:	this version of the timeline; 0: in none
 * @futile:	how often the timeline has changed, in a row, before a leaf was known
 * @leaves:	that were read
 */
struct vhdx_visitor {
	struct vhdx_tracker *tracker;
	const struct vhdx_errand *errand;
	struct vhdx_question question;
	unsigned long until;
	struct vhdx_span span;
	struct vhdx_index_cache *cache;
	struct vhdx_delta_merge merge;
	u64 merged;
	u32 futile;
	u32 leaves;
};

/*
 * Context: a struct vhdx_visitor. -EAGAIN besides: go on with the same leaf after the read side was
 * left, and the span found again.
 */
extern const struct vhdx_leaf_source vhdx_visitor_source;

/* The read side is to be left. */
static inline bool vhdx_visitor_is_long(const struct vhdx_visitor *visitor)
{
	return time_after_eq(jiffies, visitor->until);
}

#endif
