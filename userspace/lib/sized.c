// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Structures of callers that were compiled with an older or a newer header: their first
 * member is their size.
 */
#include <errno.h>
#include <string.h>
#include "internal.h"

static size_t size_of(const void *theirs)
{
	size_t size;

	memcpy(&size, theirs, sizeof(size));
	return size;
}

int check_sized(const void *theirs, size_t first_size, const char *name)
{
	if (size_of(theirs) >= first_size)
		return 0;
	return fail(-EINVAL, VHDX_REASON_ARGUMENT,
		    "%s of %zu bytes: its size is to be set to its sizeof, at least %zu", name,
		    size_of(theirs), first_size);
}

int take_sized(void *ours, size_t size, const void *theirs, size_t first_size, const char *name)
{
	const size_t given = size_of(theirs);
	const char *tail = theirs;
	size_t i;
	int err;

	err = check_sized(theirs, first_size, name);
	if (err)
		return err;
	for (i = size; i < given; i++)
		if (tail[i])
			return fail(-E2BIG, VHDX_REASON_ARGUMENT,
				    "%s: something is asked for that only a newer libvhdx knows",
				    name);
	give_element(ours, size, theirs, given);
	return 0;
}

void give_element(void *theirs, size_t their_size, const void *ours, size_t size)
{
	const size_t known = their_size < size ? their_size : size;

	memcpy(theirs, ours, known);
	memset((char *)theirs + known, 0, their_size - known);
}

void give_sized(void *theirs, const void *ours, size_t size)
{
	const size_t given = size_of(theirs);

	give_element(theirs, given, ours, size);
	memcpy(theirs, &given, sizeof(given));
}
