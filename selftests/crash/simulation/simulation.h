/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The driver's part of tracking, in one program, over kmod/core/rct: who writes, seals, saves and
 * clears takes the steps of CONSISTENCY's protocol in their order (Documentation/sidecar.rst), and
 * stops between any two of them. There others go on, or the power goes.
 *
 * The machine is gone then; sidecar and container are what their devices kept. An agent outside of
 * it knows which ids it was given and what it has read since.
 */
#ifndef VHDX_SIMULATION_H
#define VHDX_SIMULATION_H

#include "fake_store.h"
#include "random.h"
#include "rules.h"
#include "history.h"
#include "io.h"
#include "layer.h"
#include "core/rct/regions.h"
#include "core/rct/sidecar.h"

#define LEAF_UNITS	((u64)VHDX_LEAF_UNITS)
#define POINTS		48
#define ACTORS		14
#define AROUND_MOST	2	/* of regions.around; most of those around have no unit here */
#define EPOCHS		1024

static const vhdx_guid disk_id = { "the disk's id 01" };

/**
 * struct known_point - what the agent knows of a point; from the exchange of the maps on
 * @confirmed:	the sidecar may say so from now on
 * @given:	it got the id
 * @forgotten:	it asked for it to be forgotten: may be there or not
 * @content:	what it may have read of each unit, since it has the id
 * @differs:	units of which that may have been several things
 * @acknowledged: units that were written, and answered, since
 * @marked:	units that a write was on its way to since the exchange; or that the driver had
 *		to take for that after a crash
 * @between:	for each older point what was @acknowledged at the exchange
 */
struct known_point {
	struct vhdx_point_id id;
	bool confirmed;
	bool given;
	bool forgotten;
	u64 content[UNITS];
	unit_mask differs;
	unit_mask acknowledged;
	unit_mask marked;
	unit_mask between[POINTS];
};

struct agent {
	struct known_point points[POINTS];
	u32 count;
	u64 version;		/* the last one that was written */
};

/* A write that has a slot. */
struct in_flight {
	u64 offset;
	u64 length;		/* zero: there is none */
	unit_mask units;
};

/* What a write waits for: the next coarse commit, or the one under way. */
enum region_wait { NONE, WANTED, TAKEN };

/* And what waits for one of the container: one that will begin, or the one under way. */
enum commit_wait { IDLE, WAITS, SERVED, ENDED };

struct actor {
	struct coroutine *coroutine;
	u64 reading;		/* since when it is in an RCU read side; zero: it is not */
	struct vhdx_changemap *map;	/* and what it marks there */
	struct in_flight write;
	bool is_io;
	u64 pass;			/* the epoch in which it is inside the gate; 0: it is not */
	enum region_wait region;
	enum commit_wait commit;
	int commit_error;
};

/* What the driver has in memory. */
struct driver {
	struct vhdx_sidecar sidecar;
	struct vhdx_changemap *live;
	struct vhdx_changemap *sealing;	/* neither live nor in the timeline */
	struct vhdx_regions regions;
	struct vhdx_header header;
	u64 found_sequence;		/* that the header had before the log was replayed */
	u32 tree_owner, header_owner;	/* locks */
	bool begun;
	bool closing;
	bool closed;
	bool invalid;
	bool given_up;			/* no write waits for regions any more */
	bool strict;			/* this session is */
	bool announces;			/* it has begun: each header is announced in a token */
	u64 rcu_clock;
};

/**
 * struct bound - what an answer may hold beside what was written (invariant 3)
 * @regions:	units of the regions that were set since a checkpoint cleared them
 * @cleared:	when they were, which is not durable: by the clock; zero: not
 */
struct bound {
	unit_mask regions;
	u64 cleared[UNITS];
	u64 clock;
};

/**
 * struct epochs - of the container: there is a new one with each DataWriteGuid
 * @announced:	that a sidecar may know of
 * @of:		each of those, by its number
 */
struct epochs {
	u64 announced;
	u64 of[EPOCHS];
};

struct counters {
	u64 points, outcomes, answers, gaps, seals, checkpoints, clears, waits, lives, strict,
	    rotten, old, same_epoch, invalidations, full, reads, flushes, commits, generations,
	    replays, made, made_now, unmapped, trims, failures;
};

