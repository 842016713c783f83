// SPDX-License-Identifier: GPL-2.0-only
#include "simulation.h"

vhdx_guid new_guid(void)
{
	vhdx_guid guid = { { 1 } };

	sim.guids++;
	memcpy(guid.b + 8, &sim.guids, sizeof(sim.guids));
	return guid;
}

vhdx_guid new_log_guid(void)
{
	vhdx_guid guid = { { 2 } };

	sim.log_guids++;
	memcpy(guid.b + 8, &sim.log_guids, sizeof(sim.log_guids));
	return guid;
}

u64 *epoch_of(const vhdx_guid *guid)
{
	u64 number;

	memcpy(&number, guid->b + 8, sizeof(number));
	return &sim.epochs.of[number % EPOCHS];
}
