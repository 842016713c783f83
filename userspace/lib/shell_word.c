// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Names in advice: people copy it into a shell, and names may be any bytes.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

/* No shell makes anything else of these; = is for --map-path, not for the first word. */
static bool is_plain(unsigned char c)
{
	return c >= 0x80 || isalnum(c) || (c && strchr("%+,-./:=@_", c));
}

char *shell_word(const char *text)
{
	const char *from;
	char *word;
	char *to;

	for (from = text; is_plain(*from); from++)
		;
	if (from != text && !*from)
		return strdup(text);
	/* A quote becomes four characters. */
	word = malloc(4 * strlen(text) + sizeof("''"));
	if (!word)
		return NULL;
	to = word;
	*to++ = '\'';
	for (from = text; *from; from++) {
		if (*from == '\'')
			to = stpcpy(to, "'\\''");
		else
			*to++ = *from;
	}
	*to++ = '\'';
	*to = '\0';
	return word;
}