struct simulation {
	struct fake_store container, file;
	struct view view;		/* of the container */
	struct history history;		/* of its content */
	struct layer layer;
	struct driver driver;
	struct agent agent;
	struct bound bound;
	struct actor actors[ACTORS];
	u32 me;				/* who runs, or NOBODY */
	bool cut;			/* the power is gone */
	bool was_invalid;		/* the sidecar, when it went; until the next attach */
	bool impatient;			/* this round has deadlines */
	bool device;			/* and its container is on one */
	bool clears;			/* which takes zeroes without having them written */
	bool calm;			/* which is what it is about least */
	u32 ring;			/* how much of the log it uses */
	u32 pages_most;			/* of an entry */
	u32 journal_fails;		/* in so many steps; 0: never */
	u64 guids, log_guids;
	struct epochs epochs;
	unit_mask hot;			/* units that this round is about */
	struct counters counters;
	char wrong[256];		/* the first thing that was */
};

extern struct simulation sim;

/* schedule.c: all below may stop, and come back to a machine without power */
void step(void);
void linger(void);
void start(void (*run)(void *argument));
bool run_one(u32 actor);
u32 count_actors(void);
/* False: the power is gone. */
bool lock(u32 *owner);
void unlock(u32 *owner);
struct vhdx_changemap *rcu_read_lock(void);	/* the live map */
void rcu_read_unlock(void);
void wait_for_readers(void);
void wrong(const char *what, u64 a, u64 b, u64 c);
bool chance(u32 percent);

/* guid.c */
vhdx_guid new_guid(void);
vhdx_guid new_log_guid(void);
/* Of what new_guid() made. */
u64 *epoch_of(const vhdx_guid *guid);

/* agent.c */
void agent_sees(u32 unit, u64 version);
void agent_marks(unit_mask units);
void agent_answered(unit_mask units);
/* A new point; @in_flight is marked in it. NULL: there are too many. */
struct known_point *agent_exchanges(const struct vhdx_point_id *id, unit_mask in_flight);
void agent_is_given(struct known_point *point);
void agent_boots(const u64 *content, const struct vhdx_sidecar *sidecar,
		 const struct vhdx_changemap *live);

/* check.c */
enum leniency {
	MAY_REFUSE = 1,		/* a gap, INCONSISTENT, ID_MISSING */
	MAY_BE_MORE = 2,	/* than the bound */
	MAY_BE_OLD = 4,		/* the container */
};

unit_mask units_of_map(const struct vhdx_changemap *map);
/* -errno where it can't be read. */
int units_of_delta(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
		   struct vhdx_index_cache *cache, unit_mask *units);
void check_crash_point(void);
/* While the log is being replayed: there is no driver yet. */
void check_outcomes(void);
void check_reset(void);

/* bound.c */
void bound_set(unit_mask units);
void bound_cleared(unit_mask units);
u64 bound_flush_begins(void);
void bound_flush_ends(u64 begun);
void bound_boots(void);

/* The steps: session.c, write.c, unmap.c, read.c, committer.c, strict.c, checkpoint.c, seal.c */
/* As an attach does. 0 or -errno; there may be a gap. */
int bind_to_container(struct vhdx_sidecar *sidecar, const struct vhdx_header *header,
		      u64 found_sequence, struct vhdx_diag *diag);
int attach(void);
void release_driver(void);
int begin_session(void);
/* Every commit of the sidecar: not once it is invalid; a failure makes it that. */
int commit(void);
void invalidate(void);
/* A commit that takes too long, or fails. */
bool is_harmless(int err);	/* nothing was written: counts them */
/* The sidecar knows it; or, once the container has it, is about to know that, too. */
int announce(const vhdx_guid *guid);
void confirm(void);
/* Nobody waits for regions any more. */
void release_writes(void);
bool has_clears(void);
bool has_wants(void);
/* Of the coarse area. 0 or -errno. */
int write_blocks(u64 blocks);
/* Before the sidecar says that it is in use; tokens count from then on, or they do not. */
int strict_start(void);
/* Under the header lock: what number the container is about to get. */
int strict_announce(u64 sequence);
/* By the committer: durably, and known to the container. */
int strict_commit(u64 blocks);
void run_write(void *unused);
void run_unmap(void *unused);
void run_read(void *unused);
void run_flush(void *unused);
void run_committer(void *unused);
void run_checkpoint(void *unused);
int save_and_clear(bool all);
void run_seal(void *unused);
void run_forget(void *unused);
void run_close(void *unused);
void run_walk(void *unused);

#endif
