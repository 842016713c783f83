// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty pages become log entries, then are written in place (rules V3, V4, V5).
 */
#include "simulation.h"

#define PAGES_MOST	3	/* of an entry; fewer make several entries of one commit */

/* An entry, and what its pages are of. The second one is for a driver that applies late. */
struct entry {
	u8 bytes[(1 + PAGES_MOST) * VHDX_PAGE];
	struct vhdx_log_page copies[PAGES_MOST];
	u32 pages[PAGES_MOST];
	u32 count;
};

static struct entry entry, late;

static u32 length_of(u32 count)
{
	return (1 + count) * VHDX_PAGE;
}

/* ---- what may fail ---- */

static bool is_to_fail(void)
{
	return sim.journal_fails && !--sim.journal_fails && !sim.cut;
}

static int flush_container(void)
{
	if (!is_to_fail())
		return sim.view.store.flush(&sim.view.store);
	step();
	fake_store_lose(&sim.container);
	sim.counters.failures++;
	return -EIO;
}

static int write_container(u64 offset, const void *bytes, size_t length)
{
	if (!is_to_fail())
		return sim.view.store.write(&sim.view.store, offset, bytes, length);
	step();
	sim.counters.failures++;
	return -EIO;
}

/* ---- pages ---- */

static bool is_owed(u64 transaction)
{
	u32 i;

	for (i = 0; i < PAGES; i++)
		if (sim.layer.pages[i].dirty && sim.layer.pages[i].dirty_since <= transaction)
			return true;
	return false;
}

/* The page that has been dirty for longest, or PAGES. */
static u32 oldest(void)
{
	u32 i, found = PAGES;

	for (i = 0; i < PAGES; i++)
		if (sim.layer.pages[i].dirty && (found == PAGES || sim.layer.pages[i].dirty_at <
						 sim.layer.pages[found].dirty_at))
			found = i;
	return found;
}

static void take_dirty(void)
{
	u32 page;

	for (entry.count = 0; entry.count < sim.pages_most; entry.count++) {
		page = oldest();
		if (page == PAGES)
			break;
		sim.layer.pages[page].dirty = false;
		entry.pages[entry.count] = page;
		entry.copies[entry.count].file_offset = page_offset(page);
		entry.copies[entry.count].sector = entry.bytes + length_of(entry.count);
		memcpy(entry.copies[entry.count].sector, sim.layer.pages[page].entries, VHDX_PAGE);
	}
}

/* All at once: in any order. */
static int apply(struct entry *of)
{
	const void *bytes;
	int err = 0;
	u32 i;

	for (i = 0; i < of->count && !err; i++) {
		bytes = RULE(copy) ? of->copies[i].sector : sim.layer.pages[of->pages[i]].entries;
		err = write_container(of->copies[i].file_offset, bytes, VHDX_PAGE);
		if (!RULE(apply_counts) && !sim.cut)
			err = 0;
	}
	of->count = 0;
	return err;
}

/* ---- the log ---- */

static int write_entry(u32 offset, u32 count)
{
	struct journal *journal = &sim.layer.journal;
	struct vhdx_log_entry head = {
		.log_guid = journal->guid,
		.sequence = ++journal->sequence,
		.tail = offset,
		.flushed_file_offset = journal->stable_size,
		.last_file_offset = journal->stable_size,
	};
	int err;

	vhdx_log_entry_seal(entry.bytes, &head, entry.copies, count);
	err = write_container(LOG_OFFSET + offset, entry.bytes, length_of(count));
	return err ?: flush_container();
}

/* A strict sidecar that can't be told is invalid first. */
static int set_log_guid(const vhdx_guid *guid)
{
	int err;

	if (!lock(&sim.driver.header_owner))
		return -EIO;
	err = layer_update_header(NULL, guid, sim.driver.invalid);
	unlock(&sim.driver.header_owner);
	if (!err || sim.cut)
		return err;
	invalidate();
	if (!lock(&sim.driver.header_owner))
		return -EIO;
	err = layer_update_header(NULL, guid, true);
	unlock(&sim.driver.header_owner);
	return err;
}

