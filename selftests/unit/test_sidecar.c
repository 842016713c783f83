// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sidecar as its users see it: what was committed is there after the next load.
 */
#include "ktap.h"
#include "sidecar_rig.h"
#include "core/rct/delta_source.h"
#include "core/vhdx/image.h"

CASE(an_empty_sidecar_is_there_after_load)
{
	make(0, LIMIT);
	/* Two slots, two tokens, one block of the coarse area, and some that are free. */
	EXPECT_EQ(fake.length, (5 + 8) * 4096);
	EXPECT_EQ(sidecar.timeline.next_sequence, 1);
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(sidecar.state, VHDX_SIDECAR_ON);
	EXPECT(vhdx_guid_equal(&sidecar.disk_id, &disk_id));
	EXPECT(vhdx_guid_equal(&sidecar.current_guid, &dwg[0]));
	EXPECT(vhdx_guid_is_zero(&sidecar.next_guid));
	EXPECT_EQ(sidecar.disk_size, DISK_SIZE);
	EXPECT_EQ(sidecar.unit_shift, SHIFT);
	EXPECT_EQ(sidecar.timeline.count, 0);
	EXPECT_EQ(sidecar.timeline.next_sequence, 1);
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
	finish();
}

CASE(points_and_deltas_are_there_after_load)
{
	struct vhdx_changemap maps[50], live;
	struct vhdx_point_id ids[50];
	u32 i;

	random_seed(2);
	make(0, LIMIT);
	for (i = 0; i < ARRAY_SIZE(maps); i++) {
		new_map(&maps[i]);
		mark_at_random(&maps[i], random_below(4));
		if (i == 20)
			vhdx_changemap_mark_all(&maps[i]);
		if (i == 30)
			vhdx_timeline_gap(&sidecar.timeline, VHDX_REASON_RESET, 99);
		ASSERT_EQ(seal(&maps[i], &ids[i]), 0);
	}
	new_map(&live);
	mark_at_random(&live, 9);
	sidecar.timeline.live.flags = VHDX_DELTA_COARSE;
	EXPECT_EQ(vhdx_sidecar_checkpoint(&sidecar, &live, NULL), 0);
	sidecar.next_guid = dwg[1];
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);

	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
	EXPECT_EQ(sidecar.state, VHDX_SIDECAR_ON);
	EXPECT(vhdx_guid_equal(&sidecar.next_guid, &dwg[1]));
	ASSERT_EQ(sidecar.timeline.count, ARRAY_SIZE(maps));
	EXPECT_EQ(sidecar.timeline.next_sequence, ARRAY_SIZE(maps) + 1);
	for (i = 0; i < ARRAY_SIZE(maps); i++) {
		const struct vhdx_timeline_point *point = sidecar.timeline.points[i];

		EXPECT_EQ(vhdx_timeline_find(&sidecar.timeline, &ids[i]), i);
		EXPECT(point->issued);
		EXPECT_EQ(point->time_ns, 12345);
		EXPECT_EQ(point->label_length, 5);
		EXPECT(!memcmp(point->label, "label", 5));
		EXPECT_EQ(point->before.gap_reason, i == 30 ? VHDX_REASON_RESET : 0);
		EXPECT_EQ(point->before.gap_time_ns, i == 30 ? 99 : 0);
		expect_delta(&point->before, &maps[i]);
		vhdx_changemap_release(&maps[i]);
	}
	EXPECT_EQ(sidecar.timeline.live.flags, VHDX_DELTA_COARSE);
	expect_delta(&sidecar.timeline.live, &live);
	vhdx_changemap_release(&live);
	finish();
}

/* ---- bind ---- */

#define NOW	1764200000000000000ULL

static int bind_to(const vhdx_guid *guid)
{
	memset(&diag, 0, sizeof(diag));
	return vhdx_sidecar_bind(&sidecar, &disk_id, DISK_SIZE, guid, NOW, &diag);
}

