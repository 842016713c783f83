/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * The coarse area: one bit for each region of the disk that may have been written since
 * the live delta was saved. This is its geometry and what its bytes say; when they are written
 * is up to the driver.
 *
 * It is written sector by sector, which no power loss tears. A block of it that was being
 * written is a mix of old sectors and new ones, each of them valid.
 */
#ifndef VHDX_CORE_COARSE_H
#define VHDX_CORE_COARSE_H

#include "core/platform.h"

#define VHDX_COARSE_REGIONS_MAX		(1U << 20)	/* of a disk */
#define VHDX_COARSE_SECTOR_WORDS	61U	/* u64 words of bits in a sector */

/**
 * struct vhdx_coarse_geometry - the coarse area of a disk
 * @region_shift: log2 of the bytes of a region
 * @regions:	of the disk; the last one may lie partly beyond its end
 * @sectors:	that hold them
 * @blocks:	that hold those, of VHDX_SIDECAR_BLOCK bytes
 */
struct vhdx_coarse_geometry {
	u32 region_shift;
	u32 regions;
	u32 sectors;
	u32 blocks;
};

/**
 * vhdx_coarse_layout() - the coarse area of a disk of this size
 * @disk_size:	in bytes, at most 64 TiB
 * @unit_shift:	log2 of the unit that changes are counted in
 * @geo:	filled in
 *
 * A region is at least 4 MiB and a unit, there are at most 2^20 of them, and none is larger
 * than a leaf of the change map.
 */
void vhdx_coarse_layout(u64 disk_size, u32 unit_shift, struct vhdx_coarse_geometry *geo);

/**
 * vhdx_coarse_encode() - make one sector
 * @number:	of the sector in the area
 * @generation:	sequence of the newest header that is durable
 * @commit:	of the coarse area
 * @bits:	VHDX_COARSE_SECTOR_WORDS words
 * @sector:	512 bytes, filled in
 */
void vhdx_coarse_encode(u32 number, u64 generation, u64 commit, const u64 *bits, void *sector);

/**
 * vhdx_coarse_decode() - what one sector says
 * @number:	of the sector in the area
 * @sector:	512 bytes; NULL: they could not be read
 * @generation:	filled in, if it is intact
 * @commit:	filled in, if it is intact
 * @bits:	gets VHDX_COARSE_SECTOR_WORDS words; all ones, if it is not
 *
 * Returns whether it is intact: what a damaged one said is not known, so it says "all".
 */
bool vhdx_coarse_decode(u32 number, const void *sector, u64 *generation, u64 *commit,
			u64 *bits);

/**
 * vhdx_coarse_judge() - what the whole area says beside a header
 * @geo:	of the disk
 * @area:	its blocks
 * @sequence:	of the header that counts
 * @bits:	gets geo->sectors times VHDX_COARSE_SECTOR_WORDS words; bit n is region n,
 *		and no bit behind the last region is set
 * @commit:	receives the largest one of the intact sectors
 *
 * 0; or -EUCLEAN: a sector was written after a newer header than the one that counts, which
 * must have rotted. Bits that were cleared since are in what that one saved, and nowhere else.
 */
int vhdx_coarse_judge(const struct vhdx_coarse_geometry *geo, const void *area, u64 sequence,
		      u64 *bits, u64 *commit);

#endif
