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
	char live[PATH_MAX + sizeof(".rct")];
	char stale[PATH_MAX + sizeof(".rct.stale")];
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

/* Over nothing that is there. NFS knows no flags of a rename; a link is never made over a file. */
static int rename_anew(const char *from, const char *to)
{
	if (!renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE))
		return 0;
	if (errno != EINVAL)
		return -errno;
	if (link(from, to))
		return -errno;
	if (!unlink(from))
		return 0;
	unlink(to);
	return -errno;
}

static int explain(int err, const struct names *names)
{
	switch (err) {
	case -EEXIST:
		return fail(err, VHDX_REASON_NONE,
			    "%s: it is there already, put aside by an earlier attach, and is not written over: move it away or remove it, then attach again",
			    names->stale);
	case -ENAMETOOLONG:
		return fail(err, VHDX_REASON_NONE,
			    "%s: with \".stale\" behind it the name would be too long: rename it yourself, then attach again",
			    names->live);
	default:
		return fail_errno(err, "%s: cannot rename it to %s", names->live, names->stale);
	}
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
		err = rename_anew(names.live, names.stale);
		if (err) {
			restore_windows_rct(rct, container);
			return explain(err, &names);
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
		if (!rename_anew(names.stale, names.live))
			rct->retired[i] = false;
	}
}