CASE(a_child_is_not_given_the_sidecar_of_its_parent)
{
	static const vhdx_guid stranger = { { 0x5a } };
	struct vhdx_locator locator = { .linkage = dwg[0] };
	const vhdx_guid *child = &dwg[2];
	unsigned int i;

	for (i = 0; i < 2; i++) {
		make(0, LIMIT);
		/* The one that it has, and the one that it is about to get. */
		sidecar.next_guid = dwg[1];
		ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
		ASSERT_EQ(reload(), 0);
		memset(&diag, 0, sizeof(diag));
		locator.linkage = dwg[i];
		memset(&locator.linkage2, 0, sizeof(locator.linkage2));
		EXPECT_EQ(vhdx_sidecar_refuse_parents(&sidecar, child, &locator, &diag), -ESTALE);
		EXPECT_EQ(diag.reason, VHDX_REASON_CHANGED_OFFLINE);
		EXPECT_HAS(diag.text, "of the parent of this disk");
		/* While it is merged it may have either. */
		locator.linkage2 = locator.linkage;
		locator.linkage = stranger;
		EXPECT_EQ(vhdx_sidecar_refuse_parents(&sidecar, child, &locator, NULL), -ESTALE);
		locator.linkage2 = stranger;
		EXPECT_EQ(vhdx_sidecar_refuse_parents(&sidecar, child, &locator, NULL), 0);
		/* Its own, and that of a disk without parent. */
		locator.linkage = dwg[i];
		EXPECT_EQ(vhdx_sidecar_refuse_parents(&sidecar, &dwg[1 - i], &locator, NULL), 0);
		memset(&locator, 0, sizeof(locator));
		EXPECT_EQ(vhdx_sidecar_refuse_parents(&sidecar, child, &locator, NULL), 0);
		finish();
	}
}

CASE(bind_follows_the_table)
{
	static const u8 random[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	static const struct {
		enum vhdx_sidecar_state state;
		bool next;	/* there is one */
		u32 is_current, is_next, is_other, is_invalid;
	} table[] = {
		{ VHDX_SIDECAR_ON, false, 0, VHDX_REASON_CHANGED_OFFLINE,
		  VHDX_REASON_CHANGED_OFFLINE, VHDX_REASON_TRACKING_ERROR },
		{ VHDX_SIDECAR_ON, true, 0, 0,
		  VHDX_REASON_CHANGED_OFFLINE, VHDX_REASON_TRACKING_ERROR },
		{ VHDX_SIDECAR_DISABLED, true, VHDX_REASON_DISABLED, VHDX_REASON_DISABLED,
		  VHDX_REASON_DISABLED, VHDX_REASON_DISABLED },
	};
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(table); i++)
		for (j = 0; j < 4; j++) {
			const u32 gaps[] = { table[i].is_current, table[i].is_next,
					     table[i].is_other, table[i].is_invalid };
			vhdx_guid found = dwg[j % 3];

			if (j == 3)
				vhdx_guid_invalidate(&disk_id, random, &found);
			make(0, LIMIT);
			sidecar.state = table[i].state;
			if (table[i].next)
				sidecar.next_guid = dwg[1];
			EXPECT_EQ(vhdx_sidecar_commit(&sidecar), 0);
			EXPECT_EQ(reload(), 0);
			EXPECT_EQ(bind_to(&found), 0);
			if (!EXPECT_EQ(sidecar.timeline.live.gap_reason, gaps[j]))
				printf("# row %u, column %u\n", i, j);
			EXPECT_EQ(sidecar.timeline.live.gap_time_ns, gaps[j] ? NOW : 0);
			EXPECT_EQ(diag.reason, gaps[j]);
			EXPECT_EQ(!diag.text[0], !gaps[j]);
			/* All of it is read: the advice comes last. */
			EXPECT_EQ(!strstr(diag.text, "make a full backup"), !gaps[j]);
			/* Only where the two differ is it worth reading them. */
			EXPECT_EQ(!strstr(diag.text, "DataWriteGuid"),
				  gaps[j] != VHDX_REASON_CHANGED_OFFLINE);
			EXPECT(vhdx_guid_equal(&sidecar.current_guid, &found));
			EXPECT(vhdx_guid_is_zero(&sidecar.next_guid));
			EXPECT_EQ(sidecar.state, table[i].state);
			finish();
		}
}

CASE(bind_keeps_an_older_gap_and_lets_a_newer_one_win)
{
	make(0, LIMIT);
	vhdx_timeline_gap(&sidecar.timeline, VHDX_REASON_RESET, 5);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(bind_to(&dwg[0]), 0);
	EXPECT_EQ(sidecar.timeline.live.gap_reason, VHDX_REASON_RESET);
	EXPECT_EQ(sidecar.timeline.live.gap_time_ns, 5);
	EXPECT_EQ(bind_to(&dwg[1]), 0);
	EXPECT_EQ(sidecar.timeline.live.gap_reason, VHDX_REASON_CHANGED_OFFLINE);
	EXPECT_EQ(sidecar.timeline.live.gap_time_ns, NOW);
	finish();
}

