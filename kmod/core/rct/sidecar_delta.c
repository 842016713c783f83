// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Deltas: change maps at rest.
 */
#include "sidecar_private.h"

/* ---- in the file ---- */

void vhdx_sidecar_encode_delta(const struct vhdx_delta *delta, struct vhdx_sidecar_delta *record)
{
	record->index.block = cpu_to_le64(delta->index_block);
	record->index.crc = cpu_to_le32(delta->index_crc);
	record->index.count = cpu_to_le32(delta->leaf_count);
	record->flags = cpu_to_le32(delta->flags);
	record->gap_reason = cpu_to_le32(delta->gap_reason);
}

/* A cause that is not known here cuts the line like any other. */
static u32 known_gap(u32 reason)
{
	if (reason == VHDX_REASON_NONE ||
	    (reason >= VHDX_REASON_CHANGED_OFFLINE && reason <= VHDX_REASON_TRACKING_ERROR))
		return reason;
	return VHDX_REASON_INCONSISTENT;
}

/* All but the leaves: vhdx_sidecar_read_index() gets them. */
int vhdx_sidecar_decode_delta(const struct vhdx_sidecar *sidecar,
			      const struct vhdx_sidecar_delta *record, struct vhdx_delta *delta,
			      struct vhdx_diag *diag)
{
	delta->index_block = le64_to_cpu(record->index.block);
	delta->index_crc = le32_to_cpu(record->index.crc);
	delta->leaf_count = le32_to_cpu(record->index.count);
	delta->flags = le32_to_cpu(record->flags);
	delta->gap_reason = known_gap(le32_to_cpu(record->gap_reason));
	if (delta->leaf_count > vhdx_sidecar_leaf_count(sidecar))
		return vhdx_sidecar_damaged(diag, "a delta of %u leaves, the disk has %u",
					    delta->leaf_count, vhdx_sidecar_leaf_count(sidecar));
	if (delta->flags & ~VHDX_DELTA_COARSE)
		return vhdx_sidecar_damaged(diag, "a delta with flags 0x%x", delta->flags);
	return 0;
}

static void encode_entry(const void *source, u32 index, void *record)
{
	const struct vhdx_delta *delta = source;
	const struct vhdx_delta_leaf *leaf = &delta->leaves[index];
	struct vhdx_sidecar_entry *entry = record;

	entry->leaf = cpu_to_le32(leaf->leaf);
	entry->crc = cpu_to_le32(leaf->crc);
	entry->block = cpu_to_le64(leaf->block);
}

struct entry_sink {
	struct vhdx_sidecar *sidecar;
	struct vhdx_delta *delta;
};

static int decode_entry(void *sink, u32 index, const void *record, struct vhdx_diag *diag)
{
	struct vhdx_sidecar *sidecar = ((struct entry_sink *)sink)->sidecar;
	struct vhdx_delta_leaf *leaf = &((struct entry_sink *)sink)->delta->leaves[index];
	const struct vhdx_sidecar_entry *entry = record;

	leaf->leaf = le32_to_cpu(entry->leaf);
	leaf->crc = le32_to_cpu(entry->crc);
	leaf->block = le64_to_cpu(entry->block);
	if (leaf->leaf >= vhdx_sidecar_leaf_count(sidecar) ||
	    (index && leaf->leaf <= leaf[-1].leaf))
		return vhdx_sidecar_damaged(diag, "leaf number %u is out of order", leaf->leaf);
	if (leaf->block != VHDX_DELTA_ALL && !vhdx_sidecar_claim_block(sidecar, leaf->block))
		return vhdx_sidecar_damaged(diag, "leaf block %llu is out of place or named twice",
					    leaf->block);
	return 0;
}

const struct vhdx_sidecar_record vhdx_sidecar_entry_record = {
	.what = "an index",
	.magic = VHDX_SIDECAR_INDEX_MAGIC,
	.size = sizeof(struct vhdx_sidecar_entry),
	.per_block = VHDX_SIDECAR_RECORDS(struct vhdx_sidecar_entry),
	.encode = encode_entry,
	.decode = decode_entry,
};

