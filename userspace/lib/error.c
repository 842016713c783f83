// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What went wrong: errno for the class, a reason for programs, a line for people.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "internal.h"

static __thread struct {
	unsigned int reason;
	char message[VHDX_PATH_TEXT + 1024];
} last;

const char *vhdx_error_message(void)
{
	return last.message;
}

unsigned int vhdx_error_reason(void)
{
	return last.reason;
}

void clear_error(void)
{
	last.reason = VHDX_REASON_NONE;
	last.message[0] = '\0';
}

/* A path may have anything in it; a message is one line, and leaves the cursor alone. */
static void make_one_line(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

static void note(unsigned int reason, const char *format, va_list args)
{
	/* The arguments may be parts of the last message. */
	char text[sizeof(last.message)];

	vsnprintf(text, sizeof(text), format, args);
	make_one_line(text);
	memcpy(last.message, text, sizeof(text));
	last.reason = reason;
}

int fail(int err, unsigned int reason, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	note(reason, format, args);
	va_end(args);
	return err;
}

int fail_errno(int err, const char *format, ...)
{
	size_t length;
	va_list args;

	va_start(args, format);
	note(VHDX_REASON_NONE, format, args);
	va_end(args);
	length = strlen(last.message);
	snprintf(last.message + length, sizeof(last.message) - length, ": %s", strerror(-err));
	return err;
}

int result_of_caller(int result)
{
	if (result >= 0)
		return result;
	return fail(-ECANCELED, VHDX_REASON_NONE, "the caller's own function ended it with %d",
		    result);
}

/* Names, and what to tell a person where the kernel told nothing. */
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
		"this disk does not know the point (of another disk, forgotten, or its history is gone): make a full backup",
	},
	[VHDX_REASON_CHANGED_OFFLINE] = {
		"changed_offline",
		"the container was written without this sidecar, or one of them is another copy: make a full backup",
	},
	[VHDX_REASON_INCONSISTENT] = {
		"inconsistent",
		"the sidecar is damaged: run `vhdxctl track reset`, then make a full backup",
	},
	[VHDX_REASON_DISABLED] = {
		"disabled",
		"change tracking was disabled for a while: make a full backup",
	},
	[VHDX_REASON_RESET] = {
		"reset",
		"change tracking was reset: make a full backup",
	},
	[VHDX_REASON_UNCLEAN] = {
		"unclean",
		"the disk was not detached (power loss or crash), so not all changes are known: make a full backup",
	},
	[VHDX_REASON_TRACKING_ERROR] = {
		"tracking_error",
		"the sidecar could not be written (see the kernel log), so not all changes are known: make a full backup",
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
		"the container is damaged (see the kernel log; try `qemu-img check` on a copy)",
	},
	[VHDX_REASON_IN_USE] = {
		"in_use",
		"in use",
	},
	[VHDX_REASON_READ_ONLY] = {
		"read_only",
		"the disk is attached read-only: attach it for writing",
	},
	[VHDX_REASON_NO_SPACE] = {
		"no_space",
		"out of points or of room in the sidecar: forget points that are no longer needed",
	},
	[VHDX_REASON_IO] = {
		"io",
		"reading or writing the container or the sidecar failed (see the kernel log)",
	},
};

#define REASON_COUNT	(sizeof(reasons) / sizeof(reasons[0]))

const char *vhdx_reason_name(unsigned int reason)
{
	return reason < REASON_COUNT ? reasons[reason].name : "unknown";
}

unsigned int reason_from_name(const char *name)
{
	unsigned int reason;

	for (reason = 0; reason < REASON_COUNT; reason++)
		if (!strcmp(name, reasons[reason].name))
			return reason;
	return VHDX_REASON_NONE;
}

static const char *text_of(int err, unsigned int reason)
{
	/* At present, and not at a moment that the question spans. */
	if (err == -EOPNOTSUPP && reason == VHDX_REASON_DISABLED)
		return "change tracking is not enabled: run `vhdxctl track enable`, and make a full backup";
	if (err == -EBADF)
		return "opened for reading only: this needs write permission on its change-tracking device (VHDX_OPEN_WRITE)";
	return reason < REASON_COUNT ? reasons[reason].text : NULL;
}

