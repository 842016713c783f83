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
FIELD(struct vhdx_sidecar_delta, reserved, 24);

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
FIELD(struct vhdx_sidecar_header, coarse_offset, 160);
FIELD(struct vhdx_sidecar_header, coarse_length, 168);
FIELD(struct vhdx_sidecar_header, coarse_region_shift, 176);
FIELD(struct vhdx_sidecar_header, reserved, 180);
FIELD(struct vhdx_sidecar_header, crc, 4092);

FIELD(struct vhdx_sidecar_link, magic, 0);
FIELD(struct vhdx_sidecar_link, count, 4);
FIELD(struct vhdx_sidecar_link, next, 8);
FIELD(struct vhdx_sidecar_link, next_crc, 16);
FIELD(struct vhdx_sidecar_link, reserved, 20);

FIELD(struct vhdx_sidecar_point, guid, 0);
FIELD(struct vhdx_sidecar_point, sequence, 16);
FIELD(struct vhdx_sidecar_point, time_ns, 24);
FIELD(struct vhdx_sidecar_point, kind, 32);
FIELD(struct vhdx_sidecar_point, flags, 36);
FIELD(struct vhdx_sidecar_point, before, 40);
FIELD(struct vhdx_sidecar_point, label_length, 72);
FIELD(struct vhdx_sidecar_point, reserved, 76);
FIELD(struct vhdx_sidecar_point, label, 80);
FIELD(struct vhdx_sidecar_point, reserved2, 144);

FIELD(struct vhdx_sidecar_entry, leaf, 0);
FIELD(struct vhdx_sidecar_entry, crc, 4);
FIELD(struct vhdx_sidecar_entry, block, 8);
