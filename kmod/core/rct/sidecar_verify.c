// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "sidecar_private.h"

static int verify_delta(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
			u64 *words, struct vhdx_diag *diag)
{
	void *buf = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	int err = buf ? 0 : vhdx_no_memory(diag);
	u32 i;

	for (i = 0; !err && i < delta->leaf_count; i++) {
		err = vhdx_sidecar_read_entry(sidecar, &delta->leaves[i], words, buf, diag);
		vhdx_breathe();
	}
	vhdx_free(buf);
	return err;
}

/*
 * Reads the file as load would, by itself: what memory holds may be right while the
 * file is not.
 */
int vhdx_sidecar_verify(const struct vhdx_sidecar *sidecar, struct vhdx_diag *diag)
{
	struct vhdx_sidecar copy = {
		.store = sidecar->store,
		.block_limit = sidecar->block_limit,
	};
	u64 *words = vhdx_alloc(VHDX_PAGE);
	int err;
	u32 i;

	if (!words)
		return vhdx_no_memory(diag);
	/* The store's size is that of the time when it was opened. */
	err = vhdx_sidecar_read_tree(&copy, sidecar->block_count, true, diag);
	if (!err && copy.sequence != sidecar->sequence)
		err = vhdx_sidecar_damaged(diag, "the header has sequence number %llu, not %llu",
					   copy.sequence, sidecar->sequence);
	for (i = 0; !err && i < copy.timeline.count; i++)
		err = verify_delta(&copy, &copy.timeline.points[i]->before, words, diag);
	if (!err)
		err = verify_delta(&copy, &copy.timeline.live, words, diag);
	vhdx_sidecar_release(&copy);
	vhdx_free(words);
	return err;
}