static int new_generation(void)
{
	static const vhdx_guid none;
	struct journal *journal = &sim.layer.journal;
	int err = 0;

	if (journal->open && RULE(empty_between))
		err = set_log_guid(&none);
	if (err)
		return err;
	journal->open = false;
	journal->guid = RULE(fresh_log) ? new_log_guid() : (vhdx_guid) { { 3 } };
	if (!RULE(entry_first))
		err = set_log_guid(&journal->guid);
	if (!err)
		err = write_entry(0, 0);
	if (!err && RULE(entry_first))
		err = set_log_guid(&journal->guid);
	journal->open = !err;
	journal->offset = length_of(0);
	sim.counters.generations++;
	return err;
}

static int log_taken(void)
{
	struct journal *journal = &sim.layer.journal;
	int err = 0;

	if (!journal->open || journal->offset + length_of(entry.count) > sim.ring)
		err = new_generation();
	if (!err)
		err = write_entry(journal->offset, entry.count);
	if (err)
		return err;
	journal->offset += length_of(entry.count);
	vhdx_log_entry_unseal(entry.bytes, entry.copies, entry.count);
	return 0;
}

static void note_size(void)
{
	sim.layer.journal.stable_size = sim.layer.size;
}

/* One entry: the flush before it is for the payload, and for what the last one applied. */
static int log_some(void)
{
	int err = 0;

	take_dirty();
	if (RULE(size_first))
		note_size();
	if (RULE(payload_first))
		err = flush_container();
	if (!RULE(size_first))
		note_size();
	if (!err)
		err = apply(&late);
	return err || !entry.count ? err : log_taken();
}

static int apply_taken(void)
{
	u32 i;

	if (RULE(applied_first))
		return apply(&entry);
	/* Behind the next flush. */
	late = entry;
	for (i = 0; i < late.count; i++)
		late.copies[i].sector = late.bytes + length_of(i);
	return 0;
}

/* ---- commits ---- */

static void end_waiters(int err)
{
	u32 i;

	for (i = 0; i < ACTORS; i++)
		if (sim.actors[i].commit == SERVED) {
			sim.actors[i].commit = ENDED;
			sim.actors[i].commit_error = err;
		}
}

static int run(bool serves)
{
	struct journal *journal = &sim.layer.journal;
	u64 transaction = journal->running++;
	int err;

	if (serves && !RULE(logged_first))
		end_waiters(0);
	do {
		err = log_some();
		if (!err && !is_owed(transaction)) {
			journal->logged = transaction;
			if (serves)
				end_waiters(0);
		}
		if (!err)
			err = apply_taken();
	} while (!err && !sim.cut && is_owed(transaction));
	if (!err)
		journal->applied = transaction;
	return err;
}

static int commit_as(bool serves)
{
	struct journal *journal = &sim.layer.journal;
	int err;

	if (!lock(&journal->owner))
		return -EIO;
	err = journal->error;
	if (!err)
		err = run(serves);
	if (err && RULE(failure_is_final))
		journal->error = err;
	if (serves)
		end_waiters(err);
	sim.counters.commits += !err;
	unlock(&journal->owner);
	return err;
}

int journal_commit(void)
{
	return commit_as(false);
}

int journal_wait(void)
{
	struct actor *me = &sim.actors[sim.me];

	if (!RULE(flush_commits))
		return flush_container();
	me->commit = WAITS;
	while (me->commit != ENDED && !sim.cut)
		step();
	return sim.cut ? -EIO : me->commit_error;
}

bool journal_has_work(void)
{
	u32 i;

	for (i = 0; i < ACTORS; i++)
		if (sim.actors[i].commit == WAITS)
			return true;
	return is_owed(~0ULL) && chance(3);
}

void run_journal(void *unused)
{
	u32 i;

	(void)unused;
	late.count = 0;
	while (!sim.cut) {
		step();
		if (sim.cut || !journal_has_work())
			continue;
		for (i = 0; i < ACTORS; i++)
			if (sim.actors[i].commit == WAITS)
				sim.actors[i].commit = SERVED;
		commit_as(true);
	}
}

int journal_retire(const vhdx_guid *dwg)
{
	static const vhdx_guid none;
	struct journal *journal = &sim.layer.journal;
	int err;

	if (!lock(&journal->owner))
		return -EIO;
	err = journal->error;
	if (!err && journal->open && RULE(retire_flush))
		err = flush_container();
	if (!err && lock(&sim.driver.header_owner)) {
		journal->open = false;
		err = layer_update_header(dwg, &none, false);
		unlock(&sim.driver.header_owner);
	}
	unlock(&journal->owner);
	return sim.cut ? -EIO : err;
}
