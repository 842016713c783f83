/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A piece of I/O, as kmod/disk has it: in one block, or in two that are mapped.
 */
#ifndef VHDX_SIMULATION_IO_H
#define VHDX_SIMULATION_IO_H

#include "container.h"

enum io_kind {
	IO_WRITE,
	IO_ZERO,	/* of one unit */
	IO_DISCARD,	/* of whole blocks */
	IO_UNMAP,	/* zeroes, of whole blocks */
};

enum io_where {
	IO_BUSY,
	IO_NOWHERE,
	IO_DATA,
};

/**
 * struct io - one piece
 * @units:	that it changes
 * @offset:	of the disk
 * @length:	likewise
 * @block:	the first one
 * @count:	of blocks
 * @where:	each of them in the container
 * @events:	of its units, once it is on its way
 * @fua:	durable when it has ended
 * @commit:	by a commit
 * @held:	it has an operation on its blocks
 * @fresh:	and one was made, at @where
 */
struct io {
	enum io_kind kind;
	unit_mask units;
	u64 offset, length;
	u32 block, count;
	u64 where[2];
	u32 events[UNITS];
	bool fua, commit;
	bool held, fresh;
};

/* write.c: into the gate; look up; mark. False: it is not in flight, and its regions are set. */
bool io_enter(struct io *io, enum io_where *where);
/* Both leave the gate, and are marked again. */
void io_end(struct io *io);
void io_fail(struct io *io);
void io_go_on(struct io *io);

/* allocate.c: outside of the gate. 0: come in again; or -errno */
int io_allocate(struct io *io);
/* Inside of the gate, without any wait. It is held then, or nothing has happened. */
void io_allocate_now(struct io *io);
/* Its data is there: the block is mapped. */
void io_publish(struct io *io);
/* Neither: the operation has ended, and what it made is given back. */
void io_drop(struct io *io);

/* unmap.c: likewise */
int io_hold_blocks(struct io *io);
void io_unmap(struct io *io);

#endif
