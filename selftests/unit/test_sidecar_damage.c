// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damaged and hostile sidecars: an error, or what was there before; never a crash, an
 * endless loop, or more memory than the file is worth.
 */
#include "ktap.h"
#include "sidecar_rig.h"
#include "core/rct/sidecar_private.h"

#define BLOCK		VHDX_SIDECAR_BLOCK
#define MEMORY_MAX	(8 * 1024 * 1024)

/*
 * A small sidecar with everything in it: three points, leaves, a leaf that is all
 * changed, a saved live delta; closed and confirmed.
 */
static void make_sample(void)
{
	struct vhdx_changemap map;
	struct vhdx_point_id id;
	u32 i;

	random_seed(1);
	make(0, LIMIT);
	new_map(&map);
	for (i = 0; i < 3; i++) {
		vhdx_changemap_mark(&map, i * 77 * 4096, 4096 * (i + 1));
		if (i == 1)
			vhdx_changemap_mark(&map, LEAF_BYTES, LEAF_BYTES);
		EXPECT_EQ(seal(&map, &id), 0);
	}
	EXPECT_EQ(vhdx_sidecar_checkpoint(&sidecar, &map, NULL), 0);
	vhdx_changemap_release(&map);
	sidecar.next_guid = dwg[1];
	EXPECT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	sidecar.current_guid = dwg[1];
	memset(&sidecar.next_guid, 0, sizeof(sidecar.next_guid));
	EXPECT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	EXPECT_EQ(reload(), 0);
}

static u8 *block_at(u64 block)
{
	return fake.bytes + block * BLOCK;
}

static struct vhdx_sidecar_header *header_at(unsigned int slot)
{
	return (struct vhdx_sidecar_header *)block_at(slot);
}

static u32 crc_of(const void *data, size_t length)
{
	return ~vhdx_crc32c(~0U, data, length);
}

static void sign_header(unsigned int slot)
{
	struct vhdx_sidecar_header *header = header_at(slot);

	header->crc = cpu_to_le32(crc_of(header, offsetof(struct vhdx_sidecar_header, crc)));
}

/* Load, look at everything that is there, let go. -errno of the first that failed. */
static int use(void)
{
	struct vhdx_changemap map;
	u32 i;
	int err;

	alloc_fail(0, 0);
	err = load(true);
	if (!err)
		err = vhdx_sidecar_verify(&sidecar, &diag);
	if (!err)
		err = vhdx_sidecar_bind(&sidecar, &sidecar.disk_id, sidecar.disk_size, &dwg[1], 0,
					&diag);
	EXPECT(alloc_bytes() < MEMORY_MAX);
	if (!err && sidecar.disk_size <= DISK_SIZE &&
	    !vhdx_changemap_init(&map, sidecar.disk_size, sidecar.unit_shift)) {
		for (i = 0; i < sidecar.timeline.count; i++)
			vhdx_sidecar_load_map(&sidecar, &sidecar.timeline.points[i]->before, &map,
					      NULL);
		vhdx_sidecar_load_live(&sidecar, &map, NULL);
		vhdx_changemap_release(&map);
	}
	if (err) {
		EXPECT(diag.text[0]);
		EXPECT(diag.reason == VHDX_REASON_INCONSISTENT ||
		       diag.reason == VHDX_REASON_UNSUPPORTED);
	}
	vhdx_sidecar_release(&sidecar);
	return err;
}

/* ---- single bytes ---- */

static bool is_of_points(u64 block)
{
	return block == sidecar.points.block || block == sidecar.points.tables[0].block;
}

/* The only sector. */
static bool is_of_regions(u64 at)
{
	return at - VHDX_SIDECAR_COARSE_BLOCK * BLOCK < VHDX_COARSE_SECTOR;
}

