// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damaged and hostile sidecars: an error, or what was there before; never a crash, an
 * endless loop, or more memory than the file is worth.
 */
#include "ktap.h"
#include "sidecar_rig.h"
#include "core/rct/ondisk.h"

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
	EXPECT_EQ(vhdx_sidecar_save_live(&sidecar, &map), 0);
	vhdx_changemap_release(&map);
	sidecar.state = VHDX_SIDECAR_CLEAN;
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
		err = vhdx_sidecar_bind(&sidecar, &sidecar.disk_id, sidecar.disk_size, &dwg[1],
					&diag);
	EXPECT(alloc_bytes() < MEMORY_MAX);
	if (!err && sidecar.disk_size <= DISK_SIZE &&
	    !vhdx_changemap_init(&map, sidecar.disk_size, sidecar.unit_shift)) {
		for (i = 0; i < sidecar.timeline.count; i++)
			vhdx_sidecar_load_map(&sidecar, &sidecar.timeline.points[i]->before, &map);
		vhdx_sidecar_load_map(&sidecar, &sidecar.timeline.live, &map);
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

static bool is_leaf(u64 block, u64 *leaves)
{
	while (*leaves)
		if (*leaves++ == block)
			return true;
	return false;
}

CASE(every_byte_of_every_block_flipped)
{
	u64 leaves[32] = { 0 };
	u32 leaf_count = 0, right, older = 0, damaged = 0;
	unsigned int slot;
	u64 sequence, at, used[2];
	u32 i, j;

	make_sample();
	right = meaning();
	slot = sidecar.slot;
	sequence = sidecar.sequence;
	used[0] = sidecar.used[0];
	for (i = 0; i < sidecar.timeline.count; i++) {
		const struct vhdx_delta *delta = &sidecar.timeline.points[i]->before;

		for (j = 0; j < delta->leaf_count; j++)
			if (delta->leaves[j].block != VHDX_DELTA_ALL)
				leaves[leaf_count++] = delta->leaves[j].block;
	}
	for (j = 0; j < sidecar.timeline.live.leaf_count; j++)
		if (sidecar.timeline.live.leaves[j].block != VHDX_DELTA_ALL)
			leaves[leaf_count++] = sidecar.timeline.live.leaves[j].block;
	ASSERT(leaf_count >= 4 && fake.length <= 64 * BLOCK);

	for (at = 0; at < fake.length && !ktap.failed; at++) {
		u64 block = at / BLOCK;
		u8 flip = 1 << random_below(8);
		int err;

		fake.bytes[at] ^= flip;
		vhdx_sidecar_release(&sidecar);
		err = load(true);
		if (block == slot) {
			/* The header before: the close, not yet confirmed. */
			EXPECT_EQ(err, 0);
			EXPECT_EQ(sidecar.sequence, sequence - 1);
			EXPECT_EQ(vhdx_sidecar_bind(&sidecar, &disk_id, DISK_SIZE, &dwg[1],
						    &diag), 0);
			older += meaning() == right;
		} else if (!(used[0] >> block & 1) || block < 2) {
			EXPECT_EQ(err, 0);
			EXPECT_EQ(sidecar.sequence, sequence);
			if (at % 64 == 0) {
				EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), 0);
				EXPECT_EQ(meaning(), right);
			}
		} else if (is_leaf(block, leaves)) {
			EXPECT_EQ(err, 0);
			EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), -EUCLEAN);
			EXPECT_EQ(diag.reason, VHDX_REASON_INCONSISTENT);
			if (at % 64 == 0)
				EXPECT(meaning() != right);
			damaged++;
		} else {
			EXPECT_EQ(err, -EUCLEAN);
			EXPECT_EQ(diag.reason, VHDX_REASON_INCONSISTENT);
			damaged++;
		}
		fake.bytes[at] ^= flip;
	}
	EXPECT_EQ(older, BLOCK);
	EXPECT(damaged >= 8 * BLOCK);
	finish();
}

