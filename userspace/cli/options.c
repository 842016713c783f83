// SPDX-License-Identifier: GPL-2.0-only
/*
 * From argv to the variables that a command's table of options names.
 */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"

#define OPTIONS_MAX	16
#define HELP		OPTIONS_MAX	/* the value that getopt_long() returns for --help */

static int parse_number(const char *text, int *number)
{
	unsigned long value;
	char *end;

	value = strtoul(text, &end, 10);
	if (end == text || *end || *text == '-' || value > INT_MAX)
		return -1;
	*number = value;
	return 0;
}

static int set_option(const struct cli_option *option, const char *text)
{
	switch (option->kind) {
	case OPTION_FLAG:
		*(bool *)option->value = true;
		return 0;
	case OPTION_TEXT:
		*(const char **)option->value = text;
		return 0;
	case OPTION_SIZE:
		if (!parse_size(text, option->value))
			return 0;
		return usage_error("--%s: \"%s\" is not a size (such as 65536, 64K, 64KiB)",
				   option->name, text);
	case OPTION_NUMBER:
		if (!parse_number(text, option->value))
			return 0;
		return usage_error("--%s: \"%s\" is not a number", option->name, text);
	case OPTION_ID:
		if (!vhdx_id_parse(text, option->value))
			return 0;
		return usage_error("--%s: %s", option->name, vhdx_error_message());
	}
	return EXIT_USAGE;
}

static void make_getopt(const struct cli_option *options, struct option *table)
{
	int i;

	for (i = 0; options[i].name; i++)
		table[i] = (struct option) {
			.name = options[i].name,
			.has_arg = options[i].argument ? required_argument : no_argument,
			.val = i,
		};
	table[i] = (struct option) { .name = "help", .val = HELP };
	table[i + 1] = (struct option) { 0 };
}

/* 0: go on; -1: help was printed; else an exit code. */
static int parse_options(const char *path, const struct command *command, int argc, char **argv)
{
	struct option table[OPTIONS_MAX + 2];
	int value;
	int code;

	make_getopt(command->options, table);
	opterr = 0;
	optind = 1;
	while ((value = getopt_long(argc, argv, ":h", table, NULL)) != -1) {
		if (value == HELP || value == 'h') {
			print_help(path, command);
			return -1;
		}
		if (value == ':')
			return usage_error("%s: %s needs a value", path, argv[optind - 1]);
		if (value == '?')
			return usage_error("%s: unknown option %s", path, argv[optind - 1]);
		code = set_option(&command->options[value], optarg);
		if (code)
			return code;
	}
	return 0;
}

static int run_word(const char *path, const struct command *command, int argc, char **argv)
{
	const struct command *word;
	char longer[64];

	if (argc < 2)
		return usage_error("%s: a word is missing: see `vhdxctl %s --help`", path, path);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		print_help(path, command);
		return EXIT_DONE;
	}
	for (word = command->words; word->name; word++) {
		if (!strcmp(argv[1], word->name)) {
			snprintf(longer, sizeof(longer), "%s %s", path, word->name);
			return run_command(longer, word, argc - 1, argv + 1);
		}
	}
	return usage_error("%s: there is no \"%s\"", path, argv[1]);
}

int run_command(const char *path, const struct command *command, int argc, char **argv)
{
	int count;
	int code;

	if (command->words)
		return run_word(path, command, argc, argv);
	code = parse_options(path, command, argc, argv);
	if (code)
		return code < 0 ? EXIT_DONE : code;
	count = argc - optind;
	if (count < command->minimum)
		return usage_error("%s: too few arguments: want %s", path, command->arguments);
	if (command->maximum >= 0 && count > command->maximum)
		return usage_error("%s: \"%s\" is one argument too many", path,
				   argv[optind + command->maximum]);
	return command->run(count, argv + optind);
}
