// SPDX-License-Identifier: GPL-2.0-only
#include "ktap.h"
#include "random.h"
#include "core/rct/timeline.h"

#define POINTS	9

static struct vhdx_timeline_point points[POINTS];
static struct vhdx_timeline_point *table[POINTS];
static struct vhdx_timeline timeline;
static struct vhdx_span span;
static struct vhdx_diag diag;

static const struct vhdx_point_id now;

static void make(u32 count)
{
	u32 i;

	memset(points, 0, sizeof(points));
	memset(&timeline, 0, sizeof(timeline));
	for (i = 0; i < count; i++) {
		table[i] = &points[i];
		points[i].issued = true;
		points[i].id.kind = VHDX_POINT_REFERENCE;
		points[i].id.sequence = 10 + i;
		points[i].id.guid[0] = 0x40 + i;
	}
	timeline.points = table;
	timeline.count = count;
	timeline.next_sequence = 10 + count;
}

static int ask(const struct vhdx_point_id *limit, const struct vhdx_point_id *target)
{
	memset(&diag, 0, sizeof(diag));
	return vhdx_timeline_span(&timeline, limit, target, &span, &diag);
}

static void expect_error(const struct vhdx_point_id *limit, const struct vhdx_point_id *target,
			 int err, u32 why)
{
	EXPECT_EQ(ask(limit, target), err);
	EXPECT_EQ(diag.reason, why);
	EXPECT(diag.text[0]);
}

/* The newest gap of the deltas (first, last], and of the live one. */
static u32 model_gap(u32 first, u32 last, bool live)
{
	u32 gap = VHDX_REASON_NONE;
	u32 i;

	for (i = first + 1; i <= last; i++)
		if (points[i].before.gap_reason)
			gap = points[i].before.gap_reason;
	return live && timeline.live.gap_reason ? timeline.live.gap_reason : gap;
}

static u32 model_flags(u32 first, u32 last, bool live)
{
	u32 flags = live ? timeline.live.flags : 0;
	u32 i;

	for (i = first + 1; i <= last; i++)
		flags |= points[i].before.flags;
	return flags;
}

static void expect_pair(u32 from, u32 to, bool live)
{
	const struct vhdx_point_id *target = live ? &now : &points[to].id;
	u32 gap = model_gap(from, to, live);

	if (!live && to < from) {
		expect_error(&points[from].id, target, -EINVAL, VHDX_REASON_ARGUMENT);
		return;
	}
	if (gap) {
		expect_error(&points[from].id, target, -ESTALE, gap);
		return;
	}
	EXPECT_EQ(ask(&points[from].id, target), 0);
	EXPECT_EQ(diag.reason, VHDX_REASON_NONE);
	EXPECT_EQ(span.first, from + 1);
	EXPECT_EQ(span.end, to + 1);
	EXPECT_EQ(span.live, live);
	EXPECT_EQ(span.flags, model_flags(from, to, live));
}

CASE(every_pair_of_points_with_gaps_at_random)
{
	u32 round, from, to;

	random_seed(1);
	for (round = 0; round < 500; round++) {
		make(POINTS);
		for (to = 0; to < POINTS; to++) {
			if (!random_below(6))
				points[to].before.gap_reason = 1 + random_below(15);
			points[to].before.flags = !random_below(6);
		}
		if (!random_below(4))
			vhdx_timeline_gap(&timeline, 1 + random_below(15), 0);
		timeline.live.flags = random_below(2);
		for (from = 0; from < POINTS; from++) {
			for (to = 0; to < POINTS; to++)
				expect_pair(from, to, false);
			expect_pair(from, POINTS - 1, true);
		}
	}
}

CASE(a_point_to_itself_is_an_empty_span)
{
	make(3);
	points[1].before.gap_reason = VHDX_REASON_RESET;
	points[2].before.gap_reason = VHDX_REASON_RESET;
	ASSERT_EQ(ask(&points[1].id, &points[1].id), 0);
	EXPECT_EQ(span.first, span.end);
	EXPECT(!span.live);
}

CASE(the_delta_that_leads_to_the_limit_does_not_count)
{
	make(2);
	points[0].before.gap_reason = VHDX_REASON_RESET;
	EXPECT_EQ(ask(&points[0].id, &now), 0);
	points[1].before.gap_reason = VHDX_REASON_UNCLEAN;
	EXPECT_EQ(ask(&points[1].id, &now), 0);
	expect_error(&points[0].id, &now, -ESTALE, VHDX_REASON_UNCLEAN);
}