CASE(every_byte_of_every_block_flipped)
{
	u32 right, older = 0, damaged = 0, lost = 0;
	unsigned int slot;
	u64 sequence, at, used;

	make_sample();
	right = meaning();
	slot = sidecar.slot;
	sequence = sidecar.sequence;
	used = sidecar.space.chunks[0][0];
	ASSERT(fake.length <= 64 * BLOCK);

	for (at = 0; at < fake.length && !ktap.failed; at += ktap_share()) {
		u64 block = at / BLOCK;
		u8 flip = 1 << random_below(8);
		bool of_points = is_of_points(block);
		int err;

		fake.bytes[at] ^= flip;
		vhdx_sidecar_release(&sidecar);
		err = load(true);
		if (block == slot) {
			/* The header before: the close, not yet confirmed. */
			EXPECT_EQ(err, 0);
			EXPECT_EQ(sidecar.sequence, sequence - 1);
			EXPECT_EQ(vhdx_sidecar_bind(&sidecar, &disk_id, DISK_SIZE, &dwg[1], 0,
						    &diag), 0);
			older += meaning() == right;
		} else if (of_points) {
			EXPECT_EQ(err, -EUCLEAN);
			EXPECT_EQ(diag.reason, VHDX_REASON_INCONSISTENT);
			lost++;
		} else if (!(used >> block & 1)) {
			EXPECT_EQ(err, 0);
			EXPECT_EQ(sidecar.sequence, sequence);
			if (at % 64 == 0) {
				EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag),
					  is_of_regions(at) ? -EUCLEAN : 0);
				EXPECT_EQ(meaning(), right);
			}
		} else {
			/* Of a delta: found by whoever reads it. */
			EXPECT_EQ(err, 0);
			if (at % 16 == 0) {
				EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), -EUCLEAN);
				EXPECT_EQ(diag.reason, VHDX_REASON_INCONSISTENT);
			}
			if (at % 64 == 0)
				EXPECT(meaning() != right);
			damaged++;
		}
		fake.bytes[at] ^= flip;
		if (of_points) {
			vhdx_sidecar_release(&sidecar);
			EXPECT_EQ(load(true), 0);
		}
	}
	EXPECT_EQ(older, BLOCK / ktap_share());
	EXPECT_EQ(lost, 2 * BLOCK / ktap_share());
	EXPECT(damaged >= 12 * BLOCK / ktap_share());
	finish();
}

/* Of the first table of an index. */
static u64 table_of(const struct vhdx_delta *delta)
{
	struct vhdx_index_iter iter;
	u64 block;

	EXPECT_EQ(vhdx_index_iter_init(&iter, &sidecar, delta, &diag), 0);
	block = iter.tables[0].block;
	vhdx_index_iter_release(&iter);
	return block;
}

static u64 leaf_of(const struct vhdx_delta *delta)
{
	const struct vhdx_delta_leaf *entry;
	struct vhdx_index_iter iter;
	u64 block;

	EXPECT_EQ(vhdx_index_iter_init(&iter, &sidecar, delta, &diag), 0);
	EXPECT_EQ(vhdx_index_iter_peek(&iter, &entry, &diag), 0);
	block = entry->block;
	vhdx_index_iter_release(&iter);
	return block;
}

static void expect_damaged(u64 block, const char *what)
{
	char offset[32];

	block_at(block)[17] ^= 1;
	memset(&diag, 0, sizeof(diag));
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), -EUCLEAN);
	snprintf(offset, sizeof(offset), "offset %llu", block * BLOCK);
	EXPECT_HAS(diag.text, what);
	EXPECT_HAS(diag.text, offset);
	EXPECT_HAS(diag.text, "checksum");
	EXPECT_HAS(diag.text, "to begin a new one, attach anew with --no-track");
	EXPECT(!strchr(diag.text, '\n'));
	block_at(block)[17] ^= 1;
}

CASE(messages_name_the_place)
{
	make_sample();
	expect_damaged(leaf_of(&sidecar.timeline.live), "leaf");
	expect_damaged(table_of(&sidecar.timeline.points[1]->before), "an index");
	expect_damaged(sidecar.timeline.points[1]->before.index_block, "an index");
	expect_damaged(sidecar.points.tables[0].block, "points");
	expect_damaged(sidecar.points.block, "points");
	finish();
}

/* ---- whole files ---- */

CASE(truncated_at_every_sector)
{
	u64 length;

	make_sample();
	vhdx_sidecar_release(&sidecar);
	for (length = fake.length; length >= 512; length -= 512) {
		int err;

		fake.length = length;
		err = use();
		EXPECT(err == -EUCLEAN || length / BLOCK == fake.durable_length / BLOCK);
	}
	fake.length = 0;
	fake_store_reopen(&fake);
	EXPECT_EQ(vhdx_sidecar_load(&sidecar, &fake.store, true, true, &diag), -ENODATA);
	finish();
}

