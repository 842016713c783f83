// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "argument.h"

#define FIELD(what, type, field)							\
	{ .name = #field, .kind = VHDX_FIELD_##what, .offset = offsetof(type, field),	\
	  .size = sizeof(((type *)0)->field) }

/* What follows from the names of the ioctl and of its structure. */
#define ARGUMENT(type, ioctl, first)							\
	.command = VHDX_##ioctl, .name = #ioctl, .first_size = (first),			\
	.size = sizeof(type), .reason = offsetof(type, reason),				\
	.message = offsetof(type, message), .capacity = offsetof(type, message_capacity)

static const struct vhdx_field attach_fields[] = {
	FIELD(RESERVED, struct vhdx_attach, reserved),
	FIELD(RESULT, struct vhdx_attach, disk_seq),
	{ }
};

const struct vhdx_argument vhdx_argument_attach = {
	ARGUMENT(struct vhdx_attach, ATTACH, VHDX_ATTACH_SIZE_VER0),
	.flags = VHDX_ATTACH_READ_ONLY | VHDX_ATTACH_NO_TRACK | VHDX_ATTACH_STRICT |
		 VHDX_ATTACH_AUTOCLEAR | VHDX_ATTACH_FAIL_TRACKING | VHDX_ATTACH_WILL_TRACK,
	.fields = attach_fields,
};

const struct vhdx_field vhdx_layer_fields[] = {
	FIELD(RESERVED, struct vhdx_layer, flags),
	FIELD(RESERVED, struct vhdx_layer, reserved),
	{ }
};

static const struct vhdx_field detach_fields[] = {
	FIELD(RESERVED, struct vhdx_detach, reserved),
	{ }
};

const struct vhdx_argument vhdx_argument_detach = {
	ARGUMENT(struct vhdx_detach, DETACH, VHDX_DETACH_SIZE_VER0),
	.fields = detach_fields,
};

static const struct vhdx_field seal_fields[] = {
	FIELD(VERDICT, struct vhdx_seal, failed),
	FIELD(RESERVED, struct vhdx_seal, reserved),
	FIELD(RESULT, struct vhdx_seal, time_ns),
	{ }
};

const struct vhdx_argument vhdx_argument_seal = {
	ARGUMENT(struct vhdx_seal, SEAL, VHDX_SEAL_SIZE_VER0),
	.fields = seal_fields,
};

static const struct vhdx_field info_fields[] = {
	FIELD(RESULT, struct vhdx_info, index),
	FIELD(RESULT, struct vhdx_info, disk_flags),
	FIELD(RESULT, struct vhdx_info, virtual_disk_size),
	FIELD(RESULT, struct vhdx_info, virtual_disk_id),
	FIELD(RESULT, struct vhdx_info, data_write_guid),
	FIELD(RESULT, struct vhdx_info, block_size),
	FIELD(RESULT, struct vhdx_info, logical_sector_size),
	FIELD(RESULT, struct vhdx_info, physical_sector_size),
	FIELD(RESULT, struct vhdx_info, disk_seq),
	FIELD(RESULT, struct vhdx_info, layer_count),
	FIELD(RESULT, struct vhdx_info, unit),
	FIELD(RESERVED, struct vhdx_info, reserved),
	{ }
};

const struct vhdx_argument vhdx_argument_info = {
	ARGUMENT(struct vhdx_info, GET_INFO, VHDX_INFO_SIZE_VER0),
	.fields = info_fields,
};

