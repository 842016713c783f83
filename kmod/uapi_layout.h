/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where every field of the contract lies, for callers of 32 and of 64 bits alike.
 * Compiled into the module, and by selftests/static/uapi for each of them.
 */
#ifndef VHDX_UAPI_LAYOUT_H
#define VHDX_UAPI_LAYOUT_H

#define SIZE(type, size) \
	static_assert(sizeof(type) == (size))
#define FIELD(type, field, offset) \
	static_assert(offsetof(type, field) == (offset))

SIZE(struct vhdx_point_id, 32);
FIELD(struct vhdx_point_id, guid, 0);
FIELD(struct vhdx_point_id, sequence, 16);
FIELD(struct vhdx_point_id, kind, 24);
FIELD(struct vhdx_point_id, reserved, 28);

SIZE(struct vhdx_range, 16);
FIELD(struct vhdx_range, byte_offset, 0);
FIELD(struct vhdx_range, byte_length, 8);

SIZE(struct vhdx_layer, 16);
FIELD(struct vhdx_layer, container_fd, 0);
FIELD(struct vhdx_layer, sidecar_fd, 4);
FIELD(struct vhdx_layer, flags, 8);
FIELD(struct vhdx_layer, reserved, 12);

SIZE(struct vhdx_attach, 40);
FIELD(struct vhdx_attach, size, 0);
FIELD(struct vhdx_attach, flags, 4);
FIELD(struct vhdx_attach, layers, 8);
FIELD(struct vhdx_attach, layer_count, 16);
FIELD(struct vhdx_attach, index, 20);
FIELD(struct vhdx_attach, message, 24);
FIELD(struct vhdx_attach, message_capacity, 32);
FIELD(struct vhdx_attach, reason, 36);

SIZE(struct vhdx_detach, 16);
FIELD(struct vhdx_detach, size, 0);
FIELD(struct vhdx_detach, flags, 4);
FIELD(struct vhdx_detach, index, 8);
FIELD(struct vhdx_detach, reason, 12);

SIZE(struct vhdx_seal, 104);
FIELD(struct vhdx_seal, size, 0);
FIELD(struct vhdx_seal, flags, 4);
FIELD(struct vhdx_seal, fds, 8);
FIELD(struct vhdx_seal, ids, 16);
FIELD(struct vhdx_seal, count, 24);
FIELD(struct vhdx_seal, label_length, 28);
FIELD(struct vhdx_seal, label, 32);
FIELD(struct vhdx_seal, failed, 96);
FIELD(struct vhdx_seal, reason, 100);

SIZE(struct vhdx_info, 72);
FIELD(struct vhdx_info, size, 0);
FIELD(struct vhdx_info, flags, 4);
FIELD(struct vhdx_info, index, 8);
FIELD(struct vhdx_info, disk_flags, 12);
FIELD(struct vhdx_info, virtual_disk_size, 16);
FIELD(struct vhdx_info, virtual_disk_id, 24);
FIELD(struct vhdx_info, data_write_guid, 40);
FIELD(struct vhdx_info, block_size, 56);
FIELD(struct vhdx_info, logical_sector_size, 60);
FIELD(struct vhdx_info, physical_sector_size, 64);
FIELD(struct vhdx_info, reason, 68);

SIZE(struct vhdx_tracking_state, 64);
FIELD(struct vhdx_tracking_state, size, 0);
FIELD(struct vhdx_tracking_state, flags, 4);
FIELD(struct vhdx_tracking_state, state, 8);
FIELD(struct vhdx_tracking_state, newer_changes, 12);
FIELD(struct vhdx_tracking_state, most_recent_id, 16);
FIELD(struct vhdx_tracking_state, unit, 48);
FIELD(struct vhdx_tracking_state, point_count, 52);
FIELD(struct vhdx_tracking_state, gap_reason, 56);
FIELD(struct vhdx_tracking_state, reason, 60);

