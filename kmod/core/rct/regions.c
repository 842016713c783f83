// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "regions.h"
#include "ondisk.h"

#define SECTORS_PER_BLOCK	(VHDX_SIDECAR_BLOCK / VHDX_COARSE_SECTOR)
#define BLOCK_WORDS		(SECTORS_PER_BLOCK * VHDX_COARSE_SECTOR_WORDS)

static u32 word_count(const struct vhdx_regions *regions)
{
	return regions->geo.sectors * VHDX_COARSE_SECTOR_WORDS;
}

static u64 *new_set(const struct vhdx_regions *regions)
{
	return vhdx_alloc(word_count(regions) * sizeof(u64));
}

int vhdx_regions_init(struct vhdx_regions *regions, const struct vhdx_coarse_geometry *geo)
{
	memset(regions, 0, sizeof(*regions));
	if (geo->blocks > 64)
		return -ENOMEM;
	regions->geo = *geo;
	regions->armed = new_set(regions);
	regions->ondisk = new_set(regions);
	regions->want = new_set(regions);
	regions->taken = new_set(regions);
	regions->clearing = new_set(regions);
	regions->cleared = new_set(regions);
	regions->fresh = new_set(regions);
	if (regions->armed && regions->ondisk && regions->want && regions->taken &&
	    regions->clearing && regions->cleared && regions->fresh)
		return 0;
	vhdx_regions_release(regions);
	return -ENOMEM;
}

void vhdx_regions_release(struct vhdx_regions *regions)
{
	vhdx_free(regions->armed);
	vhdx_free(regions->ondisk);
	vhdx_free(regions->want);
	vhdx_free(regions->taken);
	vhdx_free(regions->clearing);
	vhdx_free(regions->cleared);
	vhdx_free(regions->fresh);
	memset(regions, 0, sizeof(*regions));
}

/* Writes read the word at any time; each bit means something by itself. */
static void arm(struct vhdx_regions *regions, u32 word, u64 bits)
{
	WRITE_ONCE(regions->armed[word], regions->armed[word] | bits);
}

static void disarm(struct vhdx_regions *regions, u32 word, u64 bits)
{
	WRITE_ONCE(regions->armed[word], regions->armed[word] & ~bits);
}

static bool has(const u64 *set, u32 region)
{
	return set[region >> 6] >> (region & 63) & 1;
}

static u64 bit_of(u32 region)
{
	return 1ULL << (region & 63);
}

void vhdx_regions_recover(struct vhdx_regions *regions, const u64 *found, u64 commit)
{
	u32 i;

	regions->commit = commit;
	for (i = 0; found && i < word_count(regions); i++) {
		if (!found[i])
			continue;
		regions->ondisk[i] = found[i];
		regions->set += hweight64(found[i]);
		regions->want[i] = found[i];
		regions->want_blocks |= 1ULL << (i / BLOCK_WORDS);
	}
}

/* It is set still, and will be. */
static bool cancel(struct vhdx_regions *regions, u32 region)
{
	u64 bit = bit_of(region);
	u32 word = region >> 6;

	if (!((regions->clearing[word] | regions->cleared[word]) & bit))
		return false;
	regions->clearing[word] &= ~bit;
	regions->cleared[word] &= ~bit;
	regions->fresh[word] |= bit;
	arm(regions, word, bit);
	return true;
}

static void want(struct vhdx_regions *regions, u32 region)
{
	regions->want[region >> 6] |= bit_of(region);
	regions->want_blocks |= 1ULL << (region >> 6) / BLOCK_WORDS;
}

/* What is taken is in @ondisk as well. */
static bool is_set(const struct vhdx_regions *regions, u32 region)
{
	return has(regions->ondisk, region) || has(regions->want, region);
}

/*
 * Who has come to a region from the one before will probably go on to the next ones: as many as
 * there are behind, and no more than @ahead.
 */
static void want_ahead(struct vhdx_regions *regions, u32 first, u32 last)
{
	u32 run = 0;

	while (run < regions->ahead && run < first && is_set(regions, first - run - 1))
		run++;
	while (run-- && ++last < regions->geo.regions && !is_set(regions, last))
		want(regions, last);
}

enum vhdx_regions_wait vhdx_regions_want(struct vhdx_regions *regions, u64 offset, u64 length)
{
	enum vhdx_regions_wait wait = VHDX_REGIONS_ARMED;
	u32 first = offset >> regions->geo.region_shift;
	u32 last = (offset + length - 1) >> regions->geo.region_shift;
	u32 i;

	if (!length)
		return VHDX_REGIONS_ARMED;
	for (i = first; i <= last; i++) {
		if (has(regions->armed, i) || cancel(regions, i))
			continue;
		if (has(regions->taken, i)) {
			wait = max(wait, VHDX_REGIONS_TAKEN);
			continue;
		}
		want(regions, i);
		wait = VHDX_REGIONS_WANTED;
	}
	if (wait == VHDX_REGIONS_WANTED)
		want_ahead(regions, first, last);
	return wait;
}

