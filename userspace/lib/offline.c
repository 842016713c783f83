// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A disk that is not attached: its files answer the requests of /dev/vhdxcN with
 * the same fields, the same errors and the same reasons as the driver would.
 */
#include <errno.h>
#include <time.h>
#include <unistd.h>
#include <core/argument.h>
#include <core/rct/report.h>
#include "image_file.h"

/**
 * struct offline_disk - a container and its sidecar, for reading
 * @sidecar_fd:		-1: there is none
 * @sidecar_path:	of what is open
 * @sidecar_error:	why it can't be used: what every question about changes
 *			gets; 0 if it can
 * @sidecar_diag:	the same as a reason and as text
 */
struct offline_disk {
	struct vhdx_disk disk;
	struct container container;
	struct image_file image;
	int sidecar_fd;
	char *sidecar_path;
	struct file_store sidecar_file;
	struct vhdx_sidecar sidecar;
	int sidecar_error;
	struct vhdx_diag sidecar_diag;
};

static struct offline_disk *to_offline(struct vhdx_disk *disk)
{
	return container_of(disk, struct offline_disk, disk);
}

static void get_info(struct offline_disk *offline, struct vhdx_info *info)
{
	const struct vhdx_image *image = &offline->image.image;

	info->index = -1;
	info->disk_flags = (image->geo.fixed ? VHDX_DISK_FIXED : 0) |
			   (image->log.dirty ? VHDX_DISK_REPLAYED : 0) |
			   (is_block(&offline->container) ? VHDX_DISK_BLOCK : 0);
	info->virtual_disk_size = image->geo.disk_size;
	memcpy(info->virtual_disk_id, &image->geo.disk_id, sizeof(info->virtual_disk_id));
	memcpy(info->data_write_guid, &image->header.data_write_guid,
	       sizeof(info->data_write_guid));
	info->block_size = image->geo.block_size;
	info->logical_sector_size = image->geo.logical_sector_size;
	info->physical_sector_size = image->geo.physical_sector_size;
	info->layer_count = 1;
	if (offline->sidecar_fd >= 0 && !offline->sidecar_error)
		info->unit = 1U << offline->sidecar.unit_shift;
}

/* Without a sidecar, and with one that can't be used, there is no history to tell. */
static struct vhdx_history history_of(const struct offline_disk *offline)
{
	struct vhdx_history history = {
		.disk_size = offline->image.image.geo.disk_size,
		.sidecar = &offline->sidecar,
	};

	if (!offline->sidecar_error) {
		history.state = offline->sidecar.state == VHDX_SIDECAR_DISABLED ?
				VHDX_TRACKING_DISABLED : VHDX_TRACKING_ON;
		return history;
	}
	history.state = VHDX_TRACKING_OFF;
	history.off_error = offline->sidecar_error;
	if (offline->sidecar_fd >= 0)
		history.off_reason = offline->sidecar_diag.reason;
	if (offline->sidecar_diag.text[0])
		history.off_text = offline->sidecar_diag.text;
	return history;
}

static int get_points(const struct vhdx_history *history, struct vhdx_get_points *get,
		      struct vhdx_diag *diag)
{
	const u32 capacity = min(get->output_capacity, VHDX_POINTS_MAX);
	char *output = (char *)(uintptr_t)get->output;
	struct vhdx_point *points;
	u32 i;
	int err;

	points = calloc(capacity ? capacity : 1, sizeof(*points));
	if (!points)
		return vhdx_no_memory(diag);
	err = vhdx_report_points(history, get, points, capacity, diag);
	for (i = 0; !err && i < get->output_count; i++)
		give_element(output + (size_t)i * get->point_size, get->point_size, &points[i],
			     sizeof(points[i]));
	free(points);
	return err;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int answer(const struct vhdx_history *history, const struct vhdx_span *span,
		  struct vhdx_get_virtual_disk_changes *query, struct vhdx_diag *diag)
{
	struct vhdx_span_source source = { .history = *history, .span = *span };
	struct vhdx_answer answer = {
		.offset = query->byte_offset,
		.end = query->byte_offset + query->byte_length,
		.unit_shift = history->sidecar->unit_shift,
		.ranges = (void *)(uintptr_t)query->output,
		.range_size = query->range_size,
		.capacity = query->output_capacity,
		.words = vhdx_alloc(VHDX_LEAF_WORDS * sizeof(u64)),
	};
	const uint64_t limit = query->time_limit_ms ? query->time_limit_ms : UINT64_MAX;
	const uint64_t begin = now_ms();
	int more;

