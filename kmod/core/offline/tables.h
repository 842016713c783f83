/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * What the tables of a container say, entry by entry, known or not: for people who look
 * at a container that is not attached.
 */
#ifndef VHDX_CORE_TABLES_H
#define VHDX_CORE_TABLES_H

#include "core/vhdx/image.h"

/**
 * struct vhdx_tables - region table and metadata table, as they are in the container
 * @metadata:	where items lie
 */
struct vhdx_tables {
	struct vhdx_ondisk_region_table *region_table;
	struct vhdx_ondisk_metadata_table *item_table;
	unsigned int region_count;
	unsigned int item_count;
	struct vhdx_extent metadata;
};

/**
 * struct vhdx_table_region - an entry of the region table
 * @name:	NULL: it is not known
 */
struct vhdx_table_region {
	vhdx_guid guid;
	struct vhdx_extent extent;
	bool required;
	const char *name;
};

/**
 * struct vhdx_table_item - an entry of the metadata table
 * @extent:	in the container; all zero: an empty item
 * @name:	NULL: it is not known
 */
struct vhdx_table_item {
	vhdx_guid guid;
	struct vhdx_extent extent;
	bool user;
	bool virtual_disk;
	bool required;
	const char *name;
};

/**
 * vhdx_tables_load() - read both
 * @tables:	filled in; vhdx_tables_release() it whatever this returns
 * @store:	what vhdx_image_load() has judged
 *
 * Returns 0, -EUCLEAN where there is no valid region table, or -EIO/-ENOMEM.
 */
int vhdx_tables_load(struct vhdx_tables *tables, struct vhdx_store *store,
		     struct vhdx_diag *diag);
void vhdx_tables_release(struct vhdx_tables *tables);

/* Entry @index, below the table's count. */
struct vhdx_table_region vhdx_tables_region(const struct vhdx_tables *tables, unsigned int index);
struct vhdx_table_item vhdx_tables_item(const struct vhdx_tables *tables, unsigned int index);

/* The region of this GUID; one that is not there has no length. */
struct vhdx_extent vhdx_tables_find(const struct vhdx_tables *tables, const vhdx_guid *guid);

#endif
