// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * JobCompletionStatusCode: what went wrong, as Windows numbers it.
 */
#include <errno.h>
#include "internal.h"

/* Of the virtual disks of Windows: a number of their own, not an error of Win32. */
#define INVALID_CHANGE_TRACKING_ID		0xc03a0029U
#define CHANGE_TRACKING_DISABLED		0xc03a002aU
#define MISSING_CHANGE_TRACKING_INFORMATION	0xc03a0030U

#define FROM_WIN32(error)	(0x80070000U | (error))
#define ERROR_GEN_FAILURE	31U

/* The nearest error of Win32; its name there is what stands behind it. */
static const struct {
	int error;
	unsigned int win32;
} nearest[] = {
	{ ENOENT,	2 },	/* FILE_NOT_FOUND */
	{ ENOTDIR,	3 },	/* PATH_NOT_FOUND */
	{ EMFILE,	4 },	/* TOO_MANY_OPEN_FILES */
	{ ENFILE,	4 },
	{ EACCES,	5 },	/* ACCESS_DENIED */
	{ EPERM,	5 },
	{ ENOMEM,	14 },	/* OUTOFMEMORY */
	{ EROFS,	19 },	/* WRITE_PROTECT */
	{ EBUSY,	32 },	/* SHARING_VIOLATION */
	{ EOPNOTSUPP,	50 },	/* NOT_SUPPORTED */
	{ EEXIST,	80 },	/* FILE_EXISTS */
	{ EINVAL,	87 },	/* INVALID_PARAMETER */
	{ E2BIG,	87 },
	{ ENOSPC,	112 },	/* DISK_FULL */
	{ ENAMETOOLONG,	206 },	/* FILENAME_EXCED_RANGE */
	{ EIO,		1117 },	/* IO_DEVICE */
	{ ENODEV,	1167 },	/* DEVICE_NOT_CONNECTED */
	{ ECANCELED,	1223 },	/* CANCELLED */
	{ EUCLEAN,	1392 },	/* FILE_CORRUPT */
	{ ETIMEDOUT,	1460 },	/* TIMEOUT */
	{ EMEDIUMTYPE,	1785 },	/* UNRECOGNIZED_MEDIA */
	{ ELOOP,	1921 },	/* CANT_RESOLVE_FILENAME */
};

static uint32_t nearest_to(int error)
{
	size_t row;

	for (row = 0; row < sizeof(nearest) / sizeof(nearest[0]); row++)
		if (nearest[row].error == error)
			return FROM_WIN32(nearest[row].win32);
	return FROM_WIN32(ERROR_GEN_FAILURE);
}

uint32_t vhdx_hresult(int error, unsigned int reason)
{
	if (error < 0)
		error = -error;
	if (!error)
		return 0;
	if (error == EINVAL && reason == VHDX_REASON_ID_MALFORMED)
		return INVALID_CHANGE_TRACKING_ID;
	if (error == EOPNOTSUPP && reason == VHDX_REASON_DISABLED)
		return CHANGE_TRACKING_DISABLED;
	if (vhdx_code_from_errno(error, reason) == VHDX_CODE_INVALID_STATE)
		return MISSING_CHANGE_TRACKING_INFORMATION;
	return nearest_to(error);
}