CASE(messages_name_the_place)
{
	char offset[32];
	u64 block;

	make_sample();
	block = sidecar.timeline.live.leaves[0].block;
	block_at(block)[17] ^= 1;
	EXPECT_EQ(vhdx_sidecar_verify(&sidecar, &diag), -EUCLEAN);
	snprintf(offset, sizeof(offset), "offset %llu", block * BLOCK);
	EXPECT_HAS(diag.text, "leaf");
	EXPECT_HAS(diag.text, offset);
	EXPECT_HAS(diag.text, "checksum");
	block_at(block)[17] ^= 1;

	block = sidecar.timeline.points[1]->before.index_block;
	block_at(block)[17] ^= 1;
	EXPECT_EQ(reload(), -EUCLEAN);
	snprintf(offset, sizeof(offset), "offset %llu", block * BLOCK);
	EXPECT_HAS(diag.text, "index");
	EXPECT_HAS(diag.text, offset);
	EXPECT_HAS(diag.text, "to begin a new one, attach anew with --no-track");
	EXPECT(!strchr(diag.text, '\n'));
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

	HOSTILE(version, 32, 2, -EOPNOTSUPP, "version 2");
	HOSTILE(incompat_features, 32, 0x10, -EOPNOTSUPP, "features 0x10");
	HOSTILE(ro_compat_features, 32, 0x10, 0, "");
	HOSTILE(compat_features, 32, 0x10, 0, "");
	HOSTILE(state, 32, 0, -EUCLEAN, "state 0");
	HOSTILE(state, 32, 5, -EUCLEAN, "state 5");
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
	HOSTILE(block_count, 64, 3, -EUCLEAN, "out of place");
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
	HOSTILE(live.index.block, 64, le64_to_cpu(right.points.block), -EUCLEAN, "named twice");
	HOSTILE(live.flags, 32, 2, -EUCLEAN, "flags");
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

/*
 * Make every checksum right again, from the leaves up, following whatever the file
 * says as far as it makes sense.
 */
static void sign_index(struct vhdx_sidecar_ref *ref)
{
	u64 blocks[8], block = le64_to_cpu(ref->block);
	u32 count = 0, i;

	while (block >= 2 && block < fake.length / BLOCK && count < ARRAY_SIZE(blocks)) {
		blocks[count++] = block;
		block = le64_to_cpu(((struct vhdx_sidecar_link *)block_at(block))->next);
	}
	while (count--) {
		struct vhdx_sidecar_link *link = (void *)block_at(blocks[count]);
		struct vhdx_sidecar_entry *entry = (void *)(link + 1);

		for (i = 0; i < le32_to_cpu(link->count) && i < 254; i++, entry++) {
			u64 leaf = le64_to_cpu(entry->block);

			if (le32_to_cpu(link->magic) == VHDX_SIDECAR_INDEX_MAGIC &&
			    leaf < fake.length / BLOCK)
				entry->crc = cpu_to_le32(crc_of(block_at(leaf), BLOCK));
		}
		if (count)
			((struct vhdx_sidecar_link *)block_at(blocks[count - 1]))->next_crc =
				cpu_to_le32(crc_of(link, BLOCK));
		else
			ref->crc = cpu_to_le32(crc_of(link, BLOCK));
	}
}

static void sign_all(unsigned int slot)
{
	struct vhdx_sidecar_header *header = header_at(slot);
	u64 block = le64_to_cpu(header->points.block);
	u32 i;

	sign_index(&header->live.index);
	if (block >= 2 && block < fake.length / BLOCK) {
		struct vhdx_sidecar_link *link = (void *)block_at(block);
		struct vhdx_sidecar_point *point = (void *)(link + 1);

		for (i = 0; i < 21; i++)
			sign_index(&point[i].before.index);
		header->points.crc = cpu_to_le32(crc_of(link, BLOCK));
	}
	sign_header(slot);
}

static struct vhdx_sidecar_point *point_at(unsigned int slot, u32 index)
{
	u64 block = le64_to_cpu(header_at(slot)->points.block);

	return (struct vhdx_sidecar_point *)(block_at(block) + sizeof(struct vhdx_sidecar_link)) +
	       index;
}

static struct vhdx_sidecar_entry *live_entry(unsigned int slot, u32 index)
{
	u64 block = le64_to_cpu(header_at(slot)->live.index.block);

	return (struct vhdx_sidecar_entry *)(block_at(block) + sizeof(struct vhdx_sidecar_link)) +
	       index;
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
	struct vhdx_sidecar_link *points, *index;
	unsigned int slot;
	u64 own, leaf;

	make_sample();
	slot = sidecar.slot;
	own = sidecar.root_blocks[0];
	leaf = sidecar.timeline.live.leaves[0].block;
	points = (void *)block_at(own);
	index = (void *)block_at(sidecar.timeline.live.index_block);
	ASSERT_EQ(sidecar.timeline.live.leaf_count, 2);
	vhdx_sidecar_release(&sidecar);
	sign_all(slot);
	check(0, "");

	HOSTILE_PART(points->magic, 32, 0, -EUCLEAN, "points");
	HOSTILE_PART(points->count, 32, 2, -EUCLEAN, "points");
	HOSTILE_PART(points->count, 32, ~0U, -EUCLEAN, "points");
	HOSTILE_PART(points->next, 64, own, 0, "");
	HOSTILE_PART(header_at(slot)->points.count, 32, 22, -EUCLEAN, "points");
	HOSTILE_PART(point_at(slot, 1)->sequence, 64, 1, -EUCLEAN, "point 1");
	HOSTILE_PART(point_at(slot, 1)->sequence, 64, 3, -EUCLEAN, "point 2");
	HOSTILE_PART(point_at(slot, 1)->sequence, 64, 4, -EUCLEAN, "point 1");
	HOSTILE_PART(point_at(slot, 1)->kind, 32, 0, -EUCLEAN, "point 1");
	HOSTILE_PART(point_at(slot, 1)->kind, 32, 3, -EUCLEAN, "point 1");
	HOSTILE_PART(point_at(slot, 1)->kind, 32, VHDX_POINT_SNAPSHOT, -EUCLEAN, "point 1");
	HOSTILE_PART(point_at(slot, 1)->label_length, 32, 65, -EUCLEAN, "label of 65");
	HOSTILE_PART(point_at(slot, 1)->label_length, 32, ~0U, -EUCLEAN, "label");
	HOSTILE_PART(point_at(slot, 1)->flags, 32, 3, -EUCLEAN, "flags");
	HOSTILE_PART(point_at(slot, 1)->flags, 32, 0, -EUCLEAN, "not issued");
	HOSTILE_PART(point_at(slot, 2)->flags, 32, 0, -EUCLEAN, "not issued");
	HOSTILE_PART(point_at(slot, 1)->before.flags, 32, 8, -EUCLEAN, "flags");
	HOSTILE_PART(point_at(slot, 1)->before.index.count, 32, 6, -EUCLEAN, "6 leaves");
	HOSTILE_PART(point_at(slot, 1)->before.index.block, 64, own, -EUCLEAN, "named twice");
	HOSTILE_PART(point_at(slot, 1)->before.index.block, 64, 0, -EUCLEAN, "out of place");

	HOSTILE_PART(index->magic, 32, VHDX_SIDECAR_POINTS_MAGIC, -EUCLEAN, "an index");
	HOSTILE_PART(index->count, 32, 1, -EUCLEAN, "an index");
	HOSTILE_PART(live_entry(slot, 1)->leaf, 32, 0, -EUCLEAN, "out of order");
	HOSTILE_PART(live_entry(slot, 1)->leaf, 32, 5, -EUCLEAN, "out of order");
	HOSTILE_PART(live_entry(slot, 0)->leaf, 32, ~0U, -EUCLEAN, "out of order");
	HOSTILE_PART(live_entry(slot, 1)->block, 64, leaf, -EUCLEAN, "named twice");
	HOSTILE_PART(live_entry(slot, 1)->block, 64, 0, -EUCLEAN, "out of place");
	HOSTILE_PART(live_entry(slot, 1)->block, 64, 1ULL << 40, -EUCLEAN, "out of place");
	HOSTILE_PART(live_entry(slot, 1)->block, 64, ~0ULL - 1, -EUCLEAN, "out of place");
	HOSTILE_PART(live_entry(slot, 0)->block, 64, ~0ULL, 0, "");
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

CASE(a_chain_that_bites_its_tail)
{
	struct vhdx_timeline_point point = { .issued = true, .id.kind = VHDX_POINT_REFERENCE };
	struct vhdx_delta none = { 0 };
	struct vhdx_sidecar_link *link;
	unsigned int slot;
	u64 first;
	u32 i;

	make(0, LIMIT);
	for (i = 0; i < 100; i++) {
		point.id.sequence = sidecar.timeline.next_sequence;
		ASSERT_EQ(vhdx_sidecar_add_point(&sidecar, &point, &none), 0);
	}
	ASSERT_EQ(vhdx_sidecar_commit(&sidecar), 0);
	ASSERT_EQ(sidecar.root_block_count, 5);
	slot = sidecar.slot;
	first = sidecar.root_blocks[0];
	vhdx_sidecar_release(&sidecar);
	link = (void *)block_at(first);
	link->next = cpu_to_le64(first);
	header_at(slot)->points.crc = cpu_to_le32(crc_of(link, BLOCK));
	sign_header(slot);
	check(-EUCLEAN, "named twice");
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
		0, 1, 2, 3, 20, 21, 22, 253, 254, 255, 4095, 4096, 4097, 32767, 32768,
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
	for (round = 0; round < 3000; round++) {
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
	EXPECT(good > 100 && bad > 100);
	printf("# %u loaded, %u refused\n", good, bad);
	free(before);
	fake_store_release(&fake);
}

SUITE("sidecar_damage")
