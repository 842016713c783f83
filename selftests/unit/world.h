/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The driver in miniature: a container with a DataWriteGuid, a few units of content
 * and a cache that power loss takes some of; its sidecar; and an agent that remembers
 * for every point what the disk held then.
 *
 * It does what the driver does with a sidecar, in the same order (rules T2, T5, T7).
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

/* What a DataWriteGuid was written for. */
enum world_guid {
	WORLD_CLOSED,		/* nothing was written under it */
	WORLD_SESSION,
	WORLD_STRANGER,		/* no sidecar knows it */
};

struct world_container {
	vhdx_guid dwg;
	enum world_guid kind;
	u32 gap;		/* CLOSED: of the live delta that was saved for it */
	u32 content[WORLD_UNITS];
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
 * @stay_activating: commit what comes between activation and the first seal as
 *		ACTIVATING
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
	bool stay_activating;
	u32 version;
	u64 guids;
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
int world_detach(struct world *world);

/* The power was cut: what is there when it comes back. */
void world_reboot(struct world *world);
/* The gap that attach must find, or no gap. */
u32 world_expected_gap(const struct world *world);

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
		     const struct world_container *container);

#endif
