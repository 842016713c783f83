/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * The sidecar disk.vhdx.lrct: points, sealed deltas, the checkpoint of the live delta, and
 * the binding to the container. Layout: ondisk.h and Documentation/sidecar.rst.
 *
 * Nothing that a valid header refers to is ever overwritten: blocks are written to
 * free places, flushed, and become real when the other header slot names them.
 * What a header no longer names is reused only after that header is durable.
 *
 * The live delta is what was saved of it, the checkpoint, and every unit of the regions that
 * are set in the coarse area; so it is at any time, in use or not. The coarse area is written by
 * whoever sets and clears regions, beside commits and in other blocks; here it is only made and
 * read.
 *
 * In memory are the points; the index of a delta is read when it is needed. Until all of them
 * were read once (vhdx_sidecar_walk()) it is not known which blocks are free, and the file
 * grows instead.
 *
 * Callers serialise everything here but vhdx_sidecar_read_leaf(), which may run
 * beside itself, each with a cache of its own, and needs only that its delta stays.
 *
 * -ENOSPC and -ENOMEM from any of these functions mean that nothing happened: the
 * sidecar, in memory and in the file, is as it was before the call. So does -EINTR,
 * which whatever reads blocks may return: the caller was killed, and nothing is known
 * of what was not read.
 */
#ifndef VHDX_CORE_SIDECAR_H
#define VHDX_CORE_SIDECAR_H

#include "block_cache.h"
#include "coarse.h"
#include "leaf_bits.h"
#include "timeline.h"
#include "token.h"

struct vhdx_locator;

enum vhdx_sidecar_state {
	VHDX_SIDECAR_ON = 1,
	VHDX_SIDECAR_DISABLED = 2,	/* tracking is switched off: a gap */
};

/* Numbers of blocks. */
struct vhdx_block_list {
	u64 *blocks;
	u32 count;
	u32 room;
};

/* Blocks that a commit freed, while readers that began before it may still read them. */
#define VHDX_SIDECAR_BATCHES	4U

/**
 * struct vhdx_retired_blocks - those of one commit
 * @cookie:	of vhdx_sidecar.retire()
 * @end:	behind the last one of them in the list of doomed blocks
 * @lost_track:	and there are more, which are not in the list
 */
struct vhdx_retired_blocks {
	u64 cookie;
	u32 end;
	bool lost_track;
};

/**
 * struct vhdx_sidecar_space - which blocks are free (sidecar_space.c)
 * @fixed:	blocks of the area at the beginning, which has its place
 * @limit:	there can't be more, since the store has no more; or can grow, but no disk of
 *		this size ever needs more
 * @can_grow:	a regular file
 * @end:	behind all that were ever written
 * @known_from:	blocks before this one count as used; @fixed, once the walk is over
 * @chunks:	a bit for each block that is used, a page each; NULL: none is
 * @chunk_count: room in @chunks
 * @used:	bits in them
 * @lowest_free: no block before this one may be taken
 * @taken:	by what is under way, which began with @old_end
 * @doomed:	free once the next header is durable; those of @retired are first in the list
 * @lost_track:	of a block that the durable header may name: the walk does not end before
 *		the next commit
 * @released:	blocks at the beginning of @doomed that are free again
 * @retired:	blocks that no header names and readers may still read, @retired_count times
 */
struct vhdx_sidecar_space {
	u64 fixed;
	u64 limit;
	bool can_grow;
	u64 end;
	u64 known_from;
	u64 **chunks;
	u32 chunk_count;
	u64 used;
	u64 lowest_free;
	struct vhdx_block_list taken;
	u64 old_end;
	struct vhdx_block_list doomed;
	bool lost_track;
	u32 released;
	struct vhdx_retired_blocks retired[VHDX_SIDECAR_BATCHES];
	u32 retired_count;
};

/* One table, as a root names it. A table that is not written yet is in no block. */
struct vhdx_table_ref {
	u64 block;
	u32 crc;
	u16 first;
	u16 count;
};

/**
 * struct vhdx_sidecar_points - where the records of the points lie (sidecar_points.c)
 * @tables:	of the points, in their order; a page
 * @table_count: of them
 * @block:	their root, as the durable header names it
 * @crc:	its checksum
 * @dirty:	it is not what it must be
 * @issuing:	the last point is issued as far as the file is concerned
 */
