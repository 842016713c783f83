// SPDX-License-Identifier: GPL-2.0-only
/*
 * A seal, and forgetting (rule T2).
 */
#include "simulation.h"

static struct vhdx_changemap *new_map(void)
{
	struct vhdx_changemap *map = vhdx_alloc(sizeof(*map));

	vhdx_changemap_init(map, DISK_SIZE, UNIT_SHIFT);
	return map;
}

static void free_map(struct vhdx_changemap *map)
{
	u32 i;

	for (i = 0; i < ACTORS; i++)
		if (sim.actors[i].map == map)
			wrong("a map is freed that is being marked", i, 0, 0);
	vhdx_changemap_release(map);
	vhdx_free(map);
}

static unit_mask units_in_flight(void)
{
	unit_mask units = 0;
	u32 i;

	for (i = 0; i < ACTORS; i++)
		units |= sim.actors[i].write.units;
	return units;
}

static void mark_those_in_flight(void)
{
	u32 i;

	for (i = 0; i < ACTORS; i++)
		vhdx_changemap_mark(sim.driver.live, sim.actors[i].write.offset,
				    sim.actors[i].write.length);
}

static void exchange(void)
{
	struct driver *driver = &sim.driver;
	struct vhdx_changemap *fresh = new_map();

	driver->sealing = driver->live;
	driver->live = fresh;
	step();
	if (RULE(graceful_seal))
		wait_for_readers();
	if (RULE(sample))
		mark_those_in_flight();
	step();
}

/* The old map is the live one again. */
static void join_back(void)
{
	struct driver *driver = &sim.driver;

	swap(driver->live, driver->sealing);
	step();
	wait_for_readers();
	if (RULE(or_back))
		vhdx_changemap_or(driver->live, driver->sealing);
	if (sim.cut)
		return;
	free_map(driver->sealing);
	driver->sealing = NULL;
}

static int add_point(const struct vhdx_timeline_point *point, bool *added)
{
	struct vhdx_sidecar *sidecar = &sim.driver.sidecar;
	struct vhdx_delta before;
	int err;

	err = vhdx_sidecar_write_delta(sidecar, sim.driver.sealing, &before);
	if (err)
		return err;
	err = vhdx_sidecar_add_point(sidecar, point, &before);
	if (err)
		vhdx_sidecar_drop_delta(sidecar, &before);
	*added = !err;
	return err;
}

static int commit_container(void)
{
	u64 begun = history_flush_begins();
	int err = journal_commit();

	if (!err)
		history_flush_ends(begun);
	return err;
}

static int retire_container(const vhdx_guid *guid)
{
	int err = journal_retire(guid);

	if (err && !layer_is_poisoned() && !sim.cut)
		invalidate();
	return err;
}

/* From the exchange to the id. */
static int seal(const struct vhdx_timeline_point *point, struct known_point *known, bool *added)
{
	vhdx_guid guid = new_guid();
	int err = 0;

	if (RULE(exchange_first) && RULE(commit))
		err = commit_container();
	step();
	if (!err)
		err = add_point(point, added);
	if (!err)
		err = announce(&guid);
	/* Another disk of the same seal has no room. */
	if (!err && chance(12))
		err = -ENOMEM;
	if (!err && RULE(fresh_guid))
		err = retire_container(&guid);
	else if (!err)
		*epoch_of(&sim.driver.header.data_write_guid) = sim.epochs.announced;
	if (err)
		return err;
	known->confirmed = true;
	vhdx_sidecar_prepare_issue(&sim.driver.sidecar);
	confirm();
	if (!RULE(confirmation))
		agent_is_given(known);
	err = commit();
	if (!err)
		vhdx_sidecar_issue_point(&sim.driver.sidecar);
	return err;
}

/* What is in the file may be pending still. Without power there is nobody to do it. */
static void undo(struct known_point *known, bool added)
{
	if (sim.cut)
		return;
	known->forgotten = true;
	if (added)
		vhdx_sidecar_drop_last_point(&sim.driver.sidecar);
	join_back();
	confirm();
	if (added && !sim.driver.invalid && !sim.cut)
		commit();
}

static void seal_a_point(void)
{
	struct driver *driver = &sim.driver;
	struct vhdx_timeline_point point = { .id.kind = VHDX_POINT_REFERENCE };
	struct known_point *known;
	vhdx_guid guid = new_guid();
	bool added = false;
	int err;

	memcpy(point.id.guid, &guid, sizeof(guid));
	point.id.sequence = driver->sidecar.timeline.next_sequence;
	point.issued = !RULE(pending);
	if (!RULE(exchange_first)) {
		commit_container();
		linger();
	}
	known = agent_exchanges(&point.id, units_in_flight());
	if (!known)
		return;
	exchange();
	err = sim.cut ? -EIO : seal(&point, known, &added);
	if (err) {
		if (!is_harmless(err) && !layer_is_poisoned() && !sim.cut)
			invalidate();
		undo(known, added);
		return;
	}
	free_map(driver->sealing);
	driver->sealing = NULL;
	if (RULE(confirmation))
		agent_is_given(known);
}

void run_seal(void *unused)
{
	struct driver *driver = &sim.driver;

	(void)unused;
	if (begin_session() || !lock(&driver->tree_owner))
		return;
	if (!driver->closing && !driver->invalid && !layer_is_poisoned())
		seal_a_point();
	unlock(&driver->tree_owner);
}

static void forget(u32 position)
{
	struct driver *driver = &sim.driver;
	struct vhdx_point_id id = driver->sidecar.timeline.points[position]->id;
	u32 i;
	int err;

	for (i = 0; i < sim.agent.count; i++)
		if (!memcmp(&sim.agent.points[i].id, &id, sizeof(id)))
			sim.agent.points[i].forgotten = true;
	err = vhdx_sidecar_forget_point(&driver->sidecar, position, driver->live);
	if (!err)
		commit();
	else if (!is_harmless(err) && !sim.cut)
		invalidate();
}

void run_forget(void *unused)
{
	struct driver *driver = &sim.driver;

	(void)unused;
	if (begin_session() || !lock(&driver->tree_owner))
		return;
	if (!driver->closing && !driver->invalid && driver->sidecar.timeline.count > 1)
		forget(random_below(driver->sidecar.timeline.count));
	unlock(&driver->tree_owner);
}
