// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages of the BAT in memory, and the header.
 */
#include "simulation.h"

struct vhdx_bat_entry layer_entry(u32 block)
{
	const struct page *page = &sim.layer.pages[page_of(block)];

	return vhdx_bat_decode(le64_to_cpu(page->entries[slot_of(block)]));
}

u64 layer_set(u32 block, enum vhdx_block_state state, u64 where)
{
	struct vhdx_bat_entry entry = { .state = state, .offset = where };
	struct journal *journal = &sim.layer.journal;
	struct page *page = &sim.layer.pages[page_of(block)];

	page->changed_in = journal->running;
	page->entries[slot_of(block)] = cpu_to_le64(vhdx_bat_encode(entry));
	if (!page->dirty) {
		page->dirty = true;
		page->dirty_since = journal->running;
		page->dirty_at = ++journal->clock;
	}
	return page->changed_in;
}

bool layer_is_durable(u32 block)
{
	return sim.layer.pages[page_of(block)].changed_in <= sim.layer.journal.logged;
}

bool layer_is_poisoned(void)
{
	return sim.layer.journal.error;
}

void layer_open(const struct found *found)
{
	struct layer *layer = &sim.layer;
	u32 i;

	memset(layer, 0, sizeof(*layer));
	for (i = 0; i < PAGES; i++)
		sim.view.store.read(&sim.view.store, page_offset(i), layer->pages[i].entries,
				    VHDX_PAGE);
	for (i = 0; i < BLOCKS; i++)
		layer->operation[i] = NOBODY;
	layer->epoch = 1;
	layer->size = found->size;
	layer->space.owner = NOBODY;
	layer->journal.owner = NOBODY;
	layer->journal.running = 1;
	/* As get_random_u32() is; what a former session wrote may have a larger one. */
	layer->journal.sequence = 1 + random_below(64);
}

/* ---- the header ---- */

static int write_header(const struct vhdx_header *header)
{
	void *copy = vhdx_alloc(VHDX_PAGE);
	int err;

	vhdx_header_encode(header, copy);
	err = fake_store_write_fua(&sim.container, header->slot * VHDX_PAGE, copy, VHDX_PAGE);
	vhdx_free(copy);
	if (!err)
		sim.driver.header = *header;
	return err;
}

static int write_copies(struct vhdx_header *header, u32 count)
{
	int err = 0;

	while (count-- && !err) {
		header->sequence++;
		header->slot ^= 1;
		err = write_header(header);
	}
	return err;
}

/* One copy: the other one differs in the number alone. */
int layer_step_header(void)
{
	struct vhdx_header header = sim.driver.header;

	return write_copies(&header, 1);
}

/* Both copies. Other data need not be durable for it. */
int layer_update_header(const vhdx_guid *dwg, const vhdx_guid *log, bool even_if_invalid)
{
	struct vhdx_header header = sim.driver.header;
	int err = 0;

	if (sim.driver.invalid && !even_if_invalid && RULE(look_again))
		return -EIO;
	if (!even_if_invalid)
		err = strict_announce(header.sequence + 2);
	if (err)
		return err;
	if (dwg)
		header.data_write_guid = *dwg;
	if (log)
		header.log_guid = *log;
	return write_copies(&header, 2);
}
