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

/* As lsblk(8) and losetup(8) have them; the same in every command that has the option. */
static const struct {
	const char *name;
	char letter;
} letters[] = {
	{ "json", 'J' },
	{ "bytes", 'b' },
	{ "noheadings", 'n' },
	{ "output", 'o' },
	{ "help", 'h' },
};

char letter_of(const char *option)
{
	size_t i;

	for (i = 0; i < sizeof(letters) / sizeof(letters[0]); i++)
		if (!strcmp(letters[i].name, option))
			return letters[i].letter;
	return '\0';
}

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

/* It grows by one, and lives as long as the program. */
static int add_to_list(const char ***list, const char *text)
{
	const char **longer;
	size_t count = 0;

	while (*list && (*list)[count])
		count++;
	longer = realloc(*list, (count + 2) * sizeof(*longer));
	if (!longer)
		return -1;
	longer[count] = text;
	longer[count + 1] = NULL;
	*list = longer;
	return 0;
}

/* What was left out is 0, too: so whoever writes it would get what he did not ask for. */
static int check_zero(const struct cli_option *option)
{
	if (option->kind == OPTION_BYTES || *(uint64_t *)option->value)
		return 0;
	return usage_error("--%s: 0 is no size", option->name);
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
	case OPTION_BYTES:
		if (!parse_size(text, option->value))
			return check_zero(option);
		return usage_error("--%s: \"%s\" is not a size (such as 65536, 64K, 1.5M)",
				   option->name, text);
	case OPTION_NUMBER:
		if (!parse_number(text, option->value))
			return 0;
		return usage_error("--%s: \"%s\" is not a number", option->name, text);
	case OPTION_FILE:
		*(const char **)option->value = text;
		return *text ? 0 : usage_error("--%s: an empty name", option->name);
	case OPTION_LIST:
		if (!*text)
			return usage_error("--%s: an empty name", option->name);
		if (!add_to_list(option->value, text))
			return 0;
		complain("out of memory");
		return EXIT_FAILED;
	}
	return EXIT_USAGE;
}

struct parser {
	struct option table[OPTIONS_MAX + 2];
	char letters[2 * OPTIONS_MAX + 3];
};

static void make_parser(const struct cli_option *options, struct parser *parser)
{
	char *letters = parser->letters;
	int i;

	/* A missing value is told from an unknown option. */
	*letters++ = ':';
	*letters++ = 'h';
	for (i = 0; options[i].name; i++) {
		const char letter = letter_of(options[i].name);

		parser->table[i] = (struct option) {
			.name = options[i].name,
			.has_arg = options[i].argument ? required_argument : no_argument,
			.val = i,
		};
		if (!letter)
			continue;
		*letters++ = letter;
		if (options[i].argument)
			*letters++ = ':';
	}
	*letters = '\0';
	parser->table[i] = (struct option) { .name = "help", .val = HELP };
	parser->table[i + 1] = (struct option) { 0 };
}

/* getopt's @value is a letter or a position in the table. */
static const struct cli_option *option_of(const struct cli_option *options, int value)
{
	if (value < HELP)
		return &options[value];
	while (letter_of(options->name) != value)
		options++;
	return options;
}

/* `--since --summary` has no point to begin with, and no summary. */
static bool is_option(const struct cli_option *options, const char *word)
{
	if (strncmp(word, "--", 2) != 0)
		return false;
	while (options->name && strcmp(options->name, word + 2) != 0)
		options++;
	return options->name || !strcmp(word, "--help");
}

/* 0: go on; -1: help was printed; else an exit code. */
static int parse_options(const char *path, const struct command *command, int argc, char **argv)
{
	const struct cli_option *option;
	struct parser parser;
	int value;
	int code;

	make_parser(command->options, &parser);
	opterr = 0;
	optind = 1;
	while ((value = getopt_long(argc, argv, parser.letters, parser.table, NULL)) != -1) {
		if (value == HELP || value == 'h') {
			print_help(path, command);
			return -1;
		}
		if (value == ':')
			return usage_error("%s: %s needs a value", path, argv[optind - 1]);
		if (value == '?' && optopt > HELP)
			return usage_error("%s: unknown option -%c", path, optopt);
		if (value == '?')
			return usage_error("%s: unknown option %s", path, argv[optind - 1]);
		option = option_of(command->options, value);
		if (option->argument && optarg == argv[optind - 1] &&
		    is_option(command->options, optarg))
			return usage_error("%s: %s needs a value, and %s is an option", path,
					   argv[optind - 2], optarg);
		code = set_option(option, optarg);
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
