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
	record->gap_time_ns = cpu_to_le64(delta->gap_time_ns);
	record->changed_units = cpu_to_le64(delta->changed_units);
}

/* A cause that is not known here cuts the line like any other. */
static u32 known_gap(u32 reason)
{
	if (reason == VHDX_REASON_NONE ||
	    (reason >= VHDX_REASON_CHANGED_OFFLINE && reason <= VHDX_REASON_TRACKING_ERROR))
		return reason;
	return VHDX_REASON_INCONSISTENT;
}

static_assert(VHDX_DELTA_COARSE == VHDX_SIDECAR_DELTA_COARSE);

/* What is beyond its record is read when it is needed. */
int vhdx_sidecar_decode_delta(const struct vhdx_sidecar *sidecar,
			      const struct vhdx_sidecar_delta *record, struct vhdx_delta *delta,
			      struct vhdx_diag *diag)
{
	u32 unknown;

	memset(delta, 0, sizeof(*delta));
	delta->index_block = le64_to_cpu(record->index.block);
	delta->index_crc = le32_to_cpu(record->index.crc);
	delta->leaf_count = le32_to_cpu(record->index.count);
	delta->flags = le32_to_cpu(record->flags);
	delta->gap_reason = known_gap(le32_to_cpu(record->gap_reason));
	delta->gap_time_ns = le64_to_cpu(record->gap_time_ns);
	delta->changed_units = le64_to_cpu(record->changed_units);
	unknown = delta->flags & VHDX_SIDECAR_FLAGS_NEEDED & ~VHDX_DELTA_COARSE;
	if (unknown)
		return vhdx_sidecar_newer(diag, "a delta has flags 0x%x", unknown);
	if (delta->leaf_count > vhdx_sidecar_leaf_count(sidecar))
		return vhdx_sidecar_damaged(diag, "a delta of %u leaves, the disk has %u",
					    delta->leaf_count, vhdx_sidecar_leaf_count(sidecar));
	if (delta->leaf_count && !vhdx_sidecar_is_block(sidecar, delta->index_block))
		return vhdx_sidecar_damaged(diag, "an index: block %llu is out of place",
					    delta->index_block);
	return 0;
}

/* ---- from and to memory ---- */

u32 vhdx_sidecar_leaf_count(const struct vhdx_sidecar *sidecar)
{
	u64 leaf_bytes = (u64)VHDX_LEAF_UNITS << sidecar->unit_shift;

	return (sidecar->disk_size + leaf_bytes - 1) >> sidecar->unit_shift >> VHDX_LEAF_SHIFT;
}

u32 vhdx_sidecar_leaf_units(const struct vhdx_sidecar *sidecar, u32 leaf)
{
	u64 start = (u64)leaf << VHDX_LEAF_SHIFT << sidecar->unit_shift;
	u64 rest = sidecar->disk_size - start;

	return min_t(u64, (rest + (1ULL << sidecar->unit_shift) - 1) >> sidecar->unit_shift,
		     VHDX_LEAF_UNITS);
}

static int doom_index(struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta)
{
	const struct vhdx_delta_leaf *entry;
	struct vhdx_index_iter iter;
	u32 i;
	int err;

	err = vhdx_index_iter_init(&iter, sidecar, delta, NULL);
	for (i = 0; !err && i < iter.table_count; i++)
		vhdx_sidecar_doom_block(sidecar, iter.tables[i].block);
	while (!err) {
		err = vhdx_index_iter_peek(&iter, &entry, NULL);
		if (err || !entry)
			break;
		vhdx_sidecar_doom_block(sidecar, entry->block);
		vhdx_index_iter_next(&iter);
	}
	vhdx_index_iter_release(&iter);
	vhdx_sidecar_doom_block(sidecar, delta->index_block);
	return err;
}

