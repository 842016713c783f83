// SPDX-License-Identifier: GPL-2.0-only
/*
 * Space of blocks that were unmapped, on its way to those that get it next (rule V2).
 */
#include "simulation.h"

static void give_back(struct freed *freed);

void freed_give(u64 where, u64 transaction)
{
	struct space *space = &sim.layer.space;
	struct freed freed = { .where = where, .transaction = transaction };

	if (space->unmapped_count == SPACES)
		return;
	if (!RULE(punch_late))
		give_back(&freed);
	space->unmapped[space->unmapped_count++] = freed;
}

bool freed_has_logged(void)
{
	const struct space *space = &sim.layer.space;

	return space->unmapped_count && (!RULE(quarantine) || space->unmapped[0].transaction <=
					 sim.layer.journal.logged);
}

static bool take_logged(struct freed *freed)
{
	struct space *space = &sim.layer.space;

	if (!freed_has_logged())
		return false;
	*freed = space->unmapped[0];
	memmove(space->unmapped, space->unmapped + 1,
		--space->unmapped_count * sizeof(*freed));
	return true;
}

static void add_free(const struct freed *freed)
{
	struct space *space = &sim.layer.space;

	if (space->free_count < SPACES)
		space->free[space->free_count++] = *freed;
}

/* A file is punched, or its file system can't. What a device has then is up to it. */
static void give_back(struct freed *freed)
{
	u64 garbage[UNIT_LENGTH / sizeof(u64)];
	bool punched = chance(85);
	u32 half;

	memset(garbage, 0xdd, sizeof(garbage));
	linger();
	for (half = 0; half < 2 && punched; half++)
		if (!sim.device || chance(50))
			punched = !zero_half(freed->where, half);
		else
			sim.view.store.write(&sim.view.store, freed->where + half * UNIT_BYTES,
					     garbage, sizeof(garbage));
	freed->zero = RULE(not_zero) ? punched && !sim.device : true;
}

bool freed_give_back(void)
{
	struct freed freed;

	if (!take_logged(&freed))
		return false;
	if (!RULE(punched_first))
		add_free(&freed);
	if (RULE(punch_late))
		give_back(&freed);
	if (RULE(punched_first) && !sim.cut)
		add_free(&freed);
	return true;
}

bool freed_take(bool zero, u64 *where, bool *zeroed)
{
	struct space *space = &sim.layer.space;
	const struct freed *last;

	if (!space->free_count)
		return false;
	last = &space->free[space->free_count - 1];
	if (zero && !last->zero)
		return false;
	space->free_count--;
	*where = last->where;
	*zeroed = last->zero;
	return true;
}

void run_give_back(void *unused)
{
	(void)unused;
	while (!sim.cut) {
		step();
		sim.layer.space.giving_back = true;
		while (!sim.cut && !sim.layer.space.stopped && freed_give_back())
			;
		sim.layer.space.giving_back = false;
	}
}
