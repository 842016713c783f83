// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who runs when: one actor at a time, from one step() to the next.
 */
#include "coroutine.h"
#include "simulation.h"

void step(void)
{
	u32 me = sim.me;

	if (sim.cut || me == NOBODY)
		return;
	coroutine_yield();
	sim.me = me;
}

/* Where others should get far meanwhile, now and then. */
void linger(void)
{
	u32 steps = chance(12) ? random_below(120) : 1;

	while (steps-- && !sim.cut)
		step();
}

void start(void (*run)(void *argument))
{
	u32 i;

	for (i = 0; i < ACTORS; i++)
		if (!sim.actors[i].coroutine) {
			memset(&sim.actors[i], 0, sizeof(sim.actors[i]));
			sim.actors[i].coroutine = coroutine_new(run, NULL);
			return;
		}
}

bool run_one(u32 actor)
{
	bool goes_on;

	if (!sim.actors[actor].coroutine)
		return false;
	sim.me = actor;
	goes_on = coroutine_resume(sim.actors[actor].coroutine);
	sim.me = NOBODY;
	if (!goes_on)
		memset(&sim.actors[actor], 0, sizeof(sim.actors[actor]));
	return goes_on;
}

u32 count_actors(void)
{
	u32 i, count = 0;

	for (i = 0; i < ACTORS; i++)
		count += !!sim.actors[i].coroutine;
	return count;
}

bool lock(u32 *owner)
{
	while (*owner != NOBODY && !sim.cut)
		step();
	if (!sim.cut)
		*owner = sim.me;
	return !sim.cut;
}

void unlock(u32 *owner)
{
	if (*owner == sim.me)
		*owner = NOBODY;
}

struct vhdx_changemap *rcu_read_lock(void)
{
	sim.actors[sim.me].reading = ++sim.driver.rcu_clock;
	sim.actors[sim.me].map = sim.driver.live;
	return sim.driver.live;
}

void rcu_read_unlock(void)
{
	sim.actors[sim.me].reading = 0;
	sim.actors[sim.me].map = NULL;
}

static bool is_read_since(u64 clock)
{
	u32 i;

	for (i = 0; i < ACTORS; i++)
		if (sim.actors[i].reading && sim.actors[i].reading <= clock)
			return true;
	return false;
}

void wait_for_readers(void)
{
	u64 clock = sim.driver.rcu_clock;

	while (is_read_since(clock) && !sim.cut)
		step();
}

void wrong(const char *what, u64 a, u64 b, u64 c)
{
	if (!sim.wrong[0])
		snprintf(sim.wrong, sizeof(sim.wrong), "%s (%llu, 0x%llx, 0x%llx)", what, a, b, c);
}

bool chance(u32 percent)
{
	return random_below(100) < percent;
}
