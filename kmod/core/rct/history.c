// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "history.h"

const struct vhdx_timeline *vhdx_history_timeline(const struct vhdx_history *history, u32 layer)
{
	static const struct vhdx_timeline empty;
	const struct vhdx_sidecar *sidecar = history->sidecar;

	if (layer)
		sidecar = history->parents[layer - 1].sidecar;
	else if (vhdx_history_is_off(history))
		sidecar = NULL;
	return sidecar ? &sidecar->timeline : &empty;
}

int vhdx_history_check_tracking(const struct vhdx_history *history, struct vhdx_diag *diag)
{
	u32 reason = VHDX_REASON_DISABLED;
	int err = history->off_error;

	if (history->state == VHDX_TRACKING_ON)
		return 0;
	if (vhdx_history_is_off(history) && history->off_reason)
		reason = history->off_reason;
	if (!err)
		err = reason == VHDX_REASON_UNSUPPORTED || reason == VHDX_REASON_DISABLED ?
		      -EOPNOTSUPP : -ESTALE;
	if (vhdx_history_is_off(history) && history->off_text)
		return vhdx_fail(diag, err, reason, "%s", history->off_text);
	return vhdx_fail_plainly(diag, err, reason);
}

/* ---- where a point is ---------------------------------------------------------------------- */

static bool is_snapshot(const struct vhdx_history *history, u32 layer,
			const struct vhdx_point_id *id)
{
	return layer && id->kind == VHDX_POINT_SNAPSHOT && !id->sequence &&
	       !memcmp(id->guid, &history->parents[layer - 1].guid, sizeof(id->guid));
}

static bool find_in(const struct vhdx_history *history, u32 layer, const struct vhdx_point_id *id,
		    struct vhdx_place *place)
{
	int position;

	place->layer = layer;
	place->position = VHDX_PLACE_END;
	if (is_snapshot(history, layer, id))
		return true;
	position = vhdx_timeline_find(vhdx_history_timeline(history, layer), id);
	place->position = position;
	return position >= 0;
}

bool vhdx_history_find(const struct vhdx_history *history, const struct vhdx_point_id *id,
		       bool newest, struct vhdx_place *place)
{
	u32 i;

	for (i = 0; i <= history->parent_count; i++)
		if (find_in(history, newest ? i : history->parent_count - i, id, place))
			return true;
	return false;
}

/* The nearest parent that may have it. */
static int missing_in_parents(const struct vhdx_history *history, struct vhdx_diag *diag)
{
	const struct vhdx_frozen_layer *parent;
	u32 i;

	for (i = 0; i < history->parent_count; i++) {
		parent = &history->parents[i];
		if (parent->error)
			return vhdx_fail(diag, parent->error, parent->lost.reason, "layer %u: %s",
					 i + 1, parent->lost.text);
	}
	return 0;
}

int vhdx_history_missing(const struct vhdx_history *history, const struct vhdx_point_id *id,
			 struct vhdx_diag *diag)
{
	bool may_be_recorded = id->kind != VHDX_POINT_SNAPSHOT;
	int err = 0;

	if (!vhdx_history_has_parents(history) ||
	    (may_be_recorded && vhdx_history_is_lost(history)))
		err = vhdx_history_check_tracking(history, diag);
	if (!err && may_be_recorded)
		err = missing_in_parents(history, diag);
	if (!err && history->chain_error)
		err = vhdx_fail(diag, history->chain_error, history->chain_lost->reason, "%s",
				history->chain_lost->text);
	return err ? err : vhdx_timeline_missing(id, diag);
}

/* ---- what lies between two of them --------------------------------------------------------- */

static const struct vhdx_point_id now;

static int check_ids(const struct vhdx_point_id *limit, const struct vhdx_point_id *target,
		     struct vhdx_diag *diag)
{
	int err = vhdx_point_id_check(limit, diag);

	if (!err && !vhdx_point_id_is_none(target))
		err = vhdx_point_id_check(target, diag);
	return err;
}

/* A reference that only the leaf's own sidecar knows. */
static bool is_recorded_in_leaf(const struct vhdx_place *place)
{
	return !place->layer && place->position != VHDX_PLACE_END;
}

static bool is_older(const struct vhdx_place *one, const struct vhdx_place *other)
{
	return one->layer > other->layer ||
	       (one->layer == other->layer && one->position < other->position);
}

static int find_both(const struct vhdx_history *history, const struct vhdx_point_id *limit,
		     const struct vhdx_point_id *target, struct vhdx_place *from,
		     struct vhdx_place *to, struct vhdx_diag *diag)
{
	struct vhdx_diag unknown = { };
	int err, off = 0;