static int load_filled(u64 size, int byte, bool can_grow)
{
	int err;

	fake_store_init(&fake, size, size);
	memset(fake.bytes, byte, size);
	memset(&diag, 0, sizeof(diag));
	err = vhdx_sidecar_load(&sidecar, &fake.store, can_grow, true, &diag);
	EXPECT(diag.text[0]);
	finish();
	return err;
}

CASE(nothing_but_zeroes_or_ones)
{
	EXPECT_EQ(load_filled(65536, 0, false), -ENODATA);
	EXPECT_EQ(load_filled(65536, 0, true), -EUCLEAN);
	EXPECT_EQ(load_filled(65536, 0xff, false), -EUCLEAN);
	EXPECT_EQ(load_filled(65536, 0xff, true), -EUCLEAN);
	EXPECT_EQ(load_filled(512, 0xff, true), -EUCLEAN);
}

CASE(random_garbage)
{
	u32 round;
	u64 i;

	random_seed(2);
	for (round = 0; round < 200; round++) {
		fake_store_init(&fake, 16 * BLOCK, 16 * BLOCK);
		for (i = 0; i < fake.length; i += 8)
			*(u64 *)(fake.bytes + i) = random_next();
		memcpy(fake.bytes, VHDX_SIDECAR_MAGIC, 8);
		if (round & 1)
			sign_header(0);
		EXPECT(use() < 0);
		fake_store_release(&fake);
	}
}

/* ---- intact checksums, hostile contents ---- */

static void check(int should, const char *text)
{
	int err;

	err = use();
	if (!EXPECT_EQ(err, should) || (err && !EXPECT_HAS(diag.text, text)))
		printf("# %s\n", text);
}

#define HOSTILE(field, bits, value, err, text) do {			\
	struct vhdx_sidecar_header *header = header_at(slot);		\
									\
	header->field = cpu_to_le##bits(value);				\
	sign_header(slot);						\
	check(err, text);						\
	memcpy(header, &right, sizeof(right));				\
} while (0)

