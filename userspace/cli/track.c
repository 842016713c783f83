// SPDX-License-Identifier: GPL-2.0-only
#include <inttypes.h>
#include <stdio.h>
#include "../lib/print_escaped.h"
#include "cli.h"
#include "json.h"

static struct {
	uint64_t unit;
	const char *sidecar;
} wanted;

#define SIDECAR_OPTION \
	{ "sidecar", "FILE|BLOCKDEV", "where changes are kept (default: FILE.lrct)", \
	  OPTION_FILE, &wanted.sidecar }
#define UNIT_OPTION \
	{ "unit", "SIZE", "granularity (4K … 1M, default 16K)", OPTION_SIZE, &wanted.unit }

static const struct cli_option making_options[] = {
	UNIT_OPTION,
	SIDECAR_OPTION,
	JSON_OPTION,
	{ 0 }
};

static const struct cli_option plain_options[] = {
	JSON_OPTION,
	{ 0 }
};

static const struct cli_option reading_options[] = {
	SIDECAR_OPTION,
	JSON_OPTION,
	BYTES_OPTION,
	{ 0 }
};

static int print_first_point(const struct vhdx_point_id *first)
{
	struct json_object *reply;
	char text[VHDX_ID_TEXT];

	vhdx_id_format(first, text);
	if (output.json) {
		reply = json_reply();
		json_id(reply, "first_point", first);
		json_finish(reply);
	} else {
		puts(text);
	}
	if (!output_is_lost())
		return EXIT_DONE;
	complain("tracking is on all the same, and begins with %s", text);
	return EXIT_FAILED;
}

typedef int (*making_fn)(struct vhdx_disk *disk, const char *sidecar, uint32_t unit,
			 struct vhdx_point_id *first_point);

static int make(const char *name, making_fn fn)
{
	struct vhdx_point_id first;
	struct vhdx_disk *disk;
	int err;

	err = wanted.unit ? check_unit(wanted.unit) : 0;
	if (err)
		return err;
	err = vhdx_disk_open(name, NULL, VHDX_OPEN_WRITE, &disk);
	if (err)
		return report(err);
	err = fn(disk, wanted.sidecar, wanted.unit, &first);
	vhdx_disk_close(disk);
	return err ? report(err) : print_first_point(&first);
}

static int enable(int count, char **arguments)
{
	(void)count;
	return make(arguments[0], vhdx_tracking_enable);
}

static int reset(int count, char **arguments)
{
	(void)count;
	return make(arguments[0], vhdx_tracking_reset);
}

static int disable(int count, char **arguments)
{
	struct vhdx_disk *disk;
	int err;

	(void)count;
	err = vhdx_disk_open(arguments[0], NULL, VHDX_OPEN_WRITE, &disk);
	if (err)
		return report(err);
	err = vhdx_tracking_disable(disk);
	vhdx_disk_close(disk);
	if (err)
		return report(err);
	return output.json ? json_finish(json_reply()) : EXIT_DONE;
}

/* Where changes went unrecorded, nobody can say that there were some, or none. */
static bool is_known(const struct vhdx_tracking_state *state)
{
	return state->state == VHDX_TRACKING_ON && !state->gap_reason;
}

static const char *policy_name(const struct vhdx_status *attached)
{
	return attached->fail_tracking ? "fail" : "continue";
}

/* @attached: NULL for a file */
static int print_status_json(const struct vhdx_tracking_state *state,
			     const struct vhdx_status *attached)
{
	struct json_object *reply = json_reply();
	char time[TIME_TEXT];

	json_flag(reply, "enabled", state->state == VHDX_TRACKING_ON);
	json_text(reply, "state", tracking_name(state->state));
	if (is_known(state))
		json_flag(reply, "newer_changes", state->newer_changes);
	else
		json_text(reply, "newer_changes", NULL);
	json_id(reply, "most_recent_id", &state->most_recent_id);
	json_reason(reply, "reason", state->gap_reason);
	json_text(reply, "gap_time",
		  state->gap_time_ns ? time_text(state->gap_time_ns, time) : NULL);
	json_positive(reply, "unit", state->unit);
	if (points_are_known(state))
		json_bytes(reply, "points", state->point_count);
	else
		json_text(reply, "points", NULL);
	if (attached)
		json_flag(reply, "strict", attached->strict);
	else
		json_text(reply, "strict", NULL);
	json_text(reply, "tracking_errors", attached ? policy_name(attached) : NULL);
	json_text(reply, "former_sidecar",
		  attached ? text_or_null(attached->former_sidecar) : NULL);
	return json_finish(reply);
}

