// SPDX-License-Identifier: GPL-2.0-only
/*
 * The first write to a block makes it (rule V1).
 */
#include "simulation.h"

static void end_operation(struct io *io)
{
	sim.layer.busy[io->block] = false;
	operation_end(io->block, io->count);
	io->held = false;
	io->fresh = false;
}

void io_drop(struct io *io)
{
	u32 i;

	if (io->fresh)
		space_give_back(io->where[0]);
	for (i = 0; i < io->count; i++)
		sim.layer.busy[io->block + i] = false;
	operation_end(io->block, io->count);
	io->held = false;
}

/* What the write does not cover is zero before the block is mapped. */
static int zero_around(const struct io *io)
{
	u32 half, unit;
	int err = 0;

	for (half = 0; half < 2 && !err; half++) {
		unit = unit_in(io->block, half);
		if (unit == NOBODY || !(io->units >> unit & 1))
			err = zero_half(io->where[0], half);
	}
	return err;
}

/* Another one may have made it since the look-up that led here. */
static bool is_made(const struct io *io)
{
	return layer_entry(io->block).state == VHDX_BLOCK_FULLY_PRESENT && RULE(look_twice);
}

int io_allocate(struct io *io)
{
	bool zeroed;
	int err;

	linger();
	if (!operation_begin(io->block, 1))
		return 0;
	step();
	sim.layer.busy[io->block] = true;
	if (is_made(io)) {
		end_operation(io);
		return 0;
	}
	err = space_take(&io->where[0], &zeroed);
	if (err) {
		end_operation(io);
		return err == -EAGAIN ? journal_wait() : err;
	}
	sim.counters.made++;
	if (!zeroed && RULE(zero_around))
		err = zero_around(io);
	io->held = true;
	io->fresh = true;
	io->commit = io->fua && RULE(fua);
	return err;
}

void io_allocate_now(struct io *io)
{
	if (!operation_try(io->block))
		return;
	step();
	sim.layer.busy[io->block] = true;
	step();
	if (is_made(io) || !space_take_now(&io->where[0])) {
		end_operation(io);
		return;
	}
	sim.counters.made++;
	sim.counters.made_now++;
	io->held = true;
	io->fresh = true;
	io->commit = io->fua && RULE(fua);
}

void io_publish(struct io *io)
{
	if (!io->held)
		return;
	layer_set(io->block, VHDX_BLOCK_FULLY_PRESENT, io->where[0]);
	end_operation(io);
}
