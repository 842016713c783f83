// SPDX-License-Identifier: GPL-2.0-only
#include "ktap.h"
#include "core/diag.h"
#include "core/guid.h"

/* The first three fields are stored little endian, the rest as written. */
static const vhdx_guid bat_region = { {
	0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
	0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08,
} };

#define BAT_REGION_TEXT	"2dc27766-f623-4200-9d64-115e9bfd4a08"

CASE(formats_lower_case_with_dashes)
{
	char text[VHDX_GUID_TEXT];

	vhdx_guid_format(&bat_region, text);
	EXPECT_STREQ(text, BAT_REGION_TEXT);
}

CASE(parses_any_case)
{
	vhdx_guid guid;

	ASSERT_EQ(vhdx_guid_parse(&guid, BAT_REGION_TEXT), 0);
	EXPECT(vhdx_guid_equal(&guid, &bat_region));
	ASSERT_EQ(vhdx_guid_parse(&guid, "2DC27766-F623-4200-9D64-115E9BFD4A08"), 0);
	EXPECT(vhdx_guid_equal(&guid, &bat_region));
}

CASE(refuses_every_truncation_and_any_tail)
{
	char text[VHDX_GUID_TEXT];
	vhdx_guid guid;
	size_t length;

	for (length = 0; length < VHDX_GUID_TEXT - 1; length++) {
		memcpy(text, BAT_REGION_TEXT, length);
		text[length] = '\0';
		EXPECT_EQ(vhdx_guid_parse(&guid, text), -EINVAL);
	}
	EXPECT_EQ(vhdx_guid_parse(&guid, BAT_REGION_TEXT "0"), -EINVAL);
	EXPECT_EQ(vhdx_guid_parse(&guid, "{" BAT_REGION_TEXT "}"), -EINVAL);
}

CASE(refuses_a_wrong_character_anywhere)
{
	char text[VHDX_GUID_TEXT];
	vhdx_guid guid;
	size_t at;

	for (at = 0; at < VHDX_GUID_TEXT - 1; at++) {
		memcpy(text, BAT_REGION_TEXT, sizeof(text));
		text[at] = 'g';
		EXPECT_EQ(vhdx_guid_parse(&guid, text), -EINVAL);
	}
}

CASE(reference_id_round_trip)
{
	const char *text = "rct:" BAT_REGION_TEXT ":00000000deadbeef";
	char formatted[VHDX_POINT_ID_TEXT];
	struct vhdx_point_id id;

	ASSERT_EQ(vhdx_point_id_parse(&id, text), 0);
	EXPECT_EQ(id.kind, VHDX_POINT_REFERENCE);
	EXPECT_EQ(id.sequence, 0xdeadbeef);
	EXPECT(!memcmp(id.guid, &bat_region, sizeof(bat_region)));
	vhdx_point_id_format(&id, formatted);
	EXPECT_STREQ(formatted, text);
}

CASE(snapshot_id_round_trip)
{
	const char *text = "{" BAT_REGION_TEXT "}";
	char formatted[VHDX_POINT_ID_TEXT];
	struct vhdx_point_id id;

	ASSERT_EQ(vhdx_point_id_parse(&id, text), 0);
	EXPECT_EQ(id.kind, VHDX_POINT_SNAPSHOT);
	EXPECT_EQ(id.sequence, 0);
	vhdx_point_id_format(&id, formatted);
	EXPECT_STREQ(formatted, text);
}

CASE(windows_id_comes_back_as_it_was)
{
	const char *text = "rctX:2dc27766:f623:4200:9d64:115e9bfd4a08:0000001f";
	char formatted[VHDX_POINT_ID_TEXT];
	struct vhdx_point_id id;

	ASSERT_EQ(vhdx_point_id_parse(&id, text), 0);
	EXPECT_EQ(id.kind, VHDX_POINT_WINDOWS);
	EXPECT_EQ(id.sequence, 0x1f);
	EXPECT(!memcmp(id.guid, &bat_region, sizeof(bat_region)));
	vhdx_point_id_format(&id, formatted);
	EXPECT(!strcmp(formatted, text));
}

