/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where every field of the contract lies, for callers of 32 and of 64 bits alike.
 * Compiled into the module, and by selftests/static/uapi for each of them. A structure's
 * SIZE grows with it; its VER0, the first published size, never changes.
 */
#ifndef VHDX_UAPI_LAYOUT_H
#define VHDX_UAPI_LAYOUT_H

#define SIZE(type, size) \
	static_assert(sizeof(type) == (size))
#define VER0(size, bytes) \
	static_assert((size) == (bytes))
#define FIELD(type, field, offset) \
	static_assert(offsetof(type, field) == (offset))

SIZE(struct vhdx_point_id, 32);
FIELD(struct vhdx_point_id, guid, 0);
FIELD(struct vhdx_point_id, sequence, 16);
FIELD(struct vhdx_point_id, kind, 24);
FIELD(struct vhdx_point_id, reserved, 28);

SIZE(struct vhdx_range, 24);
VER0(VHDX_RANGE_SIZE_VER0, 16);
FIELD(struct vhdx_range, byte_offset, 0);
FIELD(struct vhdx_range, byte_length, 8);
FIELD(struct vhdx_range, flags, 16);
FIELD(struct vhdx_range, reserved, 20);

SIZE(struct vhdx_layer, 16);
VER0(VHDX_LAYER_SIZE_VER0, 16);
FIELD(struct vhdx_layer, container_fd, 0);
FIELD(struct vhdx_layer, sidecar_fd, 4);
FIELD(struct vhdx_layer, flags, 8);
FIELD(struct vhdx_layer, reserved, 12);

SIZE(struct vhdx_attach, 56);
VER0(VHDX_ATTACH_SIZE_VER0, 56);
FIELD(struct vhdx_attach, size, 0);
FIELD(struct vhdx_attach, flags, 4);
FIELD(struct vhdx_attach, layers, 8);
FIELD(struct vhdx_attach, layer_count, 16);
FIELD(struct vhdx_attach, layer_size, 20);
FIELD(struct vhdx_attach, index, 24);
FIELD(struct vhdx_attach, reason, 28);
FIELD(struct vhdx_attach, message, 32);
FIELD(struct vhdx_attach, message_capacity, 40);
FIELD(struct vhdx_attach, reserved, 44);
FIELD(struct vhdx_attach, disk_seq, 48);

SIZE(struct vhdx_detach, 40);
VER0(VHDX_DETACH_SIZE_VER0, 40);
FIELD(struct vhdx_detach, size, 0);
FIELD(struct vhdx_detach, flags, 4);
FIELD(struct vhdx_detach, index, 8);
FIELD(struct vhdx_detach, reason, 12);
FIELD(struct vhdx_detach, message, 16);
FIELD(struct vhdx_detach, message_capacity, 24);
FIELD(struct vhdx_detach, reserved, 28);
FIELD(struct vhdx_detach, disk_seq, 32);

SIZE(struct vhdx_seal, 128);
VER0(VHDX_SEAL_SIZE_VER0, 128);
FIELD(struct vhdx_seal, size, 0);
FIELD(struct vhdx_seal, flags, 4);
FIELD(struct vhdx_seal, fds, 8);
FIELD(struct vhdx_seal, ids, 16);
FIELD(struct vhdx_seal, count, 24);
FIELD(struct vhdx_seal, label_length, 28);
FIELD(struct vhdx_seal, label, 32);
FIELD(struct vhdx_seal, failed, 96);
FIELD(struct vhdx_seal, reason, 100);
FIELD(struct vhdx_seal, message, 104);
FIELD(struct vhdx_seal, message_capacity, 112);
FIELD(struct vhdx_seal, reserved, 116);
FIELD(struct vhdx_seal, time_ns, 120);

SIZE(struct vhdx_info, 104);
VER0(VHDX_INFO_SIZE_VER0, 104);
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
FIELD(struct vhdx_info, disk_seq, 72);
FIELD(struct vhdx_info, layer_count, 80);
FIELD(struct vhdx_info, unit, 84);
FIELD(struct vhdx_info, message, 88);
FIELD(struct vhdx_info, message_capacity, 96);
FIELD(struct vhdx_info, reserved, 100);

