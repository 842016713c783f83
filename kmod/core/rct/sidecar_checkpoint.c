// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Saving the live delta, leaf by leaf: what did not change since the last time stays in the
 * blocks where it is, whole tables of the index included, and so does what regions say that
 * stay set.
 */
#include "sidecar_private.h"
#include "core/bits.h"

/**
 * struct checkpoint - one that is being written
 * @sidecar:	whose live delta it saves
 * @map:	the live map
 * @regions:	whose leaves are written
 * @writer:	of the new one
 * @old:	goes through the one before
 * @replaced:	units in those of its leaves that are written anew
 * @written:	units in what they are written as
 * @pack:	fill tables instead of keeping them
 * @words:	scratch
 */
struct checkpoint {
	struct vhdx_sidecar *sidecar;
	const struct vhdx_changemap *map;
	const u64 *regions;
	struct vhdx_delta_writer writer;
	struct vhdx_index_iter old;
	u64 replaced;
	u64 written;
	bool pack;
	u64 *words;
};

/* The first leaf from @leaf on that one of the regions is in. */
static u32 next_leaf(const struct checkpoint *checkpoint, u32 leaf)
{
	const struct vhdx_sidecar *sidecar = checkpoint->sidecar;
	const u32 shift = VHDX_LEAF_SHIFT + sidecar->unit_shift - sidecar->coarse.region_shift;
	const u32 regions = sidecar->coarse.regions;
	u32 region = vhdx_find_bit(checkpoint->regions, 0, leaf << shift, regions);

	return region == regions ? VHDX_NO_LEAF : region >> shift;
}

static void doom_table(struct checkpoint *checkpoint)
{
	const struct vhdx_table_ref *table = vhdx_index_iter_table(&checkpoint->old);

	if (table)
		vhdx_sidecar_doom_block(checkpoint->sidecar, table->block);
}

static int write_leaf(struct checkpoint *checkpoint, u32 leaf)
{
	u64 before = checkpoint->writer.units;
	int err;

	memset(checkpoint->words, 0, VHDX_PAGE);
	vhdx_changemap_leaf_or(checkpoint->map, leaf, checkpoint->words);
	err = vhdx_delta_writer_add(&checkpoint->writer, leaf, checkpoint->words);
	checkpoint->written += checkpoint->writer.units - before;
	return err;
}

/* The next leaf of the old one stays as it is, or is leaf number @next and goes. */
static int pass_old(struct checkpoint *checkpoint, u32 next)
{
	const struct vhdx_delta_leaf *entry;
	int err;

	/* A table is read now, for its first leaf, and not kept. */
	doom_table(checkpoint);
	err = vhdx_index_iter_peek(&checkpoint->old, &entry, NULL);
	if (err)
		return err;
	if (entry->leaf == next) {
		checkpoint->replaced += entry->units;
		vhdx_sidecar_doom_block(checkpoint->sidecar, entry->block);
	} else {
		err = vhdx_delta_writer_put(&checkpoint->writer, entry);
	}
	vhdx_index_iter_next(&checkpoint->old);
	return err;
}

/* 1: done; 0: not this way. */
static int keep_table(struct checkpoint *checkpoint, u32 next)
{
	const struct vhdx_table_ref *table;
	int err;

	table = vhdx_index_iter_table_before(&checkpoint->old, next);
	if (!table || checkpoint->pack)
		return 0;
	err = vhdx_delta_writer_keep(&checkpoint->writer, table);
	if (err)
		return err == -EAGAIN ? 0 : err;
	vhdx_index_iter_next(&checkpoint->old);
	return 1;
}

static int write_leaves(struct checkpoint *checkpoint)
{
	u32 next = next_leaf(checkpoint, 0);
	u32 old;
	int err = 0;

	for (;;) {
		err = keep_table(checkpoint, next);
		if (err < 0)
			return err;
		if (err)
			continue;
		old = vhdx_index_iter_leaf(&checkpoint->old);
		if (old == VHDX_NO_LEAF && next == VHDX_NO_LEAF)
			return 0;
		if (old <= next)
			err = pass_old(checkpoint, next);
		if (!err && next <= old) {
			err = write_leaf(checkpoint, next);
			next = next_leaf(checkpoint, next + 1);
		}
		if (err)
			return err;
		vhdx_breathe();
	}
}

static int run(struct checkpoint *checkpoint, struct vhdx_delta *saved)
{
	const struct vhdx_delta *live = &checkpoint->sidecar->timeline.live;
	int err;

	memset(saved, 0, sizeof(*saved));
	checkpoint->words = vhdx_alloc(VHDX_PAGE);
	err = checkpoint->words ? 0 : -ENOMEM;
	err = err ?: vhdx_delta_writer_init(&checkpoint->writer, checkpoint->sidecar,
					    VHDX_SIDECAR_SPARE_FOR_DELTAS);
	err = err ?: vhdx_index_iter_init(&checkpoint->old, checkpoint->sidecar, live, NULL);
	err = err ?: write_leaves(checkpoint);
	err = err ?: vhdx_delta_writer_finish(&checkpoint->writer, saved);
	vhdx_index_iter_release(&checkpoint->old);
	vhdx_delta_writer_release(&checkpoint->writer);
	vhdx_free(checkpoint->words);
	if (err)
		return err;
	saved->changed_units = live->changed_units - checkpoint->replaced + checkpoint->written;
	vhdx_sidecar_doom_block(checkpoint->sidecar, live->index_block);
	return 0;
}

/* Of a delta that keeps blocks of another one all blocks have to be known. */
static int write_some(struct vhdx_sidecar *sidecar, const struct vhdx_changemap *map,
		      const u64 *regions, struct vhdx_delta *saved)
{
	u32 doomed;
	int err, i;

	err = vhdx_sidecar_learn_delta(sidecar, &sidecar->timeline.live, NULL);
	if (err)
		return err;
	doomed = vhdx_sidecar_begin(sidecar);
	for (i = 0; i < 2; i++) {
		struct checkpoint checkpoint = {
			.sidecar = sidecar, .map = map, .regions = regions, .pack = i,
		};

		err = run(&checkpoint, saved);
		if (!err)
			return 0;
		vhdx_sidecar_undo(sidecar, doomed);
		/* Small tables that were kept filled the root. */
		if (err != -E2BIG)
			return err;
	}
	return -EUCLEAN;
}

int vhdx_sidecar_checkpoint(struct vhdx_sidecar *sidecar, const struct vhdx_changemap *map,
			    const u64 *regions)
{
	struct vhdx_delta *live = &sidecar->timeline.live;
	struct vhdx_delta former, saved = { };
	bool all = live->gap_reason || !regions;
	int err = 0;

	if (!all)
		err = write_some(sidecar, map, regions, &saved);
	/* All of it is in memory: what can't be read is not needed. */
	if (err == -EUCLEAN || err == -EIO)
		all = true;
	if (all)
		err = live->gap_reason ? 0 : vhdx_sidecar_write_delta(sidecar, map, &saved);
	if (err)
		return err;
	former = *live;
	vhdx_sidecar_copy_marks(&saved, &former);
	vhdx_sidecar_begin_change(sidecar);
	*live = saved;
	vhdx_sidecar_end_change(sidecar);
	if (all)
		vhdx_sidecar_drop_delta(sidecar, &former);
	return 0;
}