CASE(malformed_ids_are_refused)
{
	static const char *const bad[] = {
		"", " ", "rct", "rct:", "{", "{}", BAT_REGION_TEXT "}", BAT_REGION_TEXT "-",
		"rct:" BAT_REGION_TEXT,
		"rct:" BAT_REGION_TEXT ":",
		"rct:" BAT_REGION_TEXT ":00000000deadbee",
		"rct:" BAT_REGION_TEXT ":00000000deadbeef0",
		"rct:" BAT_REGION_TEXT ":00000000deadbeeg",
		"rct :" BAT_REGION_TEXT ":00000000deadbeef",
		"{" BAT_REGION_TEXT, "{" BAT_REGION_TEXT "}x", "{" BAT_REGION_TEXT "x",
		"rctX:" BAT_REGION_TEXT ":0000001f",
		"rctX:2dc27766:f623:4200:9d64:115e9bfd4a08:1f",
	};
	struct vhdx_point_id id;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		if (!EXPECT_EQ(vhdx_point_id_parse(&id, bad[i]), -EINVAL))
			printf("# %s\n", bad[i]);
}

CASE(case_and_white_space_do_not_matter)
{
	static const struct {
		const char *text;
		const char *formatted;
	} ids[] = {
		{ " RCT:2DC27766-F623-4200-9D64-115E9BFD4A08:00000000DEADBEEF\n",
		  "rct:" BAT_REGION_TEXT ":00000000deadbeef" },
		{ "RCTx:2DC27766:f623:4200:9d64:115e9bfd4a08:0000001F\r\n",
		  "rctX:2dc27766:f623:4200:9d64:115e9bfd4a08:0000001f" },
		{ "\t" BAT_REGION_TEXT, "{" BAT_REGION_TEXT "}" },
	};
	char formatted[VHDX_POINT_ID_TEXT];
	struct vhdx_point_id id;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		ASSERT_EQ(vhdx_point_id_parse(&id, ids[i].text), 0);
		vhdx_point_id_format(&id, formatted);
		EXPECT_STREQ(formatted, ids[i].formatted);
	}
}

CASE(no_point_has_no_text)
{
	struct vhdx_point_id id = { .kind = VHDX_POINT_NONE };
	char text[VHDX_POINT_ID_TEXT] = "x";

	vhdx_point_id_format(&id, text);
	EXPECT_STREQ(text, "");
}

CASE(an_invalidation_is_known_for_what_it_is)
{
	static const vhdx_guid disk = { "the disk's id 01" }, other = { "the disk's id 02" };
	u8 random[8] = { 0 };
	vhdx_guid guid, first;
	u32 i, bit;

	vhdx_guid_invalidate(&disk, random, &first);
	for (i = 0; i < 256; i++) {
		random[i % 8] = i;
		vhdx_guid_invalidate(&disk, random, &guid);
		EXPECT(!memcmp(guid.b, random, 8));
		EXPECT(vhdx_guid_is_invalidation(&disk, &guid));
		EXPECT(!vhdx_guid_is_invalidation(&other, &guid));
		EXPECT(!i || !vhdx_guid_equal(&guid, &first));
		for (bit = 0; bit < 128; bit++) {
			guid.b[bit / 8] ^= 1 << bit % 8;
			EXPECT(!vhdx_guid_is_invalidation(&disk, &guid));
			guid.b[bit / 8] ^= 1 << bit % 8;
		}
	}
	EXPECT(!vhdx_guid_is_invalidation(&disk, &disk));
	memset(&guid, 0, sizeof(guid));
	EXPECT(!vhdx_guid_is_invalidation(&disk, &guid));
}

SUITE("guid")
