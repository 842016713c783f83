// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A disk that is not attached: its files answer the requests of /dev/vhdxcN with
 * the same fields, the same errors and the same reasons as the driver would.
 */
#include <errno.h>
#include <stdarg.h>
#include <unistd.h>
#include <core/argument.h>
#include <core/rct/report.h>
#include "image_file.h"
#include "offline_changes.h"
#include "offline_zeroes.h"

/**
 * struct offline_disk - a container and its sidecar, for reading
 * @chain:		with its parents, once somebody asked for content or history
 * @chain_error:	why they can't be opened; 0 if they can, or nobody asked
 * @chain_diag:		its reason, and CHAIN_LOST
 * @chain_fault:	the same as text, without @container's path in front; or NULL
 * @live:		the live delta; empty unless tracking is on
 * @sidecar_fd:		-1: there is none
 * @sidecar_path:	of what is open, or was looked for; NULL: nothing was
 * @sidecar_error:	why it can't be used: what every question about changes
 *			gets; 0 if it can
 * @sidecar_diag:	the same as a reason and as text
 */
struct offline_disk {
	struct vhdx_disk disk;
	struct container container;
	struct image_file image;
	struct offline_chain chain;
	int chain_error;
	struct vhdx_diag chain_diag;
	char *chain_fault;
	int sidecar_fd;
	char *sidecar_path;
	struct file_store sidecar_file;
	struct vhdx_sidecar sidecar;
	struct vhdx_changemap live;
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
	info->disk_flags = disk_flags_of(&offline->container, &offline->image);
	info->virtual_disk_size = image->geo.disk_size;
	memcpy(info->virtual_disk_id, &image->geo.disk_id, sizeof(info->virtual_disk_id));
	memcpy(info->data_write_guid, &image->header.data_write_guid,
	       sizeof(info->data_write_guid));
	info->block_size = image->geo.block_size;
	info->logical_sector_size = image->geo.logical_sector_size;
	info->physical_sector_size = image->geo.physical_sector_size;
	if (offline->sidecar_fd >= 0 && !offline->sidecar_error)
		info->unit = 1U << offline->sidecar.unit_shift;
}

/* That a parent is not found is no obstacle to whoever asks for the size. */
static unsigned int count_layers(struct offline_disk *offline)
{
	static const struct vhdx_chain_options nowhere_else = { .size = sizeof(nowhere_else) };
	struct parents parents;
	unsigned int count = 0;

	if (!open_parents(&parents, &offline->container, &offline->image, &nowhere_else, NULL,
			  NULL))
		count = 1 + parents.count;
	release_parents(&parents);
	clear_error();
	return count;
}

/* Without a sidecar, and with one that can't be used, there is no history to tell. */
static struct vhdx_history history_of(const struct offline_disk *offline)
{
	struct vhdx_history history = {
		.disk_size = offline->image.image.geo.disk_size,
		.sector_shift = ilog2(offline->image.image.geo.logical_sector_size),
		.sidecar = &offline->sidecar,
		.live = &offline->live,
		.parents = offline->chain.frozen,
		.parent_count = offline->chain.count,
		.chain_error = offline->chain_error,
		.chain_lost = &offline->chain_diag,
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
	if (offline->disk.unreadable) {
		history.off_reason = VHDX_REASON_IO;
		history.off_text = offline->disk.unreadable;
	}
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

/* The core has no room for paths where it says why: this ends what it says, and stands for it. */
#define CHAIN_LOST	"its parents can't be opened"

static const char *without_path(const char *message, const char *path)
{
	const size_t length = strlen(path);

	return !strncmp(message, path, length) && !strncmp(message + length, ": ", 2) ?
	       message + length + 2 : message;
}

static int open_chain(struct offline_disk *offline, struct vhdx_diag *diag)
{
	int err = open_offline_chain(&offline->chain, &offline->container, &offline->image);

	if (!err)
		return 0;
	free(offline->chain_fault);
	offline->chain_fault = strdup(without_path(vhdx_error_message(), offline->container.path));
	return vhdx_fail(diag, err, vhdx_error_reason(), CHAIN_LOST);
}

static int get_allocated(struct offline_disk *offline, struct vhdx_get_allocated_ranges *query,
			 struct vhdx_diag *diag)
{
	int err;