int vhdx_sidecar_read_index(struct vhdx_sidecar *sidecar, struct vhdx_delta *delta,
			    struct vhdx_diag *diag)
{
	struct entry_sink sink = { .sidecar = sidecar, .delta = delta };
	struct vhdx_sidecar_chain chain = {
		.block = delta->index_block,
		.crc = delta->index_crc,
	};
	int err;

	if (!delta->leaf_count)
		return 0;
	delta->leaves = vhdx_alloc(delta->leaf_count * sizeof(*delta->leaves));
	if (!delta->leaves)
		return vhdx_no_memory(diag);
	err = vhdx_sidecar_read_chain(sidecar, &vhdx_sidecar_entry_record, delta->leaf_count, &sink,
				      &chain, diag);
	delta->index_blocks = chain.blocks;
	delta->index_block_count = chain.block_count;
	return err;
}

int vhdx_sidecar_write_index(struct vhdx_sidecar *sidecar, struct vhdx_delta *delta)
{
	struct vhdx_sidecar_chain chain;
	int err;

	err = vhdx_sidecar_write_chain(sidecar, &vhdx_sidecar_entry_record, delta->leaf_count,
				       delta, &chain);
	if (err)
		return err;
	delta->index_block = chain.block;
	delta->index_crc = chain.crc;
	delta->index_blocks = chain.blocks;
	delta->index_block_count = chain.block_count;
	return 0;
}

/* ---- from and to memory ---- */

u32 vhdx_sidecar_leaf_count(const struct vhdx_sidecar *sidecar)
{
	u64 leaf_bytes = (u64)VHDX_LEAF_UNITS << sidecar->unit_shift;

	return (sidecar->disk_size + leaf_bytes - 1) >> sidecar->unit_shift >> VHDX_LEAF_SHIFT;
}

void vhdx_sidecar_free_delta(struct vhdx_delta *delta)
{
	vhdx_free(delta->leaves);
	vhdx_free(delta->index_blocks);
	memset(delta, 0, sizeof(*delta));
}

void vhdx_sidecar_drop_delta(struct vhdx_sidecar *sidecar, struct vhdx_delta *delta)
{
	u32 i;

	for (i = 0; i < delta->leaf_count; i++)
		vhdx_sidecar_doom_block(sidecar, delta->leaves[i].block);
	for (i = 0; i < delta->index_block_count; i++)
		vhdx_sidecar_doom_block(sidecar, delta->index_blocks[i]);
	vhdx_sidecar_free_delta(delta);
}

/* The blocks that the leaves of @map and their index take; a mark beside us may add one. */
static u64 count_blocks(const struct vhdx_changemap *map)
{
	u32 leaf, leaves = 0, entries = 0;

	for (leaf = 0; leaf < map->leaf_count; leaf++) {
		vhdx_leaf words = READ_ONCE(map->leaves[leaf]);

		entries += !!words;
		leaves += words && words != VHDX_LEAF_ALL;
	}
	return leaves + DIV_ROUND_UP(entries, vhdx_sidecar_entry_record.per_block);
}

static int write_leaves(struct vhdx_sidecar *sidecar, const struct vhdx_changemap *map,
			struct vhdx_delta *delta)
{
	u64 *words = vhdx_alloc(VHDX_PAGE);
	struct vhdx_leaf_writer writer;
	u32 leaf;
	int err;

	err = vhdx_leaf_writer_init(&writer, sidecar, delta);
	if (!words)
		err = -ENOMEM;
	for (leaf = 0; !err && leaf < map->leaf_count; leaf++) {
		if (!READ_ONCE(map->leaves[leaf]))
			continue;
		memset(words, 0, VHDX_PAGE);
		vhdx_changemap_leaf_or(map, leaf, words);
		err = vhdx_leaf_writer_add(&writer, leaf, words);
	}
	if (!err)
		err = vhdx_leaf_writer_flush(&writer);
	vhdx_free(writer.buf);
	vhdx_free(words);
	return err;
}

/* Deltas stay in memory: one that names few leaves should not have room for all. */
static void trim_leaves(struct vhdx_delta *delta)
{
	size_t size = delta->leaf_count * sizeof(*delta->leaves);
	struct vhdx_delta_leaf *leaves = size ? vhdx_alloc(size) : NULL;

	if (size && !leaves)
		return;
	if (size)
		memcpy(leaves, delta->leaves, size);
	vhdx_free(delta->leaves);
	delta->leaves = leaves;
}

