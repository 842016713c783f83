// SPDX-License-Identifier: GPL-2.0-only
/*
 * Making containers: what comes of it is read by the code of the attach path, which the
 * other suites hold against images that were written byte by byte.
 */
#include "judge.h"
#include "core/offline/census.h"
#include "core/offline/create.h"
#include "core/offline/locator_write.h"
#include "core/offline/place.h"
#include "core/vhdx/bat.h"
#include "core/vhdx/locator.h"

static struct vhdx_recipe recipe;
static struct memory_store made;

/* A dynamic disk; what is asked for otherwise is changed by the case. */
static void ask(void)
{
	static const vhdx_guid disk = { { 1, 2, 3 } }, file = { { 4 } }, data = { { 5 } };

	recipe = (struct vhdx_recipe) {
		.geo.disk_size = 64 * MIB,
		.geo.disk_id = disk,
		.geo.block_size = 2 * MIB,
		.geo.logical_sector_size = 512,
		.geo.physical_sector_size = 4096,
		.header.file_write_guid = file,
		.header.data_write_guid = data,
		.header.log_length = 1 * MIB,
		.creator = "unit",
		.is_zero = true,
	};
	memset(&diag, 0, sizeof(diag));
}

static int make_over(u8 filling)
{
	int err = vhdx_recipe_check(&recipe, &diag);

	if (err)
		return err;
	memory_store_open(&made, recipe.size);
	memset(made.bytes, filling, recipe.size);
	err = vhdx_recipe_write(&recipe, &made.store, &diag);
	/* Not a VHDX yet, whatever else is there. */
	EXPECT_EQ(vhdx_image_open(&image, &made.store, NULL), -EMEDIUMTYPE);
	vhdx_image_release(&image);
	return err ? err : vhdx_recipe_sign(&recipe, &made.store, &diag);
}

static int load(void)
{
	int err = vhdx_image_open(&image, &made.store, &diag);

	return err ? err : vhdx_image_load(&image, &made.store, &diag);
}

static void expect_what_was_asked(void)
{
	const struct vhdx_geometry *is = &image.geo, *should = &recipe.geo;
	struct vhdx_census census;

	ASSERT_EQ(load(), 0);
	EXPECT_EQ(is->disk_size, should->disk_size);
	EXPECT_EQ(is->block_size, should->block_size);
	EXPECT_EQ(is->logical_sector_size, should->logical_sector_size);
	EXPECT_EQ(is->physical_sector_size, should->physical_sector_size);
	EXPECT_EQ(is->fixed, should->fixed);
	EXPECT_EQ(is->has_parent, should->has_parent);
	EXPECT_EQ(is->bat_offset, should->bat_offset);
	EXPECT_EQ(is->bat_entry_count, should->bat_entry_count);
	EXPECT(vhdx_guid_equal(&is->disk_id, &should->disk_id));
	EXPECT(vhdx_guid_equal(&image.header.data_write_guid, &recipe.header.data_write_guid));
	EXPECT(vhdx_guid_equal(&image.header.file_write_guid, &recipe.header.file_write_guid));
	EXPECT_EQ(image.header.log_length, recipe.header.log_length);
	EXPECT_EQ(image.log.dirty, false);
	EXPECT_EQ(vhdx_census_take(&census, &made.store, &image, &diag), 0);
	EXPECT_EQ(census.bad, 0);
	EXPECT_EQ(census.blocks[VHDX_BLOCK_FULLY_PRESENT], should->fixed ? is->block_count : 0);
}

static void done(void)
{
	vhdx_image_release(&image);
	memory_store_close(&made);
}

CASE(every_shape)
{
	static const u32 sectors[] = { 512, 4096 };
	unsigned int i;

	/* Two bits for the sector sizes, then fixed, large blocks, a long log, odd size. */
	for (i = 0; i < 64; i++) {
		ask();
		recipe.geo.logical_sector_size = sectors[i & 1];
		recipe.geo.physical_sector_size = sectors[i >> 1 & 1];
		recipe.geo.fixed = i & 4;
		if (i & 8)
			recipe.geo.block_size = 32 * MIB;
		if (i & 16)
			recipe.header.log_length = 3 * MIB;
		if (i & 32)
			recipe.geo.disk_size = 7 * MIB + 4096;
		EXPECT_EQ(make_over(0), 0);
		expect_what_was_asked();
		done();
	}
}

/* On a block device, anything may have been there before. */
CASE(over_old_bytes)
{
	int fixed;

	for (fixed = 0; fixed < 2; fixed++) {
		ask();
		recipe.is_zero = false;
		recipe.geo.fixed = fixed;
		EXPECT_EQ(make_over(0xee), 0);
		expect_what_was_asked();
		done();
	}
}

static u8 locator[VHDX_RECIPE_LOCATOR_MAX];