	query->virtual_disk_size = offline->image.image.geo.disk_size;
	err = vhdx_report_check_allocated(query, diag);
	if (!err)
		err = open_chain(offline, diag);
	return err ? err : offline_allocated(&offline->chain, query, diag);
}

static bool has_parent(const struct offline_disk *offline)
{
	return offline->image.image.geo.has_parent;
}

/* That a parent is not found is no obstacle to whoever asks for what the leaf alone knows. */
static void look_at_parents(struct offline_disk *offline)
{
	struct vhdx_diag *diag = &offline->chain_diag;

	if (!has_parent(offline))
		return;
	memset(diag, 0, sizeof(*diag));
	offline->chain_error = open_chain(offline, diag);
	clear_error();
}

/*
 * Ranges with flags are looked up in all layers. Where a parent is missing, what reads as zeroes is
 * not known: nothing is said to.
 */
static int changes_of(struct offline_disk *offline, const struct vhdx_history *history,
		      struct vhdx_get_virtual_disk_changes *query, struct vhdx_diag *diag)
{
	struct vhdx_diag missing = { 0 };

	if (wants_flags(query) && open_chain(offline, &missing))
		clear_error();
	return offline_changes(history, &offline->chain, query, diag);
}

static bool is_about_points(unsigned long command)
{
	return command == VHDX_GET_POINTS || command == VHDX_GET_VIRTUAL_DISK_CHANGES;
}

static int run(struct offline_disk *offline, unsigned long command,
	       union vhdx_any_argument *argument, struct vhdx_diag *diag)
{
	struct vhdx_history history;

