/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The driver's part of a container: kmod/layer and the gate, step by step.
 */
#ifndef VHDX_SIMULATION_LAYER_H
#define VHDX_SIMULATION_LAYER_H

#include "container.h"

#define SPACES	(2 * ROOM_BLOCKS)

/* A page of the BAT; the lists that it is in are told from these. */
struct page {
	__le64 entries[VHDX_PAGE / sizeof(__le64)];
	bool dirty;
	u64 dirty_at;		/* that list is in this order */
	u64 dirty_since;	/* transactions */
	u64 changed_in;
};

/* Space of a block that was unmapped (freed.h). */
struct freed {
	u64 where;
	u64 transaction;
	bool zero;
};

struct space {
	u32 owner;		/* a lock */
	bool scanned;
	u64 end, ready, zero, found;
	u64 spare[SPACES];
	u32 spare_count;
	struct freed unmapped[SPACES], free[SPACES];
	u32 unmapped_count, free_count;
	bool giving_back, stopped;	/* the worker */
};

struct journal {
	u32 owner;		/* a lock */
	vhdx_guid guid;
	bool open;
	u32 offset;
	u64 sequence;
	u64 stable_size;
	u64 running, logged, applied;
	u64 clock;
	u32 taken;
	int error;		/* the disk is poisoned */
};

/* Of this attach. */
struct layer {
	struct page pages[PAGES];
	u32 operation[BLOCKS];	/* who does something with it, or NOBODY */
	bool busy[BLOCKS];	/* its entry */
	u64 epoch;		/* of the gate */
	u64 size;		/* of the container */
	struct space space;
	struct journal journal;
};

/* layer.c */
struct vhdx_bat_entry layer_entry(u32 block);
/* Changes it in memory; the next commit makes it durable. Returns the transaction. */
u64 layer_set(u32 block, enum vhdx_block_state state, u64 where);
bool layer_is_durable(u32 block);
/* As an attach finds it. 0 or -errno. */
void layer_open(const struct found *found);
bool layer_is_poisoned(void);
/* Under the header lock; NULL: stays. 0 or -errno. */
int layer_update_header(const vhdx_guid *dwg, const vhdx_guid *log, bool even_if_invalid);
int layer_step_header(void);

/* gate.c */
void gate_enter(void);
void gate_leave(void);
/* Until all that came in before has left. */
void gate_flip(void);
/* False: it waited for another operation on one of them. */
bool operation_begin(u32 block, u32 count);
/* The same of one block, without any wait. */
bool operation_try(u32 block);
void operation_end(u32 block, u32 count);
void wait_for_operation(u32 block, u32 count);

/* space.c: 0, -EAGAIN: after the next commit, or -ENOSPC */
int space_take(u64 *where, bool *zeroed);
/* Without any wait, and only what reads as zeroes. */
bool space_take_now(u64 *where);
void space_ready(void);
void space_give_back(u64 where);
void space_trim(void);
/* Zeroes as payload is written. 0 or -errno. */
int zero_half(u64 where, u32 half);

/* freed.c */
void freed_give(u64 where, u64 transaction);
/* @zero: only if it reads as zeroes. */
bool freed_take(bool zero, u64 *where, bool *zeroed);
/* Of what is logged; returns whether there was any. */
bool freed_give_back(void);
bool freed_has_logged(void);
void run_give_back(void *unused);

/* journal.c */
/* All that was done so far is durable. 0 or -errno. */
int journal_commit(void);
/* The same, by the journal's own worker, with all that wait meanwhile. */
int journal_wait(void);
/* The header's DataWriteGuid, and an empty log. */
int journal_retire(const vhdx_guid *dwg);
bool journal_has_work(void);
void run_journal(void *unused);

/* replay.c: what there is of a log, at attach */
void run_replay(void *unused);

#endif
