// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Requests to the driver.
 */
#include <core/argument.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include "internal.h"
#include "print_escaped.h"

/* Does the argument, as large as the caller knows it, have this field? */
static bool reaches(const void *argument, size_t offset, size_t size)
{
	const __u32 *given = argument;

	return *given >= offset + size;
}

static bool is_wanted(void)
{
	const char *wanted = secure_getenv("LIBVHDX_DEBUG");

	return wanted && *wanted && strcmp(wanted, "0") != 0;
}

void tell_request(const char *subject, unsigned long command, void *argument, int err,
		  const char *message)
{
	const struct vhdx_argument *known = vhdx_argument_of(command);
	unsigned int reason = VHDX_REASON_NONE;

	if (!is_wanted())
		return;
	if (known && reaches(argument, known->reason, sizeof(__u32)))
		reason = *vhdx_argument_reason(known, argument);
	flockfile(stderr);
	fputs("libvhdx: ", stderr);
	print_escaped(stderr, subject);
	fprintf(stderr, ": %s: %s, reason %s%s", known ? known->name : "unknown request",
		err ? strerror(-err) : "done", vhdx_reason_name(reason), *message ? ": " : "");
	print_escaped(stderr, message);
	fputc('\n', stderr);
	funlockfile(stderr);
}

int request(int fd, const char *subject, unsigned long command, void *argument, char *message)
{
	const struct vhdx_argument *known = vhdx_argument_of(command);
	__u64 *address = vhdx_argument_message(known, argument);
	bool ours = reaches(argument, known->capacity, sizeof(__u32)) && !*address;
	int err;

	message[0] = '\0';
	if (ours) {
		*address = (uintptr_t)message;
		*vhdx_argument_capacity(known, argument) = MESSAGE_SIZE;
	}
	err = ioctl(fd, command, argument) ? -errno : 0;
	if (ours) {
		*address = 0;
		*vhdx_argument_capacity(known, argument) = 0;
	}
	tell_request(subject, command, argument, err, message);
	return err;
}