CASE(hostile_headers)
{
	static struct vhdx_sidecar_header right;
	unsigned int slot;
	u64 blocks;

	make_sample();
	slot = sidecar.slot;
	blocks = sidecar.block_count;
	vhdx_sidecar_release(&sidecar);
	right = *header_at(slot);

	HOSTILE(version, 32, 3, -EOPNOTSUPP, "version 3");
	HOSTILE(version, 32, 1, -EOPNOTSUPP, "version 1");
	HOSTILE(version, 32, 1, -EOPNOTSUPP, "begin a new one");
	HOSTILE(incompat_features, 32, 0x10, -EOPNOTSUPP, "features 0x10");
	HOSTILE(incompat_features, 32, 3, -EOPNOTSUPP, "features 0x2");
	HOSTILE(incompat_features, 32, 5, -EUCLEAN, "neither token");
	HOSTILE(incompat_features, 32, 0, -EUCLEAN, "without the feature COARSE");
	HOSTILE(ro_compat_features, 32, 0x10, 0, "");
	HOSTILE(compat_features, 32, 0x10, 0, "");
	HOSTILE(state, 32, 0, -EUCLEAN, "state 0");
	HOSTILE(state, 32, 3, -EUCLEAN, "state 3");
	HOSTILE(state, 32, VHDX_SIDECAR_STATE_DISABLED, 0, "");
	HOSTILE(flags, 32, 1, 0, "");
	HOSTILE(flags, 32, 2, -EOPNOTSUPP, "flags 0x2");
	HOSTILE(flags, 32, 0xffff0000, 0, "");
	HOSTILE(region_shift, 32, 23, -EUCLEAN, "region shift 23");
	HOSTILE(region_shift, 32, ~0U, -EUCLEAN, "region shift");
	HOSTILE(unit_shift, 32, 11, -EUCLEAN, "unit shift");
	HOSTILE(unit_shift, 32, 21, -EUCLEAN, "unit shift");
	HOSTILE(unit_shift, 32, ~0U, -EUCLEAN, "unit shift");
	HOSTILE(disk_size, 64, (64ULL << 40) + 512, -EUCLEAN, "64 TiB");
	HOSTILE(disk_size, 64, 64ULL << 40, -EUCLEAN, "too small for the disk");
	HOSTILE(disk_size, 64, ~0ULL, -EUCLEAN, "64 TiB");
	HOSTILE(disk_size, 64, 4096, -EUCLEAN, "leaves");
	HOSTILE(disk_size, 64, 0, -EUCLEAN, "leaves");
	HOSTILE(sequence, 64, ~0ULL, -EUCLEAN, "sequence");
	HOSTILE(sequence, 64, le64_to_cpu(right.sequence) - 1, -EUCLEAN, "both headers");
	HOSTILE(next_point_sequence, 64, ~0ULL, -EUCLEAN, "sequence");
	HOSTILE(next_point_sequence, 64, 3, -EUCLEAN, "point 2");
	HOSTILE(block_count, 64, 0, -EUCLEAN, "blocks");
	HOSTILE(block_count, 64, 1, -EUCLEAN, "blocks");
	HOSTILE(block_count, 64, fake.length / BLOCK + 1, -EUCLEAN, "blocks");
	HOSTILE(block_count, 64, ~0ULL, -EUCLEAN, "blocks");
	HOSTILE(block_count, 64, 4, -EUCLEAN, "blocks");
	HOSTILE(block_count, 64, 5, -EUCLEAN, "out of place");
	HOSTILE(points.count, 32, 4097, -EUCLEAN, "points");
	HOSTILE(points.count, 32, ~0U, -EUCLEAN, "points");
	HOSTILE(points.count, 32, 4096, -EUCLEAN, "points");
	HOSTILE(points.count, 32, 4, -EUCLEAN, "points");
	HOSTILE(points.count, 32, 2, -EUCLEAN, "points");
	HOSTILE(points.block, 64, 0, -EUCLEAN, "out of place");
	HOSTILE(points.block, 64, 1, -EUCLEAN, "out of place");
	HOSTILE(points.block, 64, blocks, -EUCLEAN, "out of place");
	HOSTILE(points.block, 64, ~0ULL, -EUCLEAN, "out of place");
	HOSTILE(points.block, 64, 1ULL << 52, -EUCLEAN, "out of place");
	HOSTILE(points.crc, 32, 0, -EUCLEAN, "checksum");
	HOSTILE(live.index.count, 32, 6, -EUCLEAN, "6 leaves");
	HOSTILE(live.index.count, 32, ~0U, -EUCLEAN, "leaves");
	HOSTILE(live.index.block, 64, le64_to_cpu(right.points.block), -EUCLEAN, "checksum");
	HOSTILE(live.index.block, 64, 4, -EUCLEAN, "out of place");
	HOSTILE(live.changed_units, 64, 1, -EUCLEAN, "units");
	HOSTILE(live.flags, 32, VHDX_SIDECAR_DELTA_DERIVED, -EOPNOTSUPP, "flags 0x2");
	HOSTILE(live.flags, 32, 0x8001, -EOPNOTSUPP, "flags 0x8000");
	HOSTILE(live.flags, 32, 0xffff0001, 0, "");
	finish();
}

