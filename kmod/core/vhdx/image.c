// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "private.h"
#include "log.h"

static int no_region_table(struct vhdx_diag *diag)
{
	return vhdx_damaged(diag, "no valid region table: neither the copy at 0x%x nor the one at 0x%x has signature, checksum and entry count right",
			    VHDX_REGION_TABLE_OFFSET_1, VHDX_REGION_TABLE_OFFSET_2);
}

/*
 * A log that overlaps another structure must not be replayed: its replay or its renewal
 * would destroy that structure. Where regions end is not asked yet, because
 * replay may have to extend the container first. For the same reason a table with
 * two torn copies is no obstacle while the log may hold a good one.
 */
static int check_regions_before_replay(const struct vhdx_image *image, struct vhdx_store *store,
				       struct vhdx_diag *diag)
{
	struct vhdx_regions regions;
	int err;

	err = vhdx_regions_load(store, &image->header, ~0ULL, &regions, diag);
	if (err == -ENODATA)
		return vhdx_guid_is_zero(&image->header.log_guid) ? no_region_table(diag) : 0;
	vhdx_free(regions.extents);
	return err;
}

int vhdx_image_open(struct vhdx_image *image, struct vhdx_store *store, struct vhdx_diag *diag)
{
	int err;

	memset(image, 0, sizeof(*image));
	err = vhdx_header_load(store, &image->header, diag);
	if (!err)
		err = check_regions_before_replay(image, store, diag);
	if (!err)
		err = vhdx_log_scan(store, &image->header, &image->log, diag);
	return err;
}

int vhdx_image_open_to_read(struct vhdx_image *image, struct vhdx_store *store,
			    struct vhdx_diag *unwritten, struct vhdx_diag *diag)
{
	struct vhdx_diag found = { 0 };
	int err = vhdx_image_open(image, store, &found);

	if (image->log.unwritten) {
		err = 0;
		diag = unwritten;
	}
	if (diag && !diag->text[0])
		*diag = found;
	return err;
}

/* A BAT region longer than needed is usual; a shorter one has no place for some blocks. */
static int check_bat_length(const struct vhdx_geometry *geo, const struct vhdx_extent *bat,
			    struct vhdx_diag *diag)
{
	u64 needed = geo->bat_entry_count * VHDX_BAT_ENTRY_SIZE;

	if (bat->length < needed)
		return vhdx_damaged(diag, "BAT region at 0x%llx has 0x%llx bytes, but a disk of %llu bytes with blocks of %u needs 0x%llx",
				    bat->offset, bat->length, geo->disk_size, geo->block_size,
				    needed);
	return 0;
}

int vhdx_image_load(struct vhdx_image *image, struct vhdx_store *store, struct vhdx_diag *diag)
{
	struct vhdx_regions regions;
	int err;

	err = vhdx_regions_load(store, &image->header, store->size, &regions, diag);
	if (err == -ENODATA)
		return no_region_table(diag);
	if (err)
		return err;
	vhdx_free(image->extents);
	image->extents = regions.extents;
	image->extent_count = regions.extent_count;

	err = vhdx_metadata_load(store, &regions.metadata, &image->geo, &image->locator, diag);
	if (err)
		return err;
	image->geo.bat_offset = regions.bat.offset;
	return check_bat_length(&image->geo, &regions.bat, diag);
}

void vhdx_image_release(struct vhdx_image *image)
{
	vhdx_free(image->extents);
	image->extents = NULL;
	image->extent_count = 0;
}
