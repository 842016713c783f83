// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "diag.h"

/* Names, and what to tell a person where nothing more is known than the reason. */
static const struct {
	const char *name;
	const char *text;
} reasons[] = {
	[VHDX_REASON_NONE] = { "none", NULL },
	[VHDX_REASON_ARGUMENT] = {
		"argument",
		"an argument is not valid for this disk",
	},
	[VHDX_REASON_ID_MISSING] = {
		"id_missing",
		"this disk does not know the point (of another disk, forgotten, or its history is gone)",
	},
	[VHDX_REASON_CHANGED_OFFLINE] = {
		"changed_offline",
		"the container was written without this sidecar, or one of them is another copy",
	},
	[VHDX_REASON_INCONSISTENT] = {
		"inconsistent",
		"the sidecar is damaged; to begin a new one, attach anew with --no-track, then `vhdxctl track reset`",
	},
	[VHDX_REASON_DISABLED] = {
		"disabled",
		"change tracking was disabled for a while",
	},
	[VHDX_REASON_RESET] = {
		"reset",
		"change tracking was reset",
	},
	[VHDX_REASON_UNCLEAN] = {
		"unclean",
		"the disk was not detached (power loss or crash), so not all changes are known",
	},
	[VHDX_REASON_TRACKING_ERROR] = {
		"tracking_error",
		"the sidecar could not be written (see the kernel log), so not all changes are known",
	},
	[VHDX_REASON_UNSUPPORTED] = {
		"unsupported",
		"not supported by this version",
	},
	[VHDX_REASON_BAD_TYPE] = {
		"bad_type",
		"not a VHDX",
	},
	[VHDX_REASON_CORRUPT] = {
		"corrupt",
		"the container is damaged (see the kernel log; try `vhdxctl check`)",
	},
	[VHDX_REASON_IN_USE] = {
		"in_use",
		"in use",
	},
	[VHDX_REASON_READ_ONLY] = {
		"read_only",
		"the disk is attached read-only: detach it and attach it for writing",
	},
	[VHDX_REASON_NO_SPACE] = {
		"no_space",
		"out of points or of room in the sidecar: forget points that are no longer needed",
	},
	[VHDX_REASON_IO] = {
		"io",
		"reading or writing the container or the sidecar failed (see the kernel log)",
	},
	[VHDX_REASON_ID_MALFORMED] = {
		"id_malformed",
		"this is not the id of a point",
	},
	[VHDX_REASON_HOST_FULL] = {
		"host_full",
		"the file system that the container or the sidecar lives on is full: make room there",
	},
};

const char *vhdx_reason_to_name(u32 reason)
{
	return reason < ARRAY_SIZE(reasons) ? reasons[reason].name : NULL;
}

const char *vhdx_failure_to_text(int err, u32 reason)
{
	/* At present, and not at a moment that the question spans. */
	if (err == -EOPNOTSUPP && reason == VHDX_REASON_DISABLED)
		return "change tracking is not enabled; `vhdxctl track enable` enables it";
	return reason < ARRAY_SIZE(reasons) ? reasons[reason].text : NULL;
}

int vhdx_fail(struct vhdx_diag *diag, int err, u32 reason, const char *fmt, ...)
{
	va_list args;

	/* What was noticed first is the cause; what follows is a consequence. */
	if (!diag || diag->text[0])
		return err;
	diag->reason = reason;
	va_start(args, fmt);
	vsnprintf(diag->text, sizeof(diag->text), fmt, args);
	va_end(args);
	return err;
}

int vhdx_fail_plainly(struct vhdx_diag *diag, int err, u32 reason)
{
	const char *text = vhdx_failure_to_text(err, reason);

	return vhdx_fail(diag, err, reason, "%s", text ? text : "nothing more is known");
}
