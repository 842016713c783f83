// SPDX-License-Identifier: GPL-2.0-only
/*
 * A piece of I/O that changes the disk: into the gate, a slot, marks, its regions; then the data,
 * and marks again (rules T1, T3, V1).
 */
#include "simulation.h"

/* Is all of it armed? */
static bool mark_and_look(struct vhdx_changemap *live, const struct io *io)
{
	struct driver *driver = &sim.driver;
	bool armed = false;

	if (!RULE(mark_first)) {
		armed = vhdx_regions_are_armed(&driver->regions, io->offset, io->length);
		step();
	}
	vhdx_changemap_mark(live, io->offset, io->length);
	step();
	if (RULE(mark_first))
		armed = vhdx_regions_are_armed(&driver->regions, io->offset, io->length);
	return armed;
}

static void mark_again(const struct in_flight *write)
{
	struct vhdx_changemap *live = rcu_read_lock();

	step();
	vhdx_changemap_mark(live, write->offset, write->length);
	step();
	rcu_read_unlock();
}

static void take_slot(const struct io *io)
{
	sim.actors[sim.me].write = (struct in_flight) {
		.offset = io->offset, .length = io->length, .units = io->units,
	};
}

static void leave_slot(const struct io *io)
{
	struct in_flight *write = &sim.actors[sim.me].write;

	agent_marks(io->units);
	if (RULE(mark_again) && write->length)
		mark_again(write);
	memset(write, 0, sizeof(*write));
}

static void wait_for_regions(const struct io *io)
{
	struct actor *me = &sim.actors[sim.me];

	switch (vhdx_regions_want(&sim.driver.regions, io->offset, io->length)) {
	case VHDX_REGIONS_ARMED:
		return;
	case VHDX_REGIONS_TAKEN:
		me->region = TAKEN;
		break;
	case VHDX_REGIONS_WANTED:
		me->region = WANTED;
		break;
	}
	sim.counters.waits++;
	while (me->region != NONE && !sim.cut)
		step();
}

/* Two blocks are one piece where both are there. */
static enum io_where look_up(struct io *io)
{
	struct vhdx_bat_entry entry;
	u32 i;

	io->commit = false;
	for (i = 0; i < io->count; i++) {
		if (sim.layer.busy[io->block + i] && RULE(busy))
			return IO_BUSY;
		entry = layer_entry(io->block + i);
		if (entry.state != VHDX_BLOCK_FULLY_PRESENT)
			return IO_NOWHERE;
		io->commit |= io->fua && RULE(fua) && (!layer_is_durable(io->block + i) ||
						       io->kind == IO_ZERO);
		io->where[i] = entry.offset;
	}
	return IO_DATA;
}

static bool is_whole(const struct io *io)
{
	return io->kind == IO_DISCARD || io->kind == IO_UNMAP;
}

bool io_enter(struct io *io, enum io_where *where)
{
	struct vhdx_changemap *live = rcu_read_lock();
	bool armed;

	step();
	gate_enter();
	*where = IO_NOWHERE;
	if (!io->held && !is_whole(io))
		*where = look_up(io);
	agent_marks(io->units);
	if (RULE(slot_first))
		take_slot(io);
	step();
	armed = mark_and_look(live, io);
	rcu_read_unlock();
	if (!RULE(slot_first))
		linger();
	take_slot(io);
	agent_marks(io->units);
	if (armed || (is_whole(io) && !io->held) || !RULE(release) ||
	    sim.driver.given_up)
		return true;
	gate_leave();
	leave_slot(io);
	wait_for_regions(io);
	return false;
}

static void tell_history(const struct io *io)
{
	u32 unit;

	for (unit = 0; unit < UNITS; unit++)
		if (io->units >> unit & 1)
			history_ends(unit, io->events[unit], io->fua);
	agent_answered(io->units);
}

/* What it led to is durable first, if that is what it is for. */
void io_end(struct io *io)
{
	int err = 0;

	gate_leave();
	if (io->commit && !sim.cut)
		err = journal_wait();
	leave_slot(io);
	if (!err && !sim.cut)
		tell_history(io);
}

