/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Arguments of ioctls as data: sizes, known flags, reserved fields, outputs. What can be
 * said of an argument without knowing what it means is said here, for the driver, which
 * has a row for each of its ioctls, and for files that answer in its place.
 */
#ifndef VHDX_CORE_ARGUMENT_H
#define VHDX_CORE_ARGUMENT_H

#include "diag.h"

/* Room for any argument. */
union vhdx_any_argument {
	struct vhdx_attach attach;
	struct vhdx_detach detach;
	struct vhdx_seal seal;
	struct vhdx_info info;
	struct vhdx_tracking_state tracking_state;
	struct vhdx_get_points points;
	struct vhdx_get_virtual_disk_changes changes;
	struct vhdx_get_allocated_ranges allocated;
	struct vhdx_get_layers layers;
	struct vhdx_tracking_enable enable;
	struct vhdx_tracking_disable disable;
	struct vhdx_tracking_reset reset;
	struct vhdx_forget forget;
};

/**
 * enum vhdx_field_kind - what is special about a field
 * @VHDX_FIELD_RESERVED:	EINVAL if it is not zero
 * @VHDX_FIELD_LATER:		EOPNOTSUPP if it is not zero: not implemented yet
 * @VHDX_FIELD_RESULT:		an output; zero before the work, and after a failure
 * @VHDX_FIELD_VERDICT:		an output that tells of failures, too; zero before the work
 */
enum vhdx_field_kind {
	VHDX_FIELD_RESERVED,
	VHDX_FIELD_LATER,
	VHDX_FIELD_RESULT,
	VHDX_FIELD_VERDICT,
};

/**
 * struct vhdx_field - a field of an argument
 * @name:	for messages
 */
struct vhdx_field {
	const char *name;
	enum vhdx_field_kind kind;
	u16 offset;
	u16 size;
};

/**
 * struct vhdx_argument - the argument of one ioctl
 * @command:		number of the ioctl
 * @name:		its name, without VHDX_
 * @first_size:		of the structure, as first published: a caller's is not smaller
 * @size:		of the structure now
 * @flags:		bits of its flags field that may be set
 * @later_flags:	bits that are known, but EOPNOTSUPP
 * @reason:		where the reason is
 * @message:		where the message's address is
 * @capacity:		where the size of the message's buffer is
 * @fields:		its special fields, ended by one without a name
 */
struct vhdx_argument {
	unsigned int command;
	const char *name;
	u16 first_size;
	u16 size;
	u32 flags;
	u32 later_flags;
	u16 reason;
	u16 message;
	u16 capacity;
	const struct vhdx_field *fields;
};

extern const struct vhdx_argument vhdx_argument_attach;
extern const struct vhdx_argument vhdx_argument_detach;
extern const struct vhdx_argument vhdx_argument_seal;
extern const struct vhdx_argument vhdx_argument_info;
extern const struct vhdx_argument vhdx_argument_tracking_state;
extern const struct vhdx_argument vhdx_argument_points;
extern const struct vhdx_argument vhdx_argument_changes;
extern const struct vhdx_argument vhdx_argument_allocated;
extern const struct vhdx_argument vhdx_argument_layers;
extern const struct vhdx_argument vhdx_argument_enable;
extern const struct vhdx_argument vhdx_argument_disable;
extern const struct vhdx_argument vhdx_argument_reset;
extern const struct vhdx_argument vhdx_argument_forget;

/* The special fields of struct vhdx_layer, of which attach takes an array. */
extern const struct vhdx_field vhdx_layer_fields[];

/* The argument of an ioctl; NULL: there is no such ioctl. */
const struct vhdx_argument *vhdx_argument_of(unsigned int command);

/**
 * vhdx_argument_check() - is anything wrong whatever the fields mean?
 * @argument:	which
 * @arg:	all of it, in its present size
 * @diag:	what is wrong
 *
 * 0; -EINVAL unknown flags, a reserved field; -EOPNOTSUPP flags or fields of later.
 */
int vhdx_argument_check(const struct vhdx_argument *argument, const void *arg,
			struct vhdx_diag *diag);

/* The same of the fields of an array's element: -EINVAL, -EOPNOTSUPP. */
int vhdx_fields_check(const struct vhdx_field *fields, const void *arg, struct vhdx_diag *diag);

/* Make all fields of a kind zero. */
void vhdx_argument_clear(const struct vhdx_argument *argument, void *arg,
			 enum vhdx_field_kind kind);

static inline u32 *vhdx_argument_reason(const struct vhdx_argument *argument, void *arg)
{
	return (u32 *)((u8 *)arg + argument->reason);
}

static inline u64 *vhdx_argument_message(const struct vhdx_argument *argument, void *arg)
{
	return (u64 *)((u8 *)arg + argument->message);
}

static inline u32 *vhdx_argument_capacity(const struct vhdx_argument *argument, void *arg)
{
	return (u32 *)((u8 *)arg + argument->capacity);
}

#endif
