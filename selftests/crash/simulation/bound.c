// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much more than what was written an answer may hold: regions that were set, until they were
 * cleared, durably.
 */
#include "simulation.h"

void bound_set(unit_mask units)
{
	u32 i;

	units = neighbours(units);
	sim.bound.regions |= units;
	for (i = 0; i < UNITS; i++)
		if (units >> i & 1)
			sim.bound.cleared[i] = 0;
}

void bound_cleared(unit_mask units)
{
	u32 i;

	sim.bound.clock++;
	for (i = 0; i < UNITS; i++)
		if (units >> i & 1)
			sim.bound.cleared[i] = sim.bound.clock;
}

u64 bound_flush_begins(void)
{
	return sim.bound.clock;
}

void bound_flush_ends(u64 begun)
{
	u32 i;

	for (i = 0; i < UNITS; i++)
		if (sim.bound.cleared[i] && sim.bound.cleared[i] <= begun) {
			sim.bound.regions &= ~(1U << i);
			sim.bound.cleared[i] = 0;
		}
}

/* What was cleared and is not known to be durable may have been lost. */
void bound_boots(void)
{
	memset(sim.bound.cleared, 0, sizeof(sim.bound.cleared));
}
