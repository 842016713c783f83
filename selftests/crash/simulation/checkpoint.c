// SPDX-License-Identifier: GPL-2.0-only
/*
 * A checkpoint: what some regions have is saved, then they are cleared (rule T3).
 */
#include "simulation.h"

static void keep_those_in_flight(void)
{
	u32 i;

	for (i = 0; i < ACTORS; i++)
		vhdx_regions_keep(&sim.driver.regions, sim.actors[i].write.offset,
				  sim.actors[i].write.length);
}

/* Under the lock of the tree. */
int save_and_clear(bool all)
{
	struct driver *driver = &sim.driver;
	int err;

	vhdx_regions_begin_clear(&driver->regions, all);
	step();
	if (RULE(graceful_clear))
		wait_for_readers();
	step();
	if (RULE(keep))
		keep_those_in_flight();
	step();
	if (sim.cut)
		return -EIO;
	err = vhdx_sidecar_checkpoint(&driver->sidecar, driver->live,
				      all ? NULL : driver->regions.clearing);
	if (!err && !RULE(durable_first))
		vhdx_regions_confirm_clear(&driver->regions);
	if (!err)
		err = commit();
	else if (!is_harmless(err) && !sim.cut)
		invalidate();
	if (err)
		vhdx_regions_cancel_clear(&driver->regions);
	else
		vhdx_regions_confirm_clear(&driver->regions);
	sim.counters.checkpoints += !err;
	return err;
}

void run_checkpoint(void *unused)
{
	struct driver *driver = &sim.driver;

	(void)unused;
	if (!driver->begun || !lock(&driver->tree_owner))
		return;
	if (!driver->closing && !driver->invalid)
		save_and_clear(chance(50));
	unlock(&driver->tree_owner);
}