void io_fail(struct io *io)
{
	gate_leave();
	leave_slot(io);
}

/* ---- data ---- */

static int send_unit(struct io *io, u32 unit)
{
	u64 value = io->kind == IO_WRITE ? ++sim.agent.version : 0;
	u64 where = io->where[block_of(unit) - io->block] + half_of(unit) * UNIT_BYTES;
	u64 data[UNIT_LENGTH / sizeof(u64)];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(data); i++)
		data[i] = value;
	agent_sees(unit, value);
	io->events[unit] = history_begins(unit, value);
	if (io->fua && !io->commit)
		return container_write_fua(where, data, sizeof(data));
	return sim.view.store.write(&sim.view.store, where, data, sizeof(data));
}

static int send(struct io *io)
{
	u32 unit;
	int err = 0;

	if (!RULE(held_gate))
		gate_leave();
	for (unit = 0; unit < UNITS && !err && !sim.cut; unit++) {
		if (!(io->units >> unit & 1))
			continue;
		linger();
		if (!sim.cut)
			err = send_unit(io, unit);
	}
	return sim.cut ? -EIO : err;
}

static void send_and_end(struct io *io)
{
	bool early = io->held && !RULE(complete);

	if (early)
		io_publish(io);
	if (send(io)) {
		/* Without power. */
		io_fail(io);
		return;
	}
	if (!RULE(map_inside)) {
		gate_leave();
		linger();
	}
	if (io->held)
		io_publish(io);
	io_end(io);
}

/* Two blocks, of which one is not there, are two pieces. */
static void halve(struct io *io)
{
	struct io rest = *io;

	rest.units &= ~units_in_block(io->block);
	rest.block++;
	rest.count = 1;
	rest.offset = block_offset(rest.block);
	rest.length = io->offset + io->length - rest.offset;
	io->units &= units_in_block(io->block);
	io->count = 1;
	io->length -= rest.length;
	io_go_on(io);
	if (!sim.cut)
		io_go_on(&rest);
}

/* From outside of the gate to its end. */
void io_go_on(struct io *io)
{
	enum io_where where;
	int err = 0;

	while (!sim.cut && !err) {
		if (!io_enter(io, &where))
			continue;
		if (layer_is_poisoned())
			break;
		linger();
		if (io->held && (is_whole(io) || !io->fresh)) {
			io_unmap(io);
			return;
		}
		if (where == IO_NOWHERE && io->kind == IO_WRITE && io->count == 1 && !io->held &&
		    chance(70))
			io_allocate_now(io);
		if (io->held || where == IO_DATA) {
			send_and_end(io);
			return;
		}
		gate_leave();
		if (where == IO_BUSY) {
			wait_for_operation(io->block, io->count);
		} else if (is_whole(io) || io->kind == IO_ZERO) {
			err = io_hold_blocks(io);
		} else if (io->count == 1) {
			err = io_allocate(io);
		} else {
			leave_slot(io);
			halve(io);
			return;
		}
	}
	if (io->held)
		io_drop(io);
	io_fail(io);
}

/* ---- what there is to write ---- */

/* Units that are hot, and one behind another. */
static void choose(struct io *io)
{
	u32 unit, last;

	do
		unit = random_below(UNITS);
	while (!(sim.hot >> unit & 1));
	last = unit;
	if (unit + 1 < UNITS && unit_offset(unit + 1) == unit_offset(unit) + UNIT_BYTES &&
	    io->kind == IO_WRITE && chance(40))
		last++;
	io->units = 1U << unit | 1U << last;
	io->offset = unit_offset(unit);
	io->length = unit_offset(last) + UNIT_BYTES - io->offset;
	io->length -= last == UNITS - 1 ? 512 : 0;
	io->block = block_of(unit);
	io->count = 1 + block_of(last) - io->block;
}

void run_write(void *unused)
{
	struct io io = { .kind = chance(90) ? IO_WRITE : IO_ZERO, .fua = chance(25) };

	(void)unused;
	if (begin_session())
		return;
	choose(&io);
	io_go_on(&io);
}