CASE(malformed_ids)
{
	struct vhdx_point_id id;

	make(2);
	expect_error(&now, &now, -EINVAL, VHDX_REASON_ARGUMENT);
	expect_error(&now, &points[0].id, -EINVAL, VHDX_REASON_ARGUMENT);

	id = points[0].id;
	id.reserved = 1;
	expect_error(&id, &now, -EINVAL, VHDX_REASON_ID_MALFORMED);
	expect_error(&points[0].id, &id, -EINVAL, VHDX_REASON_ID_MALFORMED);

	id = points[0].id;
	id.kind = VHDX_POINT_WINDOWS + 1;
	expect_error(&id, &now, -EINVAL, VHDX_REASON_ID_MALFORMED);
	expect_error(&points[0].id, &id, -EINVAL, VHDX_REASON_ID_MALFORMED);

	/* Neither "now" nor a point. */
	id = points[1].id;
	id.kind = VHDX_POINT_NONE;
	expect_error(&points[0].id, &id, -EINVAL, VHDX_REASON_ID_MALFORMED);
	id = now;
	id.reserved = 1;
	expect_error(&points[0].id, &id, -EINVAL, VHDX_REASON_ID_MALFORMED);
}

CASE(unknown_ids)
{
	struct vhdx_point_id id;

	make(2);
	id = points[1].id;
	id.guid[15] ^= 1;
	expect_error(&id, &now, -ENODATA, VHDX_REASON_ID_MISSING);
	expect_error(&points[0].id, &id, -ENODATA, VHDX_REASON_ID_MISSING);
	id = points[1].id;
	id.sequence++;
	expect_error(&id, &now, -ENODATA, VHDX_REASON_ID_MISSING);
	id = points[1].id;
	id.kind = VHDX_POINT_SNAPSHOT;
	expect_error(&id, &now, -ENODATA, VHDX_REASON_ID_MISSING);
	id.kind = VHDX_POINT_WINDOWS;
	expect_error(&id, &now, -ENODATA, VHDX_REASON_ID_MISSING);
	make(0);
	expect_error(&points[0].id, &now, -EINVAL, VHDX_REASON_ARGUMENT);
	expect_error(&id, &now, -ENODATA, VHDX_REASON_ID_MISSING);
	EXPECT(!vhdx_timeline_newest(&timeline));
}

CASE(a_point_that_was_not_issued_is_unseen_but_its_delta_counts)
{
	make(3);
	points[2].issued = false;
	points[2].before.flags = VHDX_DELTA_COARSE;
	EXPECT(vhdx_timeline_newest(&timeline) == &points[1]);
	EXPECT_EQ(vhdx_timeline_find(&timeline, &points[2].id), -1);
	EXPECT_EQ(vhdx_timeline_find(&timeline, &points[1].id), 1);
	expect_error(&points[2].id, &now, -ENODATA, VHDX_REASON_ID_MISSING);
	expect_error(&points[0].id, &points[2].id, -ENODATA, VHDX_REASON_ID_MISSING);
	ASSERT_EQ(ask(&points[1].id, &now), 0);
	EXPECT_EQ(span.first, 2);
	EXPECT_EQ(span.end, 3);
	EXPECT(span.live);
	EXPECT_EQ(span.flags, VHDX_DELTA_COARSE);
	points[2].before.gap_reason = VHDX_REASON_RESET;
	expect_error(&points[1].id, &now, -ESTALE, VHDX_REASON_RESET);
	EXPECT_EQ(ask(&points[0].id, &points[1].id), 0);
	points[0].issued = false;
	points[1].issued = false;
	EXPECT(!vhdx_timeline_newest(&timeline));
}

CASE(the_newest_cause_of_a_gap_wins)
{
	make(1);
	vhdx_timeline_gap(&timeline, VHDX_REASON_RESET, 0);
	vhdx_timeline_gap(&timeline, VHDX_REASON_UNCLEAN, 0);
	expect_error(&points[0].id, &now, -ESTALE, VHDX_REASON_UNCLEAN);
}

SUITE("timeline")
