/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Text that comes from outside and is shown to people: labels of points.
 */
#ifndef VHDX_CORE_UTF8_H
#define VHDX_CORE_UTF8_H

#include "platform.h"

/*
 * Bytes of the character that @text begins with, and the character; 0 if it is none that
 * UTF-8 can have: cut off, longer than need be, a surrogate, beyond U+10FFFF.
 */
size_t vhdx_utf8_decode(const u8 *text, size_t length, u32 *character);

/* UTF-8 without control characters: NUL, line ends, and what moves a terminal's cursor. */
bool vhdx_label_is_valid(const u8 *label, size_t length);

#endif
