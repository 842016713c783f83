/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A watchdog for system calls that don't return, and a look at the kernel's log.
 */
#ifndef VHDX_FUZZ_WATCH_H
#define VHDX_FUZZ_WATCH_H

#include <stdbool.h>

void watch_start(unsigned int seconds, void (*hung)(const char *what, unsigned int thread));
void watch_begin(const char *what);
void watch_end(void);

#define WATCHED(what, call) __extension__ ({	\
	__typeof__(call) result_;		\
						\
	watch_begin(what);			\
	result_ = (call);			\
	watch_end();				\
	result_;				\
})

void kernel_log_open(void);
const char *kernel_log_defect(void);
void kernel_log_note(const char *text);

#endif