CASE(bind_refuses_another_disk_and_another_size)
{
	static const vhdx_guid other = { "another disk  02" };

	make(0, LIMIT);
	memset(&diag, 0, sizeof(diag));
	EXPECT_EQ(vhdx_sidecar_bind(&sidecar, &other, DISK_SIZE, &dwg[0], 0, &diag), -ESTALE);
	EXPECT_EQ(diag.reason, VHDX_REASON_CHANGED_OFFLINE);
	EXPECT_HAS(diag.text, "20656874-6964-6b73-2773-206964203031");
	EXPECT_HAS(diag.text, "746f6e61-6568-2072-6469-736b20203032");
	memset(&diag, 0, sizeof(diag));
	EXPECT_EQ(vhdx_sidecar_bind(&sidecar, &disk_id, DISK_SIZE + 512, &dwg[0], 0, &diag),
		  -ESTALE);
	EXPECT_EQ(diag.reason, VHDX_REASON_CHANGED_OFFLINE);
	finish();
}

/* Its delta becomes the checkpoint, whatever the container's header says. */
CASE(bind_drops_a_point_that_was_never_issued)
{
	struct vhdx_timeline_point point;
	struct vhdx_changemap maps[2], live;
	struct vhdx_delta before;
	struct vhdx_point_id id;
	u32 i;

	for (i = 0; i < 3; i++) {
		make(0, LIMIT);
		new_map(&maps[0]);
		mark_at_random(&maps[0], 5);
		new_map(&maps[1]);
		mark_at_random(&maps[1], 5);
		ASSERT_EQ(seal(&maps[0], &id), 0);
		ASSERT_EQ(vhdx_sidecar_checkpoint(&sidecar, &maps[1], NULL), 0);
		ASSERT_EQ(vhdx_sidecar_write_delta(&sidecar, &maps[1], &before), 0);
		sidecar.timeline.live.flags = VHDX_DELTA_COARSE;
		point = (struct vhdx_timeline_point){ .id = next_id() };
		ASSERT_EQ(vhdx_sidecar_add_point(&sidecar, &point, &before), 0);
		sidecar.next_guid = dwg[1];
		ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);

		ASSERT_EQ(reload(), 0);
		EXPECT_EQ(sidecar.timeline.count, 2);
		EXPECT_EQ(bind_to(&dwg[i]), 0);
		EXPECT_EQ(sidecar.timeline.count, 1);
		EXPECT_EQ(sidecar.timeline.live.gap_reason,
			  i == 2 ? VHDX_REASON_CHANGED_OFFLINE : 0);
		EXPECT_EQ(sidecar.timeline.live.flags, VHDX_DELTA_COARSE);
		expect_delta(&sidecar.timeline.live, &maps[1]);
		/* Its number is not used again. */
		EXPECT_EQ(sidecar.timeline.next_sequence, point.id.sequence + 1);

		/* From the next commit on it is so in the file, too. */
		ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
		ASSERT_EQ(reload(), 0);
		EXPECT_EQ(sidecar.timeline.count, 1);
		new_map(&live);
		if (i < 2) {
			EXPECT_EQ(vhdx_sidecar_load_live(&sidecar, &live, &diag), 0);
			EXPECT(same_maps(&live, &maps[1]));
		}
		EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
		vhdx_changemap_release(&live);
		vhdx_changemap_release(&maps[0]);
		vhdx_changemap_release(&maps[1]);
		finish();
	}
}

CASE(a_point_that_is_not_issued_is_for_disks_in_use)
{
	struct vhdx_timeline_point point = { .id = next_id() };
	struct vhdx_delta none = { 0 };
	struct vhdx_changemap map;

	make(0, LIMIT);
	point.id.sequence = 1;
	ASSERT_EQ(vhdx_sidecar_add_point(&sidecar, &point, &none), 0);
	sidecar.state = VHDX_SIDECAR_DISABLED;
	EXPECT_EQ(vhdx_sidecar_commit(&sidecar), -EINVAL);
	sidecar.state = VHDX_SIDECAR_ON;
	EXPECT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	/* If it were dropped, two deltas would have to be merged. */
	new_map(&map);
	mark_at_random(&map, 1);
	ASSERT_EQ(vhdx_sidecar_checkpoint(&sidecar, &map, NULL), 0);
	EXPECT_EQ(vhdx_sidecar_commit(&sidecar), -EINVAL);
	vhdx_changemap_release(&map);
	finish();
}

/* ---- forget ---- */

#define POINTS	6

/* What each delta must hold: number i leads to point i, the last one is live. */
static struct vhdx_changemap model[POINTS + 1];
static u32 model_gap[POINTS + 1];
static u32 model_count;

