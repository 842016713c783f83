// SPDX-License-Identifier: GPL-2.0-only
/* Parent locators, what they point at, and which parent is the right one. */
#include "judge.h"
#include "core/vhdx/locator.h"

/* As Windows writes them, and in its order. */
static const char *const of_windows[] = {
	"parent_linkage", "{" GUID_DATA "}",
	"absolute_win32_path", "C:\\disks\\parent.vhdx",
	"relative_path", ".\\parent.vhdx",
	"volume_path", "\\\\?\\Volume{01234567-89ab-cdef-0123-456789abcdef}\\disks\\parent.vhdx",
	"parent_linkage2", "{00000000-0000-0000-0000-000000000000}",
	NULL
};

/* Offsets of the first entry's texts in the item of @of_windows. */
#define FIRST_KEY	(LOCATOR_AT + 20 + 12 * 5)
#define FIRST_VALUE	(FIRST_KEY + 2 * strlen("parent_linkage"))

static u32 make(const char *const *pairs)
{
	test_image_make(&file);
	return put_locator(&file, pairs);
}

static void expect_path(enum vhdx_locator_path which, const char *path)
{
	char *text;

	ASSERT_EQ(vhdx_locator_path(&file.memory.store, &image.locator, which, &text, &diag), 0);
	if (path && EXPECT(text))
		EXPECT_STREQ(text, path);
	EXPECT(path || !text);
	vhdx_free(text);
}

static void expect_guid(const vhdx_guid *guid, const char *text)
{
	char found[VHDX_GUID_TEXT];

	vhdx_guid_format(guid, found);
	EXPECT_STREQ(found, text);
}

CASE(as_windows_writes_it)
{
	make(of_windows);
	ASSERT_EQ(judge(), 0);
	EXPECT_EQ(image.locator.offset, LOCATOR_AT);
	expect_guid(&image.locator.linkage, GUID_DATA);
	EXPECT(vhdx_guid_is_zero(&image.locator.linkage2));
	expect_path(VHDX_LOCATOR_RELATIVE, of_windows[5]);
	expect_path(VHDX_LOCATOR_VOLUME, of_windows[7]);
	expect_path(VHDX_LOCATOR_ABSOLUTE, of_windows[3]);
	release();
}

CASE(a_disk_without_parent_has_none)
{
	make(of_windows);
	put32(&file, ITEM_AT(ITEM_PARAMETERS) + 4, 0);
	put16(&file, LOCATOR_AT + 18, 1000);		/* and nobody looks at it */
	ASSERT_EQ(judge(), 0);
	EXPECT(!image.locator.offset && vhdx_guid_is_zero(&image.locator.linkage));
	release();
}

CASE(what_is_missing)
{
	static const char *const least[] = {
		"parent_linkage", "{DA7A0000-0000-0000-0000-00000000000A}", NULL
	};
	static const char *const second[] = {
		"parent_linkage2", "{" GUID_DATA "}",
		"parent_linkage", "{00000000-0000-0000-0000-000000000000}", NULL
	};
	static const char *const zero[] = {
		"parent_linkage", "{00000000-0000-0000-0000-000000000000}",
		"parent_linkage2", "{00000000-0000-0000-0000-000000000000}", NULL
	};
	static const char *const other_case[] = { "Parent_Linkage", "{" GUID_DATA "}", NULL };
	static const char *const nothing[] = { NULL };

	make(least);
	ASSERT_EQ(judge(), 0);
	expect_guid(&image.locator.linkage, "da7a0000-0000-0000-0000-00000000000a");
	expect_path(VHDX_LOCATOR_RELATIVE, NULL);
	release();
	make(second);
	ASSERT_EQ(judge(), 0);
	expect_guid(&image.locator.linkage2, GUID_DATA);
	release();
	make(zero);
	expect_corrupt("names no parent");
	release();
	make(other_case);
	expect_corrupt("names no parent");
	release();
	make(nothing);
	expect_corrupt("names no parent");
	release();
}

CASE(linkage_that_is_no_guid)
{
	static const char *const bad[] = {
		GUID_DATA, "(" GUID_DATA "}", "{" GUID_DATA ")", "{" GUID_DATA "} ",
		"{da7a0000-0000-0000-0000-00000000000g}", "x",
	};
	const char *pairs[5] = {
		"parent_linkage2", NULL, "parent_linkage", "{" GUID_DATA "}", NULL
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		pairs[1] = bad[i];
		make(pairs);
		expect_corrupt("parent locator at 0x220000 has a parent_linkage2 (entry 0) that is no GUID");
		release();
	}
	/* A character whose lower half is the right one. */
	make(of_windows);
	put16(&file, FIRST_VALUE, 0x100 | '{');
	expect_corrupt("has a parent_linkage (entry 0) that is no GUID");
	release();
}

