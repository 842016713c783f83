// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who alone writes the coarse area.
 */
#include "simulation.h"
#include "core/rct/ondisk.h"

static unit_mask units_in(const u64 *regions)
{
	unit_mask units = 0;
	u32 i;

	for (i = 0; i < UNITS; i++) {
		u32 region = unit_offset(i) >> sim.driver.regions.geo.region_shift;

		units |= (unit_mask)(regions[region / 64] >> (region % 64) & 1) << i;
	}
	return units;
}

int write_blocks(u64 blocks)
{
	struct vhdx_sidecar *sidecar = &sim.driver.sidecar;
	u8 *buf = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	int err = 0;

	for (; blocks && !err; blocks &= blocks - 1) {
		u32 block = __ffs64(blocks);

		vhdx_regions_encode(&sim.driver.regions, block, READ_ONCE(sidecar->sequence), buf);
		err = sim.file.store.write(&sim.file.store, (VHDX_SIDECAR_COARSE_BLOCK + block) *
					   (u64)VHDX_SIDECAR_BLOCK, buf, VHDX_SIDECAR_BLOCK);
	}
	vhdx_free(buf);
	return err;
}

void release_writes(void)
{
	u32 i;

	vhdx_regions_give_up(&sim.driver.regions);
	for (i = 0; i < ACTORS; i++)
		sim.actors[i].region = NONE;
	sim.driver.given_up = true;
}

bool has_clears(void)
{
	return sim.driver.regions.cleared_blocks;
}

/* What was found is set as soon as a session begins. */
bool has_wants(void)
{
	return sim.driver.begun && sim.driver.regions.want_blocks;
}

static int set_blocks(u64 blocks)
{
	int err = write_blocks(blocks);

	if (!err && RULE(flush_regions))
		err = sim.file.store.flush(&sim.file.store);
	return err;
}

static void set(void)
{
	struct vhdx_regions *regions = &sim.driver.regions;
	u64 blocks = vhdx_regions_take_want(regions);
	int err;
	u32 i;

	bound_set(units_in(regions->taken));
	for (i = 0; i < ACTORS; i++)
		if (sim.actors[i].region == WANTED)
			sim.actors[i].region = TAKEN;
	step();
	err = sim.driver.announces ? strict_commit(blocks) : set_blocks(blocks);
	if (sim.cut)
		return;
	if (err) {
		invalidate();
		return;
	}
	vhdx_regions_committed(regions);
	for (i = 0; i < ACTORS; i++)
		if (sim.actors[i].region == TAKEN)
			sim.actors[i].region = NONE;
}

static void clear(void)
{
	struct vhdx_regions *regions = &sim.driver.regions;
	unit_mask before = units_in(regions->ondisk);
	u64 blocks = vhdx_regions_take_cleared(regions);
	unit_mask cleared = before & ~units_in(regions->ondisk);

	step();
	if (write_blocks(blocks)) {
		if (!sim.cut)
			invalidate();
		return;
	}
	bound_cleared(cleared);
	sim.counters.clears++;
}

/*
 * The deadline of those who wait: a hanging device is not waited for. Mostly it is over while
 * somebody else is about to give the container a DataWriteGuid that the sidecar knows.
 */
static bool is_late(void)
{
	if (!sim.impatient)
		return false;
	return chance(vhdx_guid_is_zero(&sim.driver.sidecar.next_guid) ? 2 : 70);
}

void run_committer(void *unused)
{
	(void)unused;
	while (!sim.cut) {
		step();
		if (sim.cut || sim.driver.invalid)
			continue;
		if (has_wants() && is_late())
			invalidate();
		else if (has_wants())
			set();
		else if (has_clears())
			clear();
	}
}
