// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include "csi.h"
#include "json.h"

#define RESULTS_DEFAULT	1024

/* ---- Ranges ---- */

static void print_message(const struct vhdx_range *ranges, size_t count, uint64_t capacity)
{
	size_t i;

	printf("{\"block_metadata_type\":\"VARIABLE_LENGTH\",\"volume_capacity_bytes\":%" PRIu64
	       ",\"block_metadata\":[", capacity);
	for (i = 0; i < count; i++)
		printf("%s{\"byte_offset\":%llu,\"size_bytes\":%llu}", i ? "," : "",
		       ranges[i].byte_offset, ranges[i].byte_length);
	puts("]}");
}

int csi_print(const struct ranges *ranges, uint64_t capacity)
{
	const size_t most = range_format.max_results ? range_format.max_results : RESULTS_DEFAULT;
	size_t at = 0;
	size_t count;

	do {
		count = ranges->count - at < most ? ranges->count - at : most;
		print_message(ranges->list + at, count, capacity);
		at += count;
	} while (at < ranges->count);
	return EXIT_DONE;
}

/* ---- Failures ---- */

struct status {
	unsigned int code;
	const char *name;
};

static const struct status cancelled = { 1, "CANCELLED" };
static const struct status invalid_argument = { 3, "INVALID_ARGUMENT" };
static const struct status not_found = { 5, "NOT_FOUND" };
static const struct status permission_denied = { 7, "PERMISSION_DENIED" };
static const struct status resource_exhausted = { 8, "RESOURCE_EXHAUSTED" };
static const struct status failed_precondition = { 9, "FAILED_PRECONDITION" };
static const struct status out_of_range = { 11, "OUT_OF_RANGE" };
static const struct status unimplemented = { 12, "UNIMPLEMENTED" };
static const struct status internal = { 13, "INTERNAL" };
static const struct status unavailable = { 14, "UNAVAILABLE" };
static const struct status data_loss = { 15, "DATA_LOSS" };

/* Documentation/interfaces.rst has this as a table. */
static const struct status *status_of(int error, unsigned int reason, bool beyond)
{
	switch (error) {
	case EINVAL:
		return beyond && reason == VHDX_REASON_ARGUMENT ? &out_of_range : &invalid_argument;
	case EMEDIUMTYPE:
		return &invalid_argument;
	case ENODATA:
	case ENODEV:
	case ENOENT:
		return &not_found;
	case ESTALE:
		return &failed_precondition;
	case EOPNOTSUPP:
		return reason == VHDX_REASON_DISABLED ? &failed_precondition : &unimplemented;
	case EACCES:
	case EPERM:
		return &permission_denied;
	case EBUSY:
	case ETIMEDOUT:
		return &unavailable;
	case ENOMEM:
		return &resource_exhausted;
	case EUCLEAN:
		return &data_loss;
	case EINTR:
		return &cancelled;
	default:
		return &internal;
	}
}

int csi_report(int err, bool beyond)
{
	const unsigned int reason = vhdx_error_reason();
	const struct status *status = status_of(-err, reason, beyond);
	struct json_object *inner = json_object_new_object();
	struct json_object *reply = json_object_new_object();
	const char *message = failure_text(err);

	complain("%s", message);
	json_bytes(inner, "code", status->code);
	json_text(inner, "status", status->name);
	json_text(inner, "message", message);
	json_object_object_add(reply, "error", inner);
	json_finish(reply);
	return vhdx_full_backup_needed(err, reason) ? EXIT_FULL_BACKUP : EXIT_FAILED;
}