CASE(head)
{
	u32 length = make(of_windows);

	put_item(&file, ITEM_COUNT, GUID_LOCATOR, LOCATOR_AT - IMAGE_METADATA, 19, 4);
	expect_corrupt("has 19 bytes");
	put_item(&file, ITEM_COUNT, GUID_LOCATOR, 0, 0, 4);
	expect_corrupt("has 0 bytes");
	put_item(&file, ITEM_COUNT, GUID_LOCATOR, LOCATOR_AT - IMAGE_METADATA, 20 + 12 * 5 - 1, 4);
	expect_corrupt("too few for 5 entries");
	put_item(&file, ITEM_COUNT, GUID_LOCATOR, LOCATOR_AT - IMAGE_METADATA, length, 4);
	put_guid(&file, LOCATOR_AT, GUID_STRANGE);
	expect_unsupported("is of type " GUID_STRANGE);
	release();
}

CASE(at_most_256_entries)
{
	u32 n;

	make(of_windows);
	put_item(&file, ITEM_COUNT, GUID_LOCATOR, LOCATOR_AT - IMAGE_METADATA, 64 * KIB, 4);
	/* More keys, all different. */
	for (n = 5; n < 257; n++) {
		u32 at = 32 * KIB + 4 * n;

		put16(&file, LOCATOR_AT + at, 'k');
		put16(&file, LOCATOR_AT + at + 2, n);
		put32(&file, LOCATOR_ENTRY(n), at);
		put32(&file, LOCATOR_ENTRY(n) + 4, at);
		put32(&file, LOCATOR_ENTRY(n) + 8, 4 << 16 | 4);
	}
	/* Which lie where the first ones' text was. */
	for (n = 0; n < 5; n++) {
		put32(&file, LOCATOR_ENTRY(n), 48 * KIB + 64 * n);
		put32(&file, LOCATOR_ENTRY(n) + 4, 48 * KIB + 64 * n + 32);
		put32(&file, LOCATOR_ENTRY(n) + 8, 2 << 16 | 2);
		put16(&file, LOCATOR_AT + 48 * KIB + 64 * n, 'a' + n);
		put16(&file, LOCATOR_AT + 48 * KIB + 64 * n + 32, 'v');
	}
	put16(&file, LOCATOR_AT + 18, 256);
	expect_corrupt("names no parent");
	put16(&file, LOCATOR_AT + 18, 257);
	expect_corrupt("has 257 entries, at most 256");
	release();
}

CASE(texts_lie_behind_the_entries_and_within_the_item)
{
	u32 length = make(of_windows);

	put32(&file, LOCATOR_ENTRY(1), 20 + 12 * 5 - 1);
	expect_corrupt("has in entry 1 a key of 38 bytes at offset 0x4f, which is not between");
	put32(&file, LOCATOR_ENTRY(1), ~0U - 1);
	expect_corrupt("has in entry 1 a key of 38 bytes at offset 0xfffffffe");
	put32(&file, LOCATOR_ENTRY(1), length - 38 + 1);
	expect_corrupt("has in entry 1 a key");
	put32(&file, LOCATOR_ENTRY(1), length - 38);
	EXPECT_EQ(judge(), 0);
	put32(&file, LOCATOR_ENTRY(4) + 4, length);
	expect_corrupt("has in entry 4 a value of 76 bytes");
	release();
}

CASE(texts_have_whole_characters)
{
	static const u16 bad[] = { 0, 1, 3, 0xffff };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		make(of_windows);
		put16(&file, LOCATOR_ENTRY(0) + 8, bad[i]);
		expect_corrupt("has in entry 0 a key of ");
		release();
		make(of_windows);
		put16(&file, LOCATOR_ENTRY(2) + 10, bad[i]);
		expect_corrupt("has in entry 2 a value of ");
		release();
	}
}

CASE(texts_are_utf16_without_nul)
{
	static const u16 bad[] = { 0, 0xd800, 0xdc00 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		make(of_windows);
		put16(&file, FIRST_KEY + 4, bad[i]);
		expect_corrupt("has in entry 0 a key that is no UTF-16 at offset 0x54");
		release();
		make(of_windows);
		put16(&file, FIRST_VALUE, bad[i]);
		expect_corrupt("has in entry 0 a value that is no UTF-16 at offset 0x6c");
		release();
	}
}

CASE(key_occurs_twice)
{
	const char *pairs[9] = {
		"parent_linkage", "{" GUID_DATA "}", "a", "1", "b", "2", "a", "1", NULL
	};

	make(pairs);
	expect_corrupt("has the key of entry 1 again in entry 3");
	release();
	pairs[6] = "A";
	make(pairs);
	EXPECT_EQ(judge(), 0);
	release();
}

