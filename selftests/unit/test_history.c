// SPDX-License-Identifier: GPL-2.0-only
/*
 * Points through layers, and what is derived from layers, against models that look at each sector.
 */
#include "ktap.h"
#include "random.h"
#include "core/bits.h"
#include "core/rct/history.h"

/* ---- which deltas lie between two points --------------------------------------------------- */

#define LAYERS	4
#define POINTS	3

static struct vhdx_sidecar sidecars[LAYERS];
static struct vhdx_timeline_point points[LAYERS][POINTS];
static struct vhdx_timeline_point *tables[LAYERS][POINTS];
static struct vhdx_frozen_layer parents[LAYERS - 1];
static struct vhdx_history history;
static struct vhdx_route route;
static struct vhdx_diag diag;

static const struct vhdx_point_id now;

/* Of each layer so many references, the leaf being layer 0. */
static void make_history(const u32 counts[LAYERS])
{
	u32 layer, i;

	memset(sidecars, 0, sizeof(sidecars));
	memset(points, 0, sizeof(points));
	memset(parents, 0, sizeof(parents));
	for (layer = 0; layer < LAYERS; layer++) {
		for (i = 0; i < counts[layer]; i++) {
			points[layer][i].issued = true;
			points[layer][i].id.kind = VHDX_POINT_REFERENCE;
			points[layer][i].id.sequence = 1 + i;
			points[layer][i].id.guid[0] = 1 + layer;
			tables[layer][i] = &points[layer][i];
		}
		sidecars[layer].unit_shift = 12 + layer;
		sidecars[layer].timeline.points = tables[layer];
		sidecars[layer].timeline.count = counts[layer];
		if (layer) {
			parents[layer - 1].guid.b[0] = 0x80 + layer;
			parents[layer - 1].sidecar = &sidecars[layer];
		}
	}
	history = (struct vhdx_history) {
		.sector_shift = 9,
		.state = VHDX_TRACKING_ON,
		.sidecar = &sidecars[0],
		.parents = parents,
		.parent_count = LAYERS - 1,
	};
}

/* Each point has a number, in order; positions of a layer: its references, then its end. */
static u32 number_of(u32 layer, u32 position)
{
	return (LAYERS - 1 - layer) * (POINTS + 1) + position;
}

static struct vhdx_point_id id_of(u32 number)
{
	const u32 layer = LAYERS - 1 - number / (POINTS + 1), position = number % (POINTS + 1);
	struct vhdx_point_id id = { .kind = VHDX_POINT_SNAPSHOT };

	if (position < POINTS)
		return points[layer][position].id;
	if (!layer)
		return now;
	id.guid[0] = 0x80 + layer;
	return id;
}

static int ask(u32 from, u32 to)
{
	const struct vhdx_point_id limit = id_of(from), target = id_of(to);

	memset(&diag, 0, sizeof(diag));
	return vhdx_history_route(&history, &limit, &target, &route, &diag);
}

static void expect_route(u32 from, u32 to)
{
	const u32 first = LAYERS - 1 - from / (POINTS + 1), last = LAYERS - 1 - to / (POINTS + 1);
	const u32 position = from % (POINTS + 1), end = to % (POINTS + 1);
	const bool tracked = position < POINTS;

	ASSERT_EQ(ask(from, to), from <= to ? 0 : -EINVAL);
	if (from > to)
		return;
	EXPECT_EQ(route.tracked, tracked);
	EXPECT_EQ(route.layer, first);
	EXPECT_EQ(route.derived, last);
	EXPECT_EQ(route.derived_end, first);
	EXPECT_EQ(route.coarse, last < first && end < POINTS);
	EXPECT_EQ(route.unit_shift, tracked ? 12 + first : 9);
	EXPECT_EQ(route.stored.live, tracked && (last < first || end == POINTS));
	EXPECT_EQ(route.stored.end - route.stored.first,
		  !tracked ? 0 : (last < first || end == POINTS ? POINTS : end + 1) - position - 1);
}

CASE(every_pair_of_points)
{
	static const u32 counts[LAYERS] = { POINTS, POINTS, POINTS, POINTS };
	const u32 last = number_of(0, POINTS);
	u32 from, to;

	make_history(counts);
	for (from = 0; from < last; from++)
		for (to = 0; to <= last; to++)
			expect_route(from, to);
}

