// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Records in two levels: a root names tables, each with as many records as it likes. Who
 * changes one of them rewrites its table and the root.
 */
#include "sidecar_private.h"

static const struct vhdx_sidecar_record root_record = {
	.what = "a root",
	.magic = VHDX_SIDECAR_ROOT_MAGIC,
	.size = sizeof(struct vhdx_sidecar_table),
	.per_table = VHDX_SIDECAR_TABLES,
};

void vhdx_table_begin(void *page, u32 magic, u32 count)
{
	struct vhdx_sidecar_head *head = page;

	memset(page, 0, VHDX_SIDECAR_BLOCK);
	head->magic = cpu_to_le32(magic);
	head->count = cpu_to_le32(count);
}

int vhdx_table_write_root(struct vhdx_block_writer *writer, const struct vhdx_table_ref *tables,
			  u32 count, void *page, u64 *block, u32 *crc)
{
	u32 i;

	vhdx_table_begin(page, root_record.magic, count);
	for (i = 0; i < count; i++) {
		struct vhdx_sidecar_table *raw = vhdx_table_record(&root_record, page, i);

		raw->block = cpu_to_le64(tables[i].block);
		raw->crc = cpu_to_le32(tables[i].crc);
		raw->first = cpu_to_le16(tables[i].first);
		raw->count = cpu_to_le16(tables[i].count);
	}
	return vhdx_block_writer_add(writer, page, block, crc);
}

/* A root or a table, whose number of records is known. */
static int read_records(const struct vhdx_sidecar *sidecar, const struct vhdx_sidecar_record *type,
			const char *what, const struct vhdx_table_ref *ref, void *page,
			struct vhdx_diag *diag)
{
	struct vhdx_sidecar_head *head = page;
	int err;

	err = vhdx_sidecar_read_block(sidecar, ref->block, ref->crc, page, what, diag);
	if (err)
		return err;
	if (le32_to_cpu(head->magic) != type->magic ||
	    (ref->count && le32_to_cpu(head->count) != ref->count) ||
	    !head->count || le32_to_cpu(head->count) > type->per_table)
		return vhdx_sidecar_damaged(diag, "block %llu has %u records of %08x, not of %s",
					    ref->block, le32_to_cpu(head->count),
					    le32_to_cpu(head->magic), what);
	return 0;
}

int vhdx_table_read_root(const struct vhdx_sidecar *sidecar,
			 const struct vhdx_sidecar_record *type, u64 block, u32 crc, u32 records,
			 void *page, struct vhdx_table_ref *tables, u32 *count,
			 struct vhdx_diag *diag)
{
	const struct vhdx_table_ref root = { .block = block, .crc = crc };
	u64 sum = 0;
	u32 i;
	int err;

	*count = 0;
	err = read_records(sidecar, &root_record, type->what, &root, page, diag);
	if (err)
		return err;
	*count = le32_to_cpu(((struct vhdx_sidecar_head *)page)->count);
	for (i = 0; i < *count; i++) {
		const struct vhdx_sidecar_table *raw = vhdx_table_record(&root_record, page, i);

		tables[i].block = le64_to_cpu(raw->block);
		tables[i].crc = le32_to_cpu(raw->crc);
		tables[i].first = le16_to_cpu(raw->first);
		tables[i].count = le16_to_cpu(raw->count);
		sum += tables[i].count;
		if (!tables[i].count || tables[i].count > type->per_table)
			return vhdx_sidecar_damaged(diag, "table %u of %s has %u records", i,
						    type->what, tables[i].count);
		if (!vhdx_sidecar_is_block(sidecar, tables[i].block))
			return vhdx_sidecar_damaged(diag, "%s: block %llu is out of place",
						    type->what, tables[i].block);
	}
	if (sum != records)
		return vhdx_sidecar_damaged(diag, "%llu records of %s, not %u", sum, type->what,
					    records);
	return 0;
}

int vhdx_table_read(const struct vhdx_sidecar *sidecar, const struct vhdx_sidecar_record *type,
		    const struct vhdx_table_ref *table, void *page, struct vhdx_diag *diag)
{
	return read_records(sidecar, type, type->what, table, page, diag);
}