	if (!answer.words)
		return vhdx_no_memory(diag);
	do {
		more = vhdx_answer_leaf(&answer, vhdx_report_leaf, &source);
	} while (more > 0 && now_ms() - begin < limit);
	vhdx_free(answer.words);
	if (more < 0)
		return vhdx_report_failure(more, diag);
	query->output_count = answer.count;
	query->processed_byte_length = answer.offset - query->byte_offset;
	query->changed_bytes = answer.changed;
	query->complete_to_id = query->target_id;
	return 0;
}

static int get_changes_of(const struct vhdx_history *history,
			  struct vhdx_get_virtual_disk_changes *query, struct vhdx_diag *diag)
{
	struct vhdx_span span;
	int err;

	query->virtual_disk_size = history->disk_size;
	err = vhdx_report_check(history, query, diag);
	if (!err)
		err = vhdx_report_span(history, query, &span, diag);
	return err ? err : answer(history, &span, query, diag);
}

static int run(struct offline_disk *offline, unsigned long command,
	       union vhdx_any_argument *argument, struct vhdx_diag *diag)
{
	struct vhdx_history history = history_of(offline);

	switch (command) {
	case VHDX_GET_INFO:
		get_info(offline, &argument->info);
		return 0;
	case VHDX_GET_TRACKING_STATE:
		vhdx_report_state(&history, &argument->tracking_state);
		argument->tracking_state.live_bytes = vhdx_report_live_bytes(&history);
		return 0;
	case VHDX_GET_POINTS:
		return get_points(&history, &argument->points, diag);
	case VHDX_GET_VIRTUAL_DISK_CHANGES:
		return get_changes_of(&history, &argument->changes, diag);
	default:
		return vhdx_unsupported(diag, "a disk that is not attached can't do this");
	}
}

static int offline_sidecar(struct vhdx_disk *disk, char **path)
{
	const struct offline_disk *offline = to_offline(disk);

	if (offline->sidecar_fd < 0)
		return 0;
	*path = strdup(offline->sidecar_path);
	return *path ? 0 : fail_errno(-ENOMEM, "%s", disk->name);
}

/* Without a message: the caller has it from the library. */
static int offline_call(struct vhdx_disk *disk, unsigned long command, void *theirs)
{
	const struct vhdx_argument *known = vhdx_argument_of(command);
	const size_t size = *(__u32 *)theirs;
	union vhdx_any_argument argument;
	struct vhdx_diag diag = { 0 };
	int err;

	give_element(&argument, known->size, theirs, size);
	err = vhdx_argument_check(known, &argument, &diag);
	vhdx_argument_clear(known, &argument, VHDX_FIELD_RESULT);
	vhdx_argument_clear(known, &argument, VHDX_FIELD_VERDICT);
	if (!err)
		err = run(to_offline(disk), command, &argument, &diag);
	if (err)
		vhdx_argument_clear(known, &argument, VHDX_FIELD_RESULT);
	*vhdx_argument_reason(known, &argument) = diag.reason;
	give_element(theirs, size, &argument, known->size);
	snprintf(disk->message, sizeof(disk->message), "%s", diag.text);
	tell_request(disk->name, command, theirs, err, disk->message);
	return err;
}

static void offline_close(struct vhdx_disk *disk)
{
	struct offline_disk *offline = to_offline(disk);

	vhdx_sidecar_release(&offline->sidecar);
	close_image(&offline->image);
	if (offline->sidecar_fd >= 0)
		close(offline->sidecar_fd);
	close_container(&offline->container);
	free(offline->sidecar_path);
	free(offline);
}

static const struct disk_ops offline_ops = {
	.call = offline_call,
	.sidecar = offline_sidecar,
	.close = offline_close,
};

/* Without a sidecar, questions about changes get what the driver says then. */
static int no_sidecar(struct offline_disk *offline)
{
	offline->sidecar_error = -EOPNOTSUPP;
	offline->sidecar_diag = (struct vhdx_diag) { .reason = VHDX_REASON_DISABLED };
	return 0;
}

/* It may be called otherwise: then it is for the caller to say so. */
static int look_for_sidecar(struct offline_disk *offline)
{
	struct vhdx_diag *diag = &offline->sidecar_diag;
	struct vhdx_info info;
	char name[NAME_MAX + 1];

	no_sidecar(offline);
	get_info(offline, &info);
	switch (find_stray_sidecar(&offline->container, &info, name)) {
	case OF_THIS_STATE:
		vhdx_fail(diag, 0, VHDX_REASON_DISABLED,
			  "no sidecar of its name is there, but %.120s beside it belongs to this disk: name it (--sidecar); without it",
			  name);
		break;
	case OF_ANOTHER_STATE:
		vhdx_fail(diag, 0, VHDX_REASON_DISABLED,
			  "no sidecar of its name is there, and %.100s beside it belongs to a copy of this disk, or to what it was before",
			  name);
		break;
	default:
		break;
	}
	return 0;
}

static int load_sidecar(struct offline_disk *offline)
{
	const struct vhdx_image *image = &offline->image.image;
	struct vhdx_sidecar *sidecar = &offline->sidecar;
	struct vhdx_diag *diag = &offline->sidecar_diag;
	int err;

	err = file_store_init(&offline->sidecar_file, offline->sidecar_fd);
	if (err)
		return vhdx_io_failed(diag, err, "the sidecar cannot be read");
	err = vhdx_sidecar_load(sidecar, &offline->sidecar_file.store,
				!offline->sidecar_file.direct, true, diag);
	if (err)
		return err;
	return vhdx_sidecar_bind(sidecar, &image->geo.disk_id, image->geo.disk_size,
				 &image->header.data_write_guid, diag);
}

/* No sidecar, or one that can't be used, keeps nobody from asking for the size. */
static int find_sidecar(struct offline_disk *offline, const char *given)
{
	int err;

	if (!given && is_block(&offline->container)) {
		no_sidecar(offline);
		vhdx_fail(&offline->sidecar_diag, 0, VHDX_REASON_DISABLED,
			  "changes of a block device are known only if its sidecar is named (--sidecar)");
		return 0;
	}
	err = sidecar_path(&offline->container, given, &offline->sidecar_path);
	if (err)
		return err;
	offline->sidecar_fd = open_sidecar(offline->sidecar_path, given, false);
	if (offline->sidecar_fd == -ENOENT && !given)
		return look_for_sidecar(offline);
	if (offline->sidecar_fd < 0)
		return offline->sidecar_fd;

	err = load_sidecar(offline);
	if (err == -ENODATA)	/* empty: tracking was never enabled in it */
		return no_sidecar(offline);
	offline->sidecar_error = err == -EUCLEAN ? -ESTALE : err;
	return 0;
}

int open_offline(const char *path, const char *sidecar, struct vhdx_disk **out)
{
	struct offline_disk *offline;
	int err;

	offline = calloc(1, sizeof(*offline));
	if (!offline)
		return fail_errno(-ENOMEM, "%s", path);
	offline->container.fd = -1;
	offline->sidecar_fd = -1;
	err = disk_init(&offline->disk, &offline_ops, path);
	if (!err)
		err = open_container(&offline->container, path, false);
	if (!err)
		err = open_image(&offline->image, &offline->container);
	if (!err)
		err = find_sidecar(offline, sidecar);
	if (err) {
		vhdx_disk_close(&offline->disk);
		return err;
	}
	*out = &offline->disk;
	return 0;
}
