// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads, and flushes (rule V4).
 */
#include "simulation.h"

/* What its block is, inside the gate. False: an operation is under way. */
static bool look_up(u32 unit, struct vhdx_bat_entry *entry)
{
	*entry = layer_entry(block_of(unit));
	return !sim.layer.busy[block_of(unit)] || entry->state != VHDX_BLOCK_FULLY_PRESENT ||
	       !RULE(busy);
}

void run_read(void *unused)
{
	u64 sectors[2][UNIT_SECTORS] = { }, begun = sim.history.clock;
	struct vhdx_bat_entry entry;
	u32 unit;

	(void)unused;
	sim.actors[sim.me].is_io = true;
	do
		unit = random_below(UNITS);
	while (!(sim.hot >> unit & 1));
	gate_enter();
	while (!look_up(unit, &entry) && !sim.cut) {
		gate_leave();
		wait_for_operation(block_of(unit), 1);
		gate_enter();
	}
	if (!RULE(held_gate))
		gate_leave();
	linger();
	if (!sim.cut && entry.state == VHDX_BLOCK_FULLY_PRESENT)
		container_read_block(&sim.view.store, entry.offset, sectors);
	gate_leave();
	if (!sim.cut)
		history_judge_read(unit, sectors[half_of(unit)], begun);
	sim.counters.reads++;
}

void run_flush(void *unused)
{
	u64 begun = history_flush_begins();

	(void)unused;
	sim.actors[sim.me].is_io = true;
	if (!journal_wait() && !sim.cut)
		history_flush_ends(begun);
	sim.counters.flushes++;
}
