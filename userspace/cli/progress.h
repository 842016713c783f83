/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Work that may take long: a bar on a terminal, and an end where the user wants one.
 */
#ifndef VHDXCTL_PROGRESS_H
#define VHDXCTL_PROGRESS_H

#include <libvhdx.h>

/* What progress_tell() returns once the user pressed ^C, or SIGTERM came. */
#define PROGRESS_ENDED	1

/* What is done by then needs no bar: for what usually is. */
#define PROGRESS_PATIENCE_MS	500

/* From now on these signals end the work, and not the program. @what: a word before the bar. */
void progress_begin(const char *what, unsigned int patience_ms);
/* A vhdx_progress_fn; needs no context. */
int progress_tell(void *context, uint64_t done, uint64_t total);
/* Remove the bar; signals do what they did before. */
void progress_end(void);
/* Say that the user ended the work, and what became of @path; returns an exit code. */
int progress_report_end(const char *path, const char *what_became_of_it);
/* The same of what is made: a file was removed again, a device cleared. */
int progress_report_taken_back(const char *path);

#endif
