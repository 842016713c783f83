// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Which blocks of a sidecar are free. The file doesn't say: it follows from everything that
 * the header refers to, which takes a while to read (sidecar_walk.c). Until then what the
 * file had when it was opened counts as used.
 *
 * The lowest free block is taken first, so the file hardly grows beyond the most that
 * was ever in use at one time.
 */
#include "sidecar_private.h"

#define CHUNK_BITS	(8 * VHDX_PAGE)
#define FIRST_ROOM	64U

/* ---- lists ---- */

int vhdx_block_list_add(struct vhdx_block_list *list, u64 block)
{
	if (list->count == list->room) {
		u32 room = max(2 * list->room, FIRST_ROOM);
		u64 *blocks = vhdx_alloc(room * sizeof(*blocks));

		if (!blocks)
			return -ENOMEM;
		if (list->count)
			memcpy(blocks, list->blocks, list->count * sizeof(*blocks));
		vhdx_free(list->blocks);
		list->blocks = blocks;
		list->room = room;
	}
	list->blocks[list->count++] = block;
	return 0;
}

void vhdx_block_list_release(struct vhdx_block_list *list)
{
	vhdx_free(list->blocks);
	memset(list, 0, sizeof(*list));
}

/* ---- the bits ---- */

static bool is_used(const struct vhdx_sidecar_space *space, u64 block)
{
	u64 chunk = block / CHUNK_BITS;
	u32 bit = block % CHUNK_BITS;

	return chunk < space->chunk_count && space->chunks[chunk] &&
	       space->chunks[chunk][bit >> 6] >> (bit & 63) & 1;
}

/* The pointers grow with the file, the pages with what is known of it. */
static u64 *get_chunk(struct vhdx_sidecar_space *space, u64 chunk)
{
	if (chunk >= space->chunk_count) {
		u64 room = max_t(u64, 2 * space->chunk_count, chunk + FIRST_ROOM);
		u64 **chunks;

		if (room > INT_MAX / sizeof(*chunks))
			return NULL;
		chunks = vhdx_alloc(room * sizeof(*chunks));
		if (!chunks)
			return NULL;
		if (space->chunk_count)
			memcpy(chunks, space->chunks, space->chunk_count * sizeof(*chunks));
		vhdx_free(space->chunks);
		space->chunks = chunks;
		space->chunk_count = room;
	}
	if (!space->chunks[chunk])
		space->chunks[chunk] = vhdx_alloc(VHDX_PAGE);
	return space->chunks[chunk];
}

int vhdx_sidecar_claim_block(struct vhdx_sidecar *sidecar, u64 block)
{
	struct vhdx_sidecar_space *space = &sidecar->space;
	u32 bit = block % CHUNK_BITS;
	u64 *chunk;

	if (is_used(space, block))
		return -EEXIST;
	chunk = get_chunk(space, block / CHUNK_BITS);
	if (!chunk)
		return -ENOMEM;
	chunk[bit >> 6] |= 1ULL << (bit & 63);
	space->used++;
	return 0;
}

void vhdx_sidecar_unclaim_block(struct vhdx_sidecar *sidecar, u64 block)
{
	struct vhdx_sidecar_space *space = &sidecar->space;
	u32 bit = block % CHUNK_BITS;

	if (!is_used(space, block))
		return;
	space->chunks[block / CHUNK_BITS][bit >> 6] &= ~(1ULL << (bit & 63));
	space->used--;
	if (block >= space->known_from)
		space->lowest_free = min(space->lowest_free, block);
}

void vhdx_sidecar_init_space(struct vhdx_sidecar *sidecar, u64 blocks, u64 end)
{
	struct vhdx_sidecar_space *space = &sidecar->space;

	space->fixed = vhdx_sidecar_fixed_blocks(sidecar->disk_size, sidecar->unit_shift);
	space->can_grow = blocks == ~0ULL;
	space->limit = min(blocks, vhdx_sidecar_most_blocks(sidecar->disk_size,
							    sidecar->unit_shift));
	space->end = max(end, space->fixed);
	space->known_from = space->end;
	space->lowest_free = space->end;
}

void vhdx_sidecar_release_space(struct vhdx_sidecar *sidecar)
{
	struct vhdx_sidecar_space *space = &sidecar->space;
	u32 i;

	for (i = 0; i < space->chunk_count; i++)
		vhdx_free(space->chunks[i]);
	vhdx_free(space->chunks);
	vhdx_block_list_release(&space->taken);
	vhdx_block_list_release(&space->doomed);
}

bool vhdx_sidecar_is_block(const struct vhdx_sidecar *sidecar, u64 block)
{
	return block >= sidecar->space.fixed && block < READ_ONCE(sidecar->space.end);
}

/* ---- taking and giving back ---- */