SIZE(struct vhdx_tracking_enable, 64);
FIELD(struct vhdx_tracking_enable, size, 0);
FIELD(struct vhdx_tracking_enable, flags, 4);
FIELD(struct vhdx_tracking_enable, sidecar_fd, 8);
FIELD(struct vhdx_tracking_enable, unit, 12);
FIELD(struct vhdx_tracking_enable, message, 16);
FIELD(struct vhdx_tracking_enable, message_capacity, 24);
FIELD(struct vhdx_tracking_enable, reason, 28);
FIELD(struct vhdx_tracking_enable, first_point, 32);

SIZE(struct vhdx_tracking_disable, 16);
FIELD(struct vhdx_tracking_disable, size, 0);
FIELD(struct vhdx_tracking_disable, flags, 4);
FIELD(struct vhdx_tracking_disable, reason, 8);
FIELD(struct vhdx_tracking_disable, reserved, 12);

SIZE(struct vhdx_tracking_reset, 48);
FIELD(struct vhdx_tracking_reset, size, 0);
FIELD(struct vhdx_tracking_reset, flags, 4);
FIELD(struct vhdx_tracking_reset, reason, 8);
FIELD(struct vhdx_tracking_reset, reserved, 12);
FIELD(struct vhdx_tracking_reset, first_point, 16);

SIZE(struct vhdx_point, 112);
FIELD(struct vhdx_point, id, 0);
FIELD(struct vhdx_point, time_ns, 32);
FIELD(struct vhdx_point, gap_reason, 40);
FIELD(struct vhdx_point, label_length, 44);
FIELD(struct vhdx_point, label, 48);

SIZE(struct vhdx_get_points, 40);
FIELD(struct vhdx_get_points, size, 0);
FIELD(struct vhdx_get_points, flags, 4);
FIELD(struct vhdx_get_points, output, 8);
FIELD(struct vhdx_get_points, output_capacity, 16);
FIELD(struct vhdx_get_points, output_count, 20);
FIELD(struct vhdx_get_points, first, 24);
FIELD(struct vhdx_get_points, point_count, 28);
FIELD(struct vhdx_get_points, reason, 32);
FIELD(struct vhdx_get_points, reserved, 36);

SIZE(struct vhdx_forget, 48);
FIELD(struct vhdx_forget, size, 0);
FIELD(struct vhdx_forget, flags, 4);
FIELD(struct vhdx_forget, id, 8);
FIELD(struct vhdx_forget, reason, 40);
FIELD(struct vhdx_forget, reserved, 44);

SIZE(struct vhdx_get_virtual_disk_changes, 184);
FIELD(struct vhdx_get_virtual_disk_changes, size, 0);
FIELD(struct vhdx_get_virtual_disk_changes, flags, 4);
FIELD(struct vhdx_get_virtual_disk_changes, limit_id, 8);
FIELD(struct vhdx_get_virtual_disk_changes, target_id, 40);
FIELD(struct vhdx_get_virtual_disk_changes, byte_offset, 72);
FIELD(struct vhdx_get_virtual_disk_changes, byte_length, 80);
FIELD(struct vhdx_get_virtual_disk_changes, granularity, 88);
FIELD(struct vhdx_get_virtual_disk_changes, min_gap, 96);
FIELD(struct vhdx_get_virtual_disk_changes, output, 104);
FIELD(struct vhdx_get_virtual_disk_changes, output_capacity, 112);
FIELD(struct vhdx_get_virtual_disk_changes, output_count, 116);
FIELD(struct vhdx_get_virtual_disk_changes, processed_byte_length, 120);
FIELD(struct vhdx_get_virtual_disk_changes, virtual_disk_size, 128);
FIELD(struct vhdx_get_virtual_disk_changes, complete_to_id, 136);
FIELD(struct vhdx_get_virtual_disk_changes, unit, 168);
FIELD(struct vhdx_get_virtual_disk_changes, answer_flags, 172);
FIELD(struct vhdx_get_virtual_disk_changes, reason, 176);
FIELD(struct vhdx_get_virtual_disk_changes, reserved, 180);

#undef FIELD
#undef SIZE

#endif