struct vhdx_sidecar_points {
	struct vhdx_table_ref *tables;
	u32 table_count;
	u64 block;
	u32 crc;
	bool dirty;
	bool issuing;
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
 * @coarse:	the coarse area, which begins at VHDX_SIDECAR_COARSE_BLOCK
 * @found:	regions that were set in it, as loaded: a bit each, @coarse.sectors times
 *		VHDX_COARSE_SECTOR_WORDS words; NULL: none
 * @coarse_commit: the largest commit number of its sectors and of the tokens, as loaded
 * @recovered_units: units of the live delta that nothing but @found says: so much may be told
 *		of that was not written. vhdx_sidecar_load_live() counts them
 * @strict:	its tokens count (rule T6); the caller's, from the next commit on
 * @closed:	no session is open: what the container has is what it had when it was closed; the
 *		caller's, from the next commit on
 * @token:	what its tokens say
 * @sequence:	of the newest durable header; may be read without exclusion
 * @retire:	called when blocks are free by a header that is durable: what reads them began
 *		before now. Returns a cookie. NULL: they are free at once
 * @retired:	have all of those readers ended? Later cookies include earlier ones
 * @cache:	blocks that are kept in memory (vhdx_sidecar_keep_blocks()), or NULL
 * @change:	called before and after @timeline changes, or NULL: nothing is read, written or
 *		allocated in between. Set it after vhdx_sidecar_load() or vhdx_sidecar_format()
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
	struct vhdx_coarse_geometry coarse;
	u64 *found;
	u64 coarse_commit;
	u64 recovered_units;
	bool strict;
	bool closed;
	struct vhdx_token_state token;
	bool borne_out;		/* vhdx_sidecar_bear_out() */
	u64 sequence;
	u64 (*retire)(struct vhdx_sidecar *sidecar);
	bool (*retired)(struct vhdx_sidecar *sidecar, u64 cookie);
	struct vhdx_block_cache *cache;
	void (*change)(struct vhdx_sidecar *sidecar, bool begin);

	unsigned int slot;	/* where the durable header is */
	bool failed;		/* it is not known which header is durable */
	bool read_only;
	u32 compat_features;
	u32 ro_compat_features;
	u32 incompat_features;
	u64 block_count;	/* that header names no block at or behind this one */
	struct vhdx_sidecar_points points;
	struct vhdx_sidecar_space space;
};

/**
 * vhdx_sidecar_format() - make an empty sidecar, durably
 * @sidecar:	disk_id, disk_size, unit_shift, state, current_guid, next_guid are
 *		the caller's; the rest is set here
 * @can_grow:	a regular file; otherwise store->size is all there is
 *
 * The fixed area is written out in full, without holes; no region is set. 0 or -errno.
 */
int vhdx_sidecar_format(struct vhdx_sidecar *sidecar, struct vhdx_store *store, bool can_grow,
			struct vhdx_diag *diag);

/**
 * vhdx_sidecar_load() - read and check the header, the points and the coarse area
 *
 * What is wrong with an index or a leaf is found when it is read. Regions of a sector of the
 * coarse area that can't be read, or is damaged, are all set. 0; -EUCLEAN with
 * INCONSISTENT (no valid header, a checksum, an impossible value, or a sector that was written
 * after a newer header than the one that is left); -EOPNOTSUPP with
 * UNSUPPORTED (another version, a feature or a flag that has to be known and is not, or
 * an unknown ro_compat feature and @read_only is false); -EIO; -ENOMEM. An empty
 * store is -ENODATA. Release it whatever this returns.
 */
int vhdx_sidecar_load(struct vhdx_sidecar *sidecar, struct vhdx_store *store, bool can_grow,
		      bool read_only, struct vhdx_diag *diag);

void vhdx_sidecar_release(struct vhdx_sidecar *sidecar);

/**
 * vhdx_sidecar_keep_blocks() - from here on, keep some blocks in memory
 * @sidecar:	loaded or formatted
 * @cache:	of this sidecar alone, with its lock; empty. Released behind the last reader
 *
 * 0 or -ENOMEM: none are kept.
 */
int vhdx_sidecar_keep_blocks(struct vhdx_sidecar *sidecar, struct vhdx_block_cache *cache);