CASE(newer_features_that_allow_reading)
{
	unsigned int slot;

	make_sample();
	slot = sidecar.slot;
	header_at(slot)->ro_compat_features = cpu_to_le32(1);
	header_at(slot)->compat_features = cpu_to_le32(1);
	sign_header(slot);
	EXPECT_EQ(reload(), -EOPNOTSUPP);
	EXPECT_EQ(diag.reason, VHDX_REASON_UNSUPPORTED);
	header_at(slot)->ro_compat_features = 0;
	sign_header(slot);
	/* We write nothing of a compatible feature that we don't know. */
	ASSERT_EQ(reload(), 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	EXPECT_EQ(header_at(sidecar.slot)->compat_features, 0);
	finish();
}

static void *record_at(u64 block, u32 index, u32 size)
{
	return block_at(block) + sizeof(struct vhdx_sidecar_head) + index * size;
}

static bool is_there(u64 block)
{
	return block >= 2 && block < fake.length / BLOCK;
}

static bool is_table(u64 block, u32 magic)
{
	return is_there(block) &&
	       le32_to_cpu(((struct vhdx_sidecar_head *)block_at(block))->magic) == magic;
}

/*
 * Make every checksum right again, from the leaves up, following whatever the file
 * says as far as it makes sense.
 */
static void sign_root(struct vhdx_sidecar_ref *ref, void (*sign_records)(u64 table))
{
	u64 root = le64_to_cpu(ref->block);
	u32 i;

	for (i = 0; is_table(root, VHDX_SIDECAR_ROOT_MAGIC) && i < VHDX_SIDECAR_TABLES; i++) {
		struct vhdx_sidecar_table *table = record_at(root, i, sizeof(*table));
		u64 block = le64_to_cpu(table->block);

		if (!is_there(block) || block == root)
			continue;
		sign_records(block);
		table->crc = cpu_to_le32(crc_of(block_at(block), BLOCK));
	}
	if (is_there(root))
		ref->crc = cpu_to_le32(crc_of(block_at(root), BLOCK));
}

static void sign_entries(u64 table)
{
	u32 i;

	for (i = 0; is_table(table, VHDX_SIDECAR_INDEX_MAGIC) && i < 255; i++) {
		struct vhdx_sidecar_entry *entry = record_at(table, i, sizeof(*entry));
		u64 leaf = le64_to_cpu(entry->block);

		if (is_there(leaf) && leaf != table)
			entry->crc = cpu_to_le32(crc_of(block_at(leaf), BLOCK));
	}
}

static void sign_points(u64 table)
{
	u32 i;

	for (i = 0; is_table(table, VHDX_SIDECAR_POINTS_MAGIC) && i < 21; i++) {
		struct vhdx_sidecar_point *point = record_at(table, i, sizeof(*point));

		sign_root(&point->before.index, sign_entries);
	}
}

static void sign_all(unsigned int slot)
{
	struct vhdx_sidecar_header *header = header_at(slot);

	sign_root(&header->live.index, sign_entries);
	sign_root(&header->points, sign_points);
	sign_header(slot);
}

static struct vhdx_sidecar_table *table_at(const struct vhdx_sidecar_ref *ref, u32 index)
{
	return record_at(le64_to_cpu(ref->block), index, sizeof(struct vhdx_sidecar_table));
}

static struct vhdx_sidecar_point *point_at(unsigned int slot, u32 index)
{
	u64 block = le64_to_cpu(table_at(&header_at(slot)->points, 0)->block);

	return record_at(block, index, sizeof(struct vhdx_sidecar_point));
}

static struct vhdx_sidecar_entry *live_entry(unsigned int slot, u32 index)
{
	u64 block = le64_to_cpu(table_at(&header_at(slot)->live.index, 0)->block);

	return record_at(block, index, sizeof(struct vhdx_sidecar_entry));
}

#define HOSTILE_PART(part, bits, value, err, text) do {			\
	u8 *before = malloc(fake.length);				\
									\
	memcpy(before, fake.bytes, fake.length);			\
	part = cpu_to_le##bits(value);					\
	sign_all(slot);							\
	check(err, text);						\
	memcpy(fake.bytes, before, fake.length);			\
	free(before);							\
} while (0)

