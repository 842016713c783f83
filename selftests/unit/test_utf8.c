// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which labels are text.
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

SUITE("utf8")
