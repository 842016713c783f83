/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The deltas of a span that the leaf's own sidecar has, asked leaf by leaf while others seal and
 * forget.
 */
#ifndef VHDX_VISIT_H
#define VHDX_VISIT_H

#include "track/tracker.h"
#include "errand.h"

#include <linux/jiffies.h>

struct vhdx_visit_ops;

/**
 * struct vhdx_visit - how far a visit came that was left
 * @ops:	what it asks; NULL: there is none
 * @leaf:	about this leaf
 * @last:	the point whose delta was asked last
 */
struct vhdx_visit {
	const struct vhdx_visit_ops *ops;
	u32 leaf;
	struct vhdx_point_id last;
};

/**
 * struct vhdx_visitor - who asks
 * @tracker:	of the disk
 * @errand:	that this is part of
 * @question:	begun, and looked away from; its sidecar is open, and its read side entered
 * @until:	when that is to be left, in jiffies
 * @span:	the deltas to ask, found in this question
 * @cache:	tables of the sidecar that were come by
 * @words:	room for VHDX_LEAF_WORDS words: what is known of a leaf while it is read
 * @found:	the first leaf that is known, while one is looked for before @end
 * @end:	see there
 * @visit:	that was left
 * @futile:	how often the timeline has changed, in a row, without a visit coming to its end
 * @leaves:	that were read
 */
struct vhdx_visitor {
	struct vhdx_tracker *tracker;
	const struct vhdx_errand *errand;
	struct vhdx_question question;
	unsigned long until;
	struct vhdx_span span;
	struct vhdx_index_cache *cache;
	u64 *words;
	u32 found;
	u32 end;
	struct vhdx_visit visit;
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
