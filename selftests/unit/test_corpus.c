// SPDX-License-Identifier: GPL-2.0-only
/* Files that other programs wrote: in $VHDX_CORPUS, or beside this tree. */
#include <unistd.h>

#include "judge.h"
#include "core/vhdx/overlay.h"
#include "core/vhdx/space.h"

static struct memory_store container;

/* Unpack a file of the corpus into @container; false where it is not there. */
static bool unpack(const char *name)
{
	const char *corpus = getenv("VHDX_CORPUS");
	char path[PATH_MAX];
	char command[PATH_MAX + 32];
	const char *ending;
	FILE *pipe;
	size_t got;

	snprintf(path, sizeof(path), "%s/%s", corpus ? corpus : TOP "/../shared/corpus", name);
	pipe = fopen(path, "r");
	if (!pipe)
		return false;
	fclose(pipe);
	ending = strrchr(name, '.');
	snprintf(command, sizeof(command), "%s '%s'", !strcmp(ending, ".xz") ? "xz -dc" :
		 !strcmp(ending, ".gz") ? "gzip -dc" : "cat", path);
	pipe = popen(command, "r");
	assert(pipe);
	memory_store_open(&container, 0);
	do {
		u64 end = container.length;

		memory_store_resize(&container, end + MIB);
		got = fread(container.bytes + end, 1, MIB, pipe);
		memory_store_resize(&container, end + got);
	} while (got);
	if (!EXPECT_EQ(pclose(pipe), 0))
		return false;
	return true;
}

static int attach(void)
{
	int err;

	memset(&diag, 0, sizeof(diag));
	err = vhdx_image_open(&image, &container.store, &diag);
	if (!err)
		err = vhdx_image_load(&image, &container.store, &diag);
	return err;
}

static void detach(void)
{
	EXPECT_EQ(container.bytes_written, 0);
	vhdx_image_release(&image);
	memory_store_close(&container);
}

static struct vhdx_bat_entry entry_of(u64 index)
{
	__le64 raw;

	memcpy(&raw, container.bytes + vhdx_bat_entry_offset(&image.geo, index), sizeof(raw));
	return vhdx_bat_decode(le64_to_cpu(raw));
}

/* The scan before the first allocation finds nothing wrong. */
static void expect_sound_bat(u64 end)
{
	struct vhdx_space space;
	u8 *page = vhdx_alloc(VHDX_PAGE);
	u64 index;

	ASSERT_EQ(vhdx_space_init(&space, &image, container.length, &diag), 0);
	for (index = 0; index < image.geo.bat_entry_count; index += 512) {
		EXPECT_EQ(container.store.read(&container.store,
					       vhdx_bat_entry_offset(&image.geo, index), page,
					       VHDX_PAGE), 0);
		if (!EXPECT_EQ(vhdx_space_add_page(&space, &image, index, page, container.length,
						   &diag), 0))
			printf("# %s\n", diag.text);
	}
	EXPECT_EQ(space.end, end);
	vhdx_space_release(&space);
	vhdx_free(page);
}

/* The virtual disk as sha256sum sees it. */
static void expect_content(const char *sha256)
{
	char path[] = "/tmp/vhdx-content-XXXXXX";
	char command[128];
	char sum[65] = "";
	FILE *content = fdopen(mkstemp(path), "w");
	FILE *pipe;
	u64 block;

	for (block = 0; block < image.geo.block_count; block++) {
		struct vhdx_bat_entry entry = entry_of(vhdx_bat_index(&image.geo, block));
		u64 left = image.geo.disk_size - block * image.geo.block_size;
		size_t length = min_t(u64, left, image.geo.block_size);
		u8 *zeroes = calloc(1, length);

		fwrite(vhdx_bat_is_allocated(entry) ? container.bytes + entry.offset : zeroes, 1,
		       length, content);
		free(zeroes);
	}
	fclose(content);
	snprintf(command, sizeof(command), "sha256sum < %s", path);
	pipe = popen(command, "r");
	EXPECT(pipe && fread(sum, 1, 64, pipe) == 64);
	pclose(pipe);
	unlink(path);
	EXPECT_STREQ(sum, sha256);
}

