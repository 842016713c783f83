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

/* Those of a root or a table, whose number of records is known. */
static int check_records(const struct vhdx_sidecar_record *type, const char *what,
			 const struct vhdx_table_ref *ref, const void *page,
			 struct vhdx_diag *diag)
{
	const struct vhdx_sidecar_head *head = page;

	if (le32_to_cpu(head->magic) != type->magic ||
	    (ref->count && le32_to_cpu(head->count) != ref->count) ||
	    !head->count || le32_to_cpu(head->count) > type->per_table)
		return vhdx_sidecar_damaged(diag, "block %llu has %u records of %08x, not of %s",
					    ref->block, le32_to_cpu(head->count),
					    le32_to_cpu(head->magic), what);
	return 0;
}

static int check_root(const struct vhdx_sidecar *sidecar, const struct vhdx_sidecar_record *type,
		      const void *page, u32 records, struct vhdx_diag *diag)
{
	const u32 count = vhdx_table_count(page);
	struct vhdx_table_ref table;
	u64 sum = 0;
	u32 i;

	for (i = 0; i < count; i++) {
		table = vhdx_table_of_root(page, i);
		sum += table.count;
		if (!table.count || table.count > type->per_table)
			return vhdx_sidecar_damaged(diag, "table %u of %s has %u records", i,
						    type->what, table.count);
		if (!vhdx_sidecar_is_block(sidecar, table.block))
			return vhdx_sidecar_damaged(diag, "%s: block %llu is out of place",
						    type->what, table.block);
	}
	if (sum != records)
		return vhdx_sidecar_damaged(diag, "%llu records of %s, not %u", sum, type->what,
					    records);
	return 0;
}

int vhdx_table_check_root(const struct vhdx_sidecar *sidecar,
			  const struct vhdx_sidecar_record *type, u64 block, u32 records,
			  const void *page, struct vhdx_diag *diag)
{
	const struct vhdx_table_ref root = { .block = block };
	int err = check_records(&root_record, type->what, &root, page, diag);

	return err ?: check_root(sidecar, type, page, records, diag);
}

int vhdx_table_check(const struct vhdx_sidecar_record *type, const struct vhdx_table_ref *table,
		     const void *page, struct vhdx_diag *diag)
{
	return check_records(type, type->what, table, page, diag);
}

int vhdx_table_read_root(const struct vhdx_sidecar *sidecar,
			 const struct vhdx_sidecar_record *type, u64 block, u32 crc, u32 records,
			 void *page, struct vhdx_table_ref *tables, u32 *count,
			 struct vhdx_diag *diag)
{
	u32 i;
	int err;

	*count = 0;
	err = vhdx_sidecar_read_block(sidecar, block, crc, page, type->what, diag);
	if (!err)
		err = vhdx_table_check_root(sidecar, type, block, records, page, diag);
	if (err)
		return err;
	*count = vhdx_table_count(page);
	for (i = 0; i < *count; i++)
		tables[i] = vhdx_table_of_root(page, i);
	return 0;
}

int vhdx_table_read(const struct vhdx_sidecar *sidecar, const struct vhdx_sidecar_record *type,
		    const struct vhdx_table_ref *table, void *page, struct vhdx_diag *diag)
{
	int err;

	err = vhdx_sidecar_read_block(sidecar, table->block, table->crc, page, type->what, diag);
	return err ?: vhdx_table_check(type, table, page, diag);
}
