/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * What the files sidecar*.c share.
 */
#ifndef VHDX_CORE_SIDECAR_PRIVATE_H
#define VHDX_CORE_SIDECAR_PRIVATE_H

#include "coarse.h"
#include "sidecar.h"
#include "ondisk.h"

#define VHDX_SIDECAR_BEGIN_ANEW	\
	"; to begin a new one, attach anew with --no-track, then `vhdxctl track reset`"

#define VHDX_SIDECAR_NAME_ANOTHER	": name another one (--sidecar)"

#define vhdx_sidecar_damaged(diag, fmt, ...)				\
	vhdx_fail(diag, -EUCLEAN, VHDX_REASON_INCONSISTENT,		\
		  "sidecar damaged: " fmt VHDX_SIDECAR_BEGIN_ANEW, ##__VA_ARGS__)

#define vhdx_sidecar_newer(diag, fmt, ...)				\
	vhdx_unsupported(diag, "sidecar: a newer driver made it, " fmt, ##__VA_ARGS__)

/* Of headers and of points. No sidecar gets there by counting. */
#define VHDX_SIDECAR_SEQUENCE_MAX	(~0ULL >> 1)

#define vhdx_sidecar_empty(diag)					\
	vhdx_fail(diag, -ENODATA, VHDX_REASON_DISABLED,			\
		  "sidecar: it is empty; enable tracking to fill it")

/* ---- sidecar_space.c: which blocks are free ---- */

/*
 * What is left free of the blocks that are there, by what takes some: a commit takes three at
 * most, for the tables and the root of the points, a merge more, but gives more back. So where
 * there is no room for another point, and the file can't grow, forgetting still works.
 */
#define VHDX_SIDECAR_SPARE_FOR_COMMIT	0U
#define VHDX_SIDECAR_SPARE_FOR_MERGES	3U
#define VHDX_SIDECAR_SPARE_FOR_POINTS	5U
#define VHDX_SIDECAR_SPARE_FOR_DELTAS	8U

/* @blocks that the store has, or ~0; up to @end they are there. */
void vhdx_sidecar_init_space(struct vhdx_sidecar *sidecar, u64 blocks, u64 end);
void vhdx_sidecar_release_space(struct vhdx_sidecar *sidecar);
/* May a reference be to it? */
bool vhdx_sidecar_is_block(const struct vhdx_sidecar *sidecar, u64 block);
/* 0; -EEXIST: it is used; -ENOMEM. */
int vhdx_sidecar_claim_block(struct vhdx_sidecar *sidecar, u64 block);
/* Undo that. */
void vhdx_sidecar_unclaim_block(struct vhdx_sidecar *sidecar, u64 block);
/* See to it that @blocks are there and free. 0, -ENOSPC, -ENOMEM, or as vhdx_sidecar_walk(). */
int vhdx_sidecar_make_room(struct vhdx_sidecar *sidecar, u64 blocks);
/* Take a free block, and leave @spare of them. As vhdx_sidecar_make_room(). */
int vhdx_sidecar_take_block(struct vhdx_sidecar *sidecar, u32 spare, u64 *block);
/* Between the two, what is taken and doomed can be undone: what was written is of no use. */
u32 vhdx_sidecar_begin(struct vhdx_sidecar *sidecar);
void vhdx_sidecar_undo(struct vhdx_sidecar *sidecar, u32 doomed);
/* 0 or -ENOMEM. */
int vhdx_block_list_add(struct vhdx_block_list *list, u64 block);
void vhdx_block_list_release(struct vhdx_block_list *list);

/* ---- sidecar_doomed.c ---- */

/* Free it once the next header is durable. VHDX_DELTA_ALL is no block: nothing to do. */
void vhdx_sidecar_doom_block(struct vhdx_sidecar *sidecar, u64 block);
/* The next header is durable. They are free once nobody reads them any more. */
void vhdx_sidecar_retire_doomed(struct vhdx_sidecar *sidecar);
/* May blocks be in use that are not known to be? */
bool vhdx_sidecar_has_lost_track(const struct vhdx_sidecar *sidecar);
/* Those whose readers have ended are free. May run in the middle of what can be undone. */
void vhdx_sidecar_release_retired(struct vhdx_sidecar *sidecar);

/* ---- sidecar_walk.c ---- */

/* Which blocks does @delta have? They are used. All or none; as vhdx_sidecar_walk(). */
int vhdx_sidecar_learn_delta(struct vhdx_sidecar *sidecar, struct vhdx_delta *delta,
			     struct vhdx_diag *diag);
/* If all is known, use what is free. 0, -EUCLEAN, -ENOMEM. */
int vhdx_sidecar_end_walk(struct vhdx_sidecar *sidecar, struct vhdx_diag *diag);
bool vhdx_sidecar_is_walked(const struct vhdx_sidecar *sidecar);

/* ---- sidecar_block.c ---- */

u32 vhdx_sidecar_crc(const void *data, size_t length);
int vhdx_sidecar_read_block(const struct vhdx_sidecar *sidecar, u64 block, u32 crc, void *buf,
			    const char *what, struct vhdx_diag *diag);
int vhdx_sidecar_write_blocks(struct vhdx_sidecar *sidecar, u64 block, const void *buf,
			      u32 count);

/* Blocks written in one go. */
#define VHDX_BLOCKS_AT_ONCE	16U

/**
 * struct vhdx_block_writer - writes new blocks, neighbouring ones in one go
 * @spare:	what it leaves free
 * @keep:	what it writes is soon read
 * @crcs:	of the blocks that wait
 * @buf:	blocks that wait to be written, @pending of them, from @block on
 */
struct vhdx_block_writer {
	struct vhdx_sidecar *sidecar;
	u32 spare;
	bool keep;
	u32 crcs[VHDX_BLOCKS_AT_ONCE];
	void *buf;
	u64 block;
	u32 pending;
};

int vhdx_block_writer_init(struct vhdx_block_writer *writer, struct vhdx_sidecar *sidecar,
			   u32 spare);
void vhdx_block_writer_release(struct vhdx_block_writer *writer);
/* Take a block and copy @page into it. */
int vhdx_block_writer_add(struct vhdx_block_writer *writer, const void *page, u64 *block,
			  u32 *crc);
int vhdx_block_writer_flush(struct vhdx_block_writer *writer);

/* ---- sidecar_table.c: records in two levels ---- */

/**
 * struct vhdx_sidecar_record - what a table is made of
 * @what:	in messages
 */
struct vhdx_sidecar_record {
	const char *what;
	u32 magic;
	u32 size;
	u32 per_table;
};

extern const struct vhdx_sidecar_record vhdx_sidecar_point_record;
extern const struct vhdx_sidecar_record vhdx_sidecar_entry_record;

/* Begin a root or a table in @page, which becomes zero otherwise. */
void vhdx_table_begin(void *page, u32 magic, u32 count);
static inline void *vhdx_table_record(const struct vhdx_sidecar_record *type, void *page,
				      u32 index)
{
	return page + sizeof(struct vhdx_sidecar_head) + index * type->size;
}

/* @page is scratch. */
int vhdx_table_write_root(struct vhdx_block_writer *writer, const struct vhdx_table_ref *tables,
			  u32 count, void *page, u64 *block, u32 *crc);
/*
 * @tables gets what the root names, VHDX_SIDECAR_TABLES at most, with @records in all. @page
 * is scratch.
 */
int vhdx_table_read_root(const struct vhdx_sidecar *sidecar,
			 const struct vhdx_sidecar_record *type, u64 block, u32 crc, u32 records,
			 void *page, struct vhdx_table_ref *tables, u32 *count,
			 struct vhdx_diag *diag);
/* Its records are in @page. */
int vhdx_table_read(const struct vhdx_sidecar *sidecar, const struct vhdx_sidecar_record *type,
		    const struct vhdx_table_ref *table, void *page, struct vhdx_diag *diag);

/* ---- sidecar_header.c ---- */

/* Write a header with the next sequence into @slot, and flush. @header is scratch, a block. */
int vhdx_sidecar_write_header(struct vhdx_sidecar *sidecar, unsigned int slot, void *header);
/*
 * Find the header that counts and take it over; references to blocks at or behind
 * @block_max are refused. The number of points is left in *@point_count.
 */
int vhdx_sidecar_read_header(struct vhdx_sidecar *sidecar, u64 block_max, bool read_only,
			     u32 *point_count, struct vhdx_diag *diag);
/* Blocks of the fixed area, and the most that there ever are. */
u64 vhdx_sidecar_fixed_blocks(u64 disk_size, u32 unit_shift);
u64 vhdx_sidecar_most_blocks(u64 disk_size, u32 unit_shift);

/* ---- sidecar_load.c ---- */

/* Read the header and the points. */
int vhdx_sidecar_read_tree(struct vhdx_sidecar *sidecar, u64 block_max, bool read_only,
			   struct vhdx_diag *diag);
/*
 * The position of a point that is not issued where none can be, or -1. It only exists in the
 * middle of a seal: it is the last one, tracking is on, and nothing is saved of what follows.
 */
int vhdx_sidecar_find_misplaced(const struct vhdx_sidecar *sidecar);

/* ---- sidecar_points.c ---- */

/* Read @count points. */
int vhdx_sidecar_read_points(struct vhdx_sidecar *sidecar, u32 count, struct vhdx_diag *diag);
/* Write the tables that changed, and the root. On failure nothing happened. */
int vhdx_sidecar_write_points(struct vhdx_sidecar *sidecar);
/* The record of a point is about to change, or the point to go. */
void vhdx_sidecar_touch_point(struct vhdx_sidecar *sidecar, u32 position);
/* Point number @position leaves the timeline. */
/* The timeline has it no more: it is the caller's to free. Between the two of a change. */
struct vhdx_timeline_point *vhdx_sidecar_cut_point(struct vhdx_sidecar *sidecar, u32 position);
/* The record of a point that was cut, by the position that it had. */
void vhdx_sidecar_drop_record(struct vhdx_sidecar *sidecar, u32 position);

/* Readers see all that changes in between, or nothing. */
static inline void vhdx_sidecar_begin_change(struct vhdx_sidecar *sidecar)
{
	if (sidecar->change)
		sidecar->change(sidecar, true);
}

static inline void vhdx_sidecar_end_change(struct vhdx_sidecar *sidecar)
{
	if (sidecar->change)
		sidecar->change(sidecar, false);
}

/* @newer takes over what cuts the line in @older and what is said of its contents. */
void vhdx_sidecar_join_marks(struct vhdx_delta *newer, const struct vhdx_delta *older);
/* Flags and gap, whatever they were. */
void vhdx_sidecar_copy_marks(struct vhdx_delta *to, const struct vhdx_delta *from);

/* ---- sidecar_index.c: the leaves of a delta ---- */

#define VHDX_NO_LEAF	(~0U)

/**
 * struct vhdx_index_iter - goes through the leaves of a delta, in their order
 * @tables:	of the index, @table_count of them
 * @table:	the one to go on with
 * @page:	scratch
 * @entries:	of that table, if it was read
 * @count:	of @entries; zero: it was not
 * @at:		the next one
 */
struct vhdx_index_iter {
	const struct vhdx_sidecar *sidecar;
	struct vhdx_table_ref *tables;
	u32 table_count;
	u32 table;
	void *page;
	struct vhdx_delta_leaf *entries;
	u32 count;
	u32 at;
};

/* Release it whatever this returns. */
int vhdx_index_iter_init(struct vhdx_index_iter *iter, const struct vhdx_sidecar *sidecar,
			 const struct vhdx_delta *delta, struct vhdx_diag *diag);
void vhdx_index_iter_release(struct vhdx_index_iter *iter);
/* The next leaf, which stays the next one; NULL at the end. 0 or as vhdx_sidecar_walk(). */
int vhdx_index_iter_peek(struct vhdx_index_iter *iter, const struct vhdx_delta_leaf **entry,
			 struct vhdx_diag *diag);
/* Go on behind it. */
void vhdx_index_iter_next(struct vhdx_index_iter *iter);
/* Number of the next leaf, which costs no reading; VHDX_NO_LEAF at the end. */
u32 vhdx_index_iter_leaf(const struct vhdx_index_iter *iter);
/* The table whose first leaf is the next one, if that was not read yet; or NULL. */
const struct vhdx_table_ref *vhdx_index_iter_table(const struct vhdx_index_iter *iter);
/* The same, if leaf @other, VHDX_NO_LEAF for none, lies behind all of it. */
const struct vhdx_table_ref *vhdx_index_iter_table_before(const struct vhdx_index_iter *iter,
							  u32 other);

/* ---- sidecar_delta.c, sidecar_leaf.c ---- */

u32 vhdx_sidecar_leaf_count(const struct vhdx_sidecar *sidecar);
/* Units of the disk in a leaf: of the last one, maybe not all. */
u32 vhdx_sidecar_leaf_units(const struct vhdx_sidecar *sidecar, u32 leaf);
void vhdx_sidecar_encode_delta(const struct vhdx_delta *delta, struct vhdx_sidecar_delta *record);
int vhdx_sidecar_decode_delta(const struct vhdx_sidecar *sidecar,
			      const struct vhdx_sidecar_delta *record, struct vhdx_delta *delta,
			      struct vhdx_diag *diag);
/* OR one entry into @words; @buf is scratch, a block. */
int vhdx_sidecar_read_entry(const struct vhdx_sidecar *sidecar,
			    const struct vhdx_delta_leaf *entry, u64 *words, void *buf,
			    struct vhdx_diag *diag);

/**
 * struct vhdx_delta_writer - writes leaves and their index
 * @blocks:	where they go
 * @page:	the table that is being filled, with @count entries
 * @first:	the first leaf in it
 * @tables:	those that are full, @table_count of them
 * @leaves:	all so far
 * @units:	in them
 */
struct vhdx_delta_writer {
	struct vhdx_block_writer blocks;
	void *page;
	u32 count;
	u16 first;
	struct vhdx_table_ref *tables;
	u32 table_count;
	u32 leaves;
	u64 units;
};

/* Release it whatever this returns. */
int vhdx_delta_writer_init(struct vhdx_delta_writer *writer, struct vhdx_sidecar *sidecar,
			   u32 spare);
void vhdx_delta_writer_release(struct vhdx_delta_writer *writer);
/* A leaf with these words; none if they are all zero, no block if they are all ones. */
int vhdx_delta_writer_add(struct vhdx_delta_writer *writer, u32 leaf, const u64 *words);
/* A leaf that is in the file already. -E2BIG: too many tables; see vhdx_delta_writer_keep(). */
int vhdx_delta_writer_put(struct vhdx_delta_writer *writer, const struct vhdx_delta_leaf *entry);
/*
 * A whole table that is in the file already. False: it is better put entry by entry, since
 * what lies before it is small; or there is no room for it in the root.
 */
int vhdx_delta_writer_keep(struct vhdx_delta_writer *writer, const struct vhdx_table_ref *table);
/* The root; index and counts of @delta are filled in. */
int vhdx_delta_writer_finish(struct vhdx_delta_writer *writer, struct vhdx_delta *delta);

#endif