/**
 * vhdx_sidecar_walk() - find out which blocks are free
 * @deltas:	read the indexes of so many of them, at most
 * @diag:	what is wrong
 *
 * Once all were read, blocks that were free before the sidecar was opened are used again.
 * 1: there are more; 0: there is nothing more to do for now; -EUCLEAN: an index is damaged,
 * or names a block twice; -EIO; -ENOMEM; -EINTR. After a failure the file goes on to grow.
 */
int vhdx_sidecar_walk(struct vhdx_sidecar *sidecar, u32 deltas, struct vhdx_diag *diag);

/* Bytes of the file that are in use, as far as is known. */
u64 vhdx_sidecar_used_bytes(const struct vhdx_sidecar *sidecar);

/* Bytes that there can be; zero: as many as its file system has. */
u64 vhdx_sidecar_limit_bytes(const struct vhdx_sidecar *sidecar);

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
 * vhdx_sidecar_bear_out() - is the container's header one that this sidecar was told of?
 * @sidecar:	loaded
 * @container_sequence: SequenceNumber of the container's header, as it was before anything was
 *		written to the container for this attach
 *
 * Rule T6; before vhdx_sidecar_bind(), which takes a strict sidecar that was not asked, or did not
 * know, for one that went back in time. One that is not strict, or is closed, needs no token.
 */
void vhdx_sidecar_bear_out(struct vhdx_sidecar *sidecar, u64 container_sequence);

/**
 * vhdx_sidecar_refuse_parents() - is it the sidecar of the container's parent?
 * @sidecar:	loaded, not bound
 * @data_write_guid: DataWriteGuid in the container's header
 * @locator:	which parent it has; zero: none
 * @diag:	that it is
 *
 * A child has the VirtualDiskId of its parent, and may have its size, so vhdx_sidecar_bind() would
 * take such a sidecar, with a gap: from then on the parent would have lost it. Before that. Returns
 * 0, or -ESTALE with CHANGED_OFFLINE. That of the parent's parent is not told from an older one.
 */
int vhdx_sidecar_refuse_parents(const struct vhdx_sidecar *sidecar,
				const vhdx_guid *data_write_guid,
				const struct vhdx_locator *locator, struct vhdx_diag *diag);

/**
 * vhdx_sidecar_bind() - does this sidecar tell the truth about this container?
 * @disk_id:	VirtualDiskId of the container
 * @disk_size:	its virtual size
 * @data_write_guid: DataWriteGuid in its header
 * @time_ns:	now, since 1970; zero: not known
 * @diag:	why not, or what the gap comes from
 *
 * Rule T5 as a table. Returns 0: it belongs to the disk; the timeline is ready to
 * use, and if something happened in between, its live delta has a gap: CHANGED_OFFLINE (a
 * DataWriteGuid that the sidecar doesn't know, or a header that it does not bear out),
 * TRACKING_ERROR (an invalidation) or DISABLED.
 * A point that was never issued is dropped, its delta is the checkpoint. -ESTALE with
 * CHANGED_OFFLINE: it belongs to another disk, or the size differs. Changes memory only:
 * there, current_guid is @data_write_guid and next_guid is zero.
 */
int vhdx_sidecar_bind(struct vhdx_sidecar *sidecar, const vhdx_guid *disk_id, u64 disk_size,
		      const vhdx_guid *data_write_guid, u64 time_ns, struct vhdx_diag *diag);

/**
 * vhdx_sidecar_load_live() - read the live delta
 * @sidecar:	loaded and bound
 * @map:	of the disk, in the sidecar's unit; empty
 * @diag:	what is wrong
 *
 * It gets the checkpoint and every unit of the regions that were set (rule T4). If those add
 * anything, the live delta is COARSE from then on, and @sidecar->recovered_units says how much.
 * Behind a gap there is nothing to read. Changes nothing but memory. 0; -EUCLEAN: the checkpoint
 * is damaged; -EIO; -ENOMEM; -EINTR. After a failure it is not known what is in @map.
 */
int vhdx_sidecar_load_live(struct vhdx_sidecar *sidecar, struct vhdx_changemap *map,
			   struct vhdx_diag *diag);

