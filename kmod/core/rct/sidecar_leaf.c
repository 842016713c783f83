// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Leaves of a change map in the file: 4 KiB, one bit per unit, bit 0 of byte 0 first.
 */
#include "sidecar_private.h"

#define BATCH	16U	/* leaves written in one go */

int vhdx_leaf_writer_init(struct vhdx_leaf_writer *writer, struct vhdx_sidecar *sidecar,
			  struct vhdx_delta *delta)
{
	writer->sidecar = sidecar;
	writer->delta = delta;
	writer->pending = 0;
	writer->buf = vhdx_alloc(BATCH * VHDX_SIDECAR_BLOCK);
	return writer->buf ? 0 : -ENOMEM;
}

int vhdx_leaf_writer_flush(struct vhdx_leaf_writer *writer)
{
	u32 pending = writer->pending;

	writer->pending = 0;
	if (!pending)
		return 0;
	vhdx_breathe();
	return vhdx_sidecar_write_blocks(writer->sidecar, writer->block, writer->buf, pending);
}

static int make_pending(struct vhdx_leaf_writer *writer, const u64 *words,
			struct vhdx_delta_leaf *entry)
{
	__le64 *raw;
	u32 i;
	int err = 0;

	if (writer->pending == BATCH || entry->block != writer->block + writer->pending)
		err = vhdx_leaf_writer_flush(writer);
	if (err)
		return err;
	if (!writer->pending)
		writer->block = entry->block;
	raw = writer->buf + writer->pending * VHDX_SIDECAR_BLOCK;
	for (i = 0; i < VHDX_LEAF_WORDS; i++)
		raw[i] = cpu_to_le64(words[i]);
	entry->crc = vhdx_sidecar_crc(raw, VHDX_SIDECAR_BLOCK);
	writer->pending++;
	return 0;
}

int vhdx_leaf_writer_add(struct vhdx_leaf_writer *writer, u32 leaf, const u64 *words)
{
	struct vhdx_delta *delta = writer->delta;
	struct vhdx_delta_leaf *entry = &delta->leaves[delta->leaf_count];
	u64 any = 0, all = ~0ULL;
	u32 i;
	int err;

	for (i = 0; i < VHDX_LEAF_WORDS; i++) {
		any |= words[i];
		all &= words[i];
	}
	if (!any)
		return 0;
	entry->leaf = leaf;
	entry->crc = 0;
	entry->block = VHDX_DELTA_ALL;
	if (~all) {
		err = vhdx_sidecar_take_block(writer->sidecar, &entry->block);
		if (err)
			return err;
	}
	delta->leaf_count++;
	return ~all ? make_pending(writer, words, entry) : 0;
}

int vhdx_sidecar_read_entry(const struct vhdx_sidecar *sidecar,
			    const struct vhdx_delta_leaf *entry, u64 *words, void *buf,
			    struct vhdx_diag *diag)
{
	const __le64 *raw = buf;
	int err;
	u32 i;

	if (entry->block == VHDX_DELTA_ALL) {
		memset(words, 0xff, VHDX_PAGE);
		return 0;
	}
	err = vhdx_sidecar_read_block(sidecar, entry->block, entry->crc, buf, "a leaf", diag);
	if (err)
		return err;
	for (i = 0; i < VHDX_LEAF_WORDS; i++)
		words[i] |= le64_to_cpu(raw[i]);
	return 0;
}
