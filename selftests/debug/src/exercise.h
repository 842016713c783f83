/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is done to a disk that could be attached.
 */
#ifndef VHDX_FUZZ_EXERCISE_H
#define VHDX_FUZZ_EXERCISE_H

#include <stdbool.h>
#include <stdint.h>

/* Called with what is wrong; the input is at fault, or the driver. */
void failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * struct attachment - how a container was attached
 * @index:	N of /dev/vhdxN
 * @written:	out: a write, a seal or anything else that changes the container succeeded
 * @sidecar_fd:	to enable tracking with, where it is off; or -1
 */
struct attachment {
	int index;
	bool read_only;
	bool written;
	int sidecar_fd;
};

int attach_disk(const char *container, const char *sidecar, const char *parent, bool read_only);
int detach_disk(int index);
void exercise(struct attachment *a);

#endif
