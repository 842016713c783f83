// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an attach finds in the log is written in place. A sidecar that is strict is told of the
 * headers that are written for it (rule T6).
 */
#include "simulation.h"
#include "core/rct/ondisk.h"

static void announce_replay(const struct vhdx_header *header)
{
	struct vhdx_sidecar sidecar;
	struct vhdx_diag diag = { };
	struct vhdx_token token = { .sequence = header->sequence + 4 };
	void *block;
	int err;

	err = vhdx_sidecar_load(&sidecar, &sim.file.store, true, false, &diag);
	if (!err)
		err = bind_to_container(&sidecar, header, header->sequence, &diag);
	if (!err && sidecar.strict && !sidecar.closed && !sidecar.timeline.live.gap_reason &&
	    token.sequence > sidecar.token.sequence && RULE(token)) {
		token.commit = sidecar.coarse_commit + 1;
		block = vhdx_alloc(VHDX_SIDECAR_BLOCK);
		vhdx_sidecar_write_token(&sidecar, &token, block);
		vhdx_free(block);
	}
	vhdx_sidecar_release(&sidecar);
}

static int replay(const struct vhdx_header *header)
{
	struct vhdx_store *store = &sim.view.store;
	struct vhdx_log_scan log;
	struct vhdx_diag diag = { };
	int err = vhdx_log_scan(store, header, &log, &diag);

	/* FileWriteGuid first. */
	if (!err)
		err = layer_update_header(NULL, NULL, true);
	if (!err && view_length(log.last_file_offset) > sim.container.length)
		err = fake_store_resize(&sim.container, view_length(log.last_file_offset));
	if (!err)
		err = vhdx_log_replay(store, header, &log, &diag);
	if (!err && RULE(replay_flush))
		err = store->flush(store);
	return err;
}

void run_replay(void *unused)
{
	static const vhdx_guid none;
	struct vhdx_header header = sim.driver.header;

	(void)unused;
	if (vhdx_guid_is_zero(&header.log_guid))
		return;
	sim.counters.replays++;
	announce_replay(&header);
	if (!sim.cut && !replay(&header))
		layer_update_header(NULL, &none, true);
}
