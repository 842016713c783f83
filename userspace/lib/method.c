// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Msvm_ImageManagementService.GetVirtualDiskChanges, with its parameters and its return values.
 */
#include <errno.h>
#include <stdlib.h>
#include "job.h"
#include "method.h"

/* In a set, a snapshot; elsewhere there is none that could be a target. */
static int read_target(const char *path, const char *text, struct vhdx_point_id *target)
{
	int err;

	if (!is_vhd_set(path))
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: a target snapshot is valid for VHD Set files only", path);
	err = vhdx_id_parse(text, target);
	if (!err && target->kind != VHDX_POINT_SNAPSHOT)
		err = fail(-EINVAL, VHDX_REASON_ARGUMENT,
			   "%s: \"%.80s\" is the target, which has to be a snapshot: {GUID}", path,
			   text);
	return err;
}

static int read_question(const char *path, const char *limit_id, const char *target_snapshot_id,
			 uint64_t byte_offset, uint64_t byte_length, struct vhdx_changes *question)
{
	int err = check_method_path(path);

	*question = (struct vhdx_changes) {
		.size = sizeof(*question),
		.offset = byte_offset,
		.length = byte_length,
		/* In Windows a range has no flags: none is to be cut for them. */
		.range_size = VHDX_RANGE_SIZE_VER0,
	};
	if (err)
		return err;
	if (!limit_id)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT,
			    "%s: no limit (NULL), where the id of a point is wanted", path);
	/* The method knows no "to the end": this length goes beyond any disk. */
	if (byte_length == VHDX_TO_END)
		return fail(-EINVAL, VHDX_REASON_ARGUMENT, "%s: %llu bytes go beyond any disk",
			    path, (unsigned long long)byte_length);
	err = vhdx_id_parse(limit_id, &question->limit);
	if (!err && target_snapshot_id && *target_snapshot_id)
		err = read_target(path, target_snapshot_id, &question->target);
	return err;
}

/* The array goes to the caller. */
static void hand_out(struct vhdx_job *call, uint64_t *processed_byte_length,
		     struct vhdx_range **ranges, size_t *range_count)
{
	if (processed_byte_length)
		*processed_byte_length = call->changes.processed;
	if (range_count)
		*range_count = call->count;
	if (ranges) {
		*ranges = (void *)call->ranges;
		call->ranges = NULL;
	}
}

static void no_answer(uint64_t *processed_byte_length, struct vhdx_range **ranges,
		      size_t *range_count)
{
	if (processed_byte_length)
		*processed_byte_length = 0;
	if (ranges)
		*ranges = NULL;
	if (range_count)
		*range_count = 0;
}

static unsigned int last_code(int err)
{
	return vhdx_code_from_errno(err, vhdx_error_reason());
}

unsigned int vhdx_get_virtual_disk_changes(const char *path, const char *limit_id,
					   const char *target_snapshot_id, uint64_t byte_offset,
					   uint64_t byte_length, uint64_t *processed_byte_length,
					   struct vhdx_range **ranges, size_t *range_count,
					   struct vhdx_job **job)
{
	static const struct vhdx_job_options defaults = { .size = sizeof(defaults) };
	struct vhdx_changes question;
	struct vhdx_job *call = NULL;
	unsigned int code;
	int err;

	clear_error();
	if (job)
		*job = NULL;
	else
		no_answer(processed_byte_length, ranges, range_count);
	err = read_question(path, limit_id, target_snapshot_id, byte_offset, byte_length,
			    &question);
	if (!err)
		err = prepare_job(path, &question, sizeof(struct vhdx_range), &defaults, &call);
	if (!call)
		return last_code(err);
	if (job) {
		code = start_job(call);
		if (code == VHDX_CODE_JOB_STARTED)
			*job = call;
		return code;
	}
	err = ask_job(call);
	if (!err)
		hand_out(call, processed_byte_length, ranges, range_count);
	put_job(call);
	return last_code(err);
}