CASE(ext2_by_qemu)
{
	if (!unpack("ext2.vhdx.xz"))
		SKIP("no corpus");
	ASSERT_EQ(attach(), 0);
	EXPECT_EQ(image.geo.disk_size, 4 * MIB);
	EXPECT_EQ(image.geo.block_size, 8 * MIB);
	EXPECT_EQ(image.geo.bat_entry_count, 1);
	EXPECT(!image.geo.has_parent && !image.geo.fixed && !image.log.dirty);
	/* What QEMU left behind the last entry. */
	EXPECT_EQ(entry_of(1).state, VHDX_BLOCK_ZERO);
	expect_sound_bat(container.length);
	expect_content("a6c2f0e39afe6c6ab432ca5465349fcefe8dc944398e97b2d957d3f89dbb5d80");
	detach();
}

CASE(fixed_by_windows)
{
	if (!unpack("fat-parent.vhdx.xz"))
		SKIP("no corpus");
	ASSERT_EQ(attach(), 0);
	EXPECT_EQ(image.geo.disk_size, 4 * MIB);
	EXPECT_EQ(image.geo.block_size, 2 * MIB);
	EXPECT_EQ(image.geo.logical_sector_size, 512);
	EXPECT_EQ(image.geo.physical_sector_size, 4096);
	EXPECT(image.geo.fixed && !image.geo.has_parent);
	expect_sound_bat(container.length);
	expect_content("2d1954fec68faefe81dd3687282a9b387bf8417f6d2cf0da3825fa1445b64cfb");
	detach();
}

CASE(differencing_by_windows)
{
	vhdx_guid parent_id;

	if (!unpack("fat-parent.vhdx.xz"))
		SKIP("no corpus");
	ASSERT_EQ(attach(), 0);
	parent_id = image.geo.disk_id;
	detach();

	ASSERT(unpack("fat-differential.vhdx.xz"));
	ASSERT_EQ(attach(), 0);
	EXPECT(image.geo.has_parent);
	EXPECT_EQ(image.geo.bat_entry_count, 2049);
	EXPECT(vhdx_guid_equal(&image.geo.disk_id, &parent_id));
	EXPECT_EQ(entry_of(0).state, VHDX_BLOCK_PARTIALLY_PRESENT);
	EXPECT(vhdx_bat_index_is_bitmap(&image.geo, 2048));
	EXPECT_EQ(entry_of(2048).state, VHDX_BLOCK_FULLY_PRESENT);
	expect_sound_bat(container.length);
	detach();
}

CASE(dynamic_by_hyper_v)
{
	if (!unpack("swap.vhdx.gz"))
		SKIP("no corpus");
	ASSERT_EQ(attach(), 0);
	EXPECT_EQ(image.geo.disk_size, 10 * GIB);
	EXPECT_EQ(image.geo.block_size, 32 * MIB);
	EXPECT_EQ(image.geo.chunk_ratio, 128);
	EXPECT_EQ(image.geo.block_count, 320);
	EXPECT_EQ(image.geo.bat_entry_count, 322);
	expect_sound_bat(container.length);
	detach();
}

CASE(vhd_set_is_not_a_vhdx)
{
	if (!unpack("rsvd.vhds"))
		SKIP("no corpus");
	EXPECT_EQ(attach(), -EMEDIUMTYPE);
	EXPECT_EQ(diag.reason, VHDX_REASON_BAD_TYPE);
	detach();
}

/* The old log of a real file, taken for a dirty one: its entries are well-formed. */
CASE(stale_log_by_windows)
{
	struct vhdx_header header;
	struct vhdx_log_scan scan;
	u32 found = 0;
	u32 position;

	if (!unpack("fat-parent.vhdx.xz"))
		SKIP("no corpus");
	ASSERT_EQ(attach(), 0);
	header = image.header;
	for (position = 0; position < header.log_length; position += VHDX_PAGE) {
		const u8 *entry = container.bytes + header.log_offset + position;

		if (memcmp(entry, "loge", 4))
			continue;
		found++;
		memcpy(&header.log_guid, entry + 32, sizeof(header.log_guid));
		memset(&diag, 0, sizeof(diag));
		if (!EXPECT_EQ(vhdx_log_scan(&container.store, &header, &scan, &diag), 0))
			printf("# %s\n", diag.text);
	}
	EXPECT(found >= 2);
	detach();
}

SUITE("corpus")
