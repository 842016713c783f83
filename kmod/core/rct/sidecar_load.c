// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Reading a sidecar. Every byte of it may be hostile: all counts are bounded by the
 * disk's geometry or by the size of the file before memory is taken for them.
 */
#include "sidecar_private.h"
#include "core/bits.h"

/* Behind one that is being sealed nothing is saved, so that dropping it takes no merging. */
int vhdx_sidecar_find_misplaced(const struct vhdx_sidecar *sidecar)
{
	const struct vhdx_timeline *timeline = &sidecar->timeline;
	u32 i;

	for (i = 0; i < timeline->count; i++)
		if (!timeline->points[i]->issued &&
		    (i < timeline->count - 1 || sidecar->state != VHDX_SIDECAR_ON ||
		     timeline->live.leaf_count))
			return i;
	return -1;
}

static int check_issued(const struct vhdx_sidecar *sidecar, struct vhdx_diag *diag)
{
	int position = vhdx_sidecar_find_misplaced(sidecar);

	if (position < 0)
		return 0;
	return vhdx_sidecar_damaged(diag, "point %d of %u is not issued, state %u, %u leaves follow",
				    position, sidecar->timeline.count, sidecar->state,
				    sidecar->timeline.live.leaf_count);
}

int vhdx_sidecar_read_tree(struct vhdx_sidecar *sidecar, u64 block_max, bool read_only,
			   struct vhdx_diag *diag)
{
	u32 count;
	int err;

	sidecar->read_only = read_only;
	err = vhdx_sidecar_read_header(sidecar, block_max, read_only, &count, diag);
	if (!err)
		err = vhdx_sidecar_read_points(sidecar, count, diag);
	return err ?: check_issued(sidecar, diag);
}

/* A sector that can't be read is left without its magic. */
static int read_sectors(struct vhdx_store *store, u64 offset, u8 *area, size_t size, u8 *buf)
{
	size_t at;
	int err;

	for (at = 0; at < size; at += VHDX_COARSE_SECTOR) {
		if (vhdx_interrupted())
			return -EINTR;
		err = store->read(store, offset + at, buf, VHDX_COARSE_SECTOR);
		if (err == -ENOMEM || err == -EINTR)
			return err;
		if (err)
			memset(area + at, 0, VHDX_COARSE_SECTOR);
		else
			memcpy(area + at, buf, VHDX_COARSE_SECTOR);
	}
	return 0;
}

static int read_area(struct vhdx_store *store, u8 *area, size_t size)
{
	const u64 offset = (u64)VHDX_SIDECAR_COARSE_BLOCK << VHDX_SIDECAR_BLOCK_SHIFT;
	int err = store->read(store, offset, area, size);
	u8 *buf;

	if (!err || err == -ENOMEM || err == -EINTR)
		return err;
	buf = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	if (!buf)
		return -ENOMEM;
	err = read_sectors(store, offset, area, size, buf);
	vhdx_free(buf);
	return err;
}

/* A slot that can't be read has no token. They are counted together with the sectors. */
static int read_tokens(struct vhdx_sidecar *sidecar, const u8 *area, struct vhdx_diag *diag)
{
	struct vhdx_store *store = sidecar->store;
	const void *slots[VHDX_TOKEN_SLOTS];
	u8 *buf = vhdx_alloc(VHDX_TOKEN_SLOTS * VHDX_SIDECAR_BLOCK);
	int err = buf ? 0 : vhdx_no_memory(diag);
	u32 i;

	for (i = 0; i < VHDX_TOKEN_SLOTS && !err; i++) {
		u8 *slot = buf + i * VHDX_SIDECAR_BLOCK;

		err = store->read(store, (VHDX_SIDECAR_TOKEN_BLOCK + i) * VHDX_SIDECAR_BLOCK, slot,
				  VHDX_SIDECAR_BLOCK);
		slots[i] = err ? NULL : slot;
		if (err != -ENOMEM && err != -EINTR)
			err = 0;
	}
	if (!err) {
		vhdx_token_judge(slots, &sidecar->coarse, area, &sidecar->token);
		sidecar->coarse_commit = max(sidecar->coarse_commit, sidecar->token.commit);
	}
	vhdx_free(buf);
	return err;
}

static int judge_area(struct vhdx_sidecar *sidecar, const u8 *area, u64 *bits,
		      struct vhdx_diag *diag)
{
	const struct vhdx_coarse_geometry *geo = &sidecar->coarse;

	if (vhdx_coarse_judge(geo, area, sidecar->sequence, bits, &sidecar->coarse_commit))
		return vhdx_sidecar_damaged(diag,
			"its newest header is lost: regions were written after it, and the other one, number %llu, is older",
			sidecar->sequence);
	if (vhdx_find_bit(bits, 0, 0, geo->regions) == geo->regions)
		return 0;
	sidecar->found = bits;
	return 0;
}

static int load_coarse(struct vhdx_sidecar *sidecar, struct vhdx_diag *diag)
{
	const struct vhdx_coarse_geometry *geo = &sidecar->coarse;
	size_t size = (size_t)geo->blocks << VHDX_SIDECAR_BLOCK_SHIFT;
	u64 *bits = vhdx_alloc((size_t)geo->sectors * VHDX_COARSE_BYTES);
	u8 *area = vhdx_alloc(size);
	int err = bits && area ? 0 : vhdx_no_memory(diag);

	if (!err)
		err = read_area(sidecar->store, area, size);
	if (!err)
		err = judge_area(sidecar, area, bits, diag);
	if (!err)
		err = read_tokens(sidecar, area, diag);
	vhdx_free(area);
	if (!sidecar->found)
		vhdx_free(bits);
	return err;
}

int vhdx_sidecar_load(struct vhdx_sidecar *sidecar, struct vhdx_store *store, bool can_grow,
		      bool read_only, struct vhdx_diag *diag)
{
	u64 blocks = store->size >> VHDX_SIDECAR_BLOCK_SHIFT;
	int err;

	memset(sidecar, 0, sizeof(*sidecar));
	sidecar->store = store;
	sidecar->space.can_grow = can_grow;
	sidecar->space.limit = blocks;
	if (!store->size)
		return vhdx_sidecar_empty(diag);
	err = vhdx_sidecar_read_tree(sidecar, blocks, read_only, diag);
	if (!err)
		err = load_coarse(sidecar, diag);
	if (err || read_only)
		return err;

	/*
	 * What was read may not be durable: its writer may have died before the flush.
	 * Blocks that this header doesn't name are about to be reused; the header before
	 * it may still need them unless this one is there to stay.
	 */
	err = store->flush(store);
	if (err)
		return vhdx_io_failed(diag, err, "sidecar: flushing it failed (%d)", err);
	return 0;
}

void vhdx_sidecar_release(struct vhdx_sidecar *sidecar)
{
	struct vhdx_timeline *timeline = &sidecar->timeline;
	u32 i;

	for (i = 0; i < timeline->count; i++)
		vhdx_free(timeline->points[i]);
	vhdx_free(timeline->points);
	vhdx_free(sidecar->points.tables);
	vhdx_free(sidecar->found);
	vhdx_sidecar_release_space(sidecar);
	memset(sidecar, 0, sizeof(*sidecar));
}