static const struct vhdx_field tracking_state_fields[] = {
	FIELD(RESULT, struct vhdx_tracking_state, state),
	FIELD(RESULT, struct vhdx_tracking_state, newer_changes),
	FIELD(RESULT, struct vhdx_tracking_state, most_recent_id),
	FIELD(RESULT, struct vhdx_tracking_state, unit),
	FIELD(RESULT, struct vhdx_tracking_state, point_count),
	FIELD(RESULT, struct vhdx_tracking_state, gap_reason),
	FIELD(RESULT, struct vhdx_tracking_state, generation),
	FIELD(RESULT, struct vhdx_tracking_state, gap_time_ns),
	FIELD(RESULT, struct vhdx_tracking_state, sidecar_used),
	FIELD(RESULT, struct vhdx_tracking_state, sidecar_limit),
	FIELD(RESULT, struct vhdx_tracking_state, live_bytes),
	FIELD(RESULT, struct vhdx_tracking_state, points_max),
	{ }
};

const struct vhdx_argument vhdx_argument_tracking_state = {
	ARGUMENT(struct vhdx_tracking_state, GET_TRACKING_STATE, VHDX_TRACKING_STATE_SIZE_VER0),
	.fields = tracking_state_fields,
};

static const struct vhdx_field points_fields[] = {
	FIELD(RESULT, struct vhdx_get_points, output_count),
	FIELD(RESULT, struct vhdx_get_points, point_count),
	FIELD(RESULT, struct vhdx_get_points, generation),
	{ }
};

const struct vhdx_argument vhdx_argument_points = {
	ARGUMENT(struct vhdx_get_points, GET_POINTS, VHDX_GET_POINTS_SIZE_VER0),
	.fields = points_fields,
};

static const struct vhdx_field changes_fields[] = {
	FIELD(RESULT, struct vhdx_get_virtual_disk_changes, output_count),
	FIELD(RESULT, struct vhdx_get_virtual_disk_changes, processed_byte_length),
	FIELD(RESULT, struct vhdx_get_virtual_disk_changes, changed_bytes),
	FIELD(VERDICT, struct vhdx_get_virtual_disk_changes, virtual_disk_size),
	FIELD(VERDICT, struct vhdx_get_virtual_disk_changes, disk_seq),
	FIELD(VERDICT, struct vhdx_get_virtual_disk_changes, gap_time_ns),
	FIELD(RESULT, struct vhdx_get_virtual_disk_changes, complete_to_id),
	FIELD(RESULT, struct vhdx_get_virtual_disk_changes, unit),
	FIELD(RESULT, struct vhdx_get_virtual_disk_changes, answer_flags),
	{ }
};

const struct vhdx_argument vhdx_argument_changes = {
	ARGUMENT(struct vhdx_get_virtual_disk_changes, GET_VIRTUAL_DISK_CHANGES,
		 VHDX_GET_VIRTUAL_DISK_CHANGES_SIZE_VER0),
	.flags = VHDX_CHANGES_BITMAP | VHDX_CHANGES_COUNT,
	.fields = changes_fields,
};

static const struct vhdx_field allocated_fields[] = {
	FIELD(RESULT, struct vhdx_get_allocated_ranges, output_count),
	FIELD(RESULT, struct vhdx_get_allocated_ranges, processed_byte_length),
	FIELD(RESULT, struct vhdx_get_allocated_ranges, allocated_bytes),
	FIELD(VERDICT, struct vhdx_get_allocated_ranges, virtual_disk_size),
	FIELD(VERDICT, struct vhdx_get_allocated_ranges, disk_seq),
	{ }
};

const struct vhdx_argument vhdx_argument_allocated = {
	ARGUMENT(struct vhdx_get_allocated_ranges, GET_ALLOCATED_RANGES,
		 VHDX_GET_ALLOCATED_RANGES_SIZE_VER0),
	.flags = VHDX_ALLOCATED_ZEROES,
	.fields = allocated_fields,
};

static const struct vhdx_field layers_fields[] = {
	FIELD(RESULT, struct vhdx_get_layers, output_count),
	FIELD(RESULT, struct vhdx_get_layers, layer_count),
	{ }
};

const struct vhdx_argument vhdx_argument_layers = {
	ARGUMENT(struct vhdx_get_layers, GET_LAYERS, VHDX_GET_LAYERS_SIZE_VER0),
	.fields = layers_fields,
};

