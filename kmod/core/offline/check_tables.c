// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Headers, region tables and the metadata table, in a container that can be attached.
 */
#include "core/vhdx/private.h"
#include "check_private.h"
#include "tables.h"

/* ---- Headers -------------------------------------------------------------------------------- */

static int check_header(struct vhdx_check_state *check, const struct vhdx_header_copy *copy,
			const struct vhdx_ondisk_header *raw)
{
	const struct vhdx_header *header = &copy->header;
	unsigned int number = header->slot + 1;
	u64 where = vhdx_header_offset(header->slot);

	if (copy->fault[0])
		return warn(check, "header %u at 0x%llx has %s: the other one is used", number,
			    where, copy->fault);
	if (copy->version != VHDX_VERSION || copy->log_version != VHDX_LOG_VERSION)
		return error(check, "header %u at 0x%llx: format version %u and log version %u, must be 1 and 0",
			     number, where, copy->version, copy->log_version);
	if (memchr_inv(raw->reserved, 0, sizeof(raw->reserved)))
		return error(check, "header %u at 0x%llx: reserved bytes are not zero", number,
			     where);
	if (vhdx_guid_is_zero(&header->file_write_guid) ||
	    vhdx_guid_is_zero(&header->data_write_guid))
		return warn(check, "header %u at 0x%llx: FileWriteGuid or DataWriteGuid is zero",
			    number, where);
	return 0;
}

/* disk2vhd writes the same header twice. */
static int compare_headers(struct vhdx_check_state *check, const struct vhdx_header_copy copies[2])
{
	const struct vhdx_header *one = &copies[0].header;
	const struct vhdx_header *other = &copies[1].header;

	if (copies[0].fault[0] || copies[1].fault[0] || one->sequence != other->sequence)
		return 0;
	if (vhdx_header_equal(one, other))
		return warn(check, "headers 1 and 2 have the same sequence number %llu",
			    one->sequence);
	return error(check, "headers 1 and 2 have the same sequence number %llu, and differ: the first one is used",
		     one->sequence);
}

int vhdx_check_headers(struct vhdx_check_state *check, struct vhdx_diag *diag)
{
	struct vhdx_header_copy copies[2];
	void *buf = vhdx_alloc(VHDX_PAGE);
	unsigned int slot;
	int err = 0;

	if (!buf)
		return vhdx_no_memory(diag);
	for (slot = 0; slot < 2 && !err; slot++) {
		err = vhdx_read(check->store, vhdx_header_offset(slot), buf, VHDX_HEADER_SIZE,
				"header", diag);
		if (err)
			break;
		vhdx_header_copy_decode(&copies[slot], buf, slot);
		err = check_header(check, &copies[slot], buf);
	}
	vhdx_free(buf);
	return err ? err : compare_headers(check, copies);
}

/* ---- Tables --------------------------------------------------------------------------------- */

/* @used: the copy that an attach reads. */
static int check_other_copy(struct vhdx_check_state *check,
			    const struct vhdx_ondisk_region_table *used, struct vhdx_diag *diag)
{
	struct vhdx_ondisk_region_table *copy = vhdx_alloc(sizeof(*copy));
	const char *fault;
	unsigned int i;
	int err = copy ? 0 : vhdx_no_memory(diag);

	for (i = 0; i < 2 && !err; i++) {
		err = vhdx_read(check->store, vhdx_region_table_offset(i), copy, sizeof(*copy),
				"region table", diag);
		if (err)
			break;
		fault = vhdx_region_table_fault(copy);
		if (fault)
			err = warn(check, "region table %u at 0x%llx has %s: the other one is used",
				   i + 1, vhdx_region_table_offset(i), fault);
		else if (memcmp(copy, used, sizeof(*copy)))
			err = error(check, "region table %u at 0x%llx differs from the other one, which is used",
				    i + 1, vhdx_region_table_offset(i));
	}
	vhdx_free(copy);
	return err;
}

static int check_regions(struct vhdx_check_state *check, const struct vhdx_tables *tables)
{
	const struct vhdx_ondisk_region_entry *entry = tables->region_table->entries;
	u32 required;
	u32 i;
	int err = 0;

	for (i = 0; i < tables->region_count && !err; i++) {
		required = le32_to_cpu(entry[i].required);
		if (required & ~VHDX_REGION_REQUIRED)
			err = error(check, "region table, entry %u: reserved bits 0x%x are set", i,
				    (u32)(required & ~VHDX_REGION_REQUIRED));
		else if (!required && vhdx_tables_region(tables, i).name)
			err = warn(check, "region table, entry %u: the %s is not marked as required",
				   i, vhdx_tables_region(tables, i).name);
	}
	return err;
}

static int check_items(struct vhdx_check_state *check, const struct vhdx_tables *tables)
{
	const u32 known = VHDX_METADATA_IS_USER | VHDX_METADATA_IS_VIRTUAL_DISK |
			  VHDX_METADATA_IS_REQUIRED;
	const struct vhdx_ondisk_metadata_entry *entry = tables->item_table->entries;
	u32 i;
	int err = 0;

	for (i = 0; i < tables->item_count && !err; i++)
		if (le32_to_cpu(entry[i].flags) & ~known || entry[i].reserved)
			err = error(check, "metadata table at 0x%llx, entry %u: reserved bits are set",
				    tables->metadata.offset, i);
	return err;
}

int vhdx_check_tables(struct vhdx_check_state *check, u64 *bat_length, struct vhdx_diag *diag)
{
	static const vhdx_guid bat = VHDX_REGION_BAT;
	struct vhdx_tables tables;
	int err;

	err = vhdx_tables_load(&tables, check->store, diag);
	if (!err)
		err = check_other_copy(check, tables.region_table, diag);
	if (!err)
		err = check_regions(check, &tables);
	if (!err)
		err = check_items(check, &tables);
	if (!err)
		*bat_length = vhdx_tables_find(&tables, &bat).length;
	vhdx_tables_release(&tables);
	return err;
}
