// SPDX-License-Identifier: GPL-2.0-only
#include "simulation.h"

void history_boots(const u64 sectors[UNITS][UNIT_SECTORS])
{
	u32 unit;

	sim.history.clock = 1;
	for (unit = 0; unit < UNITS; unit++) {
		sim.history.count[unit] = 1;
		sim.history.events[unit][0] = (struct event) { .done = 1, .durable = true };
		memcpy(sim.history.events[unit][0].sectors, sectors[unit], sizeof(sectors[unit]));
	}
}

u32 history_begins(u32 unit, u64 value)
{
	u32 number = sim.history.count[unit]++, i;
	struct event *event = &sim.history.events[unit][number];

	if (number == EVENTS) {
		wrong("there are too many events", unit, 0, 0);
		return --sim.history.count[unit] - 1;
	}
	*event = (struct event) { .begun = ++sim.history.clock };
	for (i = 0; i < UNIT_SECTORS; i++)
		event->sectors[i] = value;
	return number;
}

void history_ends(u32 unit, u32 number, bool durable)
{
	struct event *event = &sim.history.events[unit][number];

	event->done = ++sim.history.clock;
	event->durable = durable;
}

u64 history_flush_begins(void)
{
	return sim.history.clock;
}

void history_flush_ends(u64 begun)
{
	u32 unit, i;

	for (unit = 0; unit < UNITS; unit++)
		for (i = 0; i < sim.history.count[unit]; i++)
			if (sim.history.events[unit][i].done &&
			    sim.history.events[unit][i].done <= begun)
				sim.history.events[unit][i].durable = true;
}

/* Is there something behind it that is durable, or was told by @when? */
static bool is_over(u32 unit, const struct event *event, u64 when)
{
	const struct event *other = sim.history.events[unit];
	u32 i;

	for (i = 0; event->done && i < sim.history.count[unit]; i++, other++)
		if (other->begun > event->done &&
		    (when ? other->done && other->done <= when : other->durable))
			return true;
	return false;
}

static bool may_be(u32 unit, u32 sector, u64 value, u64 when)
{
	const struct event *event = sim.history.events[unit];
	u32 i;

	for (i = 0; i < sim.history.count[unit]; i++, event++)
		if (event->sectors[sector] == value && !is_over(unit, event, when))
			return true;
	return false;
}

static void judge(u32 unit, const u64 *sectors, u64 when, const char *what)
{
	u32 i;

	for (i = 0; i < UNIT_SECTORS; i++)
		if (!may_be(unit, i, sectors[i], when))
			wrong(what, unit, i, sectors[i]);
}

void history_judge(const u64 sectors[UNITS][UNIT_SECTORS])
{
	u32 unit;

	for (unit = 0; unit < UNITS; unit++)
		judge(unit, sectors[unit], 0, "a sector is not what was durable, nor later");
}

void history_judge_read(u32 unit, const u64 *sectors, u64 begun)
{
	judge(unit, sectors, begun, "a read finds what is not there");
}