CASE(a_gap_fails_what_needs_the_recorded)
{
	static const u32 counts[LAYERS] = { POINTS, POINTS, POINTS, POINTS };

	make_history(counts);
	/* Just before the last reference of layer 2. */
	points[2][2].before.gap_reason = VHDX_REASON_RESET;
	points[2][2].before.gap_time_ns = 77;
	EXPECT_EQ(ask(number_of(2, 1), number_of(0, POINTS)), -ESTALE);
	EXPECT_EQ(diag.reason, VHDX_REASON_RESET);
	EXPECT_EQ(route.stored.gap_time_ns, 77);
	EXPECT_EQ(ask(number_of(2, 0), number_of(2, 1)), 0);
	EXPECT_EQ(ask(number_of(2, 2), number_of(0, POINTS)), 0);
	EXPECT_EQ(ask(number_of(3, POINTS), number_of(2, POINTS)), 0);
	EXPECT_EQ(ask(number_of(3, 0), number_of(0, POINTS)), 0);
	/* Until a reference: what is behind that must be known. */
	EXPECT_EQ(ask(number_of(3, POINTS), number_of(2, 1)), -ESTALE);
	EXPECT_EQ(ask(number_of(3, 0), number_of(2, 0)), -ESTALE);
	EXPECT_EQ(ask(number_of(3, POINTS), number_of(2, 2)), 0);
}

CASE(unknown_points_and_sidecars_that_are_lost)
{
	static const u32 counts[LAYERS] = { POINTS, POINTS, 0, POINTS };
	const struct vhdx_point_id snapshot = { .kind = VHDX_POINT_SNAPSHOT, .guid = { 9 } };
	const struct vhdx_point_id reference = { .kind = VHDX_POINT_REFERENCE, .guid = { 9 } };

	make_history(counts);
	memset(&diag, 0, sizeof(diag));
	EXPECT_EQ(vhdx_history_route(&history, &reference, &now, &route, &diag), -ENODATA);
	parents[1].sidecar = NULL;
	parents[1].error = -ESTALE;
	vhdx_fail(&parents[1].lost, 0, VHDX_REASON_INCONSISTENT, "sidecar: bad");
	memset(&diag, 0, sizeof(diag));
	EXPECT_EQ(vhdx_history_route(&history, &reference, &now, &route, &diag), -ESTALE);
	EXPECT_EQ(diag.reason, VHDX_REASON_INCONSISTENT);
	EXPECT(strstr(diag.text, "layer 2: sidecar: bad"));
	memset(&diag, 0, sizeof(diag));
	EXPECT_EQ(vhdx_history_route(&history, &snapshot, &now, &route, &diag), -ENODATA);

	/* The leaf is not tracked: what its sidecar would have nobody needs. */
	history.state = VHDX_TRACKING_OFF;
	EXPECT_EQ(ask(number_of(1, POINTS), number_of(0, POINTS)), 0);
	EXPECT_EQ(ask(number_of(1, 0), number_of(0, POINTS)), 0);
	history.off_reason = VHDX_REASON_TRACKING_ERROR;
	EXPECT_EQ(ask(number_of(0, 0), number_of(0, POINTS)), -ESTALE);
	EXPECT_EQ(diag.reason, VHDX_REASON_TRACKING_ERROR);
	EXPECT_EQ(ask(number_of(1, POINTS), number_of(0, POINTS)), 0);
	/* No snapshot at all. */
	history.parent_count = 0;
	history.off_reason = VHDX_REASON_NONE;
	memset(&diag, 0, sizeof(diag));
	EXPECT_EQ(vhdx_history_route(&history, &snapshot, &now, &route, &diag), -EOPNOTSUPP);
}

CASE(layers_that_say_they_are_the_same)
{
	static const u32 counts[LAYERS] = { 0, 0, 0, 0 };

	make_history(counts);
	parents[0].guid = parents[2].guid;
	/* The oldest to begin with, and the newest to end: more is told, never less. */
	ASSERT_EQ(ask(number_of(3, POINTS), number_of(3, POINTS)), 0);
	EXPECT_EQ(route.derived_end - route.derived, 2);
}

/* ---- what is derived ----------------------------------------------------------------------- */

#define SECTORS		(9 * VHDX_LEAF_UNITS + 77)
#define SECTOR_SHIFT	9

