/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * The sidecar disk.vhdx.lrct: points, sealed deltas, the saved live delta, and the
 * binding to the container. Layout: sidecar_ondisk.h and Documentation/sidecar.rst.
 *
 * Nothing that a valid header refers to is ever overwritten: blocks are written to
 * free places, flushed, and become real when the other header slot names them.
 * What a header no longer names is reused only after that header is durable.
 * Callers serialise everything here but vhdx_sidecar_read_leaf(), which may run
 * beside itself and needs only that its delta stays.
 *
 * -ENOSPC and -ENOMEM from any of these functions mean that nothing happened: the
 * sidecar, in memory and in the file, is as it was before the call. So does -EINTR,
 * which whatever reads blocks may return: the caller was killed, and nothing is known
 * of what was not read.
 */
#ifndef VHDX_CORE_SIDECAR_H
#define VHDX_CORE_SIDECAR_H

#include "timeline.h"

/* Who wrote last, and whether the live delta in the file is complete. */
enum vhdx_sidecar_state {
	VHDX_SIDECAR_CLEAN = 1,		/* detached: the saved live delta is complete */
	VHDX_SIDECAR_ACTIVE = 2,	/* in use: changes are in memory */
	VHDX_SIDECAR_DISABLED = 3,	/* tracking is switched off */
	VHDX_SIDECAR_ACTIVATING = 4,	/* about to be in use: still complete while the
					 * container has current_guid
					 */
};

/**
 * struct vhdx_sidecar - one open sidecar
 * @store:	where it is kept
 * @disk_id:	VirtualDiskId of the disk it belongs to
 * @disk_size:	virtual size it was made for
 * @current:	DataWriteGuid that the container has had
 * @next:	DataWriteGuid that it is about to get; zero while nothing is under
 *		way (rule T5)
 * @timeline:	points and deltas
 * The rest is private to sidecar*.c.
 */
struct vhdx_sidecar {
	struct vhdx_store *store;
	enum vhdx_sidecar_state state;
	vhdx_guid disk_id;
	u64 disk_size;
	u32 unit_shift;
	vhdx_guid current_guid;
	vhdx_guid next_guid;
	struct vhdx_timeline timeline;

	u64 sequence;		/* of the header that is durable */
	unsigned int slot;	/* and where that is */
	bool failed;		/* nobody knows which header is durable */
	u32 compat_features;
	u32 ro_compat_features;
	u32 incompat_features;
	u64 block_count;	/* the header names no block at or behind this */
	u64 block_limit;	/* of a store that can't grow; else ~0 */
	u64 *used;		/* bit per block: named by the header, or newly written */
	u64 *doomed;		/* bit per block: free once the next header is durable */
	u64 map_blocks;		/* bits in @used and in @doomed */
	u64 used_count;
	u64 lowest_free;	/* no block before this one is free */
	u64 *root_blocks;	/* the chain of point records that the header names */
	u32 root_block_count;
};

/**
 * vhdx_sidecar_format() - make an empty sidecar, durably
 * @sidecar:	disk_id, disk_size, unit_shift, state, current_guid, next_guid are
 *		the caller's; the rest is set here
 * @can_grow:	a regular file; otherwise store->size is all there is
 *
 * The fixed area is written out in full, without holes. 0 or -errno.
 */
int vhdx_sidecar_format(struct vhdx_sidecar *sidecar, struct vhdx_store *store, bool can_grow,
			struct vhdx_diag *diag);

/**
 * vhdx_sidecar_load() - read and check it all but the leaves
 *
 * 0; -EUCLEAN with INCONSISTENT (no valid header, a checksum, an impossible value,
 * a block named twice); -EOPNOTSUPP with UNSUPPORTED (an unknown incompat feature, or
 * an unknown ro_compat feature and @read_only is false); -EIO; -ENOMEM. An empty
 * store is -ENODATA. Release it whatever this returns.
 */
int vhdx_sidecar_load(struct vhdx_sidecar *sidecar, struct vhdx_store *store, bool can_grow,
		      bool read_only, struct vhdx_diag *diag);

void vhdx_sidecar_release(struct vhdx_sidecar *sidecar);

/* What lies where a sidecar is to be made. */
enum vhdx_sidecar_content {
	VHDX_SIDECAR_NOTHING,		/* zeroes, or nothing at all */
	VHDX_SIDECAR_SIDECAR,		/* a sidecar, of whichever disk, damaged or not */
	VHDX_SIDECAR_STRANGER,		/* something else: not for us to write over */
};

/**
 * vhdx_sidecar_look() - what would be lost if a sidecar were made here?
 *
 * 0, or what reading failed with; -ENOMEM.
 */