/* Bits of the word that stand for a region of the disk. */
static u64 regions_in(const struct vhdx_regions *regions, u32 word)
{
	u32 left = regions->geo.regions - min(regions->geo.regions, word * 64);

	return left < 64 ? (1ULL << left) - 1 : ~0ULL;
}

/* What is set already may be being cleared: that stays as it is. */
static u64 with_groups(const struct vhdx_regions *regions, u32 word, u64 wanted)
{
	u32 size = 1U << regions->around;
	u64 group = ~0ULL >> (64 - size);
	u64 rest = wanted, groups = 0;
	u32 first;

	while (rest) {
		first = __ffs64(rest) & ~(size - 1);
		groups |= group << first;
		rest &= ~groups;
	}
	return wanted | (groups & regions_in(regions, word) & ~regions->ondisk[word]);
}

u64 vhdx_regions_take_want(struct vhdx_regions *regions)
{
	u64 blocks = regions->want_blocks;
	u64 rest;
	u32 i, word;

	if (!blocks)
		return 0;
	swap(regions->want, regions->taken);
	regions->want_blocks = 0;
	regions->commit++;
	for (rest = blocks; rest; rest &= rest - 1) {
		word = __ffs64(rest) * BLOCK_WORDS;
		for (i = word; i < word + BLOCK_WORDS && i < word_count(regions); i++) {
			regions->taken[i] = with_groups(regions, i, regions->taken[i]);
			regions->set += hweight64(regions->taken[i] & ~regions->ondisk[i]);
			regions->ondisk[i] |= regions->taken[i];
		}
	}
	return blocks;
}

void vhdx_regions_committed(struct vhdx_regions *regions)
{
	u32 i;

	for (i = 0; i < word_count(regions); i++) {
		if (!regions->taken[i])
			continue;
		arm(regions, i, regions->taken[i]);
		regions->fresh[i] |= regions->taken[i];
		regions->taken[i] = 0;
	}
}

u64 vhdx_regions_take_cleared(struct vhdx_regions *regions)
{
	u64 blocks = 0;
	u32 i;

	if (!regions->cleared_blocks)
		return 0;
	regions->cleared_blocks = 0;
	for (i = 0; i < word_count(regions); i++) {
		if (!regions->cleared[i])
			continue;
		regions->set -= hweight64(regions->cleared[i] & regions->ondisk[i]);
		regions->ondisk[i] &= ~regions->cleared[i];
		regions->cleared[i] = 0;
		blocks |= 1ULL << i / BLOCK_WORDS;
	}
	if (blocks)
		regions->commit++;
	return blocks;
}

void vhdx_regions_encode(const struct vhdx_regions *regions, u32 block, u64 generation,
			 void *buf)
{
	u32 sector = block * SECTORS_PER_BLOCK;
	u32 i;

	memset(buf, 0, VHDX_SIDECAR_BLOCK);
	for (i = 0; i < SECTORS_PER_BLOCK && sector + i < regions->geo.sectors; i++)
		vhdx_coarse_encode(sector + i, generation, regions->commit,
				   regions->ondisk + (sector + i) * VHDX_COARSE_SECTOR_WORDS,
				   buf + i * VHDX_COARSE_SECTOR);
}

u32 vhdx_regions_begin_clear(struct vhdx_regions *regions, bool all)
{
	u32 i, count = 0;
	u64 chosen;

	for (i = 0; i < word_count(regions); i++) {
		chosen = regions->armed[i] & (all ? ~0ULL : ~regions->fresh[i]);
		regions->fresh[i] = 0;
		if (!chosen)
			continue;
		disarm(regions, i, chosen);
		regions->clearing[i] |= chosen;
		count += hweight64(chosen);
	}
	return count;
}

void vhdx_regions_keep(struct vhdx_regions *regions, u64 offset, u64 length)
{
	u32 region = offset >> regions->geo.region_shift;
	u32 last;

	if (!length)
		return;
	last = (offset + length - 1) >> regions->geo.region_shift;
	do
		cancel(regions, region);
	while (region++ < last);
}

u32 vhdx_regions_confirm_clear(struct vhdx_regions *regions)
{
	u32 i, count = 0;

	for (i = 0; i < word_count(regions); i++) {
		if (!regions->clearing[i])
			continue;
		count += hweight64(regions->clearing[i]);
		regions->cleared[i] |= regions->clearing[i];
		regions->clearing[i] = 0;
		regions->cleared_blocks |= 1ULL << i / BLOCK_WORDS;
	}
	return count;
}

void vhdx_regions_cancel_clear(struct vhdx_regions *regions)
{
	u32 i;

	for (i = 0; i < word_count(regions); i++) {
		if (!regions->clearing[i])
			continue;
		arm(regions, i, regions->clearing[i]);
		regions->clearing[i] = 0;
	}
}

void vhdx_regions_give_up(struct vhdx_regions *regions)
{
	u32 i;

	for (i = 0; i < word_count(regions); i++) {
		arm(regions, i, ~0ULL);
		regions->want[i] = 0;
		regions->clearing[i] = 0;
		regions->cleared[i] = 0;
	}
	regions->want_blocks = 0;
	regions->cleared_blocks = 0;
}