static const struct vhdx_field enable_fields[] = {
	FIELD(RESULT, struct vhdx_tracking_enable, first_point),
	{ }
};

const struct vhdx_argument vhdx_argument_enable = {
	ARGUMENT(struct vhdx_tracking_enable, TRACKING_ENABLE, VHDX_TRACKING_ENABLE_SIZE_VER0),
	.flags = VHDX_ENABLE_OVERWRITE,
	.fields = enable_fields,
};

const struct vhdx_argument vhdx_argument_disable = {
	ARGUMENT(struct vhdx_tracking_disable, TRACKING_DISABLE, VHDX_TRACKING_DISABLE_SIZE_VER0),
};

static const struct vhdx_field reset_fields[] = {
	FIELD(RESULT, struct vhdx_tracking_reset, first_point),
	{ }
};

const struct vhdx_argument vhdx_argument_reset = {
	ARGUMENT(struct vhdx_tracking_reset, TRACKING_RESET, VHDX_TRACKING_RESET_SIZE_VER0),
	.fields = reset_fields,
};

const struct vhdx_argument vhdx_argument_forget = {
	ARGUMENT(struct vhdx_forget, FORGET, VHDX_FORGET_SIZE_VER0),
};

static const struct vhdx_argument *const arguments[] = {
	&vhdx_argument_attach,
	&vhdx_argument_detach,
	&vhdx_argument_seal,
	&vhdx_argument_info,
	&vhdx_argument_tracking_state,
	&vhdx_argument_points,
	&vhdx_argument_changes,
	&vhdx_argument_allocated,
	&vhdx_argument_layers,
	&vhdx_argument_enable,
	&vhdx_argument_disable,
	&vhdx_argument_reset,
	&vhdx_argument_forget,
};

const struct vhdx_argument *vhdx_argument_of(unsigned int command)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(arguments); i++) {
		if (arguments[i]->command == command)
			return arguments[i];
	}
	return NULL;
}

static int check_flags(const struct vhdx_argument *argument, u32 flags, struct vhdx_diag *diag)
{
	u32 unknown = flags & ~(argument->flags | argument->later_flags);

	if (unknown)
		return vhdx_bad_argument(diag, "unknown flags 0x%x", unknown);
	if (flags & argument->later_flags)
		return vhdx_unsupported(diag, "flags 0x%x are not supported yet",
					flags & argument->later_flags);
	return 0;
}

static int check_field(const struct vhdx_field *field, const void *arg, struct vhdx_diag *diag)
{
	if (!memchr_inv((const u8 *)arg + field->offset, 0, field->size))
		return 0;
	if (field->kind == VHDX_FIELD_RESERVED)
		return vhdx_bad_argument(diag, "%s: it is not zero", field->name);
	if (field->kind == VHDX_FIELD_LATER)
		return vhdx_unsupported(diag, "%s: this is not supported yet", field->name);
	return 0;
}

int vhdx_fields_check(const struct vhdx_field *fields, const void *arg, struct vhdx_diag *diag)
{
	const struct vhdx_field *field;
	int err = 0;

	for (field = fields; field && field->name && !err; field++)
		err = check_field(field, arg, diag);
	return err;
}

int vhdx_argument_check(const struct vhdx_argument *argument, const void *arg,
			struct vhdx_diag *diag)
{
	/* Behind the size, in every argument. */
	int err = check_flags(argument, ((const u32 *)arg)[1], diag);

	return err ? err : vhdx_fields_check(argument->fields, arg, diag);
}

void vhdx_argument_clear(const struct vhdx_argument *argument, void *arg,
			 enum vhdx_field_kind kind)
{
	const struct vhdx_field *field;

	for (field = argument->fields; field && field->name; field++)
		if (field->kind == kind)
			memset((u8 *)arg + field->offset, 0, field->size);
}
