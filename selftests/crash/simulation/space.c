// SPDX-License-Identifier: GPL-2.0-only
/*
 * Room for new blocks (rules V2, V6).
 */
#include "simulation.h"
#include "core/vhdx/space.h"

int zero_half(u64 where, u32 half)
{
	static const u8 zeroes[UNIT_LENGTH];

	return sim.view.store.write(&sim.view.store, where + half * UNIT_BYTES, zeroes,
				    sizeof(zeroes));
}

static bool clear(u64 from, u64 to)
{
	for (; from < to; from += BLOCK_BYTES)
		if (zero_half(from, 0) || zero_half(from, 1))
			return false;
	return true;
}

/* In a file what is behind the last block is punched; on a device it may be most of it. */
static void take_tail(u64 end)
{
	struct space *space = &sim.layer.space;

	space->end = end;
	space->ready = sim.device ? end : max(end, sim.layer.size);
	space->found = end < space->ready ? space->ready : 0;
	space->zero = space->ready;
	if (end < space->ready && (!RULE(tail_cleared) || clear(end, space->ready)))
		space->zero = end;
}

/* From the container, past the pages in memory. */
static void scan_once(void)
{
	u64 entries[VHDX_PAGE / sizeof(u64)];
	struct vhdx_space taken;
	struct vhdx_diag diag;
	u32 i;

	if (sim.layer.space.scanned)
		return;
	if (vhdx_space_init(&taken, &image, sim.layer.size, &diag))
		wrong("no space is known", 0, 0, 0);
	for (i = 0; i < PAGES && RULE(scan); i++) {
		sim.view.store.read(&sim.view.store, page_offset(i), entries, sizeof(entries));
		if (!sim.cut && vhdx_space_add_page(&taken, &image, page_first_index(i), entries,
						    sim.layer.size, &diag))
			wrong(diag.text, i, 0, 0);
	}
	take_tail(taken.end);
	vhdx_space_release(&taken);
	sim.layer.space.scanned = !sim.cut;
}

static int extend(u64 size)
{
	int err;

	if (size <= sim.layer.size)
		return 0;
	if (sim.device)
		return -ENOSPC;
	err = fake_store_resize(&sim.container, view_length(size));
	if (!err)
		sim.layer.size = size;
	return err;
}

/* Room for one block is enough. A device is cleared as far ahead, if it takes zeroes. */
static int make_room(void)
{
	struct space *space = &sim.layer.space;
	u64 to = space->end + 3 * BLOCK_BYTES;
	int err = extend(to);

	if (err) {
		to = space->end + BLOCK_BYTES;
		err = extend(to);
	}
	if (err)
		return err;
	if (sim.device && to > space->ready && RULE(cleared_ahead) &&
	    !(sim.clears && clear(space->ready, to)))
		space->zero = to;
	space->ready = max(space->ready, sim.device ? to : sim.layer.size);
	return 0;
}

/* @zero: only what reads as zeroes. */
static bool take_ready(bool zero, u64 *where, bool *zeroed)
{
	struct space *space = &sim.layer.space;

	*zeroed = false;
	if (space->spare_count) {
		if (zero)
			return false;
		*where = space->spare[--space->spare_count];
		return true;
	}
	if (space->free_count)
		return freed_take(zero, where, zeroed);
	if (space->end + BLOCK_BYTES > space->ready || (zero && space->end < space->zero))
		return false;
	*where = space->end;
	*zeroed = space->end >= space->zero;
	space->end += BLOCK_BYTES;
	return true;
}

int space_take(u64 *where, bool *zeroed)
{
	struct space *space = &sim.layer.space;
	int err = 0;

	if (!lock(&space->owner))
		return -EIO;
	scan_once();
	while (!err && !sim.cut && !take_ready(false, where, zeroed)) {
		err = make_room();
		if (err && space->free_count)
			err = 0;
		else if (err && space->unmapped_count)
			err = -EAGAIN;
	}
	unlock(&space->owner);
	sim.counters.full += err == -ENOSPC;
	return sim.cut ? -EIO : err;
}

bool space_take_now(u64 *where)
{
	const struct space *space = &sim.layer.space;
	bool zeroed;

	return space->owner == NOBODY && space->scanned &&
	       take_ready(RULE(zero_only), where, &zeroed);
}

/* What is in use is known. */
void space_ready(void)
{
	if (!lock(&sim.layer.space.owner))
		return;
	scan_once();
	unlock(&sim.layer.space.owner);
}

/* It was not used, and is not zero any more. */
void space_give_back(u64 where)
{
	struct space *space = &sim.layer.space;

	if (space->spare_count < SPACES)
		space->spare[space->spare_count++] = where;
}

static bool is_free(u64 where)
{
	const struct space *space = &sim.layer.space;
	u32 i;

	for (i = 0; i < space->free_count; i++)
		if (space->free[i].where == where)
			return true;
	return false;
}

/* The session has ended. */
void space_trim(void)
{
	struct space *space = &sim.layer.space;
	u64 end;

	if (!space->scanned)
		return;
	space->stopped = true;
	while (space->giving_back && !sim.cut)
		step();
	while (!sim.cut && freed_give_back())
		;
	while (is_free(space->end - BLOCK_BYTES))
		space->end -= BLOCK_BYTES;
	end = max(space->end, space->found);
	if (sim.cut || sim.device || end >= sim.layer.size)
		return;
	sim.layer.size = end;
	if (!fake_store_resize(&sim.container, view_length(end)))
		sim.container.store.flush(&sim.container.store);
	sim.counters.trims++;
}
