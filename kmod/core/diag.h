/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * What is wrong, where, and what to do: one line for a person, one reason for a
 * program. Carried from the place that noticed it to the ioctl's caller.
 */
#ifndef VHDX_CORE_DIAG_H
#define VHDX_CORE_DIAG_H

#include "platform.h"

#ifdef __KERNEL__
#include <uapi/linux/vhdx.h>
#else
#include <linux/vhdx.h>
#endif

#define VHDX_DIAG_TEXT	240

/**
 * struct vhdx_diag - the first thing that went wrong
 * @reason:	VHDX_REASON_* of the uapi header
 * @text:	one line, no newline: structure, offset, finding, remedy
 */
struct vhdx_diag {
	u32 reason;
	char text[VHDX_DIAG_TEXT];
};

/**
 * vhdx_fail() - note what went wrong, unless something was noted before
 * @diag:	where to note it; may be NULL
 * @err:	negative errno, returned
 * @reason:	VHDX_REASON_*
 * @fmt:	printf format of the text
 */
__attribute__((format(printf, 4, 5)))
int vhdx_fail(struct vhdx_diag *diag, int err, u32 reason, const char *fmt, ...);

/* The same where nothing more is known than the reason. */
int vhdx_fail_plainly(struct vhdx_diag *diag, int err, u32 reason);

/* A word for sysfs, JSON and scripts, and a sentence for people; NULL: there is none. */
const char *vhdx_reason_to_name(u32 reason);
const char *vhdx_failure_to_text(int err, u32 reason);

/* Shorthands for classes of failures, as uapi/linux/vhdx.h has them; each returns its errno. */
#define vhdx_corrupt(diag, ...)	\
	vhdx_fail(diag, -EUCLEAN, VHDX_REASON_CORRUPT, __VA_ARGS__)
#define vhdx_bad_type(diag, ...)	\
	vhdx_fail(diag, -EMEDIUMTYPE, VHDX_REASON_BAD_TYPE, __VA_ARGS__)
#define vhdx_unsupported(diag, ...)	\
	vhdx_fail(diag, -EOPNOTSUPP, VHDX_REASON_UNSUPPORTED, __VA_ARGS__)
#define vhdx_bad_argument(diag, ...)	\
	vhdx_fail(diag, -EINVAL, VHDX_REASON_ARGUMENT, __VA_ARGS__)
#define vhdx_io_failed(diag, err, ...)	\
	vhdx_fail(diag, err, VHDX_REASON_IO, __VA_ARGS__)
/* @what begins the message: libvhdx puts the path of the "sidecar" or the "container" before it. */
#define vhdx_host_full(diag, what)	\
	vhdx_fail(diag, -ENOSPC, VHDX_REASON_HOST_FULL, \
		  what ": the file system that it lives on is full: make room there")
#define vhdx_no_memory(diag)	\
	vhdx_fail(diag, -ENOMEM, VHDX_REASON_NONE, "out of memory")

#endif