SIZE(struct vhdx_tracking_state, 120);
VER0(VHDX_TRACKING_STATE_SIZE_VER0, 120);
FIELD(struct vhdx_tracking_state, size, 0);
FIELD(struct vhdx_tracking_state, flags, 4);
FIELD(struct vhdx_tracking_state, state, 8);
FIELD(struct vhdx_tracking_state, newer_changes, 12);
FIELD(struct vhdx_tracking_state, most_recent_id, 16);
FIELD(struct vhdx_tracking_state, unit, 48);
FIELD(struct vhdx_tracking_state, point_count, 52);
FIELD(struct vhdx_tracking_state, gap_reason, 56);
FIELD(struct vhdx_tracking_state, reason, 60);
FIELD(struct vhdx_tracking_state, generation, 64);
FIELD(struct vhdx_tracking_state, gap_time_ns, 72);
FIELD(struct vhdx_tracking_state, sidecar_used, 80);
FIELD(struct vhdx_tracking_state, sidecar_limit, 88);
FIELD(struct vhdx_tracking_state, live_bytes, 96);
FIELD(struct vhdx_tracking_state, message, 104);
FIELD(struct vhdx_tracking_state, message_capacity, 112);
FIELD(struct vhdx_tracking_state, points_max, 116);

SIZE(struct vhdx_tracking_enable, 64);
VER0(VHDX_TRACKING_ENABLE_SIZE_VER0, 64);
FIELD(struct vhdx_tracking_enable, size, 0);
FIELD(struct vhdx_tracking_enable, flags, 4);
FIELD(struct vhdx_tracking_enable, sidecar_fd, 8);
FIELD(struct vhdx_tracking_enable, unit, 12);
FIELD(struct vhdx_tracking_enable, message, 16);
FIELD(struct vhdx_tracking_enable, message_capacity, 24);
FIELD(struct vhdx_tracking_enable, reason, 28);
FIELD(struct vhdx_tracking_enable, first_point, 32);

SIZE(struct vhdx_tracking_disable, 24);
VER0(VHDX_TRACKING_DISABLE_SIZE_VER0, 24);
FIELD(struct vhdx_tracking_disable, size, 0);
FIELD(struct vhdx_tracking_disable, flags, 4);
FIELD(struct vhdx_tracking_disable, message, 8);
FIELD(struct vhdx_tracking_disable, message_capacity, 16);
FIELD(struct vhdx_tracking_disable, reason, 20);

SIZE(struct vhdx_tracking_reset, 56);
VER0(VHDX_TRACKING_RESET_SIZE_VER0, 56);
FIELD(struct vhdx_tracking_reset, size, 0);
FIELD(struct vhdx_tracking_reset, flags, 4);
FIELD(struct vhdx_tracking_reset, message, 8);
FIELD(struct vhdx_tracking_reset, message_capacity, 16);
FIELD(struct vhdx_tracking_reset, reason, 20);
FIELD(struct vhdx_tracking_reset, first_point, 24);

SIZE(struct vhdx_point, 144);
VER0(VHDX_POINT_SIZE_VER0, 144);
FIELD(struct vhdx_point, id, 0);
FIELD(struct vhdx_point, time_ns, 32);
FIELD(struct vhdx_point, gap_time_ns, 40);
FIELD(struct vhdx_point, virtual_disk_size, 48);
FIELD(struct vhdx_point, changed_bytes, 56);
FIELD(struct vhdx_point, flags, 64);
FIELD(struct vhdx_point, layer, 68);
FIELD(struct vhdx_point, gap_reason, 72);
FIELD(struct vhdx_point, label_length, 76);
FIELD(struct vhdx_point, label, 80);

SIZE(struct vhdx_get_points, 88);
VER0(VHDX_GET_POINTS_SIZE_VER0, 88);
FIELD(struct vhdx_get_points, size, 0);
FIELD(struct vhdx_get_points, flags, 4);
FIELD(struct vhdx_get_points, after, 8);
FIELD(struct vhdx_get_points, output, 40);
FIELD(struct vhdx_get_points, output_capacity, 48);
FIELD(struct vhdx_get_points, output_count, 52);
FIELD(struct vhdx_get_points, point_size, 56);
FIELD(struct vhdx_get_points, point_count, 60);
FIELD(struct vhdx_get_points, generation, 64);
FIELD(struct vhdx_get_points, message, 72);
FIELD(struct vhdx_get_points, message_capacity, 80);
FIELD(struct vhdx_get_points, reason, 84);

SIZE(struct vhdx_forget, 56);
VER0(VHDX_FORGET_SIZE_VER0, 56);
FIELD(struct vhdx_forget, size, 0);
FIELD(struct vhdx_forget, flags, 4);
FIELD(struct vhdx_forget, id, 8);
FIELD(struct vhdx_forget, message, 40);
FIELD(struct vhdx_forget, message_capacity, 48);
FIELD(struct vhdx_forget, reason, 52);

