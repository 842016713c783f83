// SPDX-License-Identifier: GPL-2.0-only
/*
 * A session: attach, which writes nothing; its begin, before the first write; its close.
 */
#include "simulation.h"

int bind_to_container(struct vhdx_sidecar *sidecar, const struct vhdx_header *header,
		      u64 found_sequence, struct vhdx_diag *diag)
{
	vhdx_sidecar_bear_out(sidecar, found_sequence);
	return vhdx_sidecar_bind(sidecar, &disk_id, DISK_SIZE, &header->data_write_guid, 0, diag);
}

int attach(void)
{
	struct driver *driver = &sim.driver;
	struct vhdx_diag diag = { 0 };
	unit_mask set = 0;
	struct found found;
	u32 i;
	int err;

	driver->strict = chance(30);
	sim.counters.strict += driver->strict;
	container_read(&sim.container.store, &found);
	if (sim.wrong[0])
		return -EIO;
	driver->header = found.header;
	layer_open(&found);
	driver->live = vhdx_alloc(sizeof(*driver->live));
	err = vhdx_sidecar_load(&driver->sidecar, &sim.file.store, true, false, &diag);
	if (!err)
		err = bind_to_container(&driver->sidecar, &driver->header,
					driver->found_sequence, &diag);
	if (!err)
		err = vhdx_changemap_init(driver->live, DISK_SIZE, UNIT_SHIFT);
	if (!err && RULE(expand))
		err = vhdx_sidecar_load_live(&driver->sidecar, driver->live, &diag);
	else if (!err)
		err = vhdx_sidecar_load_map(&driver->sidecar, &driver->sidecar.timeline.live,
					    driver->live, &diag);
	if (!err)
		err = vhdx_regions_init(&driver->regions, &driver->sidecar.coarse);
	if (err || driver->sidecar.timeline.live.gap_reason)
		return err ?: -ESTALE;
	driver->regions.around = random_below(AROUND_MOST + 1);
	vhdx_regions_recover(&driver->regions, RULE(stay_set) ? driver->sidecar.found : NULL,
			     driver->sidecar.coarse_commit);
	for (i = 0; driver->sidecar.found && i < UNITS; i++) {
		u32 region = unit_offset(i) >> driver->regions.geo.region_shift;

		if (driver->sidecar.found[region / 64] >> (region % 64) & 1)
			set |= 1U << i;
	}
	memset(&sim.bound, 0, sizeof(sim.bound));
	bound_set(set);
	agent_boots(found.content, &driver->sidecar, driver->live);
	return 0;
}

void release_driver(void)
{
	struct driver *driver = &sim.driver;

	if (driver->live) {
		vhdx_changemap_release(driver->live);
		vhdx_free(driver->live);
	}
	vhdx_regions_release(&driver->regions);
	vhdx_sidecar_release(&driver->sidecar);
	memset(driver, 0, sizeof(*driver));
	driver->tree_owner = NOBODY;
	driver->header_owner = NOBODY;
}

bool is_harmless(int err)
{
	sim.counters.full += err == -ENOSPC;
	return err == -ENOSPC || err == -ENOMEM;
}

/*
 * Rule T7. The lock of the container's header is taken after that of the tree, which its owner may
 * hold for as long as the sidecar's device pleases.
 */
void invalidate(void)
{
	struct driver *driver = &sim.driver;
	vhdx_guid guid;
	u64 random = random_next();

	if (!RULE(invalid_first)) {
		release_writes();
		linger();
	}
	if (!lock(&driver->header_owner))
		return;
	if (!driver->invalid) {
		driver->invalid = true;
		sim.counters.invalidations++;
		vhdx_guid_invalidate(&disk_id, (const u8 *)&random, &guid);
		layer_update_header(&guid, NULL, true);
	}
	unlock(&driver->header_owner);
	release_writes();
}

int commit(void)
{
	int err;

	if (sim.driver.invalid)
		return -EIO;
	err = vhdx_sidecar_commit(&sim.driver.sidecar);
	if (err && !is_harmless(err) && !sim.cut)
		invalidate();
	return err;
}

int announce(const vhdx_guid *guid)
{
	struct vhdx_sidecar *sidecar = &sim.driver.sidecar;

	*epoch_of(guid) = ++sim.epochs.announced;
	sidecar->current_guid = sim.driver.header.data_write_guid;
	sidecar->next_guid = *guid;
	return RULE(announce) ? commit() : 0;
}