/* @full: every delta has something, and all have one leaf in common. */
static void make_history(bool full)
{
	struct vhdx_point_id id;
	u32 i;

	make(0, LIMIT);
	for (i = 0; i <= POINTS; i++) {
		new_map(&model[i]);
		if (full)
			vhdx_changemap_mark(&model[i], i * 4096, 1);
		if (i && random_below(5))
			mark_at_random(&model[i], random_below(6));
		if (!random_below(8))
			vhdx_changemap_mark(&model[i], LEAF_BYTES, 2 * LEAF_BYTES);
		model_gap[i] = random_below(4) ? 0 :
			       VHDX_REASON_CHANGED_OFFLINE + random_below(6);
		/* Behind a gap nothing is saved. */
		if (i == POINTS)
			EXPECT_EQ(vhdx_sidecar_checkpoint(&sidecar, &model[i], NULL), 0);
		vhdx_timeline_gap(&sidecar.timeline, model_gap[i], 0);
		sidecar.timeline.live.flags = i & 1 ? VHDX_DELTA_COARSE : 0;
		if (i < POINTS)
			EXPECT_EQ(seal(&model[i], &id), 0);
	}
	model_count = POINTS;
	EXPECT_EQ(vhdx_sidecar_commit(&sidecar), 0);
}

static void forget_in_model(u32 position)
{
	u32 i;

	if (position)
		vhdx_changemap_or(&model[position + 1], &model[position]);
	if (!model_gap[position + 1] && position)
		model_gap[position + 1] = model_gap[position];
	vhdx_changemap_release(&model[position]);
	for (i = position; i < model_count; i++) {
		model[i] = model[i + 1];
		model_gap[i] = model_gap[i + 1];
	}
	memset(&model[model_count], 0, sizeof(model[0]));
	model_count--;
}

static void expect_model(const struct vhdx_changemap *live)
{
	const struct vhdx_timeline *timeline = &sidecar.timeline;
	u32 i;

	ASSERT_EQ(timeline->count, model_count);
	/* No question takes in the delta that leads to the oldest point. */
	for (i = 1; i < model_count; i++) {
		expect_delta(&timeline->points[i]->before, &model[i]);
		EXPECT_EQ(timeline->points[i]->before.gap_reason, model_gap[i]);
	}
	if (!model_count)
		return;
	expect_delta(&timeline->live, &model[i]);
	EXPECT_EQ(timeline->live.gap_reason, model_gap[i]);
	if (live)
		EXPECT(same_maps(live, &model[i]));
}

CASE(forgetting_joins_the_deltas_on_both_sides)
{
	u32 round;

	random_seed(3);
	for (round = 0; round < 80; round++) {
		struct vhdx_changemap live;

		make_history(false);
		new_map(&live);
		vhdx_changemap_or(&live, &model[POINTS]);
		while (model_count) {
			u32 position = random_below(model_count);
			u64 used;

			ASSERT_EQ(vhdx_sidecar_forget_point(&sidecar, position, &live), 0);
			forget_in_model(position);
			expect_model(&live);
			ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
			used = used_blocks();
			ASSERT_EQ(reload(), 0);
			expect_model(NULL);
			/* No block is lost, none is free that is needed. */
			EXPECT_EQ(used_blocks(), used);
			EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
		}
		vhdx_changemap_release(&live);
		vhdx_changemap_release(&model[0]);
		finish();
		if (ktap.failed)
			return;
	}
}

/* ---- answers ---- */

struct question {
	const struct vhdx_changemap *live;
	struct vhdx_span span;
	struct vhdx_stored_deltas stored;
};

static int read_span(void *context, u32 leaf, struct vhdx_leaf_bits *units)
{
	struct question *question = context;
	int err = vhdx_stored_source.read(&question->stored, leaf, units);

	if (question->span.live)
		vhdx_changemap_read_leaf(question->live, leaf, units);
	return err;
}

static int find_in_span(void *context, u32 leaf, u32 *end)
{
	struct question *question = context;
	int err = vhdx_stored_source.find(&question->stored, leaf, end);

	if (question->span.live)
		*end = vhdx_changemap_find_leaf(question->live, leaf, *end);
	return err;
}

static const struct vhdx_leaf_source span_source = {
	.find = find_in_span,
	.read = read_span,
};

/* The ranges of an answer, marked in a map. */
static int ask(struct question *question, struct vhdx_changemap *told)
{
	struct vhdx_leaf_bits units;
	struct vhdx_range ranges[5];
	struct vhdx_answer answer = {
		.form = &vhdx_answer_ranges,
		.end = DISK_SIZE, .unit_shift = SHIFT, .granule_shift = SHIFT,
		.ranges.array = ranges, .ranges.size = sizeof(ranges[0]),
		.ranges.capacity = ARRAY_SIZE(ranges), .units = &units,
	};
	int more;
	u32 i;

	while (answer.offset < answer.end) {
		answer.ranges.count = 0;
		do {
			more = vhdx_answer_leaf(&answer, &span_source, question);
		} while (more > 0);
		if (more)
			return more;
		for (i = 0; i < answer.ranges.count; i++)
			vhdx_changemap_mark(told, ranges[i].byte_offset, ranges[i].byte_length);
	}
	return 0;
}

