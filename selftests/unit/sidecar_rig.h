/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A sidecar in a fake store, and what tests do with it. Include ktap.h before.
 */
#ifndef VHDX_UNIT_SIDECAR_RIG_H
#define VHDX_UNIT_SIDECAR_RIG_H

#include "alloc.h"
#include "fake_store.h"
#include "leaf_words.h"
#include "random.h"
#include "core/rct/sidecar.h"

#define SHIFT		12
#define LEAF_BYTES	((u64)VHDX_LEAF_UNITS << SHIFT)
#define LEAVES		5
#define DISK_SIZE	(LEAVES * LEAF_BYTES - 7 * 512)
#define LIMIT		(4 * 1024 * 1024)

static const vhdx_guid disk_id = { "the disk's id 01" };
static const vhdx_guid dwg[] = {
	{ "DataWriteGuid 00" }, { "DataWriteGuid 01" }, { "DataWriteGuid 02" },
};

static struct fake_store fake;
static struct vhdx_sidecar sidecar;
static struct vhdx_diag diag;

static inline void make_for(u64 disk_size, u32 unit_shift, u64 size, u64 limit)
{
	fake_store_init(&fake, size, limit);
	memset(&diag, 0, sizeof(diag));
	memset(&sidecar, 0xa5, sizeof(sidecar));
	sidecar.disk_id = disk_id;
	sidecar.disk_size = disk_size;
	sidecar.unit_shift = unit_shift;
	sidecar.state = VHDX_SIDECAR_ON;
	sidecar.current_guid = dwg[0];
	memset(&sidecar.next_guid, 0, sizeof(sidecar.next_guid));
	ASSERT_EQ(vhdx_sidecar_format(&sidecar, &fake.store, !size, &diag), 0);
}

static inline void make(u64 size, u64 limit)
{
	make_for(DISK_SIZE, SHIFT, size, limit);
}

static inline int load(bool read_only)
{
	memset(&diag, 0, sizeof(diag));
	fake_store_reopen(&fake);
	return vhdx_sidecar_load(&sidecar, &fake.store, fake.can_grow, read_only, &diag);
}

/* Opened for good: which blocks are free is known. */
static inline int reload(void)
{
	int err;

	vhdx_sidecar_release(&sidecar);
	err = load(false);
	return err ?: vhdx_sidecar_walk(&sidecar, ~0U, &diag);
}

static inline u64 used_blocks(void)
{
	return vhdx_sidecar_used_bytes(&sidecar) / 4096;
}

static inline void finish(void)
{
	vhdx_sidecar_release(&sidecar);
	fake_store_release(&fake);
}

static inline struct vhdx_point_id next_id(void)
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
static inline int seal(const struct vhdx_changemap *map, struct vhdx_point_id *id)
{
	struct vhdx_timeline_point point = {
		.id = next_id(), .issued = true, .time_ns = 12345,
		.label_length = 5, .label = "label",
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

static inline void new_map(struct vhdx_changemap *map)
{
	ASSERT_EQ(vhdx_changemap_init(map, sidecar.disk_size, SHIFT), 0);
}

static inline void mark_at_random(struct vhdx_changemap *map, u32 writes)
{
	while (writes--)
		vhdx_changemap_mark(map, random_below(DISK_SIZE), random_below(64 * 1024) + 1);
}

static inline bool same_maps(const struct vhdx_changemap *a, const struct vhdx_changemap *b)
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

static inline void expect_delta(const struct vhdx_delta *delta, const struct vhdx_changemap *map)
{
	struct vhdx_index_cache *cache = vhdx_index_cache_new(1);
	u64 words[VHDX_LEAF_WORDS], should[VHDX_LEAF_WORDS];
	struct vhdx_changemap loaded;
	u32 leaf;

	new_map(&loaded);
	EXPECT_EQ(vhdx_sidecar_load_map(&sidecar, delta, &loaded, NULL), 0);
	EXPECT(same_maps(&loaded, map));
	vhdx_changemap_release(&loaded);
	for (leaf = 0; leaf < map->leaf_count; leaf++) {
		memset(words, 0, sizeof(words));
		memset(should, 0, sizeof(should));
		EXPECT_EQ(read_words(&sidecar, delta, leaf, words, cache), 0);
		vhdx_changemap_leaf_or(map, leaf, should);
		EXPECT(!memcmp(words, should, sizeof(words)));
	}
	vhdx_index_cache_free(cache);
}

static inline u32 fold(u32 crc, const void *data, size_t length)
{
	return vhdx_crc32c(crc, data, length);
}

static inline u32 fold_delta(u32 crc, const struct vhdx_delta *delta)
{
	struct vhdx_index_cache *cache = vhdx_index_cache_new(1);
	u64 words[VHDX_LEAF_WORDS];
	u32 leaf;

	crc = fold(crc, &delta->flags, sizeof(delta->flags));
	crc = fold(crc, &delta->gap_reason, sizeof(delta->gap_reason));
	crc = fold(crc, &delta->leaf_count, sizeof(delta->leaf_count));
	crc = fold(crc, &delta->changed_units, sizeof(delta->changed_units));
	for (leaf = 0; leaf < LEAVES; leaf++) {
		int err;

		memset(words, 0, sizeof(words));
		err = read_words(&sidecar, delta, leaf, words, cache);
		crc = fold(crc, &err, sizeof(err));
		crc = fold(crc, words, sizeof(words));
	}
	vhdx_index_cache_free(cache);
	return crc;
}

/* What the sidecar tells, in one number; where it is kept doesn't count. */
static inline u32 meaning(void)
{
	const struct vhdx_timeline *timeline = &sidecar.timeline;
	u32 crc = fold(~0U, &sidecar.state, sizeof(sidecar.state));
	u32 i;

	crc = fold(crc, &sidecar.disk_id, sizeof(vhdx_guid));
	crc = fold(crc, &sidecar.disk_size, sizeof(u64));
	crc = fold(crc, &sidecar.current_guid, sizeof(vhdx_guid));
	crc = fold(crc, &sidecar.next_guid, sizeof(vhdx_guid));
	crc = fold(crc, &timeline->next_sequence, sizeof(u64));
	for (i = 0; i < timeline->count; i++) {
		const struct vhdx_timeline_point *point = timeline->points[i];

		crc = fold(crc, &point->id, sizeof(point->id));
		crc = fold(crc, &point->time_ns, sizeof(u64));
		crc = fold(crc, &point->issued, sizeof(bool));
		crc = fold(crc, point->label, sizeof(point->label));
		crc = fold_delta(crc, &point->before);
	}
	return fold_delta(crc, &timeline->live);
}

#endif