struct model_layer {
	u8 has[SECTORS];
	u64 size;
	u64 parent_size;
	bool stutters;
};

static struct model_layer layers[2];
static struct vhdx_leaf_bits units;

static int model_look(void *context, u32 layer, u64 offset, u64 *to)
{
	const struct model_layer *m = context;
	const u64 from = offset >> SECTOR_SHIFT, end = *to >> SECTOR_SHIFT;
	u64 at = from + 1;

	m += layer;
	EXPECT(offset < *to && *to <= min(m->size, m->parent_size));
	while (at < end && m->has[at] == m->has[from] && !(m->stutters && !random_below(50)))
		at++;
	*to = at << SECTOR_SHIFT;
	return m->has[from];
}

static void fill_layer(struct model_layer *m, u32 pieces, u32 longest)
{
	memset(m->has, 0, sizeof(m->has));
	while (pieces--) {
		u64 from = random_below(SECTORS);
		u64 length = 1 + random_below(longest);

		memset(m->has + from, random_below(4) > 0, min(length, SECTORS - from));
	}
}

static bool model_changed(u64 at)
{
	u32 i;

	for (i = 0; i < 2; i++) {
		if (at >= layers[i].size)
			continue;
		if (at >= layers[i].parent_size || layers[i].has[at >> SECTOR_SHIFT])
			return true;
	}
	return false;
}

/* Does the answer, in units of this, say exactly what each sector says? */
static void check_derived(u32 unit_shift)
{
	const u64 size = max(layers[0].size, layers[1].size), unit = 1ULL << unit_shift;
	struct vhdx_derived_delta deltas[2];
	struct vhdx_delta_source sources[2];
	struct vhdx_delta_list list = { .sources = sources, .count = 2 };
	static struct vhdx_range ranges[SECTORS];
	struct vhdx_answer answer = {
		.form = &vhdx_answer_ranges,
		.end = size,
		.unit_shift = unit_shift,
		.granule_shift = unit_shift,
		.units = &units,
		.ranges = { .array = ranges, .size = sizeof(*ranges), .capacity = SECTORS },
	};
	u64 at, inside;
	u32 i;

	for (i = 0; i < 2; i++) {
		deltas[i] = (struct vhdx_derived_delta) {
			.look = model_look,
			.context = layers,
			.layer = i,
			.parent_size = layers[i].parent_size,
			.size = layers[i].size,
			.unit_shift = unit_shift,
		};
		sources[i] = (struct vhdx_delta_source) { &vhdx_derived_source, &deltas[i] };
	}
	while (vhdx_answer_leaf(&answer, &vhdx_delta_list_source, &list) > 0)
		;
	EXPECT_EQ(answer.offset, size);
	for (i = 0, at = 0; at < size; at += unit) {
		bool changed = false, told;

		for (inside = at; inside < min(size, at + unit); inside += 512)
			changed |= model_changed(inside);
		while (i < answer.ranges.count &&
		       at >= ranges[i].byte_offset + ranges[i].byte_length)
			i++;
		told = i < answer.ranges.count && at >= ranges[i].byte_offset;
		ASSERT_EQ(told, changed);
	}
}

CASE(derived_is_what_layers_have)
{
	static const u32 shifts[] = { 9, 12, 14, 20 };
	u32 round, i;

	for (round = 0; round < 24; round++) {
		random_seed(round);
		for (i = 0; i < 2; i++) {
			fill_layer(&layers[i], random_below(40),
				   round % 3 ? 1 + random_below(300) : 3 * VHDX_LEAF_UNITS);
			layers[i].size = (SECTORS - random_below(VHDX_LEAF_UNITS) * i) * 512ULL;
			layers[i].parent_size = layers[i].size -
						(random_below(3) ? 0 : random_below(999) * 512);
			layers[i].stutters = random_below(2);
		}
		check_derived(shifts[round % 4]);
	}
}

/* What changed as a whole is not gone through leaf by leaf. */
static u32 reads;

static int count_read(void *context, u32 leaf, struct vhdx_leaf_bits *into)
{
	reads++;
	return vhdx_derived_source.read(context, leaf, into);
}