/* @to: POINTS for now. */
static void expect_answer(u32 from, u32 to)
{
	static const struct vhdx_point_id now;
	const struct vhdx_timeline *timeline = &sidecar.timeline;
	const struct vhdx_point_id *target = to < POINTS ? &timeline->points[to]->id : &now;
	struct vhdx_delta_merge merge = { };
	struct question question = { .live = &model[POINTS] };
	struct vhdx_changemap should, told;
	u32 i;

	ASSERT_EQ(vhdx_timeline_span(timeline, &timeline->points[from]->id, target,
				     &question.span, NULL), 0);
	question.stored = (struct vhdx_stored_deltas) {
		.sidecar = &sidecar,
		.first = question.span.first,
		.end = question.span.end,
		.cache = vhdx_index_cache_new(POINTS),
		.merge = &merge,
	};
	new_map(&should);
	new_map(&told);
	for (i = from + 1; i <= to; i++)
		vhdx_changemap_or(&should, &model[i]);
	EXPECT_EQ(ask(&question, &told), 0);
	EXPECT(same_maps(&should, &told));
	vhdx_changemap_release(&should);
	vhdx_changemap_release(&told);
	vhdx_delta_merge_release(&merge);
	vhdx_index_cache_free(question.stored.cache);
}

CASE(answers_between_all_points_are_exact)
{
	u32 round, from, to;

	random_seed(10);
	for (round = 0; round < 8; round++) {
		make_history(false);
		ASSERT_EQ(reload(), 0);
		for (from = 0; from < POINTS; from++) {
			sidecar.timeline.points[from]->before.gap_reason = 0;
			sidecar.timeline.live.gap_reason = 0;
		}
		for (from = 0; from < POINTS; from++)
			for (to = from; to <= POINTS; to++)
				expect_answer(from, to);
		while (model_count)
			forget_in_model(0);
		vhdx_changemap_release(&model[0]);
		finish();
	}
}

/* The disk that asks may be larger than the one that this was recorded of: a child's. */
CASE(behind_the_end_there_is_nothing_to_find)
{
	static struct vhdx_point_id id;
	struct vhdx_index_cache *cache = vhdx_index_cache_new(1);
	u64 words[VHDX_LEAF_WORDS] = { };
	const struct vhdx_delta *delta;
	struct vhdx_changemap map;
	u32 leaf, end;

	make(0, LIMIT);
	new_map(&map);
	vhdx_changemap_mark(&map, 0, 1);
	ASSERT_EQ(seal(&map, &id), 0);
	delta = &sidecar.timeline.points[0]->before;
	for (leaf = 1; leaf < 3 * LEAVES; leaf++) {
		end = 3 * LEAVES;
		EXPECT_EQ(vhdx_sidecar_find_leaf(&sidecar, delta, leaf, &end, cache), 0);
		EXPECT_EQ(end, 3 * LEAVES);
		EXPECT_EQ(read_words(&sidecar, delta, leaf, words, cache), 0);
		EXPECT_EQ(words[0], 0);
	}
	vhdx_index_cache_free(cache);
	vhdx_changemap_release(&map);
	finish();
}

CASE(undoing_a_point_gives_its_delta_back)
{
	struct vhdx_timeline_point point = { .id.kind = VHDX_POINT_REFERENCE };
	struct vhdx_changemap map;
	struct vhdx_delta before;
	u64 used;

	random_seed(4);
	make(0, LIMIT);
	new_map(&map);
	mark_at_random(&map, 7);
	ASSERT_EQ(vhdx_sidecar_checkpoint(&sidecar, &map, NULL), 0);
	vhdx_timeline_gap(&sidecar.timeline, VHDX_REASON_RESET, 0);
	sidecar.timeline.live.flags = VHDX_DELTA_COARSE;
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	used = used_blocks();

	mark_at_random(&map, 2);
	ASSERT_EQ(vhdx_sidecar_write_delta(&sidecar, &map, &before), 0);
	ASSERT_EQ(vhdx_sidecar_add_point(&sidecar, &point, &before), 0);
	EXPECT_EQ(sidecar.timeline.live.gap_reason, 0);
	EXPECT_EQ(sidecar.timeline.live.flags, 0);
	EXPECT_EQ(sidecar.timeline.points[0]->before.gap_reason, VHDX_REASON_RESET);
	EXPECT_EQ(sidecar.timeline.points[0]->before.flags, VHDX_DELTA_COARSE);
	vhdx_sidecar_drop_last_point(&sidecar);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(sidecar.timeline.count, 0);
	EXPECT_EQ(sidecar.timeline.live.gap_reason, VHDX_REASON_RESET);
	EXPECT_EQ(sidecar.timeline.live.flags, VHDX_DELTA_COARSE);
	expect_delta(&sidecar.timeline.live, &map);
	EXPECT(used_blocks() <= used + 2);
	vhdx_changemap_release(&map);
	finish();
}

