// SPDX-License-Identifier: GPL-2.0-only
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "cli.h"

static void say(const char *format, va_list args)
{
	fputs("vhdxctl: ", stderr);
	vfprintf(stderr, format, args);
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

int report(int err)
{
	const unsigned int reason = vhdx_error_reason();
	const char *message = vhdx_error_message();

	/* The library has no words for what failed in here. */
	complain("%s", *message ? message : strerror(-err));
	return vhdx_full_backup_needed(err, reason) ? EXIT_FULL_BACKUP : EXIT_FAILED;
}

static void print_option(const struct cli_option *option)
{
	char text[64];

	snprintf(text, sizeof(text), "--%s%s%s", option->name, option->argument ? " " : "",
		 option->argument ? option->argument : "");
	printf("  %-28s %s\n", text, option->help);
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
		print_option(option);
	printf("  %-28s %s\n", "--help", "print this");
	if (command->notes)
		printf("\n%s\n", command->notes);
}
