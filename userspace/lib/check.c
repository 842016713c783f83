// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Checking a container, and mending what can be mended without a guess.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <core/offline/check.h>
#include <core/vhdx/log.h>
#include "file_store.h"
#include "internal.h"

static_assert(VHDX_FINDING_NOTE == VHDX_SEVERITY_NOTE);
static_assert(VHDX_FINDING_FATAL == VHDX_SEVERITY_FATAL);

struct checking {
	struct container container;
	struct file_store file;
	struct vhdx_check check;
	vhdx_finding_fn fn;
	void *context;
};

static int failed(const struct checking *checking, int err, const struct vhdx_diag *diag)
{
	return fail_kernel(err, diag->reason, checking->container.path, diag->text);
}

/* ---- Repair ---- */

/* A device has the size that it has. */
static int extend(struct checking *checking, u64 size)
{
	struct vhdx_store *store = &checking->file.store;

	if (size <= store->size)
		return 0;
	if (is_block(&checking->container))
		return -ENOSPC;
	if (ftruncate(checking->container.fd, size))
		return -errno;
	store->size = size;
	return 0;
}

/*
 * As the driver does it: FileWriteGuid first (MS-VHDX 2.2.2), then what was logged, then the
 * header that says that the log is empty. What users see does not change, so DataWriteGuid
 * stays: children and sidecars still know the disk.
 */
static int replay(struct checking *checking, struct vhdx_image *image, struct vhdx_diag *diag)
{
	static const vhdx_guid empty;
	struct vhdx_store *store = &checking->file.store;
	struct vhdx_header *header = &image->header;
	int err;

	random_guid(&header->file_write_guid);
	err = vhdx_header_renew(store, header, diag);
	if (err)
		return err;
	err = extend(checking, image->log.last_file_offset);
	if (err)
		return vhdx_fail(diag, err, VHDX_REASON_HOST_FULL,
				 "log: the container must grow to %llu bytes to replay it, and can't (error %d)",
				 image->log.last_file_offset, -err);
	err = vhdx_log_replay(store, header, &image->log, diag);
	if (!err)
		err = store->flush(store);
	if (err)
		return vhdx_io_failed(diag, err, "log: replaying it failed (error %d)", -err);
	header->log_guid = empty;
	return vhdx_header_renew(store, header, diag);
}

static int close_log(struct checking *checking, struct vhdx_image *image, struct vhdx_diag *diag)
{
	static const vhdx_guid empty;

	random_guid(&image->header.file_write_guid);
	image->header.log_guid = empty;
	return vhdx_header_renew(&checking->file.store, &image->header, diag);
}

static int mend(struct checking *checking, struct vhdx_image *image, enum vhdx_repair repair,
		struct vhdx_diag *diag)
{
	int err = 0;

	if (repair == VHDX_REPAIR_REPLAY)
		err = replay(checking, image, diag);
	else if (repair == VHDX_REPAIR_CLOSE)
		err = close_log(checking, image, diag);
	if (err)
		return failed(checking, err, diag);
	checking->check.repaired = repair == VHDX_REPAIR_REPLAY ? VHDX_REPAIRED_REPLAY :
				   repair == VHDX_REPAIR_CLOSE ? VHDX_REPAIRED_LOG :
				   VHDX_REPAIRED_NOTHING;
	/* Replay may have made it longer. */
	err = file_store_init(&checking->file, checking->container.fd);
	return err ? fail_errno(err, "%s", checking->container.path) : 0;
}

/* What can't be mended is left as it is, and found by the check that follows. */
static int repair(struct checking *checking)
{
	struct vhdx_diag diag = { 0 };
	struct vhdx_image image;
	enum vhdx_repair plan;
	int err;

	err = vhdx_repair_plan(&checking->file.store, &image, &plan, &diag);
	if (!err)
		err = mend(checking, &image, plan, &diag);
	else if (err == -EUCLEAN || err == -EMEDIUMTYPE || err == -EOPNOTSUPP)
		err = 0;
	else
		err = failed(checking, err, &diag);
	vhdx_image_release(&image);
	return err;
}

/* ---- Check ---- */

static int tell(void *context, enum vhdx_severity severity, const struct vhdx_diag *diag)
{
	struct checking *checking = context;
	struct vhdx_finding finding = {
		.severity = severity,
		.reason = diag->reason,
	};
	union {
		struct vhdx_finding ours;
		char theirs[4096];
	} shown;

	snprintf(finding.text, sizeof(finding.text), "%s", diag->text);
	if (severity == VHDX_SEVERITY_WARNING)
		checking->check.warnings++;
	else if (severity > VHDX_SEVERITY_WARNING)
		checking->check.errors++;
	give_element(&shown, checking->check.finding_size, &finding, sizeof(finding));
	return result_of_caller(checking->fn(checking->context, &shown.ours));
}

static int judge(struct checking *checking)
{
	struct vhdx_diag diag = { 0 };
	int err;

	err = vhdx_check_store(&checking->file.store, is_block(&checking->container), tell,
			       checking, &diag);
	if (err >= 0 || err == -ECANCELED)
		return err;
	return failed(checking, err, &diag);
}

static int take_check(struct checking *checking, const struct vhdx_check *theirs)
{
	struct vhdx_check *check = &checking->check;
	int err;

	err = take_sized(check, sizeof(*check), theirs, VHDX_CHECK_SIZE_VER0, "vhdx_check");
	if (err)
		return err;
	check->repaired = 0;
	check->warnings = 0;
	check->errors = 0;
	if (check->flags & ~VHDX_CHECK_REPAIR)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT, "unknown flags of a check: 0x%x",
			    check->flags);
	if (check->finding_size > 4096)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT, "vhdx_finding of %zu bytes",
			    check->finding_size);
	return check_sized(&check->finding_size, VHDX_FINDING_SIZE_VER0, "vhdx_finding");
}

static int check_open(struct checking *checking)
{
	int err = file_store_init(&checking->file, checking->container.fd);

	if (err)
		return fail_errno(err, "%s", checking->container.path);
	if (checking->check.flags & VHDX_CHECK_REPAIR)
		err = repair(checking);
	return err ? err : judge(checking);
}

int vhdx_check(const char *path, struct vhdx_check *check, vhdx_finding_fn fn, void *context)
{
	struct checking checking = {
		.container = CONTAINER_NONE,
		.fn = fn,
		.context = context,
	};
	int err;

	clear_error();
	err = check_name(path);
	if (!err)
		err = take_check(&checking, check);
	if (err)
		return err;
	err = open_container(&checking.container, path,
			     checking.check.flags & VHDX_CHECK_REPAIR);
	if (!err)
		err = check_open(&checking);
	close_container(&checking.container);
	give_sized(check, &checking.check, sizeof(checking.check));
	return err;
}