int fail_kernel(int err, unsigned int reason, const char *subject, const char *message)
{
	const char *text = text_of(err, reason);

	if (message && *message)
		return fail(err, reason, "%s: %s%s", subject, message,
			    vhdx_full_backup_needed(err, reason) ? ": make a full backup" : "");
	if (text)
		return fail(err, reason, "%s: %s", subject, text);
	return fail(err, reason, "%s: %s", subject, strerror(-err));
}

#define ANY_REASON	(~0U)

/* The first row that fits. */
static const struct {
	int error;
	unsigned int reason;
	unsigned int code;
} codes[] = {
	{ 0,		ANY_REASON,		VHDX_CODE_OK },
	{ EINVAL,	ANY_REASON,		VHDX_CODE_INVALID_PARAMETER },
	/* A file system has these too, of its own files: only with the reason is it history. */
	{ ENODATA,	VHDX_REASON_ID_MISSING,	VHDX_CODE_INVALID_STATE },
	{ ESTALE,	VHDX_REASON_CHANGED_OFFLINE, VHDX_CODE_INVALID_STATE },
	{ ESTALE,	VHDX_REASON_INCONSISTENT, VHDX_CODE_INVALID_STATE },
	{ ESTALE,	VHDX_REASON_DISABLED,	VHDX_CODE_INVALID_STATE },
	{ ESTALE,	VHDX_REASON_RESET,	VHDX_CODE_INVALID_STATE },
	{ ESTALE,	VHDX_REASON_UNCLEAN,	VHDX_CODE_INVALID_STATE },
	{ ESTALE,	VHDX_REASON_TRACKING_ERROR, VHDX_CODE_INVALID_STATE },
	{ EOPNOTSUPP,	VHDX_REASON_NONE,	VHDX_CODE_NOT_SUPPORTED },
	{ EOPNOTSUPP,	VHDX_REASON_UNSUPPORTED, VHDX_CODE_NOT_SUPPORTED },
	/* Tracking is not on: DISABLED, or what it was lost to. */
	{ EOPNOTSUPP,	ANY_REASON,		VHDX_CODE_INVALID_STATE },
	{ EMEDIUMTYPE,	ANY_REASON,		VHDX_CODE_BAD_TYPE },
	{ EUCLEAN,	ANY_REASON,		VHDX_CODE_BAD_TYPE },
	{ EBUSY,	ANY_REASON,		VHDX_CODE_IN_USE },
	{ EACCES,	ANY_REASON,		VHDX_CODE_ACCESS_DENIED },
	{ EPERM,	ANY_REASON,		VHDX_CODE_ACCESS_DENIED },
	{ ENOMEM,	ANY_REASON,		VHDX_CODE_OUT_OF_MEMORY },
	{ ETIMEDOUT,	ANY_REASON,		VHDX_CODE_TIMEOUT },
	{ ENOENT,	ANY_REASON,		VHDX_CODE_FILE_NOT_FOUND },
	{ ENODEV,	ANY_REASON,		VHDX_CODE_NOT_AVAILABLE },
	{ ECANCELED,	ANY_REASON,		VHDX_CODE_UNKNOWN },
};

unsigned int vhdx_code_from_errno(int error, unsigned int reason)
{
	size_t row;

	if (error < 0)
		error = -error;
	for (row = 0; row < sizeof(codes) / sizeof(codes[0]); row++)
		if (codes[row].error == error &&
		    (codes[row].reason == ANY_REASON || codes[row].reason == reason))
			return codes[row].code;
	return VHDX_CODE_FAILED;
}

bool vhdx_full_backup_needed(int error, unsigned int reason)
{
	/* Exactly what the table calls an invalid state. */
	return vhdx_code_from_errno(error, reason) == VHDX_CODE_INVALID_STATE;
}