CASE(path_that_changes_after_it_was_judged)
{
	char *text;

	make(of_windows);
	ASSERT_EQ(judge(), 0);
	put16(&file, image.locator.paths[VHDX_LOCATOR_RELATIVE].offset + 6, 0xdc00);
	EXPECT_EQ(vhdx_locator_path(&file.memory.store, &image.locator, VHDX_LOCATOR_RELATIVE,
				    &text, &diag), -EUCLEAN);
	EXPECT(!text);
	EXPECT_HAS(diag.text, "is no UTF-16");
	release();
}

CASE(path_of_other_characters)
{
	static const char *const pairs[] = {
		"parent_linkage", "{" GUID_DATA "}", "relative_path", "aXYZ", NULL
	};
	u64 at;

	make(pairs);
	at = LOCATOR_AT + get64(&file, LOCATOR_ENTRY(1) + 4) % (1ULL << 32);
	put16(&file, at + 2, 0xfc);
	put16(&file, at + 4, 0xd83d);
	put16(&file, at + 6, 0xde00);
	ASSERT_EQ(judge(), 0);
	expect_path(VHDX_LOCATOR_RELATIVE, "a\xc3\xbc\xf0\x9f\x98\x80");
	release();
}

CASE(locator_that_straddles_pages)
{
	u32 place = 128 * KIB + 4096 - 7;
	u32 length = make(of_windows);

	memmove(file.memory.bytes + IMAGE_METADATA + place, file.memory.bytes + LOCATOR_AT, length);
	put32(&file, METADATA_ENTRY(ITEM_COUNT) + 16, place);
	ASSERT_EQ(judge(), 0);
	expect_guid(&image.locator.linkage, GUID_DATA);
	expect_path(VHDX_LOCATOR_ABSOLUTE, of_windows[3]);
	release();
}

CASE(read_error_is_told)
{
	make(of_windows);
	file.memory.fail_at = LOCATOR_AT;
	expect_refusal(-EIO, VHDX_REASON_IO, "reading the parent locator at 0x220000 failed");
	release();
}

/* ---- the right parent ---- */

static int check_parent(const struct vhdx_image *parent)
{
	memset(&diag, 0, sizeof(diag));
	return vhdx_parent_check(&image, parent, &diag);
}

CASE(parent_by_its_data_write_guid)
{
	struct vhdx_image parent;

	make(of_windows);
	ASSERT_EQ(judge(), 0);
	parent = image;
	EXPECT_EQ(check_parent(&parent), 0);
	vhdx_guid_parse(&parent.header.data_write_guid, GUID_STRANGE);
	EXPECT_EQ(check_parent(&parent), -EUCLEAN);
	EXPECT_EQ(diag.reason, VHDX_REASON_CORRUPT);
	EXPECT_HAS(diag.text, "has DataWriteGuid " GUID_STRANGE ", not " GUID_DATA ": ");
	/* The second one counts as much, and none is none. */
	image.locator.linkage2 = parent.header.data_write_guid;
	EXPECT_EQ(check_parent(&parent), 0);
	parent.header.file_write_guid = image.locator.linkage;
	vhdx_guid_parse(&parent.header.data_write_guid, GUID_DISK);
	image.locator.offset = ~0ULL >> 1;
	EXPECT_EQ(check_parent(&parent), -EUCLEAN);
	EXPECT_HAS(diag.text, "not " GUID_DATA " or " GUID_STRANGE ": ");
	EXPECT(strlen(diag.text) < VHDX_DIAG_TEXT - 1);
	memset(&image.locator.linkage2, 0, sizeof(vhdx_guid));
	memset(&parent.header.data_write_guid, 0, sizeof(vhdx_guid));
	EXPECT_EQ(check_parent(&parent), -EUCLEAN);
	release();
}

CASE(parent_by_its_geometry)
{
	struct vhdx_image parent;

	make(of_windows);
	ASSERT_EQ(judge(), 0);
	parent = image;
	parent.geo.logical_sector_size = 4096;
	EXPECT_EQ(check_parent(&parent), -EUCLEAN);
	EXPECT_HAS(diag.text, "the parent has logical sectors of 4096 bytes, not 512");
	parent.geo.logical_sector_size = 512;
	parent.geo.physical_sector_size = 512;
	parent.geo.block_size = 32 * MIB;
	EXPECT_EQ(check_parent(&parent), 0);
	parent.geo.disk_size -= 512;
	EXPECT_EQ(check_parent(&parent), 0);
	parent.geo.disk_size += 1024;
	EXPECT_EQ(check_parent(&parent), -EUCLEAN);
	EXPECT_HAS(diag.text, "the parent has a disk of 67109376 bytes, larger than the child's of 67108864");
	release();
}

SUITE("locator")
