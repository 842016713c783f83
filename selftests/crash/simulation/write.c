// SPDX-License-Identifier: GPL-2.0-only
/*
 * A write: a slot, marks, the region; then the data, and marks again.
 */
#include "simulation.h"

/* Units that are hot, and one behind another. */
static unit_mask choose(u64 *offset, u64 *length)
{
	u32 unit;

	do
		unit = random_below(UNITS);
	while (!(sim.hot >> unit & 1));
	*offset = unit_offset(unit);
	*length = unit == UNITS - 1 ? UNIT_BYTES - 512 : UNIT_BYTES;
	if (unit + 1 == UNITS || unit_offset(unit + 1) != *offset + UNIT_BYTES || chance(60))
		return 1U << unit;
	*length += unit + 1 == UNITS - 1 ? UNIT_BYTES - 512 : UNIT_BYTES;
	return 3U << unit;
}

/* Is all of it armed? */
static bool mark_and_look(const struct in_flight *write)
{
	struct driver *driver = &sim.driver;
	struct vhdx_changemap *live = rcu_read_lock();
	bool armed = false;

	step();
	if (!RULE(mark_first)) {
		armed = vhdx_regions_are_armed(&driver->regions, write->offset, write->length);
		step();
	}
	vhdx_changemap_mark(live, write->offset, write->length);
	step();
	if (RULE(mark_first))
		armed = vhdx_regions_are_armed(&driver->regions, write->offset, write->length);
	rcu_read_unlock();
	return armed;
}

static void wait_for_regions(struct in_flight *write)
{
	switch (vhdx_regions_want(&sim.driver.regions, write->offset, write->length)) {
	case VHDX_REGIONS_ARMED:
		return;
	case VHDX_REGIONS_TAKEN:
		write->taken = true;
		break;
	case VHDX_REGIONS_WANTED:
		write->waits = true;
		break;
	}
	sim.counters.waits++;
	while ((write->waits || write->taken) && !sim.cut && RULE(release))
		step();
	write->waits = false;
	write->taken = false;
}

static void mark_again(const struct in_flight *write)
{
	struct vhdx_changemap *live = rcu_read_lock();

	step();
	vhdx_changemap_mark(live, write->offset, write->length);
	step();
	rcu_read_unlock();
}

void write_some(void *unused)
{
	struct in_flight *write = &sim.actors[sim.me].write, mine = { };
	unit_mask units;
	bool armed;
	u32 unit;

	(void)unused;
	if (begin_session())
		return;
	units = choose(&mine.offset, &mine.length);
	mine.units = units;
	agent_marks(units);
	if (RULE(slot_first))
		*write = mine;
	step();
	armed = mark_and_look(&mine);
	step();
	*write = mine;
	agent_marks(units);
	step();
	if (!armed)
		wait_for_regions(write);
	for (unit = 0; unit < UNITS && !sim.cut; unit++) {
		if (!(units >> unit & 1))
			continue;
		step();
		if (!sim.cut)
			container_write(unit, ++sim.agent.version);
	}
	if (sim.cut)
		return;
	agent_marks(units);
	if (RULE(mark_again))
		mark_again(write);
	memset(write, 0, sizeof(*write));
	if (!sim.cut)
		agent_answered(units);
}