static void print_former(const struct vhdx_status *attached)
{
	printf("%-16s %s: ", "Sidecar:", attached->former_sidecar_deleted ? "removed" : "not used");
	print_escaped(stdout, attached->former_sidecar);
	putchar('\n');
}

static int print_status(const struct vhdx_tracking_state *state, const struct vhdx_status *attached)
{
	char id[VHDX_ID_TEXT] = "";
	char unit[SIZE_TEXT];

	vhdx_id_format(&state->most_recent_id, id);
	printf("%-16s %s\n", "Tracking:", tracking_name(state->state));
	printf("%-16s %s\n", "Newer changes:", !is_known(state) ? "unknown" :
	       state->newer_changes ? "yes" : "no");
	printf("%-16s %s\n", "Most recent id:", id[0] ? id : "none");
	if (state->gap_reason)
		printf("%-16s %s\n", "Reason:", vhdx_reason_name(state->gap_reason));
	/* The next seal finds out, and until then all is recorded into what will be gone. */
	if (attached && attached->sidecar_deleted)
		printf("%-16s %s\n", "Sidecar:", "removed: the next seal fails, and tracking ends");
	else if (attached && attached->former_sidecar[0])
		print_former(attached);
	if (state->unit)
		printf("%-16s %s\n", "Unit:", size_text(state->unit, unit));
	if (points_are_known(state))
		printf("%-16s %" PRIu32 "\n", "Points:", state->point_count);
	else
		printf("%-16s unknown\n", "Points:");
	if (attached) {
		printf("%-16s %s\n", "Strict:", attached->strict ? "yes" : "no");
		printf("%-16s %s\n", "Tracking errors:", policy_name(attached));
	}
	return EXIT_DONE;
}

static int status(int count, char **arguments)
{
	struct vhdx_tracking_state state = { .size = sizeof(state) };
	struct vhdx_status attached = { .size = sizeof(attached) };
	struct vhdx_disk *disk;
	bool is_attached;
	int err;

	(void)count;
	err = vhdx_disk_open(arguments[0], wanted.sidecar, 0, &disk);
	if (err)
		return report(err);
	err = vhdx_disk_get_tracking_state(disk, &state);
	is_attached = !err && vhdx_disk_index(disk) >= 0;
	if (is_attached)
		err = vhdx_get_status(vhdx_disk_index(disk), &attached);
	vhdx_disk_close(disk);
	if (err)
		return report(err);
	return output.json ? print_status_json(&state, is_attached ? &attached : NULL) :
	       print_status(&state, is_attached ? &attached : NULL);
}

static int verify(int count, char **arguments)
{
	struct json_object *reply;
	size_t points;
	int err;

	(void)count;
	err = vhdx_tracking_verify(arguments[0], wanted.sidecar, &points);
	if (err)
		return report(err);
	if (vhdx_error_message()[0])
		complain("warning: %s", vhdx_error_message());
	if (!output.json) {
		printf("%s: the sidecar is sound, points: %zu\n",
		       wanted.sidecar ? wanted.sidecar : arguments[0], points);
		return EXIT_DONE;
	}
	reply = json_reply();
	json_bytes(reply, "points", points);
	return json_finish(reply);
}

#define DISK_ARGUMENT(what) .arguments = what, .minimum = 1, .maximum = 1

static const struct command words[] = {
	{ .name = "enable", .summary = "Begin to record changes and print the first point's id",
	  DISK_ARGUMENT("DISK"), .options = making_options, .run = enable },
	{ .name = "disable", .summary = "Stop recording changes; the points stay",
	  DISK_ARGUMENT("DISK"), .options = plain_options, .run = disable },
	{ .name = "status", .summary = "Show whether changes are recorded, and the newest point",
	  DISK_ARGUMENT("DISK|FILE"), .options = reading_options, .run = status },
	{ .name = "reset",
	  .summary = "Trust nothing recorded so far, begin afresh and print the first point's id",
	  DISK_ARGUMENT("DISK"), .options = making_options, .run = reset,
	  .notes = "A damaged sidecar, or one of another disk, is written anew: no points." },
	{ .name = "verify", .summary = "Read all of the sidecar and check every checksum",
	  DISK_ARGUMENT("DISK|FILE"), .options = reading_options, .run = verify },
	{ 0 }
};

const struct command track_command = {
	.name = "track",
	.summary = "Switch, show and check change tracking",
	.words = words,
};
