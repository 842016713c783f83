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

/*
 * What the disk @name uses, wherever it lies, or used until tracking failed; NULL: none, or @name
 * is not attached.
 */
static int sidecar_in_use(const char *name, char **path)
{
	const char *found;
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
	if (status.former_sidecar_deleted)
		return fail(-ENOENT, VHDX_REASON_NONE,
			    "%s: removed while %s used it, and its points are gone: `vhdxctl track enable %s` begins a new one",
			    status.former_sidecar, status.device, status.device);
	found = status.sidecar[0] ? status.sidecar : status.former_sidecar;
	if (!*found)
		return 0;
	*path = strdup(found);
	return *path ? 0 : fail_errno(-ENOMEM, "%s", status.device);
}

static int find_sidecar(const char *name, const char *given, char **path, bool *used)
{
	struct container container = CONTAINER_NONE;
	int err = 0;

	if (!given)
		err = sidecar_in_use(name, path);
	*used = *path;
	if (err || *path)
		return err;
	err = locate_container(&container, name);
	if (!err)
		err = sidecar_path(&container, given, path);
	close_container(&container);
	return err;
}

/* Who named the wrong file would look for its sidecar in vain. */
static int explain_none(const char *name, const char *path, bool used)
{
	struct container container = CONTAINER_NONE;
	bool foreign;
	int index;

	if (used)
		return fail(-ENOENT, VHDX_REASON_NONE,
			    "%s: no such file, and it was the sidecar of %s: bring it back, and run `vhdxctl track enable`",
			    path, name);
	foreign = find_disk(name, &index) == 1 &&
		  open_container(&container, name, false) == -EMEDIUMTYPE;
	close_container(&container);
	if (foreign)
		return -EMEDIUMTYPE;
	return fail(-ENOENT, VHDX_REASON_NONE,
		    "%s: no such file: tracking was never enabled, or its sidecar has another name (--sidecar)",
		    path);
}

/* A sound one that was named may be another disk's: that is noted, and no error. */
static void note_owner(int fd, const char *name, const char *path)
{
	struct vhdx_info info = { .size = sizeof(info) };
	struct vhdx_disk *disk = NULL;
	bool strange;

	strange = !vhdx_disk_open(name, NULL, 0, &disk) && !vhdx_disk_get_info(disk, &info) &&
		  sidecar_ownership(fd, &info) == OF_ANOTHER_DISK;
	vhdx_disk_close(disk);
	clear_error();
	if (strange)
		fail(0, VHDX_REASON_CHANGED_OFFLINE,
		     "%s: it is the sidecar of another disk, not of %s", path, name);
}

int vhdx_tracking_verify(const char *name, const char *sidecar, size_t *point_count)
{
	struct verdict verdict;
	char *path = NULL;
	bool used = false;
	int err;
	int fd;

	clear_error();
	err = find_sidecar(name, sidecar, &path, &used);
	if (err)
		return err;
	fd = open_sidecar(path, sidecar || used, false);
	if (fd == -ENOENT && !sidecar)
		fd = explain_none(name, path, used);
	if (fd < 0) {
		free(path);
		return fd;
	}
	judge_steady(fd, &verdict);
	if (!verdict.err && sidecar)
		note_owner(fd, name, path);
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
