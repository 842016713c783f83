// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gate, and operations on blocks (rule V1).
 */
#include "simulation.h"

void gate_enter(void)
{
	sim.actors[sim.me].pass = sim.layer.epoch;
}

void gate_leave(void)
{
	sim.actors[sim.me].pass = 0;
}

static bool is_inside(u64 epoch)
{
	u32 i;

	for (i = 0; i < ACTORS; i++)
		if (sim.actors[i].pass && sim.actors[i].pass <= epoch)
			return true;
	return false;
}

void gate_flip(void)
{
	u64 epoch = sim.layer.epoch++;

	while (is_inside(epoch) && !sim.cut)
		step();
}

static bool is_under_way(u32 block, u32 count)
{
	u32 i;

	for (i = block; i < block + count; i++)
		if (sim.layer.operation[i] != NOBODY)
			return true;
	return false;
}

void wait_for_operation(u32 block, u32 count)
{
	while (is_under_way(block, count) && !sim.cut)
		step();
}

bool operation_begin(u32 block, u32 count)
{
	u32 i;

	if (is_under_way(block, count) && RULE(exclusive)) {
		wait_for_operation(block, count);
		return false;
	}
	for (i = block; i < block + count; i++)
		sim.layer.operation[i] = sim.me;
	return true;
}

bool operation_try(u32 block)
{
	return !is_under_way(block, 1) && operation_begin(block, 1);
}

void operation_end(u32 block, u32 count)
{
	u32 i;

	for (i = block; i < block + count; i++)
		sim.layer.operation[i] = NOBODY;
}