	*to = (struct vhdx_place) { .position = VHDX_PLACE_END };
	err = check_ids(limit, target, diag);
	if (err)
		return err;
	if (!vhdx_history_find(history, limit, false, from))
		err = vhdx_history_missing(history, limit, &unknown);
	else if (!vhdx_point_id_is_none(target) && !vhdx_history_find(history, target, true, to))
		err = vhdx_history_missing(history, target, &unknown);
	else if (is_older(to, from))
		return vhdx_bad_argument(diag,
			"the target is an older point than the one to begin with: exchange the two");
	else if (is_recorded_in_leaf(from) || is_recorded_in_leaf(to))
		off = vhdx_history_check_tracking(history, diag);
	if (err)
		*diag = unknown;
	return err ? err : off;
}

/*
 * From a reference on. In its own layer it ends at another one; or where the layer was frozen, or
 * where it is now.
 */
static int route_recorded(const struct vhdx_history *history, const struct vhdx_point_id *limit,
			  const struct vhdx_point_id *target, const struct vhdx_place *to,
			  struct vhdx_route *route, struct vhdx_diag *diag)
{
	bool ends_there = to->layer == route->layer && to->position != VHDX_PLACE_END;

	route->tracked = true;
	return vhdx_timeline_span(vhdx_history_timeline(history, route->layer), limit,
				  ends_there ? target : &now, &route->stored, diag);
}

/*
 * All of the layer is told, which has what changed before the reference, and more: if it is what
 * the sidecar knows. Behind a gap it may be another copy, in which that never was.
 */
static int end_within_layer(const struct vhdx_history *history, const struct vhdx_point_id *target,
			    u32 layer, struct vhdx_route *route, struct vhdx_diag *diag)
{
	struct vhdx_span behind;
	int err = vhdx_timeline_span(vhdx_history_timeline(history, layer), target, &now, &behind,
				     diag);

	route->coarse = true;
	if (err)
		route->stored.gap_time_ns = behind.gap_time_ns;
	return err;
}

static u32 unit_shift_of(const struct vhdx_history *history, const struct vhdx_route *route)
{
	const struct vhdx_sidecar *sidecar = history->sidecar;

	if (!route->tracked)
		return history->sector_shift;
	if (route->layer)
		sidecar = history->parents[route->layer - 1].sidecar;
	return max(sidecar->unit_shift, history->sector_shift);
}

int vhdx_history_route(const struct vhdx_history *history, const struct vhdx_point_id *limit,
		       const struct vhdx_point_id *target, struct vhdx_route *route,
		       struct vhdx_diag *diag)
{
	struct vhdx_place from, to;
	int err;

	memset(route, 0, sizeof(*route));
	err = find_both(history, limit, target, &from, &to, diag);
	if (err)
		return err;
	route->layer = from.layer;
	route->derived = to.layer;
	route->derived_end = from.layer;
	if (from.position != VHDX_PLACE_END)
		err = route_recorded(history, limit, target, &to, route, diag);
	if (!err && to.layer < from.layer && to.position != VHDX_PLACE_END)
		err = end_within_layer(history, target, to.layer, route, diag);
	if (err)
		return err;
	route->coarse |= route->stored.flags & VHDX_DELTA_COARSE;
	route->unit_shift = unit_shift_of(history, route);
	return 0;
}

void vhdx_route_derive(const struct vhdx_route *route, const struct vhdx_history *history,
		       vhdx_presence_fn look, void *context, struct vhdx_derived_delta *deltas,
		       struct vhdx_delta_list *list)
{
	u32 layer;

	for (layer = route->derived; layer < route->derived_end; layer++, deltas++) {
		*deltas = (struct vhdx_derived_delta) {
			.look = look,
			.context = context,
			.layer = layer,
			.parent_size = vhdx_history_size(history, layer + 1),
			.size = vhdx_history_size(history, layer),
			.unit_shift = route->unit_shift,
		};
		list->sources[list->count++] = (struct vhdx_delta_source) {
			.ops = &vhdx_derived_source,
			.context = deltas,
		};
	}
}

/* ---- what is live -------------------------------------------------------------------------- */

void vhdx_history_live_leaf(const struct vhdx_history *history, u32 leaf,
			    struct vhdx_leaf_bits *units)
{
	vhdx_changemap_read_leaf(history->live, leaf, units);
	if (history->sealing)
		vhdx_changemap_read_leaf(history->sealing, leaf, units);
}

enum vhdx_lending vhdx_history_lend_live(const struct vhdx_history *history, u32 leaf,
					 struct vhdx_lent_leaf *lent)
{
	enum vhdx_lending lending = VHDX_LENT_NOTHING;

	if (history->sealing)
		lending = vhdx_changemap_lend_leaf(history->sealing, leaf, lent);
	if (lending == VHDX_LENT_NOTHING)
		return vhdx_changemap_lend_leaf(history->live, leaf, lent);
	if (vhdx_changemap_find_leaf(history->live, leaf, leaf + 1) > leaf)
		return lending;
	return vhdx_take_back(lending, lent);
}

u32 vhdx_history_find_live_leaf(const struct vhdx_history *history, u32 leaf, u32 end)
{
	end = vhdx_changemap_find_leaf(history->live, leaf, end);
	if (history->sealing)
		end = vhdx_changemap_find_leaf(history->sealing, leaf, end);
	return end;
}
