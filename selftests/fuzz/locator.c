// SPDX-License-Identifier: GPL-2.0-only
/* Parent locators, and the paths in them. */
#include "core/utf8.h"
#include "core/vhdx/locator.h"
#include "core/vhdx/private.h"
#include "sparse.h"

/* Where the item is said to lie: neither at a sector's beginning nor at a word's. */
#define ITEM	(2 * VHDX_MIB + 64 * 1024 + 7)

static const u8 *item;
static size_t item_length;

static int read_item(struct vhdx_store *store, u64 offset, void *buf, size_t length)
{
	u8 *to = buf;

	(void)store;
	MUST(offset % 512 == 0 && length % 512 == 0 && length);
	for (size_t i = 0; i < length; i++, offset++)
		to[i] = offset < ITEM || offset - ITEM >= item_length ? 0 : item[offset - ITEM];
	return 0;
}

static void check_path(const struct vhdx_locator *locator, enum vhdx_locator_path which)
{
	const struct vhdx_extent *path = &locator->paths[which];
	struct vhdx_store store = { .read = read_item };
	struct vhdx_diag diag = { 0 };
	u32 character;
	char *text;

	MUST(!vhdx_locator_path(&store, locator, which, &text, &diag));
	MUST(!text == !path->length);
	if (!text)
		return;
	MUST(path->offset >= ITEM && path->offset + path->length <= ITEM + item_length);
	MUST(strlen(text) >= path->length / 2 && strlen(text) <= path->length / 2 * 3);
	for (const char *at = text; *at;) {
		size_t bytes = vhdx_utf8_decode((const u8 *)at, strlen(at), &character);

		MUST(bytes);
		at += bytes;
	}
	vhdx_free(text);
}

int LLVMFuzzerTestOneInput(const u8 *input, size_t length)
{
	struct vhdx_locator locator = { 0 };
	struct vhdx_diag diag = { 0 };
	void *raw = malloc(length);		/* no more: ASan watches its end */

	memcpy(raw, input, length);
	item = raw;
	item_length = length;
	if (!vhdx_locator_parse(raw, length, ITEM, &locator, &diag)) {
		MUST(!vhdx_guid_is_zero(&locator.linkage) || !vhdx_guid_is_zero(&locator.linkage2));
		for (u32 i = 0; i < VHDX_LOCATOR_PATHS; i++)
			check_path(&locator, i);
	} else {
		MUST(diag.text[0]);
	}
	free(raw);
	return 0;
}