/* Those that are known stay used; the others are until a header counts that names none of them. */
void vhdx_sidecar_lose_delta(struct vhdx_sidecar *sidecar, struct vhdx_delta *delta)
{
	if (delta->leaf_count)
		sidecar->space.lost_track = true;
	memset(delta, 0, sizeof(*delta));
}

void vhdx_sidecar_drop_delta(struct vhdx_sidecar *sidecar, struct vhdx_delta *delta)
{
	if (delta->leaf_count && !sidecar->read_only) {
		if (vhdx_sidecar_learn_delta(sidecar, delta, NULL)) {
			vhdx_sidecar_lose_delta(sidecar, delta);
			return;
		}
		doom_index(sidecar, delta);
	}
	memset(delta, 0, sizeof(*delta));
}

static int write_leaves(struct vhdx_delta_writer *writer, const struct vhdx_changemap *map)
{
	u64 *words = vhdx_alloc(VHDX_PAGE);
	int err = words ? 0 : -ENOMEM;
	u32 leaf;

	for (leaf = 0; !err && leaf < map->leaf_count; leaf++) {
		if (!READ_ONCE(map->leaves[leaf]))
			continue;
		memset(words, 0, VHDX_PAGE);
		vhdx_changemap_leaf_or(map, leaf, words);
		err = vhdx_delta_writer_add(writer, leaf, words);
	}
	vhdx_free(words);
	return err;
}

int vhdx_sidecar_write_delta(struct vhdx_sidecar *sidecar, const struct vhdx_changemap *map,
			     struct vhdx_delta *delta)
{
	struct vhdx_delta_writer writer;
	u32 doomed;
	int err;

	memset(delta, 0, sizeof(*delta));
	if (vhdx_changemap_is_empty(map))
		return 0;
	doomed = vhdx_sidecar_begin(sidecar);
	err = vhdx_delta_writer_init(&writer, sidecar, VHDX_SIDECAR_SPARE_FOR_DELTAS);
	/* Who seals asks for it next. */
	writer.blocks.keep = true;
	if (!err)
		err = write_leaves(&writer, map);
	if (!err)
		err = vhdx_delta_writer_finish(&writer, delta);
	vhdx_delta_writer_release(&writer);
	if (err) {
		vhdx_sidecar_undo(sidecar, doomed);
		memset(delta, 0, sizeof(*delta));
	}
	return err;
}

static int load_leaf(const struct vhdx_sidecar *sidecar, const struct vhdx_delta_leaf *entry,
		     struct vhdx_changemap *map, u64 *words, void *buf, struct vhdx_diag *diag)
{
	const u64 leaf_bytes = (u64)VHDX_LEAF_UNITS << map->unit_shift;
	int err;

	if (entry->block == VHDX_DELTA_ALL) {
		vhdx_changemap_mark(map, entry->leaf * leaf_bytes, leaf_bytes);
		return 0;
	}
	memset(words, 0, VHDX_PAGE);
	err = vhdx_sidecar_read_entry(sidecar, entry, words, buf, diag);
	if (err)
		return err;
	return vhdx_changemap_leaf_load(map, entry->leaf, words) ? vhdx_no_memory(diag) : 0;
}

int vhdx_sidecar_load_map(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
			  struct vhdx_changemap *map, struct vhdx_diag *diag)
{
	const struct vhdx_delta_leaf *entry;
	struct vhdx_index_iter iter;
	u64 *words = vhdx_alloc(VHDX_PAGE);
	void *buf = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	int err;

	err = vhdx_index_iter_init(&iter, sidecar, delta, diag);
	if (!words || !buf)
		err = vhdx_no_memory(diag);
	while (!err) {
		err = vhdx_index_iter_peek(&iter, &entry, diag);
		if (err || !entry)
			break;
		err = load_leaf(sidecar, entry, map, words, buf, diag);
		vhdx_index_iter_next(&iter);
		vhdx_breathe();
	}
	vhdx_index_iter_release(&iter);
	vhdx_free(buf);
	vhdx_free(words);
	return err;
}
