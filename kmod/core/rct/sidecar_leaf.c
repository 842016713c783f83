// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Leaves of a change map in the file: 4 KiB, one bit per unit, bit 0 of byte 0 first; and
 * the index that says where they are, which is written with them.
 */
#include "sidecar_private.h"
#include "core/bits.h"

int vhdx_delta_writer_init(struct vhdx_delta_writer *writer, struct vhdx_sidecar *sidecar,
			   u32 spare)
{
	memset(writer, 0, sizeof(*writer));
	writer->page = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	writer->tables = vhdx_alloc(VHDX_SIDECAR_TABLES * sizeof(*writer->tables));
	if (!writer->page || !writer->tables)
		return -ENOMEM;
	return vhdx_block_writer_init(&writer->blocks, sidecar, spare);
}

void vhdx_delta_writer_release(struct vhdx_delta_writer *writer)
{
	vhdx_block_writer_release(&writer->blocks);
	vhdx_free(writer->tables);
	vhdx_free(writer->page);
}

static int end_table(struct vhdx_delta_writer *writer)
{
	struct vhdx_table_ref *table = &writer->tables[writer->table_count];
	struct vhdx_sidecar_head *head = writer->page;

	if (!writer->count)
		return 0;
	if (writer->table_count == VHDX_SIDECAR_TABLES)
		return -E2BIG;
	head->count = cpu_to_le32(writer->count);
	table->first = writer->first;
	table->count = writer->count;
	writer->table_count++;
	writer->count = 0;
	return vhdx_block_writer_add(&writer->blocks, writer->page, &table->block, &table->crc);
}

int vhdx_delta_writer_put(struct vhdx_delta_writer *writer, const struct vhdx_delta_leaf *entry)
{
	struct vhdx_sidecar_entry *raw;
	int err;

	if (!writer->count) {
		vhdx_table_begin(writer->page, vhdx_sidecar_entry_record.magic, 0);
		writer->first = entry->leaf;
	}
	raw = vhdx_table_record(&vhdx_sidecar_entry_record, writer->page, writer->count++);
	raw->leaf = cpu_to_le16(entry->leaf);
	raw->units = cpu_to_le16(entry->units);
	raw->crc = cpu_to_le32(entry->crc);
	raw->block = cpu_to_le64(entry->block);
	writer->leaves++;
	writer->units += entry->units;
	err = writer->count == vhdx_sidecar_entry_record.per_table ? end_table(writer) : 0;
	return err;
}

int vhdx_delta_writer_keep(struct vhdx_delta_writer *writer, const struct vhdx_table_ref *table)
{
	u32 together = writer->count + table->count;
	int err;

	if (writer->count && together <= vhdx_sidecar_entry_record.per_table)
		return -EAGAIN;
	err = end_table(writer);
	if (err)
		return err;
	if (writer->table_count == VHDX_SIDECAR_TABLES)
		return -E2BIG;
	writer->tables[writer->table_count++] = *table;
	writer->leaves += table->count;
	return 0;
}

int vhdx_delta_writer_finish(struct vhdx_delta_writer *writer, struct vhdx_delta *delta)
{
	int err = end_table(writer);

	if (!err && writer->table_count)
		err = vhdx_table_write_root(&writer->blocks, writer->tables, writer->table_count,
					    writer->page, &delta->index_block, &delta->index_crc);
	if (!err)
		err = vhdx_block_writer_flush(&writer->blocks);
	if (err)
		return err;
	delta->leaf_count = writer->leaves;
	delta->changed_units = writer->units;
	delta->known = true;
	return 0;
}

int vhdx_delta_writer_add(struct vhdx_delta_writer *writer, u32 leaf, const u64 *words)
{
	struct vhdx_sidecar *sidecar = writer->blocks.sidecar;
	struct vhdx_delta_leaf entry = { .leaf = leaf, .block = VHDX_DELTA_ALL };
	u32 units = 0;
	__le64 *raw;
	u32 i;
	int err = 0;

	for (i = 0; i < VHDX_LEAF_WORDS; i++)
		units += hweight64(words[i]);
	if (!units)
		return 0;
	entry.units = min(units, vhdx_sidecar_leaf_units(sidecar, leaf));
	if (units < VHDX_LEAF_UNITS) {
		raw = vhdx_alloc(VHDX_SIDECAR_BLOCK);
		if (!raw)
			return -ENOMEM;
		for (i = 0; i < VHDX_LEAF_WORDS; i++)
			raw[i] = cpu_to_le64(words[i]);
		err = vhdx_block_writer_add(&writer->blocks, raw, &entry.block, &entry.crc);
		vhdx_free(raw);
	}
	return err ?: vhdx_delta_writer_put(writer, &entry);
}

int vhdx_sidecar_read_entry(const struct vhdx_sidecar *sidecar,
			    const struct vhdx_delta_leaf *entry, u64 *words, void *buf,
			    struct vhdx_diag *diag)
{
	int err;

	if (entry->block == VHDX_DELTA_ALL) {
		memset(words, 0xff, VHDX_PAGE);
		return 0;
	}
	if (!vhdx_block_cache_get(sidecar->cache, entry->block, entry->crc, buf)) {
		err = vhdx_sidecar_read_block(sidecar, entry->block, entry->crc, buf, "a leaf",
					      diag);
		if (err)
			return err;
	}
	vhdx_or_le_words(words, buf, VHDX_LEAF_WORDS);
	return 0;
}
