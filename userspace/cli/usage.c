// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../lib/print_escaped.h"
#include "cli.h"
#include "json.h"

static void say(const char *format, va_list args)
{
	char *text;

	fputs("vhdxctl: ", stderr);
	if (vasprintf(&text, format, args) >= 0) {
		print_escaped(stderr, text);
		free(text);
	} else {
		fputs("out of memory", stderr);
	}
	fputc('\n', stderr);
}

void complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
}

int usage_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
	fputs("Try `vhdxctl --help`, or `--help` behind a command.\n", stderr);
	return EXIT_USAGE;
}

bool output_is_lost(void)
{
	static bool lost;

	if (!lost && (fflush(stdout) || ferror(stdout))) {
		complain("cannot write the output: %s", strerror(errno));
		lost = true;
	}
	return lost;
}

const char *failure_text(int err)
{
	const char *message = vhdx_error_message();

	/* The library has no words for what failed in here. */
	return *message ? message : strerror(-err);
}

static void report_into(struct json_object *object, int err, int code)
{
	const char *message = failure_text(err);

	complain("%s", message);
	if (object)
		json_error(object, -err, vhdx_error_reason(), message, code == EXIT_FULL_BACKUP);
}

int report_own(int error, unsigned int reason, const char *text)
{
	struct json_object *reply;

	complain("%s", text);
	if (output.json) {
		reply = json_reply();
		json_error(reply, error, reason, text, false);
		json_finish(reply);
	}
	return EXIT_FAILED;
}

void report_one_of(struct json_object *object, int err)
{
	report_into(object, err, EXIT_FAILED);
}

static int report_as(int err, int code)
{
	struct json_object *reply = output.json ? json_reply() : NULL;

	report_into(reply, err, code);
	if (reply)
		json_finish(reply);
	return code;
}

int report(int err)
{
	return report_as(err, EXIT_FAILED);
}

int report_history(int err)
{
	const bool lost = vhdx_full_backup_needed(err, vhdx_error_reason());

	return report_as(err, lost ? EXIT_FULL_BACKUP : EXIT_FAILED);
}

#define OPTION_WIDTH	28

static void print_option(const char *name, const char *argument, const char *help)
{
	const char letter = letter_of(name);
	char text[64];

	if (letter)
		printf("  -%c, ", letter);
	else
		fputs("      ", stdout);
	snprintf(text, sizeof(text), "--%s%s%s", name, argument ? " " : "",
		 argument ? argument : "");
	/* What is too long has its help in a line of its own. */
	if (strlen(text) > OPTION_WIDTH)
		printf("%s\n%*s%s\n", text, OPTION_WIDTH + 7, "", help);
	else
		printf("%-*s %s\n", OPTION_WIDTH, text, help);
}

void print_help(const char *path, const struct command *command)
{
	const struct command *word;
	const struct cli_option *option;

	if (command->words) {
		printf("Usage: vhdxctl %s WORD [OPTION…] [ARGUMENT…]\n\n%s.\n\nWords:\n", path,
		       command->summary);
		for (word = command->words; word->name; word++)
			printf("  %-10s %s\n", word->name, word->summary);
		return;
	}
	printf("Usage: vhdxctl %s [OPTION…]%s%s\n\n%s.\n\nOptions:\n", path,
	       command->arguments ? " " : "", command->arguments ? command->arguments : "",
	       command->summary);
	for (option = command->options; option->name; option++)
		print_option(option->name, option->argument, option->help);
	print_option("help", NULL, "print this");
	if (command->notes)
		printf("\n%s\n", command->notes);
}
