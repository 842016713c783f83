// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who has been given ids, and what an answer must hold: whatever it may have read since then, and
 * is something else now.
 */
#include "simulation.h"

void agent_sees(u32 unit, u64 version)
{
	struct agent *agent = &sim.agent;
	u32 i;

	for (i = 0; i < agent->count; i++)
		if (agent->points[i].given && agent->points[i].content[unit] != version)
			agent->points[i].differs |= 1U << unit;
}

void agent_marks(unit_mask units)
{
	u32 i;

	for (i = 0; i < sim.agent.count; i++)
		sim.agent.points[i].marked |= units;
}

void agent_answered(unit_mask units)
{
	u32 i;

	for (i = 0; i < sim.agent.count; i++)
		if (sim.agent.points[i].given)
			sim.agent.points[i].acknowledged |= units;
}

struct known_point *agent_exchanges(const struct vhdx_point_id *id, unit_mask in_flight)
{
	struct agent *agent = &sim.agent;
	struct known_point *point = &agent->points[agent->count];
	u32 i;

	if (agent->count == POINTS)
		return NULL;
	memset(point, 0, sizeof(*point));
	point->id = *id;
	point->marked = in_flight;
	for (i = 0; i < agent->count; i++)
		point->between[i] = agent->points[i].acknowledged;
	agent->count++;
	return point;
}

/* It may read what is there now, or, after a power loss, what was before. */
void agent_is_given(struct known_point *point)
{
	struct fake_image durable;
	struct found found;
	u32 i;

	container_see(point->content);
	for (i = 0; i < FAKE_ARRIVALS; i++) {
		u32 unit;

		fake_image_init(&durable, &sim.container, i, random_next());
		container_read(&durable.store, &found);
		for (unit = 0; unit < UNITS; unit++)
			if (found.content[unit] != point->content[unit])
				point->differs |= 1U << unit;
	}
	point->given = true;
	sim.counters.seals++;
}

void agent_boots(const u64 *content, const struct vhdx_sidecar *sidecar,
		 const struct vhdx_changemap *live)
{
	struct vhdx_index_cache *cache = vhdx_index_cache_new(POINTS);
	unit_mask delta, since = units_of_map(live);
	u32 i, unit;

	for (unit = 0; unit < UNITS; unit++)
		agent_sees(unit, content[unit]);
	for (i = sim.agent.count; i--;) {
		struct known_point *point = &sim.agent.points[i];
		int at = vhdx_timeline_find(&sidecar->timeline, &point->id);
		u32 j;

		if (at < 0) {
			/* It will not come back. */
			point->forgotten = true;
			continue;
		}
		point->marked |= since;
		for (j = at + 1; j < sidecar->timeline.count; j++) {
			if (units_of_delta(sidecar, &sidecar->timeline.points[j]->before, cache,
					   &delta))
				wrong("a leaf can't be read at attach", i, j, 0);
			point->marked |= delta;
		}
	}
	vhdx_index_cache_free(cache);
}
