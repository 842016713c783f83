// SPDX-License-Identifier: GPL-2.0-only
/*
 * hold_lock r|w FILE: open FILE as an attach does, say so, and keep it until standard
 * input ends.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "../lib/internal.h"

int main(int argc, char **argv)
{
	struct container container = CONTAINER_NONE;
	char byte;
	int err;

	if (argc != 3)
		return 2;
	err = open_container(&container, argv[2], !strcmp(argv[1], "w"));
	if (err) {
		fprintf(stderr, "%s\n", vhdx_error_message());
		return 1;
	}
	puts("held");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	close_container(&container);
	return 0;
}
