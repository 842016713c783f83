// SPDX-License-Identifier: GPL-2.0-only
/*
 * The sidecar as its users see it: what was committed is there after the next load.
 */
#include "ktap.h"
#include "fake_store.h"
#include "random.h"
#include "sidecar.h"

#define MIB		(1024ULL * 1024)
#define SHIFT		12
#define LEAF_BYTES	((u64)VHDX_LEAF_UNITS << SHIFT)
#define DISK_SIZE	(5 * LEAF_BYTES - 7 * 512)
#define LIMIT		(4 * MIB)

static const vhdx_guid disk_id = { "the disk's id 01" };
static const vhdx_guid dwg[] = {
	{ "DataWriteGuid 00" }, { "DataWriteGuid 01" }, { "DataWriteGuid 02" }, { "another one's 03" },
};

static struct fake_store fake;
static struct vhdx_sidecar sidecar;
static struct vhdx_diag diag;

static void make(u64 size, u64 limit)
{
	fake_store_init(&fake, size, limit);
	memset(&diag, 0, sizeof(diag));
	memset(&sidecar, 0xa5, sizeof(sidecar));
	sidecar.disk_id = disk_id;
	sidecar.disk_size = DISK_SIZE;
	sidecar.unit_shift = SHIFT;
	sidecar.state = VHDX_SIDECAR_ACTIVE;
	sidecar.current_guid = dwg[0];
	memset(&sidecar.next_guid, 0, sizeof(sidecar.next_guid));
	ASSERT_EQ(vhdx_sidecar_format(&sidecar, &fake.store, !size, &diag), 0);
}

static int load(bool read_only)
{
	memset(&diag, 0, sizeof(diag));
	fake_store_reopen(&fake);
	return vhdx_sidecar_load(&sidecar, &fake.store, fake.can_grow, read_only, &diag);
}

static int reload(void)
{
	vhdx_sidecar_release(&sidecar);
	return load(false);
}

static void finish(void)
{
	vhdx_sidecar_release(&sidecar);
	fake_store_release(&fake);
}

static struct vhdx_point_id next_id(void)
{
	struct vhdx_point_id id = {
		.sequence = sidecar.timeline.next_sequence,
		.kind = VHDX_POINT_REFERENCE,
	};
	u32 i;

	for (i = 0; i < sizeof(id.guid); i++)
		id.guid[i] = random_next();
	return id;
}

/* Seal @map, which is left as it is. */
static int seal(const struct vhdx_changemap *map, struct vhdx_point_id *id)
{
	struct vhdx_timeline_point point = {
		.id = next_id(), .issued = true, .time_ns = 12345, .label_length = 5, .label = "label",
	};
	struct vhdx_delta before;
	int err;

	err = vhdx_sidecar_write_delta(&sidecar, map, &before);
	if (!err)
		err = vhdx_sidecar_add_point(&sidecar, &point, &before);
	if (!err)
		err = vhdx_sidecar_commit(&sidecar);
	*id = point.id;
	return err;
}

static void new_map(struct vhdx_changemap *map)
{
	ASSERT_EQ(vhdx_changemap_init(map, DISK_SIZE, SHIFT), 0);
}

static void mark_at_random(struct vhdx_changemap *map, u32 writes)
{
	while (writes--)
		vhdx_changemap_mark(map, random_below(DISK_SIZE), random_below(64 * 1024) + 1);
}

static bool same_maps(const struct vhdx_changemap *a, const struct vhdx_changemap *b)
{
	u64 left[VHDX_LEAF_WORDS], right[VHDX_LEAF_WORDS];
	u32 leaf;

	for (leaf = 0; leaf < a->leaf_count; leaf++) {
		memset(left, 0, sizeof(left));
		memset(right, 0, sizeof(right));
		vhdx_changemap_leaf_or(a, leaf, left);
		vhdx_changemap_leaf_or(b, leaf, right);
		if (memcmp(left, right, sizeof(left)))
			return false;
	}
	return true;
}

static void expect_delta(const struct vhdx_delta *delta, const struct vhdx_changemap *map)
{
	u64 words[VHDX_LEAF_WORDS], should[VHDX_LEAF_WORDS];
	struct vhdx_changemap loaded;
	u32 leaf;

	new_map(&loaded);
	EXPECT_EQ(vhdx_sidecar_load_map(&sidecar, delta, &loaded), 0);
	EXPECT(same_maps(&loaded, map));
	vhdx_changemap_release(&loaded);
	for (leaf = 0; leaf < map->leaf_count; leaf++) {
		memset(words, 0, sizeof(words));
		memset(should, 0, sizeof(should));
		EXPECT_EQ(vhdx_sidecar_read_leaf(&sidecar, delta, leaf, words), 0);
		vhdx_changemap_leaf_or(map, leaf, should);
		EXPECT(!memcmp(words, should, sizeof(words)));
	}
}

CASE(an_empty_sidecar_is_there_after_load)
{
	make(0, LIMIT);
	EXPECT_EQ(fake.length, 8192);
	EXPECT_EQ(sidecar.timeline.next_sequence, 1);
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(sidecar.state, VHDX_SIDECAR_ACTIVE);
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
			vhdx_timeline_gap(&sidecar.timeline, VHDX_REASON_RESET);
		ASSERT_EQ(seal(&maps[i], &ids[i]), 0);
	}
	new_map(&live);
	mark_at_random(&live, 9);
	vhdx_timeline_gap(&sidecar.timeline, VHDX_REASON_DISABLED);
	sidecar.timeline.live.flags = VHDX_DELTA_COARSE;
	EXPECT_EQ(vhdx_sidecar_save_live(&sidecar, &live), 0);
	sidecar.state = VHDX_SIDECAR_CLEAN;
	sidecar.next_guid = dwg[1];
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);

	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
	EXPECT_EQ(sidecar.state, VHDX_SIDECAR_CLEAN);
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
		expect_delta(&point->before, &maps[i]);
		vhdx_changemap_release(&maps[i]);
	}
	EXPECT_EQ(sidecar.timeline.live.gap_reason, VHDX_REASON_DISABLED);
	EXPECT_EQ(sidecar.timeline.live.flags, VHDX_DELTA_COARSE);
	expect_delta(&sidecar.timeline.live, &live);
	vhdx_changemap_release(&live);
	finish();
}

SUITE("sidecar")