static int write_locator(const char *relative, u32 capacity)
{
	const struct vhdx_locator_text text = {
		.linkage = { { 7, 8, 9 } },
		.relative = relative,
		.absolute = "\\disks\\parent.vhdx",
		.volume = "\\\\?\\Volume{00000000-0000-0000-0000-000000000000}\\parent.vhdx",
	};

	memset(locator, 0, sizeof(locator));
	memset(&diag, 0, sizeof(diag));
	return vhdx_locator_write(&text, locator, capacity, &recipe.locator_length, &diag);
}

CASE(child)
{
	/* One of each length in UTF-8; the last takes two units of UTF-16. */
	static const char relative[] = ".\\a\u00fc\u20ac\U0001f600.vhdx";
	static const vhdx_guid linkage = { { 7, 8, 9 } };
	char *text;

	ask();
	recipe.geo.has_parent = true;
	recipe.locator = locator;
	EXPECT_EQ(write_locator(relative, sizeof(locator)), 0);
	EXPECT_EQ(make_over(0), 0);
	expect_what_was_asked();
	/* Whole chunks, with a sector bitmap each. */
	EXPECT_EQ(image.geo.bat_entry_count, image.geo.chunk_ratio + 1);
	EXPECT(vhdx_guid_equal(&image.locator.linkage, &linkage));
	EXPECT(vhdx_guid_is_zero(&image.locator.linkage2));
	ASSERT_EQ(vhdx_locator_path(&made.store, &image.locator, VHDX_LOCATOR_RELATIVE, &text,
				    &diag), 0);
	EXPECT_STREQ(text, relative);
	vhdx_free(text);
	ASSERT_EQ(vhdx_locator_path(&made.store, &image.locator, VHDX_LOCATOR_ABSOLUTE, &text,
				    &diag), 0);
	EXPECT_STREQ(text, "\\disks\\parent.vhdx");
	vhdx_free(text);
	done();
	recipe.locator_length = VHDX_RECIPE_LOCATOR_MAX + 1;
	EXPECT_EQ(vhdx_recipe_check(&recipe, &diag), -EINVAL);
}

CASE(paths_that_no_locator_has)
{
	static char longest[40000];
	u32 whole, capacity;

	ask();
	EXPECT_EQ(write_locator("a\xff", sizeof(locator)), -EINVAL);
	EXPECT_HAS(diag.text, "no UTF-8");
	memset(longest, 'x', sizeof(longest) - 1);
	EXPECT_EQ(write_locator(longest, sizeof(locator)), -EINVAL);
	EXPECT_HAS(diag.text, "too long");
	EXPECT_EQ(write_locator("parent.vhdx", sizeof(locator)), 0);
	whole = recipe.locator_length;
	/* Nothing is written behind the room that there is. */
	for (capacity = 0; capacity < whole; capacity++) {
		EXPECT_EQ(write_locator("parent.vhdx", capacity), -EINVAL);
		EXPECT(!memcmp(locator + capacity, locator + sizeof(locator) / 2, 8));
	}
	EXPECT_EQ(write_locator("parent.vhdx", whole), 0);
}

CASE(last_block_of_the_largest_disk)
{
	ask();
	recipe.geo.disk_size = 64 * TIB;
	recipe.geo.block_size = 1 * MIB;
	recipe.geo.fixed = true;
	ASSERT_EQ(vhdx_recipe_check(&recipe, &diag), 0);
	EXPECT_EQ(recipe.geo.block_count, 64 * MIB);
	EXPECT_EQ(recipe.bat_length, 513 * MIB);
	EXPECT_EQ(recipe.size, recipe.blocks_offset + 64 * TIB);
}

static void expect_bad(const char *part)
{
	memset(&diag, 0, sizeof(diag));
	EXPECT_EQ(vhdx_recipe_check(&recipe, &diag), -EINVAL);
	EXPECT_EQ(diag.reason, VHDX_REASON_ARGUMENT);
	EXPECT_HAS(diag.text, part);
	ask();
}

CASE(what_is_refused)
{
	ask();
	recipe.geo.disk_size = 0;
	expect_bad("a size of 0 bytes");
	recipe.geo.disk_size = 64 * TIB + 512;
	expect_bad("at most 64 TiB");
	recipe.geo.disk_size = 64 * MIB + 511;
	expect_bad("a multiple of the logical sector size 512");
	recipe.geo.logical_sector_size = 4096;
	recipe.geo.disk_size = 64 * MIB + 512;
	expect_bad("a multiple of the logical sector size 4096");
	recipe.geo.logical_sector_size = 1024;
	expect_bad("a logical sector size of 1024");
	recipe.geo.physical_sector_size = 0;
	expect_bad("a physical sector size of 0");
	recipe.geo.block_size = 3 * MIB;
	expect_bad("a block size of 3145728");
	recipe.geo.block_size = 512 * MIB;
	expect_bad("a block size of 536870912");
	recipe.geo.block_size = 512 * KIB;
	expect_bad("a block size of 524288");
	recipe.header.log_length = 0;
	expect_bad("a log of 0 bytes");
	recipe.header.log_length = 1 * MIB + 4096;
	expect_bad("a log of 1052672 bytes");
	recipe.header.log_length = 1025 * MIB;
	expect_bad("from 1 MiB to 1 GiB");
}

