/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Text that comes from outside and is shown to people: labels of points, and paths
 * that Windows wrote.
 */
#ifndef VHDX_CORE_UTF8_H
#define VHDX_CORE_UTF8_H

#include "platform.h"

/*
 * Bytes of the character that @text begins with, and the character; 0 if it is none that
 * UTF-8 can have: cut off, longer than need be, a surrogate, beyond U+10FFFF.
 */
size_t vhdx_utf8_decode(const u8 *text, size_t length, u32 *character);

/* Bytes that it has in UTF-8, 1 … 4, written to @text. @character is one of Unicode. */
size_t vhdx_utf8_encode(u32 character, u8 text[4]);

/*
 * The same as vhdx_utf8_decode() for UTF-16LE: 2 or 4 bytes; 0 for half a surrogate pair and
 * for half a character.
 */
size_t vhdx_utf16_decode(const u8 *text, size_t length, u32 *character);

/* UTF-8 without control characters: NUL, line ends, and what moves a terminal's cursor. */
bool vhdx_label_is_valid(const u8 *label, size_t length);

#endif
