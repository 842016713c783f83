// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which file of a chain has which sector: every sector of chains of three layers, whose BATs and
 * bitmaps are left to chance, is looked up by hand.
 */
#include "ktap.h"
#include "core/offline/content.h"
#include "random.h"
#include "test_image.h"

#define LAYERS		3
#define DISK		(64 * MIB)	/* blocks of 1 MiB, as test_image_make() has them */
#define SECTOR		512
#define BITMAP_ENTRY	(IMAGE_BAT + 8 * 4096)
#define BITMAP		IMAGE_BLOCKS
#define CONTAINER	(16 * MIB)

static struct test_image files[LAYERS];
static struct vhdx_image images[LAYERS];
static struct vhdx_content content;
static struct vhdx_diag diag;

static void make_layer(unsigned int number)
{
	static const char *const pairs[] = {
		"parent_linkage", "{" GUID_DATA "}", "relative_path", ".\\parent.vhdx", NULL
	};
	static const u64 states[] = { 0, 0, 1, 2, 3, 6, 7, 7 };
	const bool has_parent = number < LAYERS - 1;
	struct test_image *file = &files[number];
	u32 i;

	test_image_make(file);
	memory_store_resize(&file->memory, CONTAINER);
	for (i = 0; i < 64; i++) {
		u64 state = states[random_below(has_parent ? 8 : 6)];
		u64 at = state < 6 ? 0 : (5 + random_below(10)) * MIB;

		put64(file, IMAGE_BAT + 8 * i, at | state);
	}
	if (!has_parent)
		return;
	put_locator(file, pairs);
	put64(file, BITMAP_ENTRY, BITMAP | 6);
	/* Long runs and short ones. */
	for (i = 0; i < DISK / SECTOR / 64; i++)
		put64(file, BITMAP + 8 * i, random_below(3) ? -random_below(2) : random_next());
}

static void open_layers(void)
{
	unsigned int i;

	ASSERT_EQ(vhdx_content_init(&content, LAYERS, &diag), 0);
	for (i = 0; i < LAYERS; i++) {
		struct vhdx_store *store = &files[i].memory.store;

		ASSERT_EQ(vhdx_image_open(&images[i], store, &diag), 0);
		ASSERT_EQ(vhdx_image_load(&images[i], store, &diag), 0);
		vhdx_content_add(&content, &images[i], store);
	}
}

static void make(u64 seed)
{
	unsigned int i;

	random_seed(seed);
	memset(&diag, 0, sizeof(diag));
	for (i = 0; i < LAYERS; i++)
		make_layer(i);
	/* The base may be shorter than what was made of it. */
	put64(&files[LAYERS - 1], ITEM_AT(ITEM_SIZE), DISK - random_below(3) * 700 * SECTOR);
	open_layers();
}

static void done(void)
{
	unsigned int i;

	vhdx_content_release(&content);
	for (i = 0; i < LAYERS; i++) {
		vhdx_image_release(&images[i]);
		test_image_free(&files[i]);
	}
}

/* The layer that has a sector, and where; VHDX_NO_LAYER: it is zero. */
static u32 look_up(u64 offset, u64 *at)
{
	u64 sector = offset / SECTOR;
	u32 i;

	for (i = 0; i < LAYERS; i++) {
		u64 entry = get64(&files[i], IMAGE_BAT + 8 * (offset / MIB));
		u64 bits = get64(&files[i], BITMAP + 8 * (sector / 64));

		*at = (entry & ~(MIB - 1)) + offset % MIB;
		if (offset >= get64(&files[i], ITEM_AT(ITEM_SIZE)))
			return VHDX_NO_LAYER;
		if ((entry & 7) == 6 || ((entry & 7) == 7 && bits >> sector % 64 & 1))
			return i;
		if ((entry & 7) != 7 && (entry & 7) != 0)
			return VHDX_NO_LAYER;
	}
	return VHDX_NO_LAYER;
}

static void expect_piece(u64 offset, const struct vhdx_piece *piece)
{
	u64 end = offset + piece->length;
	u64 here;
	u64 at;

	for (here = offset; here < end; here += SECTOR) {
		ASSERT_EQ(look_up(here, &at), piece->layer);
		if (piece->layer != VHDX_NO_LAYER)
			ASSERT_EQ(at, piece->at + (here - offset));
	}
}

CASE(every_sector)
{
	struct vhdx_piece piece;
	u64 pieces = 0;
	u64 offset;
	u64 seed;

	for (seed = 1; seed <= 8; seed++) {
		make(seed);
		for (offset = 0; offset < DISK && !ktap.failed; offset += piece.length, pieces++) {
			ASSERT_EQ(vhdx_content_find(&content, offset, &piece, &diag), 0);
			ASSERT(piece.length && piece.length <= DISK - offset);
			ASSERT_EQ(piece.length % SECTOR, 0);
			expect_piece(offset, &piece);
		}
		EXPECT_EQ(offset, DISK);
		done();
	}
	EXPECT(pieces > 1000);
}