/* Whatever can't be written: it is said, and no identifier is there. */
CASE(failing_writes)
{
	static const u64 places[] = { 64 * KIB, 192 * KIB, 256 * KIB, 2 * MIB, 3 * MIB };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		ask();
		recipe.geo.fixed = true;
		ASSERT_EQ(vhdx_recipe_check(&recipe, &diag), 0);
		memory_store_open(&made, recipe.size);
		made.fail_at = places[i];
		made.error = -ENOSPC;
		EXPECT_EQ(vhdx_recipe_write(&recipe, &made.store, &diag), -ENOSPC);
		EXPECT_HAS(diag.text, "failed (error 28)");
		made.fail_at = ~0ULL;
		EXPECT_EQ(vhdx_image_open(&image, &made.store, NULL), -EMEDIUMTYPE);
		done();
	}
}

static struct vhdx_placing placing;

static void begin_placing(u64 limit)
{
	ask();
	/* A BAT of three MiB, each with 131072 entries. */
	recipe.geo.disk_size = 300 * GIB;
	recipe.geo.block_size = 1 * MIB;
	ASSERT_EQ(vhdx_recipe_check(&recipe, &diag), 0);
	ASSERT_EQ(recipe.bat_length, 3 * MIB);
	memory_store_open(&made, recipe.size);
	ASSERT_EQ(vhdx_placing_init(&placing, &recipe, &made.store, limit, &diag), 0);
}

static void end_placing(void)
{
	vhdx_placing_release(&placing);
	memory_store_close(&made);
}

static u64 entry_at(u64 block)
{
	__le64 raw;

	memcpy(&raw, made.bytes + recipe.geo.bat_offset + 8 * vhdx_bat_index(&recipe.geo, block),
	       sizeof(raw));
	return le64_to_cpu(raw);
}

/* One behind the other in the container, wherever they are on the disk; no other has an entry. */
CASE(blocks_are_placed)
{
	/* Both sides of where a part of the BAT ends; or none of a part. */
	static const u64 blocks[][6] = {
		{ 0, 1, 131007, 131040, 131072, 307199 },
		{ 5, 4095, 4096, 262143, 262144, 307198 },
		{ 262000, 262079, 262080, 262081, 300000, 307199 },
	};
	u64 offset, index, used;
	unsigned int i, k;

	for (i = 0; i < ARRAY_SIZE(blocks); i++) {
		begin_placing(~0ULL);
		for (k = 0; k < 6; k++) {
			ASSERT_EQ(vhdx_place(&placing, blocks[i][k], &offset, &diag), 0);
			EXPECT_EQ(offset, recipe.blocks_offset + k * MIB);
		}
		EXPECT_EQ(vhdx_placing_finish(&placing, &diag), 0);
		EXPECT_EQ(placing.end, recipe.blocks_offset + 6 * MIB);
		for (k = 0; k < 6; k++)
			EXPECT_EQ(entry_at(blocks[i][k]), (recipe.blocks_offset + k * MIB) | 6);
		for (index = 0, used = 0; index < 3 * MIB / 8; index++)
			used += !!memchr_inv(made.bytes + recipe.geo.bat_offset + 8 * index, 0, 8);
		EXPECT_EQ(used, 6);
		end_placing();
	}
}

CASE(no_place_is_left)
{
	u64 offset;

	begin_placing(~0ULL);
	placing.limit = recipe.blocks_offset + 2 * MIB - 512;
	EXPECT_EQ(vhdx_place(&placing, 7, &offset, &diag), 0);
	EXPECT_EQ(vhdx_place(&placing, 9, &offset, &diag), -ENOSPC);
	EXPECT_EQ(diag.reason, VHDX_REASON_HOST_FULL);
	end_placing();
}

CASE(failing_writes_of_places)
{
	u64 offset;

	begin_placing(~0ULL);
	made.fail_at = recipe.geo.bat_offset;
	made.error = -ENOSPC;
	EXPECT_EQ(vhdx_place(&placing, 0, &offset, &diag), 0);
	EXPECT_EQ(vhdx_place(&placing, 200000, &offset, &diag), -ENOSPC);
	EXPECT_HAS(diag.text, "writing the BAT at");
	EXPECT_EQ(vhdx_placing_finish(&placing, &diag), -ENOSPC);
	end_placing();
}

SUITE("create")
