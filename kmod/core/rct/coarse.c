// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "coarse.h"
#include "changemap.h"
#include "ondisk.h"

#define REGION_SHIFT_MIN	22U
static_assert(VHDX_COARSE_SECTOR_WORDS * 64 == VHDX_COARSE_BITS);
static_assert(VHDX_COARSE_SECTOR_WORDS * sizeof(u64) == VHDX_COARSE_BYTES);

void vhdx_coarse_layout(u64 disk_size, u32 unit_shift, struct vhdx_coarse_geometry *geo)
{
	const u32 per_block = VHDX_SIDECAR_BLOCK / VHDX_COARSE_SECTOR;
	u32 shift = max(REGION_SHIFT_MIN, unit_shift);

	while (disk_size > (u64)VHDX_COARSE_REGIONS_MAX << shift)
		shift++;
	geo->region_shift = min(shift, unit_shift + VHDX_LEAF_SHIFT);
	geo->regions = (disk_size + (1ULL << geo->region_shift) - 1) >> geo->region_shift;
	geo->sectors = DIV_ROUND_UP(geo->regions, VHDX_COARSE_BITS);
	geo->blocks = DIV_ROUND_UP(geo->sectors, per_block);
}

static u32 checksum(const struct vhdx_coarse_sector *sector, u32 number)
{
	struct vhdx_coarse_sector copy = *sector;

	copy.crc = cpu_to_le32(number);
	return ~vhdx_crc32c(~0U, &copy, sizeof(copy));
}

void vhdx_coarse_encode(u32 number, u64 generation, u64 commit, const u64 *bits, void *sector)
{
	struct vhdx_coarse_sector *raw = sector;
	u32 i;

	raw->magic = cpu_to_le32(VHDX_SIDECAR_COARSE_MAGIC);
	raw->generation = cpu_to_le64(generation);
	raw->commit = cpu_to_le64(commit);
	for (i = 0; i < VHDX_COARSE_SECTOR_WORDS; i++)
		((__le64 *)raw->bits)[i] = cpu_to_le64(bits[i]);
	raw->crc = cpu_to_le32(checksum(raw, number));
}

bool vhdx_coarse_decode(u32 number, const void *sector, u64 *generation, u64 *commit, u64 *bits)
{
	const struct vhdx_coarse_sector *raw = sector;
	u32 i;

	if (!raw || le32_to_cpu(raw->magic) != VHDX_SIDECAR_COARSE_MAGIC ||
	    le32_to_cpu(raw->crc) != checksum(raw, number)) {
		memset(bits, 0xff, VHDX_COARSE_BYTES);
		return false;
	}
	*generation = le64_to_cpu(raw->generation);
	*commit = le64_to_cpu(raw->commit);
	for (i = 0; i < VHDX_COARSE_SECTOR_WORDS; i++)
		bits[i] = le64_to_cpu(((const __le64 *)raw->bits)[i]);
	return true;
}

/* What lies behind the last region means nothing. */
static void cut_off(const struct vhdx_coarse_geometry *geo, u64 *bits)
{
	u32 words = geo->sectors * VHDX_COARSE_SECTOR_WORDS;
	u32 word = geo->regions >> 6;

	if (word == words)
		return;
	bits[word] &= (1ULL << (geo->regions & 63)) - 1;
	while (++word < words)
		bits[word] = 0;
}

int vhdx_coarse_judge(const struct vhdx_coarse_geometry *geo, const void *area, u64 sequence,
		      u64 *bits, u64 *commit)
{
	u64 generation, its_commit;
	u32 i;

	*commit = 0;
	for (i = 0; i < geo->sectors; i++) {
		if (!vhdx_coarse_decode(i, area + i * VHDX_COARSE_SECTOR, &generation,
					&its_commit, bits + i * VHDX_COARSE_SECTOR_WORDS))
			continue;
		if (generation > sequence)
			return -EUCLEAN;
		*commit = max(*commit, its_commit);
	}
	cut_off(geo, bits);
	return 0;
}
