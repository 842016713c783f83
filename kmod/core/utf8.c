// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "utf8.h"

static const struct {
	u8 mask;
	u8 lead;
	u32 least;	/* smaller ones have a shorter form */
} forms[] = {
	{ 0x80, 0x00, 0x0 },
	{ 0xe0, 0xc0, 0x80 },
	{ 0xf0, 0xe0, 0x800 },
	{ 0xf8, 0xf0, 0x10000 },
};

size_t vhdx_utf8_decode(const u8 *text, size_t length, u32 *character)
{
	size_t bytes, i;
	u32 value;

	for (bytes = 1; bytes <= ARRAY_SIZE(forms) && bytes <= length; bytes++) {
		if ((text[0] & forms[bytes - 1].mask) != forms[bytes - 1].lead)
			continue;
		value = text[0] & (u8)~forms[bytes - 1].mask;
		for (i = 1; i < bytes; i++) {
			if ((text[i] & 0xc0) != 0x80)
				return 0;
			value = value << 6 | (text[i] & 0x3f);
		}
		if (value < forms[bytes - 1].least || value > 0x10ffff ||
		    (value >= 0xd800 && value < 0xe000))
			return 0;
		*character = value;
		return bytes;
	}
	return 0;
}

size_t vhdx_utf8_encode(u32 character, u8 text[4])
{
	size_t bytes = 1 + (character >= 0x80) + (character >= 0x800) + (character >= 0x10000);
	size_t i;

	for (i = bytes - 1; i; i--) {
		text[i] = 0x80 | (character & 0x3f);
		character >>= 6;
	}
	text[0] = forms[bytes - 1].lead | character;
	return bytes;
}

static u32 utf16_unit(const u8 *text)
{
	return text[0] | (u32)text[1] << 8;
}

size_t vhdx_utf16_decode(const u8 *text, size_t length, u32 *character)
{
	u32 high, low;

	if (length < 2)
		return 0;
	high = utf16_unit(text);
	if (high < 0xd800 || high >= 0xe000) {
		*character = high;
		return 2;
	}
	if (high >= 0xdc00 || length < 4)
		return 0;
	low = utf16_unit(text + 2);
	if (low < 0xdc00 || low >= 0xe000)
		return 0;
	*character = 0x10000 + ((high & 0x3ff) << 10 | (low & 0x3ff));
	return 4;
}

static bool is_control(u32 character)
{
	return character < 0x20 || (character >= 0x7f && character < 0xa0);
}

bool vhdx_label_is_valid(const u8 *label, size_t length)
{
	u32 character;
	size_t bytes;

	while (length) {
		bytes = vhdx_utf8_decode(label, length, &character);
		if (!bytes || is_control(character))
			return false;
		label += bytes;
		length -= bytes;
	}
	return true;
}
