// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Where every field of a sidecar lies. The sizes are asserted beside the structures;
 * selftests/static/layout finds a field that is in neither.
 */
#include "ondisk.h"

#define FIELD(type, field, offset) \
	static_assert(offsetof(type, field) == (offset))

FIELD(struct vhdx_sidecar_ref, block, 0);
FIELD(struct vhdx_sidecar_ref, crc, 8);
FIELD(struct vhdx_sidecar_ref, count, 12);

FIELD(struct vhdx_sidecar_delta, index, 0);
FIELD(struct vhdx_sidecar_delta, flags, 16);
FIELD(struct vhdx_sidecar_delta, gap_reason, 20);
FIELD(struct vhdx_sidecar_delta, gap_time_ns, 24);
FIELD(struct vhdx_sidecar_delta, changed_units, 32);
FIELD(struct vhdx_sidecar_delta, reserved, 40);

FIELD(struct vhdx_sidecar_header, magic, 0);
FIELD(struct vhdx_sidecar_header, version, 8);
FIELD(struct vhdx_sidecar_header, compat_features, 12);
FIELD(struct vhdx_sidecar_header, ro_compat_features, 16);
FIELD(struct vhdx_sidecar_header, incompat_features, 20);
FIELD(struct vhdx_sidecar_header, sequence, 24);
FIELD(struct vhdx_sidecar_header, disk_id, 32);
FIELD(struct vhdx_sidecar_header, disk_size, 48);
FIELD(struct vhdx_sidecar_header, unit_shift, 56);
FIELD(struct vhdx_sidecar_header, state, 60);
FIELD(struct vhdx_sidecar_header, current_guid, 64);
FIELD(struct vhdx_sidecar_header, next_guid, 80);
FIELD(struct vhdx_sidecar_header, next_point_sequence, 96);
FIELD(struct vhdx_sidecar_header, block_count, 104);
FIELD(struct vhdx_sidecar_header, points, 112);
FIELD(struct vhdx_sidecar_header, live, 128);
FIELD(struct vhdx_sidecar_header, flags, 176);
FIELD(struct vhdx_sidecar_header, region_shift, 180);
FIELD(struct vhdx_sidecar_header, reserved, 184);
FIELD(struct vhdx_sidecar_header, crc, 4092);

FIELD(struct vhdx_sidecar_head, magic, 0);
FIELD(struct vhdx_sidecar_head, count, 4);
FIELD(struct vhdx_sidecar_head, reserved, 8);

FIELD(struct vhdx_sidecar_table, block, 0);
FIELD(struct vhdx_sidecar_table, crc, 8);
FIELD(struct vhdx_sidecar_table, first, 12);
FIELD(struct vhdx_sidecar_table, count, 14);

FIELD(struct vhdx_sidecar_point, guid, 0);
FIELD(struct vhdx_sidecar_point, sequence, 16);
FIELD(struct vhdx_sidecar_point, time_ns, 24);
FIELD(struct vhdx_sidecar_point, kind, 32);
FIELD(struct vhdx_sidecar_point, flags, 36);
FIELD(struct vhdx_sidecar_point, before, 40);
FIELD(struct vhdx_sidecar_point, disk_size, 88);
FIELD(struct vhdx_sidecar_point, layer, 96);
FIELD(struct vhdx_sidecar_point, label_length, 100);
FIELD(struct vhdx_sidecar_point, label, 104);
FIELD(struct vhdx_sidecar_point, reserved, 168);

FIELD(struct vhdx_sidecar_entry, leaf, 0);
FIELD(struct vhdx_sidecar_entry, units, 2);
FIELD(struct vhdx_sidecar_entry, crc, 4);
FIELD(struct vhdx_sidecar_entry, block, 8);

FIELD(struct vhdx_coarse_sector, magic, 0);
FIELD(struct vhdx_coarse_sector, crc, 4);
FIELD(struct vhdx_coarse_sector, generation, 8);
FIELD(struct vhdx_coarse_sector, commit, 16);
FIELD(struct vhdx_coarse_sector, bits, 24);

FIELD(struct vhdx_sidecar_token, magic, 0);
FIELD(struct vhdx_sidecar_token, reserved, 4);
FIELD(struct vhdx_sidecar_token, commit, 8);
FIELD(struct vhdx_sidecar_token, container_sequence, 16);
FIELD(struct vhdx_sidecar_token, sectors, 24);
FIELD(struct vhdx_sidecar_token, reserved2, 88);
FIELD(struct vhdx_sidecar_token, crc, 4092);
