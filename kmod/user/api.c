// SPDX-License-Identifier: GPL-2.0-only
/*
 * linux/vhdx_api.h: who holds a disk, what it is told, and what it does with points. It asks the
 * same functions as the ioctls.
 */
#include "compat.h"
#include "core/utf8.h"
#include "disk/cdev.h"
#include "disk/disk.h"
#include "disk/holds.h"
#include "disk/registry.h"
#include "points/admin.h"
#include "points/seal.h"
#include "store/scope.h"

#include <linux/export.h>
#include <linux/slab.h>
#include <linux/vhdx_api.h>

static int with_reason(int err, const struct vhdx_diag *diag, u32 *reason)
{
	if (reason)
		*reason = err ? diag->reason : VHDX_REASON_NONE;
	return err;
}

/* ---- holds ---------------------------------------------------------------------------------- */

struct vhdx_hold *vhdx_hold_get(dev_t devt, struct module *owner)
{
	struct vhdx_hold *hold = kzalloc(sizeof(*hold), GFP_KERNEL);
	int err;

	if (!hold)
		return ERR_PTR(-ENOMEM);
	hold->owner = owner;
	err = vhdx_registry_hold(devt, hold);
	if (!err)
		return hold;
	kfree(hold);
	return ERR_PTR(err);
}
EXPORT_SYMBOL_VHDX(vhdx_hold_get);

void vhdx_hold_put(struct vhdx_hold *hold)
{
	if (!hold)
		return;
	vhdx_registry_let_go(hold);
	kfree(hold);
}
EXPORT_SYMBOL_VHDX(vhdx_hold_put);

int vhdx_observe(struct vhdx_hold *hold, struct vhdx_observer *observer)
{
	return vhdx_observers_add(&hold->disk->observers, observer);
}
EXPORT_SYMBOL_VHDX(vhdx_observe);

void vhdx_unobserve(struct vhdx_hold *hold, struct vhdx_observer *observer)
{
	vhdx_observers_remove(&hold->disk->observers, observer);
}
EXPORT_SYMBOL_VHDX(vhdx_unobserve);

/* ---- state and points ------------------------------------------------------------------------ */

int vhdx_hold_get_info(struct vhdx_hold *hold, struct vhdx_info *info)
{
	*info = (struct vhdx_info){ .size = sizeof(*info) };
	vhdx_disk_info(hold->disk, info);
	return 0;
}
EXPORT_SYMBOL_VHDX(vhdx_hold_get_info);

int vhdx_hold_get_state(struct vhdx_hold *hold, struct vhdx_tracking_state *state)
{
	*state = (struct vhdx_tracking_state){ .size = sizeof(*state) };
	vhdx_tracking_state(&hold->disk->tracker, state);
	state->live_bytes = vhdx_tracking_live_bytes(&hold->disk->tracker);
	return 0;
}
EXPORT_SYMBOL_VHDX(vhdx_hold_get_state);

int vhdx_hold_get_points(struct vhdx_hold *hold, const struct vhdx_point_id *after,
			 struct vhdx_point *points, u32 capacity, u32 *count, u32 *reason)
{
	struct vhdx_get_points args = {
		.size = sizeof(args),
		.point_size = sizeof(*points),
		.output_capacity = capacity,
	};
	struct vhdx_diag diag = { };
	int err;

	if (after)
		args.after = *after;
	err = vhdx_tracking_points(&hold->disk->tracker, &args, points, capacity, &diag);
	*count = err ? 0 : args.output_count;
	return with_reason(err, &diag, reason);
}
EXPORT_SYMBOL_VHDX(vhdx_hold_get_points);

int vhdx_hold_forget(struct vhdx_hold *hold, const struct vhdx_point_id *id, u32 *reason)
{
	struct vhdx_diag diag = { };
	/* As the ioctl: writes wait for the lock (rule K3). Questions and seals have their own. */
	unsigned int flags = vhdx_scope_enter();
	int err = vhdx_tracking_forget(&hold->disk->tracker, id, &diag);

	vhdx_scope_leave(flags);
	return with_reason(err, &diag, reason);
}
EXPORT_SYMBOL_VHDX(vhdx_hold_forget);

/* ---- seal ------------------------------------------------------------------------------------ */

/* Each disk is there once, and is entered, as the ioctl has it. */
static int trackers_of(struct vhdx_hold *const *holds, u32 count, struct vhdx_tracker **trackers,
		       u32 *failed)
{
	u32 i, j;

	for (i = 0; i < count; i++) {
		*failed = i;
		for (j = 0; j < i; j++)
			if (holds[j]->disk == holds[i]->disk)
				return -EINVAL;
		trackers[i] = &holds[i]->disk->tracker;
	}
	*failed = 0;
	return 0;
}

int vhdx_hold_seal(struct vhdx_hold *const *holds, u32 count, const char *label,
		   struct vhdx_point_id *ids, u32 *failed, u32 *reason)
{
	struct vhdx_seal args = { .size = sizeof(args), .count = count };
	size_t length = label ? strlen(label) : 0;
	struct vhdx_diag diag = { .reason = VHDX_REASON_ARGUMENT };
	struct vhdx_tracker **trackers;
	int err = -EINVAL;

	if (failed)
		*failed = 0;
	if (!count || count > VHDX_SEAL_MAX || length > VHDX_LABEL_MAX ||
	    !vhdx_label_is_valid((const u8 *)label, length))
		return with_reason(err, &diag, reason);
	args.label_length = length;
	memcpy(args.label, label, length);
	trackers = kcalloc(count, sizeof(*trackers), GFP_KERNEL);
	if (!trackers)
		return with_reason(vhdx_no_memory(&diag), &diag, reason);
	err = trackers_of(holds, count, trackers, &args.failed);
	if (!err) {
		/* Who is killed is told no reason. */
		diag.reason = VHDX_REASON_NONE;
		err = vhdx_seal(trackers, count, &args, ids, &diag);
	}
	kfree(trackers);
	if (failed)
		*failed = args.failed;
	return with_reason(err, &diag, reason);
}
EXPORT_SYMBOL_VHDX(vhdx_hold_seal);
