// SPDX-License-Identifier: GPL-2.0-only
/*
 * A strict session: the sidecar is told of each header that the container is about to get, in
 * tokens (rule T6).
 */
#include "simulation.h"
#include "core/rct/ondisk.h"

static void name_sectors(u64 blocks, struct vhdx_token *token)
{
	const u32 per_block = VHDX_SIDECAR_BLOCK / VHDX_COARSE_SECTOR;
	u32 i;

	for (i = 0; i < sim.driver.regions.geo.sectors; i++)
		token->sectors[i / 64] |= (blocks >> (i / per_block) & 1) << (i % 64);
}

/* A token, and the blocks of the coarse area that belong to it, in one flush. */
static int write_token(u64 sequence, u64 blocks)
{
	struct vhdx_sidecar *sidecar = &sim.driver.sidecar;
	struct vhdx_regions *regions = &sim.driver.regions;
	struct vhdx_token token = {
		.commit = max(regions->commit, sidecar->token.commit) + 1,
		.sequence = sequence,
	};
	void *block = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	int err;

	name_sectors(blocks, &token);
	if (blocks)
		regions->commit = token.commit;
	err = write_blocks(blocks) ?: vhdx_sidecar_write_token(sidecar, &token, block);
	vhdx_free(block);
	return err;
}

int strict_start(void)
{
	struct driver *driver = &sim.driver;
	int err;

	driver->sidecar.strict = driver->strict;
	if (!driver->strict)
		return 0;
	if (!lock(&driver->header_owner))
		return -EIO;
	err = write_token(driver->header.sequence, 0);
	driver->announces = !err;
	unlock(&driver->header_owner);
	return err;
}

int strict_announce(u64 sequence)
{
	return sim.driver.announces && RULE(token) ? write_token(sequence, 0) : 0;
}

/* The number alone tells that a sidecar without these regions is an older one. */
int strict_commit(u64 blocks)
{
	struct driver *driver = &sim.driver;
	int err = -EIO;

	if (!lock(&driver->header_owner))
		return -EIO;
	if (driver->invalid)
		goto out;
	err = RULE(token_first) ? write_token(driver->header.sequence + 1, blocks) : 0;
	if (!err && RULE(next_number))
		err = layer_step_header();
	if (!err && !RULE(token_first))
		err = write_token(driver->header.sequence, blocks);
out:
	unlock(&driver->header_owner);
	return err;
}