/* No header ever named it: its blocks are free at once. */
static void unwrite_delta(struct vhdx_sidecar *sidecar, struct vhdx_delta *delta)
{
	u32 i;

	for (i = 0; i < delta->leaf_count; i++)
		if (delta->leaves[i].block != VHDX_DELTA_ALL)
			vhdx_sidecar_give_back_block(sidecar, delta->leaves[i].block);
	vhdx_sidecar_free_delta(delta);
}

int vhdx_sidecar_write_delta(struct vhdx_sidecar *sidecar, const struct vhdx_changemap *map,
			     struct vhdx_delta *delta)
{
	u64 blocks = count_blocks(map);
	int err;

	memset(delta, 0, sizeof(*delta));
	if (vhdx_changemap_is_empty(map))
		return 0;
	if (!vhdx_sidecar_has_room(sidecar, blocks))
		return -ENOSPC;
	delta->leaves = vhdx_alloc(map->leaf_count * sizeof(*delta->leaves));
	if (!delta->leaves)
		return -ENOMEM;
	err = write_leaves(sidecar, map, delta);
	if (!err)
		err = vhdx_sidecar_write_index(sidecar, delta);
	if (err) {
		unwrite_delta(sidecar, delta);
		return err;
	}
	trim_leaves(delta);
	return 0;
}

int vhdx_sidecar_save_live(struct vhdx_sidecar *sidecar, const struct vhdx_changemap *map)
{
	struct vhdx_delta *live = &sidecar->timeline.live;
	struct vhdx_delta saved;
	int err;

	err = vhdx_sidecar_write_delta(sidecar, map, &saved);
	if (err)
		return err;
	saved.flags = live->flags;
	saved.gap_reason = live->gap_reason;
	vhdx_sidecar_drop_delta(sidecar, live);
	*live = saved;
	return 0;
}

static const struct vhdx_delta_leaf *find_leaf(const struct vhdx_delta *delta, u32 leaf)
{
	u32 low = 0, high = delta->leaf_count;

	while (low < high) {
		u32 middle = low + (high - low) / 2;

		if (delta->leaves[middle].leaf == leaf)
			return &delta->leaves[middle];
		if (delta->leaves[middle].leaf < leaf)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

bool vhdx_delta_stores_leaf(const struct vhdx_delta *delta, u32 leaf)
{
	const struct vhdx_delta_leaf *entry = find_leaf(delta, leaf);

	return entry && entry->block != VHDX_DELTA_ALL;
}

int vhdx_sidecar_read_leaf(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
			   u32 leaf, u64 *words)
{
	const struct vhdx_delta_leaf *entry = find_leaf(delta, leaf);
	void *buf;
	int err;

	if (!entry)
		return 0;
	buf = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	if (!buf)
		return -ENOMEM;
	err = vhdx_sidecar_read_entry(sidecar, entry, words, buf, NULL);
	vhdx_free(buf);
	return err;
}

int vhdx_sidecar_load_map(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
			  struct vhdx_changemap *map)
{
	const u64 leaf_bytes = (u64)VHDX_LEAF_UNITS << map->unit_shift;
	u64 *words = vhdx_alloc(VHDX_PAGE);
	void *buf = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	int err = words && buf ? 0 : -ENOMEM;
	u32 i;

	for (i = 0; !err && i < delta->leaf_count; i++) {
		const struct vhdx_delta_leaf *entry = &delta->leaves[i];

		if (entry->block == VHDX_DELTA_ALL) {
			vhdx_changemap_mark(map, entry->leaf * leaf_bytes, leaf_bytes);
			continue;
		}
		memset(words, 0, VHDX_PAGE);
		err = vhdx_sidecar_read_entry(sidecar, entry, words, buf, NULL);
		if (!err)
			err = vhdx_changemap_leaf_load(map, entry->leaf, words);
		vhdx_breathe();
	}
	vhdx_free(buf);
	vhdx_free(words);
	return err;
}
