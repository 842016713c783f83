/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * What the files sidecar*.c share.
 */
#ifndef VHDX_CORE_SIDECAR_PRIVATE_H
#define VHDX_CORE_SIDECAR_PRIVATE_H

#include "sidecar.h"
#include "ondisk.h"

#define vhdx_sidecar_damaged(diag, fmt, ...)				\
	vhdx_fail(diag, -EUCLEAN, VHDX_REASON_INCONSISTENT,		\
		  "sidecar damaged: " fmt					\
		  "; to begin a new one, attach anew with --no-track, then `vhdxctl track reset`", \
		  ##__VA_ARGS__)

/* Of headers and of points. Nobody gets there by counting. */
#define VHDX_SIDECAR_SEQUENCE_MAX	(~0ULL >> 1)

#define vhdx_sidecar_empty(diag)					\
	vhdx_fail(diag, -ENODATA, VHDX_REASON_DISABLED,			\
		  "sidecar: it is empty; enable tracking to fill it")

/* ---- sidecar_space.c: which blocks are free ---- */

/* Make room in the bit maps for @blocks blocks. 0 or -ENOMEM. */
int vhdx_sidecar_map_blocks(struct vhdx_sidecar *sidecar, u64 blocks);
/* Note that the header refers to @block. False: it does so twice, or it must not. */
bool vhdx_sidecar_claim_block(struct vhdx_sidecar *sidecar, u64 block);
/* Find a free block and take it. 0, -ENOSPC or -ENOMEM. */
int vhdx_sidecar_take_block(struct vhdx_sidecar *sidecar, u64 *block);
/* Undo vhdx_sidecar_take_block(). */
void vhdx_sidecar_give_back_block(struct vhdx_sidecar *sidecar, u64 block);
/* Free it once the next header is durable. VHDX_DELTA_ALL is no block: nothing to do. */
void vhdx_sidecar_doom_block(struct vhdx_sidecar *sidecar, u64 block);
void vhdx_sidecar_free_doomed(struct vhdx_sidecar *sidecar);
/* Behind the last block that is not free. */
u64 vhdx_sidecar_end_of_blocks(const struct vhdx_sidecar *sidecar);
/* Are there @blocks free ones, and enough beside them to commit what they are for? */
bool vhdx_sidecar_has_room(const struct vhdx_sidecar *sidecar, u64 blocks);

/* ---- sidecar_block.c: one block, and chains of them ---- */

u32 vhdx_sidecar_crc(const void *data, size_t length);
int vhdx_sidecar_read_block(const struct vhdx_sidecar *sidecar, u64 block, u32 crc, void *buf,
			    const char *what, struct vhdx_diag *diag);
int vhdx_sidecar_write_blocks(struct vhdx_sidecar *sidecar, u64 block, const void *buf,
			      u32 count);

/**
 * struct vhdx_sidecar_chain - a chain of records in the file
 * @block:	the first block, zero where there is none
 * @crc:	its checksum
 * @blocks:	all of them
 */
struct vhdx_sidecar_chain {
	u64 block;
	u32 crc;
	u32 block_count;
	u64 *blocks;
};

/**
 * struct vhdx_sidecar_record - what a chain is made of
 * @what:	in messages
 * @encode:	fill in @record, which is zero, from number @index of @source
 * @decode:	check @record and take it over into @sink. 0 or -errno
 */
struct vhdx_sidecar_record {
	const char *what;
	u32 magic;
	u32 size;
	u32 per_block;
	void (*encode)(const void *source, u32 index, void *record);
	int (*decode)(void *sink, u32 index, const void *record, struct vhdx_diag *diag);
};

extern const struct vhdx_sidecar_record vhdx_sidecar_point_record;
extern const struct vhdx_sidecar_record vhdx_sidecar_entry_record;

/* Write @count records into new blocks. On failure none is taken. */
int vhdx_sidecar_write_chain(struct vhdx_sidecar *sidecar,
			     const struct vhdx_sidecar_record *type, u32 count,
			     const void *source, struct vhdx_sidecar_chain *chain);
/*
 * Read @count records from @chain, whose @block and @crc are given. Claims the blocks.
 * Release chain->blocks also on failure.
 */
int vhdx_sidecar_read_chain(struct vhdx_sidecar *sidecar,
			    const struct vhdx_sidecar_record *type, u32 count, void *sink,
			    struct vhdx_sidecar_chain *chain, struct vhdx_diag *diag);
/* Give back what vhdx_sidecar_write_chain() took. */
void vhdx_sidecar_unwrite_chain(struct vhdx_sidecar *sidecar, struct vhdx_sidecar_chain *chain);

/* ---- sidecar_header.c ---- */

/* Write a header with the next sequence into @slot, and flush. */
int vhdx_sidecar_write_header(struct vhdx_sidecar *sidecar, unsigned int slot,
			      const struct vhdx_sidecar_chain *points);
/*
 * Find the header that counts and take it over; references to blocks at or behind
 * @block_max are refused. The number of points is left in *@point_count.
 */
int vhdx_sidecar_read_header(struct vhdx_sidecar *sidecar, u64 block_max, bool read_only,
			     struct vhdx_sidecar_chain *points, u32 *point_count,
			     struct vhdx_diag *diag);

/* ---- sidecar_load.c ---- */

/* Read the header, the points, and the index of every delta. */
int vhdx_sidecar_read_tree(struct vhdx_sidecar *sidecar, u64 block_max, bool read_only,
			   struct vhdx_diag *diag);

/* ---- sidecar_points.c ---- */

/* @newer takes over what cuts the line in @older and what is said of its contents. */
void vhdx_sidecar_join_marks(struct vhdx_delta *newer, const struct vhdx_delta *older);

/* ---- sidecar_delta.c, sidecar_leaf.c ---- */

u32 vhdx_sidecar_leaf_count(const struct vhdx_sidecar *sidecar);
void vhdx_sidecar_encode_delta(const struct vhdx_delta *delta, struct vhdx_sidecar_delta *record);
int vhdx_sidecar_decode_delta(const struct vhdx_sidecar *sidecar,
			      const struct vhdx_sidecar_delta *record, struct vhdx_delta *delta,
			      struct vhdx_diag *diag);
int vhdx_sidecar_read_index(struct vhdx_sidecar *sidecar, struct vhdx_delta *delta,
			    struct vhdx_diag *diag);
/* Write delta->leaves as its index. */
int vhdx_sidecar_write_index(struct vhdx_sidecar *sidecar, struct vhdx_delta *delta);
void vhdx_sidecar_free_delta(struct vhdx_delta *delta);
/* OR one entry into @words; @buf is scratch, a block. */
int vhdx_sidecar_read_entry(const struct vhdx_sidecar *sidecar,
			    const struct vhdx_delta_leaf *entry, u64 *words, void *buf,
			    struct vhdx_diag *diag);

/**
 * struct vhdx_leaf_writer - writes leaves, neighbouring blocks in one go
 * @delta:	gets an entry for each; its @leaves have room for them
 * @buf:	leaves that wait to be written, @pending of them, from @block on
 */
struct vhdx_leaf_writer {
	struct vhdx_sidecar *sidecar;
	struct vhdx_delta *delta;
	void *buf;
	u64 block;
	u32 pending;
};

int vhdx_leaf_writer_init(struct vhdx_leaf_writer *writer, struct vhdx_sidecar *sidecar,
			  struct vhdx_delta *delta);
/* An entry for @words; none if they are all zero, no block if they are all ones. */
int vhdx_leaf_writer_add(struct vhdx_leaf_writer *writer, u32 leaf, const u64 *words);
int vhdx_leaf_writer_flush(struct vhdx_leaf_writer *writer);

#endif