/**
 * vhdx_sidecar_write_token() - tell the sidecar, durably, of a header that the container may get
 * @sidecar:	loaded or formatted
 * @token:	its commit is above that of every token and of every sector before
 * @block:	scratch, 4 KiB: nothing is allocated
 *
 * What @token names was written before, and is flushed with it. It goes to the slot that does not
 * have the newest one; callers serialise this, but it may run beside everything else.
 * 0; or -errno, and the token before counts, or this one.
 */
int vhdx_sidecar_write_token(struct vhdx_sidecar *sidecar, const struct vhdx_token *token,
			     void *block);

/* Write the leaves and the index of @map as a new delta; not yet named by a header. */
int vhdx_sidecar_write_delta(struct vhdx_sidecar *sidecar, const struct vhdx_changemap *map,
			     struct vhdx_delta *delta);

/**
 * vhdx_sidecar_checkpoint() - save the live delta, or some of it
 * @map:	all of the live delta
 * @regions:	a bit for each region, as @found: leaves that none of these is in stay in the
 *		file as they are; NULL: there is no such leaf
 *
 * Not yet named by a header: once a commit is durable, these regions may be cleared in the
 * coarse area (rule T3). Gap and flags stay. Behind a gap nothing is saved. A damaged
 * checkpoint is replaced as a whole. No point is waiting to be issued. Marks may be made in
 * @map meanwhile. 0, or -errno, and nothing happened.
 */
int vhdx_sidecar_checkpoint(struct vhdx_sidecar *sidecar, const struct vhdx_changemap *map,
			    const u64 *regions);

/*
 * Give the blocks of a delta back, effective once the next commit is durable. Reads its index;
 * where that fails they are lost until the sidecar is opened again.
 */
void vhdx_sidecar_drop_delta(struct vhdx_sidecar *sidecar, struct vhdx_delta *delta);

/* The same where no read may be waited for: the blocks are lost like that. */
void vhdx_sidecar_lose_delta(struct vhdx_sidecar *sidecar, struct vhdx_delta *delta);

/* The block of a leaf all of whose units changed: there is none. */
#define VHDX_DELTA_ALL		(~0ULL)

/* One leaf of a delta: struct vhdx_sidecar_entry. */
struct vhdx_delta_leaf {
	u16 leaf;
	u16 units;
	u32 crc;
	u64 block;
};

/* A table that has no more entries than these lies in its slot. */
#define VHDX_INDEX_FEW	2U

/*
 * The table of an index that a reader has come by last; by the root, from leaf @from to @last. Of
 * its @count entries, which are @entries, or, where that is NULL, @few, the one @at was found last.
 */
struct vhdx_index_slot {
	u64 root;
	u32 crc;
	u32 from;
	u32 last;
	u32 count;
	u32 at;
	struct vhdx_delta_leaf *entries;
	struct vhdx_delta_leaf few[VHDX_INDEX_FEW];
};

/**
 * struct vhdx_index_cache - a table of each delta that is read, leaf by leaf
 * @reads:	of the sidecar, so far; the reader may set it
 * @bytes:	of all entries; bounded
 * @in_memory:	set by the reader, who must not wait: the sidecar is not read, and -EAGAIN is what
 *		becomes of a step that would have to
 * @missed:	that has happened
 * @slot_count:	of @slots, a power of two
 */
struct vhdx_index_cache {
	bool in_memory;
	bool missed;
	u32 reads;
	u32 bytes;
	u32 slot_count;
	struct vhdx_index_slot *slots;
};

/* A block is about to be read, which is not kept in memory. 0 or -EAGAIN: it is not. */
static inline int vhdx_index_may_read(struct vhdx_index_cache *cache)
{
	if (cache->in_memory) {
		cache->missed = true;
		return -EAGAIN;
	}
	cache->reads++;
	return 0;
}

/* For a reader of so many deltas. NULL without memory. Sleeps. */
struct vhdx_index_cache *vhdx_index_cache_new(u32 deltas);
/* NULL is fine. */
void vhdx_index_cache_free(struct vhdx_index_cache *cache);

/**
 * vhdx_sidecar_find_entry() - the first leaf of a delta, from one on
 * @sidecar:	whose delta it is
 * @delta:	as for vhdx_sidecar_read_leaf()
 * @leaf:	where to begin
 * @end:	how far to look; what is found may lie behind
 * @entry:	the leaf, in @cache, until that is used again; NULL: there is none
 * @cache:	of the reader
 *
 * 0 or as vhdx_sidecar_read_leaf().
 */
