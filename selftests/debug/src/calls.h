/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One ioctl with arguments that no honest program has.
 */
#ifndef VHDX_FUZZ_CALLS_H
#define VHDX_FUZZ_CALLS_H

/* Descriptors that all threads share: any of them may be closed at any time. */
#define SHARED_FDS	48

/* What the disks are attached from; each has a sidecar beside it. */
#define DISKS		2

int shared_fd(void);
void replace_shared_fd(void);
void close_shared_fds(void);
void any_call(void);

/* By the main program: open files of container and sidecar of a disk. */
int container_fd(unsigned int disk);
int sidecar_fd(unsigned int disk);

#endif
