// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which labels are text; and what Windows takes for text.
 */
#include "ktap.h"
#include "core/utf8.h"

#define VALID(text) vhdx_label_is_valid((const u8 *)(text), sizeof(text) - 1)

CASE(text)
{
	EXPECT(VALID(""));
	EXPECT(VALID("a ~"));
	EXPECT(VALID("\xc2\xa0"));
	EXPECT(VALID("\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80"));
	EXPECT(VALID("\xed\x9f\xbf\xee\x80\x80"));
	EXPECT(VALID("\xf4\x8f\xbf\xbf"));
}

CASE(no_text)
{
	EXPECT(!VALID("\x80"));
	EXPECT(!VALID("\xff"));
	EXPECT(!VALID("ok\xc3"));		/* cut off */
	EXPECT(!VALID("\xe2\x82"));
	EXPECT(!VALID("\xc3\x61"));
	EXPECT(!VALID("\xc0\xaf"));		/* longer than need be */
	EXPECT(!VALID("\xe0\x80\xaf"));
	EXPECT(!VALID("\xf0\x80\x80\xaf"));
	EXPECT(!VALID("\xed\xa0\x80"));		/* a surrogate */
	EXPECT(!VALID("\xf4\x90\x80\x80"));	/* beyond what there is */
	EXPECT(!VALID("\xf8\x88\x80\x80\x80"));
}

CASE(controls)
{
	EXPECT(!VALID("a\0b"));
	EXPECT(!VALID("line\nline"));
	EXPECT(!VALID("\x1b[2J"));
	EXPECT(!VALID("\x7f"));
	EXPECT(!VALID("\xc2\x80"));
	EXPECT(!VALID("\xc2\x9b\x32J"));
	EXPECT(!VALID("\x1f"));
}

CASE(nothing_behind_the_end_is_read)
{
	static const u8 label[] = { 'a', 0xe2 };
	u8 *exact = malloc(sizeof(label));

	ASSERT(exact);
	memcpy(exact, label, sizeof(label));
	EXPECT(!vhdx_label_is_valid(exact, sizeof(label)));
	free(exact);
}

/* The character in UTF-16LE, and in UTF-8. */
static void expect_same(u32 character, const char *utf16, size_t utf16_bytes, const char *utf8)
{
	u32 decoded = ~0U;
	u8 text[4];

	EXPECT_EQ(vhdx_utf16_decode((const u8 *)utf16, 4, &decoded), utf16_bytes);
	EXPECT_EQ(decoded, character);
	ASSERT_EQ(vhdx_utf8_encode(character, text), strlen(utf8));
	EXPECT(!memcmp(text, utf8, strlen(utf8)));
	EXPECT_EQ(vhdx_utf8_decode(text, strlen(utf8), &decoded), strlen(utf8));
	EXPECT_EQ(decoded, character);
}

CASE(utf16)
{
	expect_same('A', "A\0B", 2, "A");
	expect_same(0x7f, "\x7f\0B", 2, "\x7f");
	expect_same(0x80, "\x80\0B", 2, "\xc2\x80");
	expect_same(0x7ff, "\xff\x07\x42\x42", 2, "\xdf\xbf");
	expect_same(0x800, "\x00\x08\x42\x42", 2, "\xe0\xa0\x80");
	expect_same(0xd7ff, "\xff\xd7\x42\x42", 2, "\xed\x9f\xbf");
	expect_same(0xe000, "\x00\xe0\x42\x42", 2, "\xee\x80\x80");
	expect_same(0xffff, "\xff\xff\x42\x42", 2, "\xef\xbf\xbf");
	expect_same(0x10000, "\x00\xd8\x00\xdc", 4, "\xf0\x90\x80\x80");
	expect_same(0x1f600, "\x3d\xd8\x00\xde", 4, "\xf0\x9f\x98\x80");
	expect_same(0x10ffff, "\xff\xdb\xff\xdf", 4, "\xf4\x8f\xbf\xbf");
}

static size_t utf16_of(const char *text, size_t length)
{
	u8 *exact = malloc(length);
	u32 character;
	size_t bytes;

	assert(exact);
	memcpy(exact, text, length);
	bytes = vhdx_utf16_decode(exact, length, &character);
	free(exact);
	return bytes;
}

CASE(no_utf16)
{
	EXPECT(!utf16_of("A", 1));			/* half a character */
	EXPECT(!utf16_of("\x00\xd8", 2));		/* half a pair */
	EXPECT(!utf16_of("\x00\xd8\x00", 3));
	EXPECT(!utf16_of("\x00\xd8\x41\0", 4));
	EXPECT(!utf16_of("\x00\xd8\x00\xd8", 4));
	EXPECT(!utf16_of("\x00\xd8\x00\xe0", 4));
	EXPECT(!utf16_of("\x00\xdc\x00\xd8", 4));	/* the halves exchanged */
	EXPECT(!utf16_of("\xff\xdf\xff\xdf", 4));
}

SUITE("utf8")