/* ---- limits ---- */

CASE(there_is_room_for_so_many_points)
{
	struct vhdx_timeline_point point = { .issued = true, .id.kind = VHDX_POINT_REFERENCE };
	struct vhdx_delta none = { 0 };
	u32 i;

	make(0, LIMIT);
	for (i = 0; i < VHDX_POINTS_MAX; i++) {
		point.id.sequence = sidecar.timeline.next_sequence;
		ASSERT_EQ(vhdx_sidecar_add_point(&sidecar, &point, &none), 0);
	}
	EXPECT_EQ(vhdx_sidecar_add_point(&sidecar, &point, &none), -ENOSPC);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(sidecar.timeline.count, VHDX_POINTS_MAX);
	EXPECT_EQ(sidecar.points.table_count, 196);
	EXPECT_EQ(vhdx_timeline_newest(&sidecar.timeline)->id.sequence, VHDX_POINTS_MAX);
	finish();
}

CASE(an_index_of_many_blocks)
{
	const u64 size = 600 * LEAF_BYTES;
	struct vhdx_changemap map;
	struct vhdx_point_id id;
	u32 i;

	make(0, LIMIT);
	vhdx_sidecar_release(&sidecar);
	sidecar.disk_id = disk_id;
	sidecar.disk_size = size;
	sidecar.unit_shift = SHIFT;
	sidecar.state = VHDX_SIDECAR_ON;
	ASSERT_EQ(vhdx_sidecar_format(&sidecar, &fake.store, true, &diag), 0);
	ASSERT_EQ(vhdx_changemap_init(&map, size, SHIFT), 0);
	for (i = 0; i < 600; i++)
		vhdx_changemap_mark(&map, i * LEAF_BYTES + i * 7 * 4096, 1);
	ASSERT_EQ(seal(&map, &id), 0);
	ASSERT_EQ(reload(), 0);
	expect_delta(&sidecar.timeline.points[0]->before, &map);
	vhdx_changemap_release(&map);
	finish();
}

/* Seals until there is no more room; the number of points then. */
static u32 fill(const struct vhdx_changemap *map)
{
	struct vhdx_point_id id;
	u64 used;
	u32 before;
	int err;

	for (;;) {
		used = used_blocks();
		before = meaning();
		err = seal(map, &id);
		if (!err)
			continue;
		EXPECT_EQ(err, -ENOSPC);
		EXPECT_EQ(used_blocks(), used);
		EXPECT_EQ(meaning(), before);
		return sidecar.timeline.count;
	}
}

