// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * FILE.rct and FILE.mrt: Windows' own change tracking beside a container.
 *
 * Their format is not public, so a write from here can't be added to them, and Windows
 * would not notice. Whoever wants to write must agree to their being put aside.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "internal.h"

#define COUNT	2

static const char *const suffixes[COUNT] = { ".rct", ".mrt" };

struct names {
	char live[PATH_MAX];
	char stale[PATH_MAX];
};

static void make_names(struct names *names, const struct container *container, int which)
{
	snprintf(names->live, sizeof(names->live), "%s%s", container->path, suffixes[which]);
	snprintf(names->stale, sizeof(names->stale), "%s%s.stale", container->path,
		 suffixes[which]);
}

void find_windows_rct(struct windows_rct *rct, const struct container *container)
{
	struct names names;
	int i;

	memset(rct, 0, sizeof(*rct));
	if (is_block(container))
		return;
	for (i = 0; i < COUNT; i++) {
		make_names(&names, container, i);
		rct->present[i] = !access(names.live, F_OK);
	}
}

int refuse_windows_rct(const struct windows_rct *rct, const struct container *container)
{
	if (!rct->present[0] && !rct->present[1])
		return 0;
	return fail(-EEXIST, VHDX_REASON_NONE,
		    "%s: Windows' change tracking (%s%s%s) lies beside it, and would become stale without Windows knowing. Have it renamed to *.stale (--retire-windows-rct; the next backup by Windows will be a full one), or attach read-only",
		    container->path, rct->present[0] ? "*.rct" : "",
		    rct->present[0] && rct->present[1] ? ", " : "",
		    rct->present[1] ? "*.mrt" : "");
}

int retire_windows_rct(struct windows_rct *rct, const struct container *container)
{
	struct names names;
	int err;
	int i;

	for (i = 0; i < COUNT; i++) {
		if (!rct->present[i])
			continue;
		make_names(&names, container, i);
		if (renameat2(AT_FDCWD, names.live, AT_FDCWD, names.stale, RENAME_NOREPLACE)) {
			err = -errno;
			restore_windows_rct(rct, container);
			return fail_errno(err, "%s: cannot rename it to %s", names.live,
					  names.stale);
		}
		rct->retired[i] = true;
	}
	/* Durable before the driver writes: else Windows would trust the old names again. */
	err = sync_directory(container->path);
	if (err)
		restore_windows_rct(rct, container);
	return err;
}

void restore_windows_rct(struct windows_rct *rct, const struct container *container)
{
	struct names names;
	int i;

	for (i = 0; i < COUNT; i++) {
		if (!rct->retired[i])
			continue;
		make_names(&names, container, i);
		if (!renameat2(AT_FDCWD, names.stale, AT_FDCWD, names.live, RENAME_NOREPLACE))
			rct->retired[i] = false;
	}
}