CASE(whole_leaves_are_not_read)
{
	const struct vhdx_leaf_source counting = {
		.find = vhdx_derived_source.find,
		.fill = vhdx_derived_source.fill,
		.read = count_read,
	};
	struct vhdx_derived_delta delta = {
		.look = model_look,
		.context = layers,
		.parent_size = SECTORS * 512ULL,
		.size = SECTORS * 512ULL,
		.unit_shift = SECTOR_SHIFT,
	};
	struct vhdx_answer answer = {
		.form = &vhdx_answer_ranges,
		.end = SECTORS * 512ULL,
		.unit_shift = SECTOR_SHIFT,
		.granule_shift = SECTOR_SHIFT,
		.units = &units,
	};

	layers[0].size = SECTORS * 512ULL;
	layers[0].parent_size = SECTORS * 512ULL;
	layers[0].stutters = false;
	memset(layers[0].has, 1, sizeof(layers[0].has));
	reads = 0;
	while (vhdx_answer_leaf(&answer, &counting, &delta) > 0)
		;
	EXPECT_EQ(answer.ranges.sum, SECTORS * 512ULL);
	/* The last one is not whole. */
	EXPECT_EQ(reads, 1);
}

static u32 looks;

static int count_look(void *context, u32 layer, u64 offset, u64 *to)
{
	looks++;
	return model_look(context, layer, offset, to);
}

/* A unit that is told is not looked at any further: a bitmap may have thousands of runs. */
CASE(a_unit_is_not_looked_at_sector_by_sector)
{
	const u64 size = SECTORS * 512ULL;
	struct vhdx_derived_delta delta = {
		.look = count_look,
		.context = layers,
		.parent_size = size,
		.size = size,
		.unit_shift = 20,
	};
	struct vhdx_leaf_walk walk;
	u32 from, i;

	layers[0].size = size;
	layers[0].parent_size = size;
	layers[0].stutters = false;
	for (i = 0; i < SECTORS; i++)
		layers[0].has[i] = i & 1;
	looks = 0;
	vhdx_leaf_bits_clear(&units);
	EXPECT_EQ(vhdx_derived_source.read(&delta, 0, &units), 0);
	vhdx_leaf_walk_begin(&walk, &units, 0, VHDX_LEAF_UNITS);
	EXPECT(vhdx_leaf_walk_next(&walk, &from, &i));
	EXPECT_EQ(from, 0);
	EXPECT_EQ(i, ((size - 1) >> 20) + 1);
	EXPECT(looks <= 2 * i);
}

/* Of the two maps that are live while a point is sealed one has the leaf, or both. */
CASE(a_leaf_of_one_live_map_is_lent)
{
	const u64 size = 4ULL << 12 << VHDX_LEAF_SHIFT, leaf_bytes = size / 4;
	struct vhdx_changemap maps[2];
	struct vhdx_history history = { .live = &maps[0], .sealing = &maps[1] };
	struct vhdx_lent_leaf lent;
	enum vhdx_lending lending;
	u32 leaf, i;

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(vhdx_changemap_init(&maps[i], size, 12), 0);
		for (leaf = 0; leaf < 4; leaf++)
			if (leaf >> i & 1)
				vhdx_changemap_mark(&maps[i], leaf * leaf_bytes + (i << 12), 1);
	}
	for (leaf = 0; leaf < 4; leaf++) {
		lending = vhdx_history_lend_live(&history, leaf, &lent);
		if (!leaf)
			EXPECT_EQ(lending, VHDX_LENT_NOTHING);
		else if (leaf == 3 || !vhdx_is_little_endian())
			EXPECT_EQ(lending, VHDX_LENT_NOT);
		else
			EXPECT_EQ(lending, VHDX_LENT_PAGE);
		if (lending != VHDX_LENT_PAGE)
			continue;
		EXPECT_EQ(*(u64 *)lent.page, leaf);
		EXPECT_EQ(lent.units, 1);
		vhdx_shared_put(lent.page);
	}
	/* Just about to be published, or without memory. */
	maps[1].present[0] |= 1;
	EXPECT_EQ(vhdx_history_lend_live(&history, 0, &lent), VHDX_LENT_NOTHING);
	vhdx_changemap_mark(&maps[0], 0, leaf_bytes);
	EXPECT_EQ(vhdx_history_lend_live(&history, 0, &lent), VHDX_LENT_NOT);
	for (i = 0; i < 2; i++)
		vhdx_changemap_release(&maps[i]);
}

SUITE("history")
