/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Text with names in it, which may be any bytes, for people.
 */
#ifndef VHDX_PRINT_ESCAPED_H
#define VHDX_PRINT_ESCAPED_H

#include <stdio.h>

/*
 * What a terminal can't show, or would obey, is written as tables have it (\x0a); and what looks
 * like something that was, too.
 */
void print_escaped(FILE *out, const char *text);

#endif
