/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The driver in miniature: a container with a DataWriteGuid, a few units of content
 * and a cache that power loss takes some of; its sidecar; and an agent that remembers
 * for every point what the disk held then.
 *
 * It does what the driver does with a sidecar, in the same order (rules T2, T3, T5, T7).
 */
#ifndef VHDX_UNIT_WORLD_H
#define VHDX_UNIT_WORLD_H

#include "fake_store.h"
#include "core/rct/sidecar.h"

#define WORLD_SHIFT	12
#define WORLD_LEAF	((u64)VHDX_LEAF_UNITS << WORLD_SHIFT)
#define WORLD_SIZE	(4 * WORLD_LEAF - 512)
#define WORLD_UNITS	24
#define WORLD_POINTS	64
#define WORLD_WITNESSES	8

/* What a DataWriteGuid was written for. */
enum world_guid {
	WORLD_CLOSED,		/* nothing was written under it */
	WORLD_SESSION,
	WORLD_STRANGER,		/* no sidecar knows it */
};

struct world_container {
	vhdx_guid dwg;
	enum world_guid kind;
	u32 gap;		/* of the live delta that was saved for it */
	u32 version;		/* of the last write under this GUID */
	u32 content[WORLD_UNITS];
};

/*
 * Up to which version a sidecar has seen what was written under a GUID. One that was put back
 * in the middle of that can't know what it does not (rule T6, without tokens).
 */
struct world_witness {
	vhdx_guid dwg;
	u32 version;
};

/**
 * struct world_point - what the agent knows
 * @given_out:	it got the id
 * @gone:	forgotten, or a restore took it away; may be there or not
 * @content:	what the disk held at the seal
 */
struct world_point {
	struct vhdx_point_id id;
	bool given_out;
	bool gone;
	u32 content[WORLD_UNITS];
};

/**
 * struct world - see above
 * @cached:	the container as it is read; @durable: as power loss would leave it
 * @live:	the live map
 * @formatted:	the sidecar was made
 * @attached:	and is in use: @sidecar and @live are there
 * @active:	the first write of the session went out
 * @mixed:	sidecar and container may be of different times
 * @name_both:	until the first seal, headers name the GUID of before the session, too
 * @armed:	regions that may be written
 * @ondisk:	regions that are set in the file
 * @witness:	of the sidecar, in a ring
 */
struct world {
	struct fake_store fake;
	struct world_container cached, durable;
	struct vhdx_sidecar sidecar;
	struct vhdx_changemap live;
	struct vhdx_diag diag;
	bool formatted;
	bool attached;
	bool active;
	bool mixed;
	bool name_both;
	u64 armed[VHDX_COARSE_SECTOR_WORDS];
	u64 ondisk[VHDX_COARSE_SECTOR_WORDS];
	struct world_witness witness[WORLD_WITNESSES];
	u32 witness_at;
	u32 version;
	u64 guids;
	struct vhdx_index_cache *cache;
	u32 point_count;
	struct world_point points[WORLD_POINTS];

	/* What the checks saw. */
	u64 answers;
	u64 gaps;
	const char *wrong;	/* the first thing that was not as it must be */
	char wrong_text[200];
};

/* Byte offset of one of the units that have content. */
u64 world_offset(u32 unit);

void world_init(struct world *world, u64 size, u64 limit);
void world_release(struct world *world);

/*
 * Each returns 0, or -errno: then either nothing happened, or tracking was given up
 * and the container has a DataWriteGuid that no sidecar knows, or the power is off.
 */
int world_enable(struct world *world);
int world_attach(struct world *world);
int world_write(struct world *world, u32 unit);
int world_write_leaf(struct world *world, u32 leaf);
int world_flush(struct world *world);
int world_seal(struct world *world);
int world_forget(struct world *world, u32 position);
/* Of some regions, which are cleared then. */
int world_checkpoint(struct world *world);
int world_detach(struct world *world);
/* Some of what there is to learn about free blocks, or all. */
void world_walk(struct world *world);

/* The power was cut: what is there when it comes back. */
void world_reboot(struct world *world);
/* May attach find this gap, or none? */
bool world_is_expected(const struct world *world, u32 gap);
/* Has a sidecar with these witnesses seen all that was written to @container lately? */
bool world_has_seen(const struct world_witness *witness, const struct world_container *container);

/*
 * No answer of @sidecar, bound to @container, misses a unit that differs between two
 * points, or between a point and now. @complete: all points that the agent knows of
 * must be there.
 */
void world_check(struct world *world, const struct vhdx_sidecar *sidecar,
		 const struct vhdx_changemap *live, const struct world_container *container,
		 bool complete);
/* The same for a sidecar that lies in @fake. -errno of load or bind. */
int world_check_copy(struct world *world, const struct fake_store *fake,
		     const struct world_witness *witness,
		     const struct world_container *container);

#endif
