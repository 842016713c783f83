// SPDX-License-Identifier: LGPL-2.1-or-later
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include "method.h"

/* C:\… and \\server\share\…; agents that were written for Windows pass what they have there. */
static bool is_path_of_windows(const char *path)
{
	return path[0] == '\\' ||
	       (isalpha((unsigned char)path[0]) && path[1] == ':' && strchr("\\/", path[2]));
}

int check_method_path(const char *path)
{
	if (!path)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "no path (NULL), where that of a disk is wanted");
	if (is_path_of_windows(path))
		return fail(-ENOENT, VHDX_REASON_NONE,
			    "%s: a path of Windows, which leads nowhere here: the path that the file has on this machine is wanted",
			    path);
	if (path[0] != '/')
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "\"%s\": an absolute path is wanted: of a container, of a VHD Set, or of a disk's device (/dev/vhdxN)",
			    path);
	return 0;
}

int open_method_disk(const char *path, struct vhdx_disk **disk)
{
	return vhdx_disk_open(path, NULL, 0, disk);
}