/* @log: NULL, or that there is none. */
static int change_guid(const vhdx_guid *guid, const vhdx_guid *log)
{
	int err;

	if (!lock(&sim.driver.header_owner))
		return -EIO;
	err = layer_update_header(guid, log, false);
	unlock(&sim.driver.header_owner);
	if (err && !sim.cut)
		invalidate();
	return err;
}

void confirm(void)
{
	struct vhdx_sidecar *sidecar = &sim.driver.sidecar;

	sidecar->current_guid = sim.driver.header.data_write_guid;
	memset(&sidecar->next_guid, 0, sizeof(sidecar->next_guid));
}

static int begin(void)
{
	vhdx_guid guid = new_guid();
	int err;

	if (!RULE(fresh_at_begin)) {
		*epoch_of(&sim.driver.header.data_write_guid) = ++sim.epochs.announced;
		return 0;
	}
	sim.driver.sidecar.closed = false;
	err = sim.view.store.flush(&sim.view.store) ?: strict_start();
	if (!err)
		err = announce(&guid);
	if (!err)
		err = change_guid(&guid, NULL);
	if (!err)
		confirm();
	return err;
}

/* Without tracking writes go on. */
int begin_session(void)
{
	struct driver *driver = &sim.driver;
	int err = 0;

	sim.actors[sim.me].is_io = true;
	if (driver->begun)
		return layer_is_poisoned() ? -EIO : 0;
	if (!lock(&driver->tree_owner))
		return -EIO;
	if (!driver->begun && !driver->invalid)
		err = begin();
	if (err && !sim.cut)
		invalidate();
	driver->begun = !sim.cut;
	unlock(&driver->tree_owner);
	return sim.cut ? -EIO : 0;
}

static bool is_io_under_way(void)
{
	u32 i;

	for (i = 0; i < ACTORS; i++)
		if (sim.actors[i].is_io)
			return true;
	return false;
}

/* What was found is set, and what was cleared is written, though not flushed. */
static void wait_for_committer(void)
{
	while ((has_wants() || has_clears()) && !sim.driver.invalid && !sim.cut)
		step();
}

static int save_all(const vhdx_guid *guid)
{
	int err;

	*epoch_of(guid) = ++sim.epochs.announced;
	sim.driver.sidecar.current_guid = sim.driver.header.data_write_guid;
	sim.driver.sidecar.next_guid = *guid;
	err = save_and_clear(true);
	if (is_harmless(err))
		err = commit();
	return err;
}

static int commit_and_flush(void)
{
	u64 begun = history_flush_begins();
	int err = journal_commit();

	if (!err)
		err = sim.view.store.flush(&sim.view.store);
	if (!err)
		history_flush_ends(begun);
	return err;
}

static int close_session(void)
{
	static const vhdx_guid none;
	vhdx_guid guid = new_guid();
	int err;

	err = commit_and_flush();
	wait_for_committer();
	if (!err)
		err = save_all(&guid);
	wait_for_committer();
	if (!err && !RULE(empty_first))
		space_trim();
	if (!err)
		err = change_guid(&guid, &none);
	if (err)
		return err;
	confirm();
	sim.driver.sidecar.closed = true;
	err = commit();
	space_trim();
	return err;
}

/* The same of a container whose sidecar is invalid. */
static void close_untracked(void)
{
	static const vhdx_guid none;

	if (commit_and_flush() || !lock(&sim.driver.header_owner))
		return;
	layer_update_header(NULL, &none, true);
	unlock(&sim.driver.header_owner);
	space_trim();
}

void run_close(void *unused)
{
	struct driver *driver = &sim.driver;

	(void)unused;
	driver->closing = true;
	while (is_io_under_way() && !sim.cut)
		step();
	if (!lock(&driver->tree_owner))
		return;
	if (driver->begun && !layer_is_poisoned())
		driver->invalid ? close_untracked() : (void)close_session();
	driver->closed = !sim.cut;
	unlock(&driver->tree_owner);
}

/* In the background; it may not get done. */
void run_walk(void *unused)
{
	(void)unused;
	if (!lock(&sim.driver.tree_owner))
		return;
	vhdx_sidecar_walk(&sim.driver.sidecar, random_below(4), NULL);
	unlock(&sim.driver.tree_owner);
}