static void cure(u32 blocks, u32 writes)
{
	const u64 size = blocks * 4096;
	struct vhdx_changemap map;
	u32 points, before;

	make(size, size);
	new_map(&map);
	mark_at_random(&map, writes);
	points = fill(&map);
	EXPECT(points > 1);
	before = meaning();
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(meaning(), before);
	/* In the middle, if little is in both deltas; the oldest one always goes. */
	if (writes == 1) {
		ASSERT_EQ(vhdx_sidecar_forget_point(&sidecar, 1, &map), 0);
		ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
		points--;
	}
	ASSERT_EQ(vhdx_sidecar_forget_point(&sidecar, 0, NULL), 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	ASSERT_EQ(vhdx_sidecar_forget_point(&sidecar, 0, NULL), 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	EXPECT(fill(&map) >= points);
	vhdx_changemap_release(&map);
	finish();
}

CASE(a_full_device_can_be_cured_by_forgetting)
{
	u32 blocks, writes;

	random_seed(5);
	for (blocks = 31; blocks < 54; blocks++)
		for (writes = 1; writes < 4; writes++)
			cure(blocks, writes);
	cure(200, 1);
}

CASE(a_full_medium_leaves_everything_as_it_was)
{
	struct vhdx_changemap map;
	u32 points, before;

	random_seed(6);
	make(0, 64 * 4096);
	new_map(&map);
	mark_at_random(&map, 3);
	for (;;) {
		struct vhdx_timeline_point point = { .id = next_id(), .issued = true };
		struct vhdx_delta delta;
		int err;

		before = meaning();
		err = vhdx_sidecar_write_delta(&sidecar, &map, &delta);
		if (err) {
			EXPECT_EQ(err, -ENOSPC);
			EXPECT_EQ(meaning(), before);
			break;
		}
		ASSERT_EQ(vhdx_sidecar_add_point(&sidecar, &point, &delta), 0);
		err = vhdx_sidecar_commit(&sidecar);
		if (err) {
			EXPECT_EQ(err, -ENOSPC);
			vhdx_sidecar_drop_last_point(&sidecar);
			break;
		}
	}
	points = sidecar.timeline.count;
	EXPECT(points > 5);
	/* It goes on: the chain of points has the blocks of the one before. */
	sidecar.next_guid = dwg[1];
	EXPECT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	EXPECT_EQ(vhdx_sidecar_forget_point(&sidecar, 0, NULL), 0);
	EXPECT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(sidecar.timeline.count, points - 1);
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
	vhdx_changemap_release(&map);
	finish();
}

/* There is room, once one knows where: the commit finds out when it can't grow the file. */
CASE(a_full_medium_can_be_cured_before_the_walk)
{
	struct vhdx_changemap map;
	u32 points;

	random_seed(11);
	make(0, 64 * 4096);
	new_map(&map);
	mark_at_random(&map, 3);
	points = fill(&map);
	fake.limit = fake.length;
	vhdx_sidecar_release(&sidecar);
	ASSERT_EQ(load(false), 0);
	EXPECT_EQ(vhdx_sidecar_forget_point(&sidecar, 0, NULL), 0);
	EXPECT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	EXPECT_EQ(fake.length, fake.limit);
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(sidecar.timeline.count, points - 1);
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
	vhdx_changemap_release(&map);
	finish();
}

CASE(a_device_that_is_too_small)
{
	make(0, LIMIT);
	finish();
	fake_store_init(&fake, 29 * 4096, 29 * 4096);
	memset(&diag, 0, sizeof(diag));
	EXPECT_EQ(vhdx_sidecar_format(&sidecar, &fake.store, false, &diag), -ENOSPC);
	EXPECT_EQ(diag.reason, VHDX_REASON_NO_SPACE);
	EXPECT_EQ(fake.steps, 0);
	finish();
}

CASE(a_file_system_that_is_full)
{
	make(0, LIMIT);
	finish();
	fake_store_init(&fake, 0, LIMIT);
	memset(&diag, 0, sizeof(diag));
	fake.fail_step = 1;
	fake.fail_error = -ENOSPC;
	EXPECT_EQ(vhdx_sidecar_format(&sidecar, &fake.store, true, &diag), -ENOSPC);
	/* To forget points, of which there are none, would not help. */
	EXPECT_EQ(diag.reason, VHDX_REASON_HOST_FULL);
	finish();
}

/* ---- out of memory ---- */

static struct vhdx_changemap live_map;

static int do_seal(void)
{
	struct vhdx_timeline_point point = { .id = next_id(), .issued = true };
	struct vhdx_delta before;
	int err;

	err = vhdx_sidecar_write_delta(&sidecar, &live_map, &before);
	if (err)
		return err;
	err = vhdx_sidecar_add_point(&sidecar, &point, &before);
	if (err)
		vhdx_sidecar_drop_delta(&sidecar, &before);
	return err;
}

static int do_save(void)
{
	return vhdx_sidecar_checkpoint(&sidecar, &live_map, NULL);
}

static int do_forget(void)
{
	return vhdx_sidecar_forget_point(&sidecar, 2, NULL);
}

static int do_forget_newest(void)
{
	return vhdx_sidecar_forget_point(&sidecar, POINTS - 1, &live_map);
}

/* Let every single allocation of it fail, one after the other. */
static void without_memory(int (*action)(void))
{
	u32 nth, before;
	u64 used;
	int err = -ENOMEM;

	make_history(true);
	new_map(&live_map);
	mark_at_random(&live_map, 4);
	before = meaning();
	for (nth = 1; err; nth++) {
		alloc_fail(nth, 1);
		err = action();
		alloc_fail(0, 0);
		if (!err)
			break;
		EXPECT_EQ(err, -ENOMEM);
		EXPECT_EQ(meaning(), before);
		EXPECT_EQ(vhdx_sidecar_commit(&sidecar), 0);
		used = used_blocks();
		ASSERT_EQ(reload(), 0);
		EXPECT_EQ(meaning(), before);
		EXPECT_EQ(used_blocks(), used);
	}
	EXPECT(nth > 2);
	EXPECT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	before = meaning();
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(meaning(), before);
	vhdx_changemap_release(&live_map);
	while (model_count)
		forget_in_model(0);
	vhdx_changemap_release(&model[0]);
	finish();
}

CASE(without_memory_nothing_happens)
{
	random_seed(7);
	without_memory(do_seal);
	without_memory(do_save);
	without_memory(do_forget);
	without_memory(do_forget_newest);
}

CASE(loading_without_memory)
{
	u32 nth, before;
	int err;

	random_seed(8);
	make_history(true);
	before = meaning();
	for (nth = 1; ; nth++) {
		vhdx_sidecar_release(&sidecar);
		alloc_fail(nth, 1);
		err = load(true);
		alloc_fail(0, 0);
		if (!err)
			break;
		EXPECT_EQ(err, -ENOMEM);
	}
	EXPECT(nth > POINTS);
	EXPECT_EQ(meaning(), before);
	while (model_count)
		forget_in_model(0);
	vhdx_changemap_release(&model[0]);
	finish();
}

/* ---- failures of the store ---- */

CASE(after_a_failed_commit_nothing_is_committed_any_more)
{
	u64 step;

	/* The flush before the header, the header, the flush after it. */
	for (step = 1; step <= 3; step++) {
		make(0, LIMIT);
		fake.fail_step = fake.steps + step;
		fake.fail_error = step == 2 ? -ENOSPC : -EIO;
		EXPECT_EQ(vhdx_sidecar_commit(&sidecar), -EIO);
		EXPECT_EQ(vhdx_sidecar_commit(&sidecar), -EIO);
		finish();
	}
}

CASE(reading_only_writes_nothing)
{
	make(0, LIMIT);
	vhdx_sidecar_release(&sidecar);
	fake.read_only = true;
	fake.store.write = NULL;
	fake.store.flush = NULL;
	ASSERT_EQ(load(true), 0);
	EXPECT_EQ(bind_to(&dwg[1]), 0);
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
	EXPECT_EQ(vhdx_sidecar_commit(&sidecar), -EROFS);
	finish();
}

CASE(a_sidecar_is_flushed_before_it_is_used)
{
	u64 steps;

	make(0, LIMIT);
	vhdx_sidecar_release(&sidecar);
	ASSERT_EQ(load(true), 0);
	EXPECT_EQ(fake.steps, 0);
	ASSERT_EQ(reload(), 0);
	steps = fake.steps;
	EXPECT_EQ(steps, 1);
	vhdx_sidecar_release(&sidecar);
	fake_store_reopen(&fake);
	fake.fail_step = 1;
	fake.fail_error = -EIO;
	EXPECT_EQ(vhdx_sidecar_load(&sidecar, &fake.store, true, false, &diag), -EIO);
	EXPECT_EQ(diag.reason, VHDX_REASON_IO);
	finish();
}

CASE(formatting_over_another_sidecar)
{
	struct vhdx_point_id id;
	struct vhdx_changemap map;

	make(0, LIMIT);
	new_map(&map);
	mark_at_random(&map, 3);
	ASSERT_EQ(seal(&map, &id), 0);
	ASSERT_EQ(seal(&map, &id), 0);
	EXPECT(sidecar.sequence > 2);
	vhdx_sidecar_release(&sidecar);
	sidecar.state = VHDX_SIDECAR_ON;
	sidecar.unit_shift = SHIFT;
	ASSERT_EQ(vhdx_sidecar_format(&sidecar, &fake.store, true, &diag), 0);
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(sidecar.timeline.count, 0);
	EXPECT_EQ(sidecar.state, VHDX_SIDECAR_ON);
	EXPECT_EQ(sidecar.sequence, 1);
	vhdx_changemap_release(&map);
	finish();
}

CASE(space_is_used_again)
{
	struct vhdx_changemap map;
	struct vhdx_point_id id;
	u64 length = 0;
	u32 i;

	random_seed(9);
	make(0, LIMIT);
	new_map(&map);
	mark_at_random(&map, 20);
	for (i = 0; i < 100; i++) {
		ASSERT_EQ(seal(&map, &id), 0);
		if (sidecar.timeline.count > 3) {
			ASSERT_EQ(vhdx_sidecar_forget_point(&sidecar, random_below(3), NULL), 0);
			ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
		}
		if (i == 20)
			length = fake.length;
	}
	EXPECT(fake.length <= length + 8 * 4096);
	vhdx_changemap_release(&map);
	finish();
}

SUITE("sidecar")