CASE(hostile_records)
{
	struct vhdx_sidecar_head *root, *points, *index;
	struct vhdx_sidecar_table *table;
	unsigned int slot;
	u64 own, leaf;

	make_sample();
	slot = sidecar.slot;
	own = sidecar.points.tables[0].block;
	leaf = leaf_of(&sidecar.timeline.live);
	root = (void *)block_at(sidecar.points.block);
	points = (void *)block_at(own);
	index = (void *)block_at(table_of(&sidecar.timeline.live));
	table = table_at(&header_at(slot)->live.index, 0);
	ASSERT_EQ(sidecar.timeline.live.leaf_count, 2);
	vhdx_sidecar_release(&sidecar);
	sign_all(slot);
	check(0, "");

	HOSTILE_PART(root->magic, 32, 0, -EUCLEAN, "points");
	HOSTILE_PART(root->count, 32, 0, -EUCLEAN, "points");
	HOSTILE_PART(root->count, 32, 2, -EUCLEAN, "table 1 of points has 0 records");
	HOSTILE_PART(root->count, 32, 256, -EUCLEAN, "256 records");
	HOSTILE_PART(root->count, 32, ~0U, -EUCLEAN, "records");
	HOSTILE_PART(points->magic, 32, 0, -EUCLEAN, "points");
	HOSTILE_PART(points->count, 32, 2, -EUCLEAN, "points");
	HOSTILE_PART(points->count, 32, ~0U, -EUCLEAN, "points");
	HOSTILE_PART(table_at(&header_at(slot)->points, 0)->count, 16, 22, -EUCLEAN, "points");
	HOSTILE_PART(table_at(&header_at(slot)->points, 0)->count, 16, 2, -EUCLEAN, "points");
	HOSTILE_PART(table_at(&header_at(slot)->points, 0)->block, 64, 0, -EUCLEAN, "out of place");
	HOSTILE_PART(header_at(slot)->points.count, 32, 22, -EUCLEAN, "points");
	HOSTILE_PART(point_at(slot, 1)->sequence, 64, 1, -EUCLEAN, "point 1");
	HOSTILE_PART(point_at(slot, 1)->sequence, 64, 3, -EUCLEAN, "point 2");
	HOSTILE_PART(point_at(slot, 1)->sequence, 64, 4, -EUCLEAN, "point 1");
	HOSTILE_PART(point_at(slot, 1)->kind, 32, 0, -EUCLEAN, "point 1");
	HOSTILE_PART(point_at(slot, 1)->kind, 32, 3, -EUCLEAN, "point 1");
	HOSTILE_PART(point_at(slot, 1)->kind, 32, VHDX_POINT_SNAPSHOT, -EUCLEAN, "point 1");
	HOSTILE_PART(point_at(slot, 1)->label_length, 32, 65, -EUCLEAN, "label of 65");
	HOSTILE_PART(point_at(slot, 1)->label_length, 32, ~0U, -EUCLEAN, "label");
	HOSTILE_PART(point_at(slot, 1)->flags, 32, 5, -EOPNOTSUPP, "flags 0x4");
	HOSTILE_PART(point_at(slot, 1)->flags, 32, 0xffff0003, 0, "");
	HOSTILE_PART(point_at(slot, 1)->flags, 32, 0, -EUCLEAN, "not issued");
	HOSTILE_PART(point_at(slot, 2)->flags, 32, 0, -EUCLEAN, "not issued");
	HOSTILE_PART(point_at(slot, 1)->before.flags, 32, 8, -EOPNOTSUPP, "flags 0x8");
	HOSTILE_PART(point_at(slot, 1)->before.index.count, 32, 6, -EUCLEAN, "6 leaves");
	HOSTILE_PART(point_at(slot, 1)->before.index.block, 64, own, -EUCLEAN, "an index");
	HOSTILE_PART(point_at(slot, 1)->before.index.block, 64, 0, -EUCLEAN, "out of place");
	HOSTILE_PART(point_at(slot, 1)->before.index.block, 64,
		     le64_to_cpu(point_at(slot, 2)->before.index.block), -EUCLEAN, "named twice");

	HOSTILE_PART(table->first, 16, 1, -EUCLEAN, "out of order");
	HOSTILE_PART(table->first, 16, 5, -EUCLEAN, "out of order");
	HOSTILE_PART(table->count, 16, 3, -EUCLEAN, "an index");
	HOSTILE_PART(index->magic, 32, VHDX_SIDECAR_POINTS_MAGIC, -EUCLEAN, "an index");
	HOSTILE_PART(index->count, 32, 1, -EUCLEAN, "an index");
	HOSTILE_PART(live_entry(slot, 1)->leaf, 16, 0, -EUCLEAN, "out of order");
	HOSTILE_PART(live_entry(slot, 1)->leaf, 16, 5, -EUCLEAN, "out of order");
	HOSTILE_PART(live_entry(slot, 0)->leaf, 16, 0xffff, -EUCLEAN, "out of order");
	HOSTILE_PART(live_entry(slot, 0)->units, 16, 0, -EUCLEAN, "out of place");
	HOSTILE_PART(live_entry(slot, 0)->units, 16, 0xffff, -EUCLEAN, "out of place");
	HOSTILE_PART(live_entry(slot, 0)->units, 16, 77, -EUCLEAN, "units, not 77");
	HOSTILE_PART(live_entry(slot, 1)->block, 64, leaf, -EUCLEAN, "named twice");
	HOSTILE_PART(live_entry(slot, 1)->block, 64, 0, -EUCLEAN, "out of place");
	HOSTILE_PART(live_entry(slot, 1)->block, 64, 4, -EUCLEAN, "out of place");
	HOSTILE_PART(live_entry(slot, 1)->block, 64, 1ULL << 40, -EUCLEAN, "out of place");
	HOSTILE_PART(live_entry(slot, 1)->block, 64, ~0ULL - 1, -EUCLEAN, "out of place");
	HOSTILE_PART(live_entry(slot, 0)->block, 64, ~0ULL, -EUCLEAN, "units");
	finish();
}

