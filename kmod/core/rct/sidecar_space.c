// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Which blocks of a sidecar are free. The file doesn't say: the bit map is rebuilt at
 * load by walking everything that the header refers to.
 *
 * The lowest free block is taken first, so the file never grows beyond the most that
 * was ever in use at one time.
 */
#include "sidecar_private.h"

#define BITS		64U
#define FIRST_MAP	512U	/* blocks; enough for most disks */

static bool is_used(const struct vhdx_sidecar *sidecar, u64 block)
{
	return sidecar->used[block >> 6] & 1ULL << (block & 63);
}

static void set_used(struct vhdx_sidecar *sidecar, u64 block)
{
	sidecar->used[block >> 6] |= 1ULL << (block & 63);
	sidecar->used_count++;
}

int vhdx_sidecar_map_blocks(struct vhdx_sidecar *sidecar, u64 blocks)
{
	u64 old_bytes = sidecar->map_blocks >> 3;
	u64 bytes;
	u64 *used, *doomed;

	blocks = max_t(u64, blocks, FIRST_MAP);
	blocks = (blocks + BITS - 1) & ~(u64)(BITS - 1);
	bytes = blocks >> 3;
	if (blocks <= sidecar->map_blocks)
		return 0;
	if (bytes > INT_MAX)
		return -ENOMEM;
	used = vhdx_alloc(bytes);
	doomed = vhdx_alloc(bytes);
	if (!used || !doomed) {
		vhdx_free(used);
		vhdx_free(doomed);
		return -ENOMEM;
	}
	if (old_bytes) {
		memcpy(used, sidecar->used, old_bytes);
		memcpy(doomed, sidecar->doomed, old_bytes);
	}
	vhdx_free(sidecar->used);
	vhdx_free(sidecar->doomed);
	sidecar->used = used;
	sidecar->doomed = doomed;
	sidecar->map_blocks = blocks;
	if (!sidecar->used_count) {
		set_used(sidecar, 0);
		set_used(sidecar, 1);
		sidecar->lowest_free = VHDX_SIDECAR_SLOTS;
	}
	return 0;
}

bool vhdx_sidecar_claim_block(struct vhdx_sidecar *sidecar, u64 block)
{
	if (block >= sidecar->block_count || is_used(sidecar, block))
		return false;
	set_used(sidecar, block);
	return true;
}

int vhdx_sidecar_take_block(struct vhdx_sidecar *sidecar, u64 *block)
{
	u64 words = sidecar->map_blocks >> 6;
	u64 word = sidecar->lowest_free >> 6;
	u64 found;
	int err;

	while (word < words && !~sidecar->used[word])
		word++;
	found = word << 6;
	if (word < words)
		found += __ffs64(~sidecar->used[word]);
	if (found >= sidecar->block_limit)
		return -ENOSPC;
	if (word == words) {
		err = vhdx_sidecar_map_blocks(sidecar, 2 * sidecar->map_blocks);
		if (err)
			return err;
	}
	set_used(sidecar, found);
	sidecar->lowest_free = found + 1;
	*block = found;
	return 0;
}

void vhdx_sidecar_give_back_block(struct vhdx_sidecar *sidecar, u64 block)
{
	sidecar->used[block >> 6] &= ~(1ULL << (block & 63));
	sidecar->used_count--;
	sidecar->lowest_free = min(sidecar->lowest_free, block);
}

void vhdx_sidecar_doom_block(struct vhdx_sidecar *sidecar, u64 block)
{
	if (block != VHDX_DELTA_ALL)
		sidecar->doomed[block >> 6] |= 1ULL << (block & 63);
}

void vhdx_sidecar_free_doomed(struct vhdx_sidecar *sidecar)
{
	u64 words = sidecar->map_blocks >> 6;
	u64 word;

	for (word = 0; word < words; word++) {
		while (sidecar->doomed[word]) {
			u64 bit = __ffs64(sidecar->doomed[word]);

			sidecar->doomed[word] &= sidecar->doomed[word] - 1;
			vhdx_sidecar_give_back_block(sidecar, (word << 6) + bit);
		}
	}
}

u64 vhdx_sidecar_end_of_blocks(const struct vhdx_sidecar *sidecar)
{
	u64 word = sidecar->map_blocks >> 6;
	u64 block;

	while (!sidecar->used[word - 1])
		word--;
	block = word << 6;
	while (!is_used(sidecar, block - 1))
		block--;
	return block;
}

/*
 * On a block device deltas leave alone what two commits in a row need for the chain
 * of points, with a point more than now: a seal is two commits, and forgetting the
 * oldest point, which writes nothing else, must work on a device that is full. While
 * the second one is written the chain of the first is the only one that can't be
 * reused yet; it may be one block longer than the chain before it.
 */
bool vhdx_sidecar_has_room(const struct vhdx_sidecar *sidecar, u64 blocks)
{
	u32 per_block = vhdx_sidecar_point_record.per_block;
	u64 reserve = DIV_ROUND_UP(sidecar->timeline.count + 1, per_block) + 1;

	return sidecar->block_limit - sidecar->used_count >= blocks + reserve;
}
