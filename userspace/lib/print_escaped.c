// SPDX-License-Identifier: LGPL-2.1-or-later
#include <string.h>
#include <core/utf8.h>
#include "print_escaped.h"

void print_escaped(FILE *out, const char *text)
{
	u32 character;
	size_t length;

	while (*text) {
		length = vhdx_utf8_decode((const u8 *)text, strlen(text), &character);
		if (length && vhdx_label_is_valid((const u8 *)text, length) &&
		    strncmp(text, "\\x", 2) != 0) {
			fwrite(text, 1, length, out);
			text += length;
		} else {
			fprintf(out, "\\x%02x", (unsigned char)*text++);
		}
	}
}