	if (offline->disk.unreadable && command != VHDX_GET_INFO &&
	    command != VHDX_GET_ALLOCATED_RANGES &&
	    !(is_about_points(command) && has_parent(offline)))
		return offline->sidecar_error;
	if (is_about_points(command))
		look_at_parents(offline);
	history = history_of(offline);
	switch (command) {
	case VHDX_GET_INFO:
		get_info(offline, &argument->info);
		argument->info.layer_count = count_layers(offline);
		return 0;
	case VHDX_GET_TRACKING_STATE:
		vhdx_report_state(&history, &argument->tracking_state);
		argument->tracking_state.live_bytes = vhdx_report_live_bytes(&history);
		return 0;
	case VHDX_GET_POINTS:
		return get_points(&history, &argument->points, diag);
	case VHDX_GET_VIRTUAL_DISK_CHANGES:
		return changes_of(offline, &history, &argument->changes, diag);
	case VHDX_GET_ALLOCATED_RANGES:
		return get_allocated(offline, &argument->allocated, diag);
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

/* The driver's advice is for a disk that is attached. */
static void advise_to_track(struct vhdx_diag *diag)
{
	snprintf(diag->text, sizeof(diag->text),
		 "change tracking is not enabled; `vhdxctl attach --track FILE` enables it");
}

/* The message of the last call. */
static void say(struct offline_disk *offline, const struct vhdx_diag *diag)
{
	struct vhdx_disk *disk = &offline->disk;
	const size_t size = sizeof(disk->message);
	const char *lost = offline->chain_fault ? strstr(diag->text, CHAIN_LOST) : NULL;

	disk->subject = lost ? offline->container.path : NULL;
	if (lost)
		snprintf(disk->message, size, "%.*s%s", (int)(lost - diag->text), diag->text,
			 offline->chain_fault);
	else
		snprintf(disk->message, size, "%s", diag->text);
}

/* Parents that a message names; their paths may be long. */
#define NAMED_MAX	4

__attribute__((format(printf, 2, 3)))
static void say_more(struct vhdx_disk *disk, const char *format, ...)
{
	const size_t length = strlen(disk->message);
	va_list args;

	va_start(args, format);
	vsnprintf(disk->message + length, sizeof(disk->message) - length, format, args);
	va_end(args);
}

/* The core tells of the points of parents then, and says nothing of the leaf's. */
static void say_no_sidecar(struct offline_disk *offline)
{
	struct vhdx_disk *disk = &offline->disk;

	if (offline->sidecar_error && offline->sidecar_diag.reason == VHDX_REASON_DISABLED &&
	    !strstr(disk->message, offline->sidecar_diag.text))
		say_more(disk, "%s%s", disk->message[0] ? "; " : "", offline->sidecar_diag.text);
}

/* One that was never tracked has none, and neither has one that lost it: nobody knows which. */
static void say_parents_without(struct offline_disk *offline)
{
	const struct offline_chain *chain = &offline->chain;
	u32 count = 0;
	u32 i;

	for (i = 0; i < chain->count; i++) {
		if (chain->frozen[i].sidecar || chain->frozen[i].error)
			continue;
		if (count < NAMED_MAX)
			say_more(&offline->disk, "%s%s", count ? ", " : "; without a sidecar: ",
				 chain->parents.layers[i].path);
		count++;
	}
	if (count > NAMED_MAX)
		say_more(&offline->disk, " and %u others", count - NAMED_MAX);
}

static bool is_of_reference(const struct vhdx_get_virtual_disk_changes *query)
{
	return query->limit_id.kind == VHDX_POINT_REFERENCE ||
	       query->target_id.kind == VHDX_POINT_REFERENCE;
}

/* A point that is not told, or not known, may be in a sidecar that was left behind, or lost. */
static void say_where_it_may_be(struct offline_disk *offline, unsigned long command,
				const union vhdx_any_argument *argument, int err)
{
	if (!has_parent(offline))
		return;
	if (command == VHDX_GET_POINTS && !err) {
		say_no_sidecar(offline);
	} else if (command == VHDX_GET_VIRTUAL_DISK_CHANGES && err == -ENODATA &&
		   is_of_reference(&argument->changes)) {
		say_no_sidecar(offline);
		say_parents_without(offline);
	}
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
	if (err == -EOPNOTSUPP && diag.reason == VHDX_REASON_DISABLED &&
	    !to_offline(disk)->sidecar_error)
		advise_to_track(&diag);
	if (err)
		vhdx_argument_clear(known, &argument, VHDX_FIELD_RESULT);
	*vhdx_argument_reason(known, &argument) = diag.reason;
	give_element(theirs, size, &argument, known->size);
	say(to_offline(disk), &diag);
	say_where_it_may_be(to_offline(disk), command, &argument, err);
	tell_request(disk->name, command, theirs, err, disk->message);
	return err;
}

static int offline_read(struct vhdx_disk *disk, uint64_t offset, void *buf, size_t length)
{
	struct offline_disk *offline = to_offline(disk);
	const uint64_t size = offline->image.image.geo.disk_size;
	int err;

	if (offset > size || length > size - offset)
		return beyond_disk(disk, offset, length, size);
	err = open_offline_chain(&offline->chain, &offline->container, &offline->image);
	return err ? err : read_offline_chain(&offline->chain, &offline->container, offset, buf,
					      length);
}

static struct image_file *offline_image(struct vhdx_disk *disk, const struct container **container)
{
	struct offline_disk *offline = to_offline(disk);

	*container = &offline->container;
	return &offline->image;
}

static void offline_close(struct vhdx_disk *disk)
{
	struct offline_disk *offline = to_offline(disk);

	vhdx_changemap_release(&offline->live);
	vhdx_sidecar_release(&offline->sidecar);
	close_offline_chain(&offline->chain);
	close_image(&offline->image);
	if (offline->sidecar_fd >= 0)
		close(offline->sidecar_fd);
	close_container(&offline->container);
	free(offline->sidecar_path);
	free(offline->chain_fault);
	free(offline);
}

static const struct disk_ops offline_ops = {
	.call = offline_call,
	.sidecar = offline_sidecar,
	.read = offline_read,
	.image = offline_image,
	.close = offline_close,
};

/* Without a sidecar, questions about changes get what the driver says then. */
__attribute__((format(printf, 2, 3)))
static void no_sidecar(struct offline_disk *offline, const char *format, ...)
{
	struct vhdx_diag *diag = &offline->sidecar_diag;
	va_list args;

	offline->sidecar_error = -EOPNOTSUPP;
	diag->reason = VHDX_REASON_DISABLED;
	va_start(args, format);
	vsnprintf(diag->text, sizeof(diag->text), format, args);
	va_end(args);
}

/* It may be called otherwise: then it is for the caller to say so. */
static void look_for_sidecar(struct offline_disk *offline)
{
	const char *path = offline->sidecar_path;
	struct vhdx_info info;
	char name[NAME_MAX + 1];

	get_info(offline, &info);
	switch (find_stray_sidecar(&offline->container, &info, name)) {
	case OF_THIS_STATE:
		no_sidecar(offline,
			   "there is no %.80s, but %.70s beside it belongs to this disk: name it (--sidecar); without it there is no history",
			   path, name);
		break;
	case OF_ANOTHER_STATE:
		no_sidecar(offline,
			   "there is no %.80s, and %.60s beside it belongs to a copy of this disk, or to what it was before",
			   path, name);
		break;
	default:
		no_sidecar(offline,
			   "change tracking is not enabled (there is no %.120s); `vhdxctl attach --track FILE` enables it",
			   path);
		break;
	}
}

/* What can't be read of it is a gap: answers between points are not concerned. */
static int load_live(struct offline_disk *offline)
{
	struct vhdx_sidecar *sidecar = &offline->sidecar;
	int err;

	err = vhdx_changemap_init(&offline->live, sidecar->disk_size, sidecar->unit_shift);
	if (err)
		return vhdx_no_memory(&offline->sidecar_diag);
	err = vhdx_sidecar_load_live(sidecar, &offline->live, &offline->sidecar_diag);
	if (err && err != -ENOMEM) {
		vhdx_timeline_gap(&sidecar->timeline, VHDX_REASON_INCONSISTENT, 0);
		err = 0;
	}
	return err;
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
	vhdx_sidecar_bear_out(sidecar, image->header.sequence);
	err = vhdx_sidecar_refuse_parents(sidecar, &image->header.data_write_guid, &image->locator,
					  diag);
	if (err)
		return err;
	err = vhdx_sidecar_bind(sidecar, &image->geo.disk_id, image->geo.disk_size,
				&image->header.data_write_guid, 0, diag);
	return err ? err : load_live(offline);
}

/* It was noted, and is said again to whoever asks for what is in it. */
static int note_unreadable(struct offline_disk *offline, int err)
{
	offline->sidecar_error = err;
	offline->disk.unreadable = strdup(vhdx_error_message());
	return offline->disk.unreadable ? 0 : fail_errno(-ENOMEM, "%s", offline->disk.name);
}

/* No sidecar, or one that can't be used, keeps nobody from asking for the size. */
static int find_sidecar(struct offline_disk *offline, const char *given)
{
	int err;

	if (!given && is_block(&offline->container)) {
		no_sidecar(offline,
			   "changes of a block device are known only if its sidecar is named (--sidecar)");
		return 0;
	}
	err = sidecar_path(&offline->container, given, &offline->sidecar_path);
	if (err)
		return err;
	if (given)
		offline->disk.sidecar = offline->sidecar_path;
	err = open_sidecar(offline->sidecar_path, given, false);
	if ((err == -ENOENT || err == -ENAMETOOLONG) && !given) {
		look_for_sidecar(offline);
		return 0;
	}
	if (err < 0)
		return note_unreadable(offline, err);

	offline->sidecar_fd = err;
	err = load_sidecar(offline);
	if (err == -ENODATA)
		no_sidecar(offline,
			   "change tracking is not enabled (%.130s is empty); `vhdxctl attach --track FILE` enables it",
			   offline->sidecar_path);
	else
		offline->sidecar_error = err == -EUCLEAN ? -ESTALE : err;
	return 0;
}

static int open_disk_image(struct offline_disk *offline, const char *path)
{
	int found;
	int err;

	found = open_disk_file(&offline->container, path, false);
	if (found < 0)
		return found;
	err = open_image(&offline->image, &offline->container);
	if (!err && found)
		err = refuse_left_behind(&offline->container, &offline->image);
	return err;
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
		err = open_disk_image(offline, path);
	if (!err)
		err = find_sidecar(offline, sidecar);
	if (err) {
		vhdx_disk_close(&offline->disk);
		return err;
	}
	*out = &offline->disk;
	return 0;
}
