// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks that are discarded, or zeroed as a whole: only their entries change (rules V1, V2).
 */
#include "simulation.h"

static bool has_room(struct vhdx_bat_entry entry)
{
	return entry.state == VHDX_BLOCK_FULLY_PRESENT;
}

static bool is_anything_there(const struct io *io)
{
	u32 i;

	for (i = 0; i < io->count; i++)
		if (has_room(layer_entry(io->block + i)))
			return true;
	return false;
}

/* Nothing that is there is used by a piece inside the gate, and none comes to be. */
int io_hold_blocks(struct io *io)
{
	u32 i;

	if (!operation_begin(io->block, io->count))
		return 0;
	io->held = true;
	if (RULE(scan_first))
		space_ready();
	for (i = 0; i < io->count; i++)
		sim.layer.busy[io->block + i] = true;
	/* Zeroes for a part of a block that was made meanwhile. */
	if (io->kind == IO_ZERO && is_anything_there(io)) {
		io_drop(io);
		return 0;
	}
	if (is_anything_there(io) && RULE(flip))
		gate_flip();
	io->commit = io->fua && RULE(fua);
	return 0;
}

static void unmap(struct io *io, u32 block)
{
	bool zero = io->kind != IO_DISCARD;
	struct vhdx_bat_entry old = layer_entry(block);
	u64 transaction;

	if (!has_room(old) && (!zero || old.state == VHDX_BLOCK_ZERO))
		return;
	transaction = layer_set(block, zero ? VHDX_BLOCK_ZERO : VHDX_BLOCK_UNMAPPED, 0);
	if (has_room(old))
		freed_give(old.offset, transaction);
	sim.counters.unmapped += has_room(old);
}

/* Inside the gate again, like the write that it is to change tracking. */
void io_unmap(struct io *io)
{
	u32 i, unit;

	for (unit = 0; unit < UNITS && !sim.cut; unit++)
		if (io->units >> unit & 1) {
			agent_sees(unit, 0);
			io->events[unit] = history_begins(unit, 0);
		}
	for (i = 0; i < io->count && !sim.cut; i++)
		unmap(io, io->block + i);
	io_drop(io);
	if (sim.cut)
		io_fail(io);
	else
		io_end(io);
}

void run_unmap(void *unused)
{
	struct io io = { .kind = chance(60) ? IO_DISCARD : IO_UNMAP, .fua = chance(15) };
	u32 unit, i;

	(void)unused;
	if (begin_session())
		return;
	do
		unit = random_below(UNITS);
	while (!(sim.hot >> unit & 1));
	io.block = block_of(unit);
	io.count = 1 + (is_next_block(io.block) && chance(30));
	for (i = 0; i < io.count; i++)
		io.units |= units_in_block(io.block + i);
	io.offset = block_offset(io.block);
	io.length = min(io.count * BLOCK_BYTES, DISK_SIZE - io.offset);
	io_go_on(&io);
}
