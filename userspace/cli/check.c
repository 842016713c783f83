// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "../lib/print_escaped.h"
#include "chain.h"
#include "cli.h"
#include "json.h"

/* As fsck(8) has them; wrong usage is EXIT_USAGE, as everywhere. */
enum {
	FSCK_SOUND = 0,
	FSCK_MENDED = 1,
	FSCK_ERRORS = 4,
	FSCK_FAILED = 8,
};

static struct {
	const char *sidecar;
	bool repair;
} wanted;

static const struct cli_option options[] = {
	{ "repair", NULL, "replay the log; close one that QEMU never began to write",
	  OPTION_FLAG, &wanted.repair },
	{ "sidecar", "FILE|BLOCKDEV", "check this sidecar as well", OPTION_FILE, &wanted.sidecar },
	PARENT_OPTIONS,
	JSON_OPTION,
	{ 0 }
};

/**
 * struct outcome - what came of it
 * @list:	the findings, for JSON; else NULL: they are printed as they come
 * @fatal:	the container itself can't be attached
 * @errors:	of container, chain and sidecar
 */
struct outcome {
	const char *path;
	struct json_object *list;
	struct vhdx_check check;
	bool fatal;
	uint64_t errors;
};

static const char *severity_name(unsigned int severity)
{
	static const char *const names[] = {
		[VHDX_FINDING_NOTE] = "note",
		[VHDX_FINDING_WARNING] = "warning",
		[VHDX_FINDING_ERROR] = "error",
		[VHDX_FINDING_FATAL] = "fatal",
	};

	return severity < sizeof(names) / sizeof(names[0]) ? names[severity] : "error";
}

static void show(struct outcome *outcome, const char *path, unsigned int severity,
		 unsigned int reason, const char *text)
{
	struct json_object *object;

	if (!outcome->list) {
		print_escaped(stdout, path);
		printf(": %s: ", severity_name(severity));
		print_escaped(stdout, text);
		putchar('\n');
		return;
	}
	object = json_object_new_object();
	json_text(object, "file", path);
	json_text(object, "severity", severity_name(severity));
	json_reason(object, "reason", reason);
	json_text(object, "text", text);
	json_object_array_add(outcome->list, object);
}

static int tell(void *context, const struct vhdx_finding *finding)
{
	struct outcome *outcome = context;

	outcome->fatal = outcome->fatal || finding->severity == VHDX_FINDING_FATAL;
	show(outcome, outcome->path, finding->severity, finding->reason, finding->text);
	return 0;
}

/* The library's message names the sidecar; here that is told beside the text. */
static const char *text_behind(const char *message, const char *path)
{
	const size_t length = strlen(path);

	if (!strncmp(message, path, length) && !strncmp(message + length, ": ", 2))
		return message + length + 2;
	return message;
}

/*
 * Is each parent what its child was made of? One that is not there, or can't be read now, says
 * nothing about the container; one that is named for nothing is a mistake of the user.
 */
static int check_chain(struct outcome *outcome)
{
	struct chain chain;
	int err;

	err = chain_gather(outcome->path, &chain);
	if (err == -EUCLEAN || err == -EMEDIUMTYPE || err == -EOPNOTSUPP) {
		show(outcome, outcome->path, VHDX_FINDING_FATAL, chain.reason,
		     text_behind(chain.fault, outcome->path));
		outcome->errors++;
		err = 0;
	} else if (err && err != -EINVAL && err != -ENOMEM) {
		show(outcome, outcome->path, VHDX_FINDING_NOTE, chain.reason,
		     text_behind(chain.fault, outcome->path));
		err = 0;
	}
	chain_release(&chain);
	return err;
}

/* 0; or -errno where it could not be read. */
static int check_sidecar(struct outcome *outcome)
{
	int err = vhdx_tracking_verify(outcome->path, wanted.sidecar, NULL);
	const char *text = text_behind(vhdx_error_message(), wanted.sidecar);

	if (!err && *text)
		show(outcome, wanted.sidecar, VHDX_FINDING_WARNING, vhdx_error_reason(), text);
	if (err != -EUCLEAN)
		return err;
	show(outcome, wanted.sidecar, VHDX_FINDING_ERROR, vhdx_error_reason(), text);
	outcome->errors++;
	return 0;
}

static const char *repair_name(unsigned int repaired)
{
	switch (repaired) {
	case VHDX_REPAIRED_REPLAY:
		return "log replayed";
	case VHDX_REPAIRED_LOG:
		return "log closed";
	default:
		return NULL;
	}
}

static void print(struct outcome *outcome, struct json_object *reply)
{
	const char *repair = repair_name(outcome->check.repaired);

	if (reply) {
		json_text(reply, "repaired", repair);
		json_bytes(reply, "warnings", outcome->check.warnings);
		json_bytes(reply, "errors", outcome->errors);
		json_finish(reply);
		return;
	}
	print_escaped(stdout, outcome->path);
	printf(": %s%s%s\n", repair ? repair : "", repair ? ", " : "",
	       outcome->errors ? "not sound" : "sound");
}

static int check(int count, char **arguments)
{
	struct json_object *reply = output.json ? json_reply() : NULL;
	struct outcome outcome = {
		.path = arguments[0],
		.list = reply ? json_list(reply, "findings") : NULL,
		.check = {
			.size = sizeof(outcome.check),
			.finding_size = sizeof(struct vhdx_finding),
			.flags = wanted.repair ? VHDX_CHECK_REPAIR : 0,
		},
	};
	int err;

	(void)count;
	err = check_named_parents();
	if (err) {
		json_object_put(reply);
		return err;
	}
	err = vhdx_check(outcome.path, &outcome.check, tell, &outcome);
	outcome.errors = outcome.check.errors;
	if (!err && !outcome.fatal)
		err = check_chain(&outcome);
	if (!err && wanted.sidecar)
		err = check_sidecar(&outcome);
	if (err) {
		if (reply)
			json_object_put(reply);
		report(err);
		return FSCK_FAILED;
	}
	print(&outcome, reply);
	if (outcome.errors)
		return FSCK_ERRORS;
	return outcome.check.repaired ? FSCK_MENDED : FSCK_SOUND;
}

const struct command check_command = {
	.name = "check",
	.summary = "Find everything that is wrong with a VHDX that is not attached",
	.arguments = "FILE|BLOCKDEV",
	.minimum = 1,
	.maximum = 1,
	.options = options,
	.run = check,
	.notes = "Exit status: 0 sound, 1 repaired and sound now, 4 errors are left, 8 it could not be\n"
		 "checked.",
};
