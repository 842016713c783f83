// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Reading all of a sidecar, also of one that the driver is writing: what a header
 * names stays until the next header is durable, so damage counts only if the header
 * is still the same afterwards.
 */
#include <core/rct/sidecar.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "file_store.h"
#include "internal.h"

#define TRIES	10

struct verdict {
	int err;
	struct vhdx_diag diag;
	u64 sequence;
	u32 point_count;
};

static void judge(int fd, struct verdict *verdict)
{
	struct vhdx_sidecar sidecar = { 0 };
	struct file_store file;

	memset(verdict, 0, sizeof(*verdict));
	verdict->err = file_store_init(&file, fd);
	if (verdict->err)
		return;
	verdict->err = vhdx_sidecar_load(&sidecar, &file.store, !file.direct, true,
					 &verdict->diag);
	verdict->sequence = sidecar.sequence;
	verdict->point_count = sidecar.timeline.count;
	if (!verdict->err)
		verdict->err = vhdx_sidecar_verify(&sidecar, &verdict->diag);
	vhdx_sidecar_release(&sidecar);
}

static void judge_steady(int fd, struct verdict *verdict)
{
	struct verdict before;
	int try = 0;

	judge(fd, verdict);
	while (verdict->err && ++try < TRIES) {
		before = *verdict;
		judge(fd, verdict);
		if (verdict->err == before.err && verdict->sequence == before.sequence)
			break;
	}
}

/* What the disk @name uses, wherever it lies; NULL: none, or @name is not attached. */
static int sidecar_in_use(const char *name, char **path)
{
	struct vhdx_status status = { .size = sizeof(status) };
	int index;
	int err;

	err = find_disk(name, &index);
	if (!err)
		err = vhdx_get_status(index, &status);
	if (err)
		return err > 0 ? 0 : err;
	if (status.sidecar_deleted)
		return fail(-ENOENT, VHDX_REASON_NONE,
			    "%s: removed, and %s uses it still: nobody else can read it",
			    status.sidecar, status.device);
	if (!status.sidecar[0])
		return 0;
	*path = strdup(status.sidecar);
	return *path ? 0 : fail_errno(-ENOMEM, "%s", status.device);
}

static int find_sidecar(const char *name, const char *given, char **path)
{
	struct container container = CONTAINER_NONE;
	int err = 0;

	if (!given)
		err = sidecar_in_use(name, path);
	if (err || *path)
		return err;
	err = locate_container(&container, name);
	if (!err)
		err = sidecar_path(&container, given, path);
	close_container(&container);
	return err;
}

int vhdx_tracking_verify(const char *name, const char *sidecar, size_t *point_count)
{
	struct verdict verdict;
	char *path = NULL;
	int err;
	int fd;

	clear_error();
	err = find_sidecar(name, sidecar, &path);
	if (err)
		return err;
	fd = open_sidecar(path, sidecar, false);
	if (fd < 0) {
		free(path);
		return fd;
	}
	judge_steady(fd, &verdict);
	close(fd);
	err = verdict.err;
	if (err == -ENODATA)
		fail(err, VHDX_REASON_DISABLED,
		     "%s: empty: tracking was never enabled in it", path);
	else if (err)
		fail_kernel(err, verdict.diag.reason, path, verdict.diag.text);
	else if (point_count)
		*point_count = verdict.point_count;
	free(path);
	return err;
}