int vhdx_sidecar_find_entry(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
			    u32 leaf, u32 end, const struct vhdx_delta_leaf **entry,
			    struct vhdx_index_cache *cache);

/**
 * vhdx_index_next() - the leaf of a delta behind one that was found
 * @delta:	as for vhdx_sidecar_find_entry()
 * @leaf:	which it has
 * @cache:	of the reader
 *
 * In @cache, until that is used again. NULL: that is not known without looking.
 */
const struct vhdx_delta_leaf *vhdx_index_next(const struct vhdx_delta *delta, u32 leaf,
					      struct vhdx_index_cache *cache);

/* As vhdx_sidecar_find_entry(); its number, if it is before *@end, goes there. */
int vhdx_sidecar_find_leaf(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
			   u32 leaf, u32 *end, struct vhdx_index_cache *cache);

/**
 * vhdx_sidecar_read_leaf() - OR one leaf of a delta into @units
 * @cache:	of the reader; it may outlive commits of the sidecar
 *
 * Up to three reads: of the root, of a table, of the leaf; the first two are mostly in
 * @cache. 0, -EUCLEAN (checksum), -EIO, -ENOMEM, -EINTR, -EAGAIN (see @cache).
 */
int vhdx_sidecar_read_leaf(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
			   u32 leaf, struct vhdx_leaf_bits *units,
			   struct vhdx_index_cache *cache);

/* The same of a leaf that was found. */
int vhdx_sidecar_take_leaf(const struct vhdx_sidecar *sidecar,
			   const struct vhdx_delta_leaf *entry, struct vhdx_leaf_bits *units,
			   struct vhdx_index_cache *cache);

/* Lend a leaf that was found, if it is in memory. */
enum vhdx_lending vhdx_sidecar_lend_leaf(const struct vhdx_sidecar *sidecar,
					 const struct vhdx_delta_leaf *entry,
					 struct vhdx_lent_leaf *lent);

/* OR all of @delta into @map. */
int vhdx_sidecar_load_map(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
			  struct vhdx_changemap *map, struct vhdx_diag *diag);

/* Are there as many points as there can be, or is there no number for another one? */
bool vhdx_sidecar_is_out_of_points(const struct vhdx_sidecar *sidecar);

/**
 * vhdx_sidecar_add_point() - append a point; its delta is @before, which it takes over
 *
 * -ENOSPC: out of points, or no room for its record. The live delta becomes
 * empty: its gap and flags move to @before, whose own gap, if any, is the newer one.
 * @before has to cover what was saved of the live delta, which it does when attach
 * loaded that into the live map. Until the point is issued or dropped nothing is saved of the
 * live delta that follows.
 */
int vhdx_sidecar_add_point(struct vhdx_sidecar *sidecar, const struct vhdx_timeline_point *point,
			   struct vhdx_delta *before);

/* The file will say of the last point that it is issued. Where there are readers, this is first. */
void vhdx_sidecar_prepare_issue(struct vhdx_sidecar *sidecar);

/*
 * The id of the last point may be given out from the next commit on; or from this very moment, if
 * the commit came after vhdx_sidecar_prepare_issue(). The caller keeps readers out.
 */
void vhdx_sidecar_issue_point(struct vhdx_sidecar *sidecar);

/*
 * Undo the last vhdx_sidecar_add_point(): its gap and flags go back to the live delta,
 * and its map becomes the checkpoint.
 */
void vhdx_sidecar_drop_last_point(struct vhdx_sidecar *sidecar);

/**
 * vhdx_sidecar_forget_point() - remove the point at @position
 * @live:	map of the live delta, for the newest point: its delta is OR-ed into it
 *
 * The two deltas become one (a newly written one, unless one of them is empty).
 * What follows the newest point is the live delta: @live and the checkpoint both get the
 * delta of the forgotten point.
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

/*
 * Read everything, leaves and the coarse area included, and check every checksum: track verify.
 * @sidecar is as it was loaded.
 */
int vhdx_sidecar_verify(const struct vhdx_sidecar *sidecar, struct vhdx_diag *diag);

#endif