CASE(snapshots_with_one_guid)
{
	unsigned int slot;
	u32 i;

	make_sample();
	slot = sidecar.slot;
	vhdx_sidecar_release(&sidecar);
	for (i = 1; i < 3; i++) {
		point_at(slot, i)->kind = cpu_to_le32(VHDX_POINT_SNAPSHOT);
		point_at(slot, i)->sequence = 0;
		memset(&point_at(slot, i)->guid, 7, sizeof(vhdx_guid));
	}
	sign_all(slot);
	check(-EUCLEAN, "point 2");
	point_at(slot, 2)->guid.b[15] ^= 1;
	sign_all(slot);
	check(0, "");
	finish();
}

/* What a newer driver calls by a name that is not known here is a gap all the same. */
CASE(gaps_of_unknown_cause)
{
	static const u32 unknown[] = { VHDX_REASON_ARGUMENT, VHDX_REASON_ID_MISSING,
				       VHDX_REASON_TRACKING_ERROR + 1, 77, ~0U };
	unsigned int slot;
	u32 i;

	make_sample();
	slot = sidecar.slot;
	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		header_at(slot)->live.gap_reason = cpu_to_le32(unknown[i]);
		point_at(slot, 1)->before.gap_reason = cpu_to_le32(unknown[i]);
		sign_all(slot);
		ASSERT_EQ(reload(), 0);
		EXPECT_EQ(sidecar.timeline.live.gap_reason, VHDX_REASON_INCONSISTENT);
		EXPECT_EQ(sidecar.timeline.points[1]->before.gap_reason,
			  VHDX_REASON_INCONSISTENT);
	}
	finish();
}

/* What is written next would be refused by every load: it is not written. */
CASE(numbers_that_are_used_up)
{
	const u64 last = ~0ULL >> 1;
	struct vhdx_timeline_point point = {
		.issued = true, .id.kind = VHDX_POINT_REFERENCE, .id.sequence = last,
	};
	struct vhdx_delta none = { 0 };
	unsigned int slot;

	make_sample();
	header_at(sidecar.slot)->next_point_sequence = cpu_to_le64(last);
	sign_header(sidecar.slot);
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(vhdx_sidecar_add_point(&sidecar, &point, &none), -ENOSPC);
	EXPECT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	ASSERT_EQ(reload(), 0);

	slot = sidecar.slot;
	header_at(slot)->sequence = cpu_to_le64(last);
	sign_header(slot);
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(vhdx_sidecar_commit(&sidecar), -ENOSPC);
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(sidecar.slot, slot);
	finish();
}

CASE(a_table_that_comes_twice)
{
	struct vhdx_timeline_point point = { .issued = true, .id.kind = VHDX_POINT_REFERENCE };
	struct vhdx_delta none = { 0 };
	struct vhdx_sidecar_table *first;
	unsigned int slot;
	u32 i;

	make(0, LIMIT);
	for (i = 0; i < 100; i++) {
		point.id.sequence = sidecar.timeline.next_sequence;
		ASSERT_EQ(vhdx_sidecar_add_point(&sidecar, &point, &none), 0);
	}
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	ASSERT_EQ(sidecar.points.table_count, 5);
	slot = sidecar.slot;
	vhdx_sidecar_release(&sidecar);
	first = table_at(&header_at(slot)->points, 0);
	first[1] = first[0];
	sign_all(slot);
	check(-EUCLEAN, "point 21");
	finish();
}

