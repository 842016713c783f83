/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A disk and a raw image of what it was.
 */
#ifndef VHDXCTL_COMPARE_H
#define VHDXCTL_COMPARE_H

#include "ranges.h"

#define FAULT_TEXT	(VHDX_PATH_TEXT + 256)

/**
 * struct comparison - of all but what is left out
 * @disk:	as it is
 * @size:	of both, in bytes
 * @image:	path of the raw image
 * @fd:		of it; -1: not open
 * @allocated:	all else of the disk reads as zeroes
 * @passed:	how many of @allocated lie before what is looked at
 * @different:	from the first byte that differs to the last one, where they are close together
 * @compared:	in bytes
 * @fault:	what failed, if it was not the library
 */
struct comparison {
	struct vhdx_disk *disk;
	uint64_t size;
	const char *image;
	int fd;
	struct ranges allocated;
	size_t passed;
	struct ranges different;
	uint64_t compared;
	char *of_image;
	char *of_disk;
	char fault[FAULT_TEXT];
};

/* @size: of the disk. These return 0, or -errno: of the library, or with @comparison->fault. */
int open_image(struct comparison *comparison, const char *path, struct vhdx_disk *disk,
	       uint64_t size);
/* All that is in none of @left_out; or PROGRESS_ENDED. */
int compare(struct comparison *comparison, const struct ranges *left_out);
/* Whatever open_image() returned. */
void close_image(struct comparison *comparison);

/* "out of memory", with which @comparison ends. Returns -ENOMEM. */
int no_memory(struct comparison *comparison);

#endif
