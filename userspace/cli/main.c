// SPDX-License-Identifier: GPL-2.0-only
/*
 * vhdxctl - attach VHDX disks and ask what changed on them
 */
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"

static const struct command *const commands[] = {
	&attach_command,
	&detach_command,
	&list_command,
	&info_command,
	&track_command,
	&seal_command,
	&points_command,
	&forget_command,
	&changes_command,
	&allocated_command,
	&verify_command,
	&create_command,
	&convert_command,
	&check_command,
};

#define COMMAND_COUNT	(sizeof(commands) / sizeof(commands[0]))

static void print_commands(FILE *out)
{
	size_t i;

	fputs("Usage: vhdxctl COMMAND [OPTION…] [ARGUMENT…]\n\n"
	      "VHDX disks with Resilient Change Tracking.\n\nCommands:\n", out);
	for (i = 0; i < COMMAND_COUNT; i++)
		fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\nA DISK is /dev/vhdxN, vhdxN, N, or the path of its container.\n"
	      "`vhdxctl COMMAND --help` has the options of a command; vhdxctl(8) has it all.\n"
	      "\nExit status: 0 done, 1 failed, 2 wrong usage, 3 a full backup is needed.\n", out);
}

static int run(int argc, char **argv)
{
	size_t i;

	if (argc < 2)
		return usage_error("a command is missing");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_commands(stdout);
		return EXIT_DONE;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("vhdxctl " VERSION);
		return EXIT_DONE;
	}
	for (i = 0; i < COMMAND_COUNT; i++) {
		if (!strcmp(argv[1], commands[i]->name))
			return run_command(argv[1], commands[i], argc - 1, argv + 1);
	}
	return usage_error("there is no command \"%s\"", argv[1]);
}

/*
 * A container that is opened as a closed standard output would get what is printed. What
 * takes its place fails where the closed one would have: it is open the other way round.
 */
static void fill_standard_files(void)
{
	int fd;

	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
	int code;

	fill_standard_files();
	setlocale(LC_ALL, "");
	/* A line at a time, so that nobody else's output lands within it. */
	setvbuf(stderr, NULL, _IOLBF, 0);
	code = run(argc, argv);
	if (output_is_lost() && !code)
		code = EXIT_FAILED;
	return code;
}
