// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What went wrong: errno for the class, a reason for programs, a line for people.
 */
#include <core/diag.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "internal.h"

static __thread struct {
	unsigned int reason;
	char message[VHDX_PATH_TEXT + 1024];
	char child[VHDX_PATH_TEXT];
	char parent[VHDX_PATH_TEXT];
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

void forget_layers(void)
{
	last.child[0] = '\0';
	last.parent[0] = '\0';
}

void note_layers(const char *child, const char *parent)
{
	snprintf(last.child, sizeof(last.child), "%s", child);
	snprintf(last.parent, sizeof(last.parent), "%s", parent);
}

bool last_error_is_of(const char **child, const char **parent)
{
	*child = last.child;
	*parent = last.parent;
	return last.child[0] && strstr(last.message, last.child);
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

const char *vhdx_reason_name(unsigned int reason)
{
	const char *name = vhdx_reason_to_name(reason);

	return name ? name : "unknown";
}

unsigned int reason_from_name(const char *name)
{
	const char *known;
	unsigned int reason;

	for (reason = 0; (known = vhdx_reason_to_name(reason)); reason++)
		if (!strcmp(name, known))
			return reason;
	return VHDX_REASON_NONE;
}

static int fail_with(int err, unsigned int reason, const char *subject, const char *message,
		     bool lost)
{
	const bool said = message && *message;
	const char *text = said ? message : vhdx_failure_to_text(err, reason);
	/* A gap that is only warned of is one for the next question. */
	const bool gap = !err && !said && vhdx_full_backup_needed(-ESTALE, reason);

	if (!text)
		return fail(err, reason, "%s: %s", subject, strerror(-err));
	return fail(err, reason, "%s: %s%s", subject, text,
		    gap || lost ? ": make a full backup" : "");
}

int fail_kernel(int err, unsigned int reason, const char *subject, const char *message)
{
	return fail_with(err, reason, subject, message, false);
}

int fail_history(int err, unsigned int reason, const char *subject, const char *message)
{
	return fail_with(err, reason, subject, message, vhdx_full_backup_needed(err, reason));
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
	{ ENOTDIR,	ANY_REASON,		VHDX_CODE_FILE_NOT_FOUND },
	{ ELOOP,	ANY_REASON,		VHDX_CODE_FILE_NOT_FOUND },
	{ ENAMETOOLONG,	ANY_REASON,		VHDX_CODE_FILE_NOT_FOUND },
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
	/* What the table calls an invalid state; and an id that was damaged where it was kept. */
	if ((error == EINVAL || error == -EINVAL) && reason == VHDX_REASON_ID_MALFORMED)
		return true;
	return vhdx_code_from_errno(error, reason) == VHDX_CODE_INVALID_STATE;
}