static bool has_room(const struct vhdx_sidecar *sidecar, u64 blocks)
{
	const struct vhdx_sidecar_space *space = &sidecar->space;

	if (vhdx_sidecar_is_walked(sidecar))
		return space->limit - space->fixed - space->used >= blocks;
	return space->limit - space->end >= blocks;
}

/* Behind @end there is nothing any more: what is free before it has to be known. */
static int find_room(struct vhdx_sidecar *sidecar, u64 blocks)
{
	int err = 0;

	if (!has_room(sidecar, blocks))
		vhdx_sidecar_release_retired(sidecar);
	if (!has_room(sidecar, blocks))
		err = vhdx_sidecar_walk(sidecar, ~0U, NULL);
	if (!err && !has_room(sidecar, blocks))
		err = -ENOSPC;
	return err;
}

/* Free blocks that are there, as far as is known. */
static u64 count_free(const struct vhdx_sidecar *sidecar)
{
	const struct vhdx_sidecar_space *space = &sidecar->space;

	return vhdx_sidecar_is_walked(sidecar) ? space->end - space->fixed - space->used : 0;
}

static int grow(struct vhdx_sidecar *sidecar, u64 blocks)
{
	void *zeroes = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	int err = zeroes ? 0 : -ENOMEM;

	while (!err && blocks--) {
		err = vhdx_sidecar_write_blocks(sidecar, sidecar->space.end, zeroes, 1);
		sidecar->space.end += !err;
	}
	vhdx_free(zeroes);
	return err;
}

int vhdx_sidecar_make_room(struct vhdx_sidecar *sidecar, u64 blocks)
{
	int err = find_room(sidecar, blocks);
	u64 there;

	if (err || !sidecar->space.can_grow || !vhdx_sidecar_is_walked(sidecar))
		return err;
	there = count_free(sidecar);
	return there < blocks ? grow(sidecar, blocks - there) : 0;
}

static u64 find_free(const struct vhdx_sidecar_space *space)
{
	u64 block = space->lowest_free;

	for (;;) {
		u64 chunk = block / CHUNK_BITS;
		u32 word = block % CHUNK_BITS >> 6;
		u64 free;

		if (chunk >= space->chunk_count || !space->chunks[chunk])
			return block;
		free = ~space->chunks[chunk][word] & (~0ULL << (block & 63));
		if (free)
			return (block & ~63ULL) + __ffs64(free);
		block = (block & ~63ULL) + 64;
	}
}

/* The end is far enough from what is kept free for others. */
static u64 choose_block(struct vhdx_sidecar *sidecar, u32 spare)
{
	struct vhdx_sidecar_space *space = &sidecar->space;
	u64 free = find_free(space);

	space->lowest_free = free;
	if (space->can_grow && vhdx_sidecar_is_walked(sidecar) && count_free(sidecar) <= spare)
		return space->end;
	return free;
}

int vhdx_sidecar_take_block(struct vhdx_sidecar *sidecar, u32 spare, u64 *block)
{
	struct vhdx_sidecar_space *space = &sidecar->space;
	u64 found;
	int err;

	err = find_room(sidecar, spare + 1ULL);
	if (err)
		return err;
	found = choose_block(sidecar, spare);
	err = vhdx_sidecar_claim_block(sidecar, found);
	if (err)
		return err;
	err = vhdx_block_list_add(&space->taken, found);
	if (err) {
		vhdx_sidecar_unclaim_block(sidecar, found);
		return err;
	}
	space->end = max(space->end, found + 1);
	*block = found;
	return 0;
}

u32 vhdx_sidecar_begin(struct vhdx_sidecar *sidecar)
{
	vhdx_sidecar_release_retired(sidecar);
	vhdx_block_list_release(&sidecar->space.taken);
	sidecar->space.old_end = sidecar->space.end;
	return sidecar->space.doomed.count;
}

void vhdx_sidecar_undo(struct vhdx_sidecar *sidecar, u32 doomed)
{
	struct vhdx_sidecar_space *space = &sidecar->space;

	while (space->taken.count)
		vhdx_sidecar_unclaim_block(sidecar, space->taken.blocks[--space->taken.count]);
	space->doomed.count = doomed;
	space->end = space->old_end;
}

u64 vhdx_sidecar_used_bytes(const struct vhdx_sidecar *sidecar)
{
	const struct vhdx_sidecar_space *space = &sidecar->space;
	u64 blocks = vhdx_sidecar_is_walked(sidecar) ? space->fixed + space->used :
						       space->end;

	return blocks << VHDX_SIDECAR_BLOCK_SHIFT;
}

u64 vhdx_sidecar_limit_bytes(const struct vhdx_sidecar *sidecar)
{
	const struct vhdx_sidecar_space *space = &sidecar->space;

	return space->can_grow ? 0 : space->limit << VHDX_SIDECAR_BLOCK_SHIFT;
}