int vhdx_sidecar_look(struct vhdx_store *store, enum vhdx_sidecar_content *content);

/**
 * vhdx_sidecar_bind() - does this sidecar tell the truth about this container?
 * @disk_id:	VirtualDiskId of the container
 * @disk_size:	its virtual size
 * @data_write_guid: DataWriteGuid in its header
 * @diag:	why not, or what the gap comes from
 *
 * Rule T5 as a table. Returns 0: it belongs to the disk; the timeline is ready to
 * use, and if something happened in between, its live delta has a gap: UNCLEAN (the
 * sidecar is ACTIVE and the container is in the state it had then), CHANGED_OFFLINE
 * (a DataWriteGuid that the sidecar doesn't know). Points that were never issued are
 * dropped, their deltas merged into what follows. -ESTALE with CHANGED_OFFLINE: it
 * belongs to another disk, or the size differs. Changes memory only: there, what it
 * tells is complete now, the gap included, so the state becomes CLEAN (DISABLED
 * stays), current_guid is @data_write_guid and next_guid is zero.
 */
int vhdx_sidecar_bind(struct vhdx_sidecar *sidecar, const vhdx_guid *disk_id, u64 disk_size,
		      const vhdx_guid *data_write_guid, struct vhdx_diag *diag);

/* Write the leaves and the index of @map as a new delta; not yet named by a header. */
int vhdx_sidecar_write_delta(struct vhdx_sidecar *sidecar, const struct vhdx_changemap *map,
			     struct vhdx_delta *delta);

/* Write @map as the saved live delta, instead of the one before; gap and flags stay. */
int vhdx_sidecar_save_live(struct vhdx_sidecar *sidecar, const struct vhdx_changemap *map);

/* Give the blocks of a delta back (effective once the next commit is durable), and its memory. */
void vhdx_sidecar_drop_delta(struct vhdx_sidecar *sidecar, struct vhdx_delta *delta);

/* Must leaf number @leaf of @delta be read from the file? */
bool vhdx_delta_stores_leaf(const struct vhdx_delta *delta, u32 leaf);

/* OR leaf number @leaf of @delta into @words. 0, -EUCLEAN (checksum), -EIO, -EINTR. */
int vhdx_sidecar_read_leaf(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
			   u32 leaf, u64 *words);

/* OR all of @delta into @map: what attach does with the saved live delta. */
int vhdx_sidecar_load_map(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
			  struct vhdx_changemap *map);

/* Are there as many points as there can be, or is there no number for another one? */
bool vhdx_sidecar_is_out_of_points(const struct vhdx_sidecar *sidecar);

/**
 * vhdx_sidecar_add_point() - append a point; its delta is @before, which it takes over
 *
 * Memory only, until the commit. -ENOSPC: out of points. The live delta becomes
 * empty: its gap and flags move to @before, whose own gap, if any, is the newer one.
 * @before has to cover what was saved of the live delta, which it does when attach
 * loaded that into the live map.
 */
int vhdx_sidecar_add_point(struct vhdx_sidecar *sidecar, const struct vhdx_timeline_point *point,
			   struct vhdx_delta *before);

/*
 * Undo the last vhdx_sidecar_add_point(): its gap and flags go back to the live delta,
 * and its map becomes what is saved of the live delta, so that a file whose saved live
 * delta counts (CLEAN, ACTIVATING) stays complete.
 */
void vhdx_sidecar_drop_last_point(struct vhdx_sidecar *sidecar);

/**
 * vhdx_sidecar_forget_point() - remove the point at @position
 * @live:	map of the live delta, for the newest point: its delta is OR-ed into it
 *
 * The two deltas become one (a newly written one, unless one of them is empty).
 * What follows the newest point is the live delta: @live and what was saved of it both
 * get the delta of the forgotten point, so the file stays complete in every state.
 * What follows the oldest point leads to the oldest one from then on and is dropped.
 * On failure nothing changed. Commit afterwards.
 */
int vhdx_sidecar_forget_point(struct vhdx_sidecar *sidecar, u32 position,
			      struct vhdx_changemap *live);

/**
 * vhdx_sidecar_commit() - make memory durable: flush, other header slot, flush
 *
 * On failure, except -ENOSPC and -ENOMEM, the file holds the old or the new state and
 * the sidecar must not be used further (rule T7): every later commit fails.
 */
int vhdx_sidecar_commit(struct vhdx_sidecar *sidecar);

/* Read everything, leaves included, and check every checksum: track verify. */
int vhdx_sidecar_verify(const struct vhdx_sidecar *sidecar, struct vhdx_diag *diag);

#endif