/* In any order: what is kept of the page before is not taken for another one's. */
CASE(from_anywhere)
{
	struct vhdx_piece piece;
	unsigned int i;
	u64 offset;

	make(9);
	for (i = 0; i < 3000 && !ktap.failed; i++) {
		offset = random_below(DISK / SECTOR) * SECTOR;
		ASSERT_EQ(vhdx_content_find(&content, offset, &piece, &diag), 0);
		expect_piece(offset, &piece);
	}
	done();
}

/* ---- what one layer has itself: its delta since its parent was frozen (rule V7) -------------- */

static bool layer_has(u32 layer, u64 offset)
{
	u64 entry = get64(&files[layer], IMAGE_BAT + 8 * (offset / MIB));
	u64 bits = get64(&files[layer], BITMAP + 8 * (offset / SECTOR / 64));

	if ((entry & 7) == 7)
		return bits >> offset / SECTOR % 64 & 1;
	return entry & 7;
}

static void expect_delta(u32 layer, u64 offset, u64 end)
{
	u64 to = end;
	int has = vhdx_content_has(&content, layer, offset, &to, &diag);

	ASSERT(has >= 0 && to > offset && to <= end);
	for (; offset < to; offset += SECTOR)
		ASSERT_EQ(layer_has(layer, offset), has);
}

CASE(delta_of_a_layer)
{
	u64 offset, end;
	u32 layer, i;

	make(11);
	for (layer = 0; layer < LAYERS - 1; layer++) {
		for (offset = 0; offset < DISK && !ktap.failed; offset = end) {
			end = DISK;
			EXPECT(vhdx_content_has(&content, layer, offset, &end, &diag) >= 0);
			expect_delta(layer, offset, DISK);
		}
		for (i = 0; i < 1000 && !ktap.failed; i++) {
			offset = random_below(DISK / SECTOR) * SECTOR;
			end = offset + (1 + random_below((DISK - offset) / SECTOR)) * SECTOR;
			expect_delta(layer, offset, end);
		}
	}
	done();
}

/* Whoever reads it gets an error, which is not what the parent has. */
CASE(damage_is_in_the_delta)
{
	u64 to;

	make(12);
	put64(&files[0], IMAGE_BAT, 5);
	put64(&files[0], IMAGE_BAT + 8, 0);
	to = 2 * MIB;
	EXPECT_EQ(vhdx_content_has(&content, 0, 0, &to, &diag), 1);
	EXPECT_EQ(to, MIB);
	done();
}

/* All of the first block is asked of each layer in turn. */
static void make_all_below(void)
{
	unsigned int i;

	make(10);
	for (i = 0; i < LAYERS; i++)
		put64(&files[i], IMAGE_BAT, 0);
}

static void expect_blame(u32 layer, int err, const char *part)
{
	struct vhdx_piece piece;

	memset(&diag, 0, sizeof(diag));
	EXPECT_EQ(vhdx_content_find(&content, 0, &piece, &diag), err);
	EXPECT_EQ(piece.layer, layer);
	EXPECT_HAS(diag.text, part);
	done();
}

CASE(whose_fault_it_is)
{
	make_all_below();
	put64(&files[2], IMAGE_BAT, 5);
	expect_blame(2, -EUCLEAN, "state 5 is reserved");

	make_all_below();
	put64(&files[2], IMAGE_BAT, 7 | 5 * MIB);
	expect_blame(2, -EUCLEAN, "partially present, but the disk has no parent");

	make_all_below();
	put64(&files[1], IMAGE_BAT, 6 | CONTAINER);
	expect_blame(1, -EUCLEAN, "end behind the container's end");

	make_all_below();
	put64(&files[0], IMAGE_BAT, 7 | 5 * MIB);
	put64(&files[0], BITMAP_ENTRY, 0);
	expect_blame(0, -EUCLEAN, "no sector bitmap");
}

/* A page that could not be read is read again, and its old bytes are no answer. */
CASE(failing_reads)
{
	struct vhdx_piece piece;

	make_all_below();
	files[1].memory.fail_at = IMAGE_BAT;
	files[1].memory.error = -EIO;
	expect_blame(1, -EIO, "reading the BAT");

	make_all_below();
	put64(&files[0], IMAGE_BAT, 7 | 5 * MIB);
	files[0].memory.fail_at = BITMAP;
	files[0].memory.error = -EIO;
	EXPECT_EQ(vhdx_content_find(&content, 0, &piece, &diag), -EIO);
	EXPECT_EQ(vhdx_content_find(&content, 0, &piece, &diag), -EIO);
	files[0].memory.fail_at = ~0ULL;
	EXPECT_EQ(vhdx_content_find(&content, 0, &piece, &diag), 0);
	expect_piece(0, &piece);
	done();
}

SUITE("content")
