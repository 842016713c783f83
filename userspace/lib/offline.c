// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A disk that is not attached: its files answer the requests of /dev/vhdxcN with
 * the same fields, the same errors and the same reasons as the driver would.
 */
#include <unistd.h>
#include <core/answer.h>
#include <core/sidecar.h>
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
}

static u32 count_points(const struct vhdx_timeline *timeline)
{
	u32 count = 0;
	u32 i;

	for (i = 0; i < timeline->count; i++)
		count += timeline->points[i]->issued;
	return count;
}

static void get_tracking_state(struct offline_disk *offline, struct vhdx_tracking_state *state)
{
	const struct vhdx_timeline *timeline = &offline->sidecar.timeline;
	const struct vhdx_timeline_point *newest;

	state->state = VHDX_TRACKING_OFF;
	/* What nobody recorded may have been anything. */
	state->newer_changes = 1;
	if (offline->sidecar_fd < 0)
		return;
	if (offline->sidecar_error) {
		state->gap_reason = offline->sidecar_diag.reason;
		return;
	}
	state->state = offline->sidecar.state == VHDX_SIDECAR_DISABLED ?
		       VHDX_TRACKING_DISABLED : VHDX_TRACKING_ON;
	newest = vhdx_timeline_newest(timeline);
	if (newest)
		state->most_recent_id = newest->id;
	state->unit = 1U << offline->sidecar.unit_shift;
	state->point_count = count_points(timeline);
	state->gap_reason = timeline->live.gap_reason;
	state->newer_changes = timeline->live.gap_reason || timeline->live.leaf_count;
}

static void fill_point(struct vhdx_point *out, const struct vhdx_timeline_point *point)
{
	memset(out, 0, sizeof(*out));
	out->id = point->id;
	out->time_ns = point->time_ns;
	out->gap_reason = point->before.gap_reason;
	out->label_length = point->label_length;
	memcpy(out->label, point->label, point->label_length);
}

static void get_points(struct offline_disk *offline, struct vhdx_get_points *get)
{
	struct vhdx_point *output = (struct vhdx_point *)(uintptr_t)get->output;
	const struct vhdx_timeline *timeline = &offline->sidecar.timeline;
	u32 i;

	get->point_count = 0;
	get->output_count = 0;
	if (offline->sidecar_error)
		return;
	for (i = 0; i < timeline->count; i++) {
		if (!timeline->points[i]->issued)
			continue;
		if (get->point_count >= get->first && get->output_count < get->output_capacity)
			fill_point(&output[get->output_count++], timeline->points[i]);
		get->point_count++;
	}
}

struct span_source {
	const struct vhdx_sidecar *sidecar;
	struct vhdx_span span;
};

static int read_span_leaf(void *context, u32 leaf, u64 *words)
{
	const struct span_source *source = context;
	const struct vhdx_timeline *timeline = &source->sidecar->timeline;
	int err = 0;
	u32 i;

	for (i = source->span.first; i < source->span.end && !err; i++)
		err = vhdx_sidecar_read_leaf(source->sidecar, &timeline->points[i]->before, leaf,
					     words);
	if (!err && source->span.live)
		err = vhdx_sidecar_read_leaf(source->sidecar, &timeline->live, leaf, words);
	return err;
}

static int refuse(struct vhdx_get_virtual_disk_changes *query, int err, u32 reason)
{
	query->reason = reason;
	return err;
}

static int answer(struct offline_disk *offline, const struct vhdx_span *span,
		  struct vhdx_get_virtual_disk_changes *query)
{
	struct span_source source = { .sidecar = &offline->sidecar, .span = *span };
	struct vhdx_answer answer = {
		.offset = query->byte_offset,
		.end = query->byte_offset + query->byte_length,
		.unit_shift = offline->sidecar.unit_shift,
		.ranges = (struct vhdx_range *)(uintptr_t)query->output,
		.capacity = query->output_capacity,
		.words = vhdx_alloc(VHDX_LEAF_WORDS * sizeof(u64)),
	};
	int more;

	if (!answer.words)
		return -ENOMEM;
	do {
		more = vhdx_answer_leaf(&answer, read_span_leaf, &source);
	} while (more > 0);
	vhdx_free(answer.words);
	if (more == -EUCLEAN)
		return refuse(query, -ESTALE, VHDX_REASON_INCONSISTENT);
	if (more)
		return refuse(query, more, more == -EIO ? VHDX_REASON_IO : VHDX_REASON_NONE);
	query->output_count = answer.count;
	query->processed_byte_length = answer.offset - query->byte_offset;
	return 0;
}

/* In the driver's order, so that a question wrong in two ways gets the same answer. */
static int check_query(struct vhdx_get_virtual_disk_changes *query, u64 disk_size)
{
	u64 end;

	if (query->flags & ~VHDX_CHANGES_BITMAP || query->reserved || !query->output_capacity)
		return refuse(query, -EINVAL, VHDX_REASON_ARGUMENT);
	if (query->flags & VHDX_CHANGES_BITMAP || query->granularity || query->min_gap)
		return refuse(query, -EOPNOTSUPP, VHDX_REASON_UNSUPPORTED);
	if (check_add_overflow(query->byte_offset, query->byte_length, &end) || end > disk_size)
		return refuse(query, -EINVAL, VHDX_REASON_ARGUMENT);
	return 0;
}

static int query_changes(struct offline_disk *offline, struct vhdx_get_virtual_disk_changes *query)
{
	struct vhdx_span span;
	int err;

	query->virtual_disk_size = offline->image.image.geo.disk_size;
	err = check_query(query, query->virtual_disk_size);
	if (err)
		return err;
	err = vhdx_timeline_span(&offline->sidecar.timeline, &query->limit_id, &query->target_id,
				 &span, &query->reason);
	if (err == -EINVAL)
		return err;
	if (offline->sidecar_error)
		return refuse(query, offline->sidecar_error, offline->sidecar_diag.reason);
	if (offline->sidecar.state == VHDX_SIDECAR_DISABLED)
		return refuse(query, -EOPNOTSUPP, VHDX_REASON_DISABLED);
	if (err)
		return err;
	query->unit = 1U << offline->sidecar.unit_shift;
	query->complete_to_id = query->target_id;
	query->answer_flags = (span.flags & VHDX_DELTA_COARSE ? VHDX_ANSWER_COARSE : 0) |
			      (span.live ? VHDX_ANSWER_LIVE : 0);
	return answer(offline, &span, query);
}

static int offline_call(struct vhdx_disk *disk, unsigned long request, void *argument)
{
	struct offline_disk *offline = to_offline(disk);
	int err;

	switch (request) {
	case VHDX_GET_INFO:
		get_info(offline, argument);
		return 0;
	case VHDX_GET_TRACKING_STATE:
		get_tracking_state(offline, argument);
		return 0;
	case VHDX_GET_POINTS:
		get_points(offline, argument);
		return 0;
	case VHDX_GET_VIRTUAL_DISK_CHANGES:
		err = query_changes(offline, argument);
		if (err && offline->sidecar_error == err)
			snprintf(disk->message, sizeof(disk->message), "%s",
				 offline->sidecar_diag.text);
		return err;
	default:
		return -ENOTTY;
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
	char name[NAME_MAX + 1];

	no_sidecar(offline);
	if (find_stray_sidecar(&offline->container, &offline->image.image.geo.disk_id, name))
		vhdx_fail(&offline->sidecar_diag, 0, VHDX_REASON_DISABLED,
			  "no sidecar of its name is there, but %.120s beside it belongs to this disk: name it (--sidecar); without it",
			  name);
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