SIZE(struct vhdx_get_virtual_disk_changes, 224);
VER0(VHDX_GET_VIRTUAL_DISK_CHANGES_SIZE_VER0, 224);
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
FIELD(struct vhdx_get_virtual_disk_changes, range_size, 120);
FIELD(struct vhdx_get_virtual_disk_changes, time_limit_ms, 124);
FIELD(struct vhdx_get_virtual_disk_changes, processed_byte_length, 128);
FIELD(struct vhdx_get_virtual_disk_changes, changed_bytes, 136);
FIELD(struct vhdx_get_virtual_disk_changes, virtual_disk_size, 144);
FIELD(struct vhdx_get_virtual_disk_changes, disk_seq, 152);
FIELD(struct vhdx_get_virtual_disk_changes, gap_time_ns, 160);
FIELD(struct vhdx_get_virtual_disk_changes, complete_to_id, 168);
FIELD(struct vhdx_get_virtual_disk_changes, unit, 200);
FIELD(struct vhdx_get_virtual_disk_changes, answer_flags, 204);
FIELD(struct vhdx_get_virtual_disk_changes, message, 208);
FIELD(struct vhdx_get_virtual_disk_changes, message_capacity, 216);
FIELD(struct vhdx_get_virtual_disk_changes, reason, 220);

SIZE(struct vhdx_get_allocated_ranges, 104);
VER0(VHDX_GET_ALLOCATED_RANGES_SIZE_VER0, 104);
FIELD(struct vhdx_get_allocated_ranges, size, 0);
FIELD(struct vhdx_get_allocated_ranges, flags, 4);
FIELD(struct vhdx_get_allocated_ranges, byte_offset, 8);
FIELD(struct vhdx_get_allocated_ranges, byte_length, 16);
FIELD(struct vhdx_get_allocated_ranges, min_gap, 24);
FIELD(struct vhdx_get_allocated_ranges, output, 32);
FIELD(struct vhdx_get_allocated_ranges, output_capacity, 40);
FIELD(struct vhdx_get_allocated_ranges, output_count, 44);
FIELD(struct vhdx_get_allocated_ranges, range_size, 48);
FIELD(struct vhdx_get_allocated_ranges, time_limit_ms, 52);
FIELD(struct vhdx_get_allocated_ranges, processed_byte_length, 56);
FIELD(struct vhdx_get_allocated_ranges, allocated_bytes, 64);
FIELD(struct vhdx_get_allocated_ranges, virtual_disk_size, 72);
FIELD(struct vhdx_get_allocated_ranges, disk_seq, 80);
FIELD(struct vhdx_get_allocated_ranges, message, 88);
FIELD(struct vhdx_get_allocated_ranges, message_capacity, 96);
FIELD(struct vhdx_get_allocated_ranges, reason, 100);

SIZE(struct vhdx_layer_info, 80);
VER0(VHDX_LAYER_INFO_SIZE_VER0, 48);
FIELD(struct vhdx_layer_info, data_write_guid, 0);
FIELD(struct vhdx_layer_info, container_size, 16);
FIELD(struct vhdx_layer_info, container_inode, 24);
FIELD(struct vhdx_layer_info, container_major, 32);
FIELD(struct vhdx_layer_info, container_minor, 36);
FIELD(struct vhdx_layer_info, disk_flags, 40);
FIELD(struct vhdx_layer_info, reserved, 44);
FIELD(struct vhdx_layer_info, virtual_disk_size, 48);
FIELD(struct vhdx_layer_info, virtual_disk_id, 56);
FIELD(struct vhdx_layer_info, block_size, 72);
FIELD(struct vhdx_layer_info, reserved2, 76);

SIZE(struct vhdx_get_layers, 48);
VER0(VHDX_GET_LAYERS_SIZE_VER0, 48);
FIELD(struct vhdx_get_layers, size, 0);
FIELD(struct vhdx_get_layers, flags, 4);
FIELD(struct vhdx_get_layers, output, 8);
FIELD(struct vhdx_get_layers, output_capacity, 16);
FIELD(struct vhdx_get_layers, output_count, 20);
FIELD(struct vhdx_get_layers, layer_size, 24);
FIELD(struct vhdx_get_layers, layer_count, 28);
FIELD(struct vhdx_get_layers, message, 32);
FIELD(struct vhdx_get_layers, message_capacity, 40);
FIELD(struct vhdx_get_layers, reason, 44);

#undef FIELD
#undef VER0
#undef SIZE

#endif