/* What is free is never found out: the file grows, and what it had stays as it was. */
CASE(where_an_index_is_damaged_nothing_is_used_again)
{
	struct vhdx_changemap map;
	struct vhdx_point_id id;
	u64 length;

	make_sample();
	block_at(sidecar.timeline.points[1]->before.index_block)[17] ^= 1;
	vhdx_sidecar_release(&sidecar);
	ASSERT_EQ(load(false), 0);
	length = fake.length;
	EXPECT_EQ(vhdx_sidecar_walk(&sidecar, ~0U, &diag), -EUCLEAN);
	EXPECT_HAS(diag.text, "an index");
	new_map(&map);
	mark_at_random(&map, 2);
	ASSERT_EQ(vhdx_sidecar_forget_point(&sidecar, 0, NULL), 0);
	sidecar.state = VHDX_SIDECAR_ON;
	ASSERT_EQ(seal(&map, &id), 0);
	EXPECT(fake.length > length);
	/* With the point, its damage goes; the blocks are free for who opens it next. */
	ASSERT_EQ(vhdx_sidecar_forget_point(&sidecar, 0, NULL), 0);
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	ASSERT_EQ(reload(), 0);
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
	vhdx_changemap_release(&map);
	finish();
}

/* A claim of 2^40 bytes is free in a sparse file; it must not cost us memory. */
static int sparse_read(struct vhdx_store *store, u64 offset, void *buf, size_t length)
{
	u64 i;

	(void)store;
	for (i = 0; i < length; i += 512)
		if (offset + i < fake.length)
			memcpy(buf + i, fake.bytes + offset + i, 512);
		else
			memset(buf + i, 0, 512);
	return 0;
}

CASE(a_huge_sparse_file_takes_no_memory)
{
	static const u64 claims[] = {
		1000, 100000, 1ULL << 20, 1ULL << 28, 1ULL << 40, 1ULL << 51,
	};
	unsigned int slot;
	u32 i;

	make_sample();
	slot = sidecar.slot;
	vhdx_sidecar_release(&sidecar);
	for (i = 0; i < ARRAY_SIZE(claims); i++) {
		struct vhdx_store store = { .size = 1ULL << 63, .read = sparse_read };
		int err;

		header_at(slot)->block_count = cpu_to_le64(claims[i]);
		sign_header(slot);
		memset(&diag, 0, sizeof(diag));
		alloc_fail(0, 0);
		err = vhdx_sidecar_load(&sidecar, &store, true, true, &diag);
		EXPECT(alloc_bytes() < MEMORY_MAX);
		EXPECT(!err || err == -EUCLEAN);
		if (claims[i] > 1 << 20)
			EXPECT_EQ(err, -EUCLEAN);
		vhdx_sidecar_release(&sidecar);
	}
	fake_store_release(&fake);
}

/* Values that numbers in files like to be. */
static u64 interesting(void)
{
	static const u64 values[] = {
		0, 1, 2, 3, 20, 21, 22, 254, 255, 256, 4095, 4096, 4097, 32767, 32768,
		0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 1ULL << 52, 1ULL << 63,
		~0ULL - 1, ~0ULL,
	};

	return random_below(3) ? values[random_below(ARRAY_SIZE(values))] : random_below(64);
}

CASE(fields_at_random_with_right_checksums)
{
	unsigned int slot;
	u32 round, good = 0, bad = 0;
	u8 *before;
	u64 length;

	make_sample();
	slot = sidecar.slot;
	length = fake.length;
	vhdx_sidecar_release(&sidecar);
	before = malloc(length);
	memcpy(before, fake.bytes, length);
	random_seed(3);
	for (round = 0; round < 3000 / ktap_share(); round++) {
		u32 changes = 1 + random_below(3);

		while (changes--) {
			u64 block = random_below(3) ? random_below(length / BLOCK) : slot;
			u32 width = 4 << random_below(2);
			/* Where the fields are, mostly. */
			u32 most = random_below(4) ? 256 : BLOCK;
			u64 value = interesting();

			memcpy(block_at(block) + random_below(most / width) * width, &value,
			       width);
		}
		if (random_below(8))
			sign_all(slot);
		if (use())
			bad++;
		else
			good++;
		memcpy(fake.bytes, before, length);
		fake.length = length;
	}
	EXPECT(good > 100 / ktap_share() && bad > 100 / ktap_share());
	printf("# %u loaded, %u refused\n", good, bad);
	free(before);
	fake_store_release(&fake);
}

SUITE("sidecar_damage")
