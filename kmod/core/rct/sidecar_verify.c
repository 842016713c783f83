// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "sidecar_private.h"

/*
 * A damaged sector costs nothing but exactness, for load takes all of its regions for set: only
 * here it is said.
 */
static int verify_sectors(const struct vhdx_sidecar *sidecar, u64 *bits, u8 *buf,
			  struct vhdx_diag *diag)
{
	const u64 area = (u64)VHDX_SIDECAR_COARSE_BLOCK << VHDX_SIDECAR_BLOCK_SHIFT;
	u64 generation, commit;
	u32 i;
	int err;

	for (i = 0; i < sidecar->coarse.sectors; i++) {
		u64 offset = area + (u64)i * VHDX_COARSE_SECTOR;

		err = sidecar->store->read(sidecar->store, offset, buf, VHDX_COARSE_SECTOR);
		if (err)
			return vhdx_io_failed(diag, err,
				"sidecar: reading regions at offset %llu failed (%d)", offset, err);
		if (!vhdx_coarse_decode(i, buf, &generation, &commit, bits))
			return vhdx_fail(diag, -EUCLEAN, VHDX_REASON_INCONSISTENT,
				"sidecar: damaged: regions at offset %llu: answers have all of them and miss nothing; to have them written anew, attach, write to the disk and detach",
				offset);
	}
	return 0;
}

/* One of them may be torn, or about to be written: a session needs the other. */
static int verify_tokens(const struct vhdx_sidecar *sidecar, u8 *buf, struct vhdx_diag *diag)
{
	u64 offset;
	u32 i;
	int err;

	for (i = 0; i < VHDX_TOKEN_SLOTS; i++) {
		offset = (VHDX_SIDECAR_TOKEN_BLOCK + i) * VHDX_SIDECAR_BLOCK;
		err = sidecar->store->read(sidecar->store, offset, buf, VHDX_SIDECAR_BLOCK);
		if (err)
			return vhdx_io_failed(diag, err,
				"sidecar: reading a token at offset %llu failed (%d)", offset, err);
	}
	if (!sidecar->strict || sidecar->closed || sidecar->token.sequence)
		return 0;
	return vhdx_sidecar_damaged(diag,
		"it is strict, and neither token at offset %llu counts",
		(u64)VHDX_SIDECAR_TOKEN_BLOCK << VHDX_SIDECAR_BLOCK_SHIFT);
}

static int verify_fixed(const struct vhdx_sidecar *sidecar, struct vhdx_diag *diag)
{
	u64 *bits = vhdx_alloc(VHDX_COARSE_BYTES);
	u8 *buf = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	int err = bits && buf ? 0 : vhdx_no_memory(diag);

	if (!err)
		err = verify_sectors(sidecar, bits, buf, diag);
	if (!err)
		err = verify_tokens(sidecar, buf, diag);
	vhdx_free(buf);
	vhdx_free(bits);
	return err;
}

static int verify_leaf(const struct vhdx_sidecar *sidecar, const struct vhdx_delta_leaf *entry,
		       u64 *words, void *buf, struct vhdx_diag *diag)
{
	u32 i, units = 0;
	int err;

	memset(words, 0, VHDX_PAGE);
	err = vhdx_sidecar_read_entry(sidecar, entry, words, buf, diag);
	if (err)
		return err;
	for (i = 0; i < VHDX_LEAF_WORDS; i++)
		units += hweight64(words[i]);
	units = min(units, vhdx_sidecar_leaf_units(sidecar, entry->leaf));
	if (units != entry->units)
		return vhdx_sidecar_damaged(diag, "leaf number %u has %u units, not %u",
					    entry->leaf, units, entry->units);
	return 0;
}

static int verify_leaves(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
			 u64 *words, void *buf, struct vhdx_diag *diag)
{
	const struct vhdx_delta_leaf *entry;
	struct vhdx_index_iter iter;
	u64 units = 0;
	int err;

	err = vhdx_index_iter_init(&iter, sidecar, delta, diag);
	while (!err) {
		err = vhdx_index_iter_peek(&iter, &entry, diag);
		if (err || !entry)
			break;
		units += entry->units;
		err = verify_leaf(sidecar, entry, words, buf, diag);
		vhdx_index_iter_next(&iter);
		vhdx_breathe();
	}
	vhdx_index_iter_release(&iter);
	if (!err && units != delta->changed_units)
		err = vhdx_sidecar_damaged(diag, "a delta has %llu units, not %llu", units,
					   delta->changed_units);
	return err;
}

static int verify_deltas(const struct vhdx_sidecar *sidecar, struct vhdx_diag *diag)
{
	const struct vhdx_timeline *timeline = &sidecar->timeline;
	u64 *words = vhdx_alloc(VHDX_PAGE);
	void *buf = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	int err = words && buf ? 0 : vhdx_no_memory(diag);
	u32 i;

	for (i = 0; !err && i < timeline->count; i++)
		err = verify_leaves(sidecar, &timeline->points[i]->before, words, buf, diag);
	if (!err)
		err = verify_leaves(sidecar, &timeline->live, words, buf, diag);
	vhdx_free(buf);
	vhdx_free(words);
	return err;
}

/*
 * Reads the file as load would, by itself: what memory holds may be right while the
 * file is not. Tokens were judged when it was loaded.
 */
int vhdx_sidecar_verify(const struct vhdx_sidecar *sidecar, struct vhdx_diag *diag)
{
	struct vhdx_sidecar copy = {
		.store = sidecar->store,
		.space.can_grow = sidecar->space.can_grow,
		.space.limit = sidecar->space.limit,
	};
	int err;

	/* The store's size is that of the time when it was opened. */
	err = vhdx_sidecar_read_tree(&copy, sidecar->block_count, true, diag);
	if (!err && copy.sequence != sidecar->sequence)
		err = vhdx_sidecar_damaged(diag, "the header has sequence number %llu, not %llu",
					   copy.sequence, sidecar->sequence);
	/* No block is named twice. */
	if (!err)
		err = vhdx_sidecar_walk(&copy, ~0U, diag);
	if (!err)
		err = verify_deltas(&copy, diag);
	vhdx_sidecar_release(&copy);
	if (!err)
		err = verify_fixed(sidecar, diag);
	return err;
}
