// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "core/utf8.h"
#include "core/vhdx/private.h"
#include "locator_write.h"

#define ENTRY_COUNT	5
#define BRACED_GUID	(VHDX_GUID_TEXT + 2)

/* The text grows behind the entries. */
struct writing {
	struct vhdx_ondisk_locator *locator;
	u32 capacity;
	u32 end;
	struct vhdx_diag *diag;
};

static bool put_unit(struct writing *w, u32 unit)
{
	u8 *at = (u8 *)w->locator + w->end;

	if (w->capacity - w->end < 2)
		return false;
	at[0] = unit;
	at[1] = unit >> 8;
	w->end += 2;
	return true;
}

/* Returns the length in bytes that @text has in UTF-16, or -EINVAL. */
static int put_text(struct writing *w, const char *text)
{
	const u32 start = w->end;
	size_t rest = strlen(text);
	u32 character;
	size_t bytes;
	bool fits;

	for (; rest; text += bytes, rest -= bytes) {
		bytes = vhdx_utf8_decode((const u8 *)text, rest, &character);
		if (!bytes)
			return vhdx_bad_argument(w->diag, "a path to the parent that is no UTF-8, which a parent locator can't have");
		if (character < 0x10000)
			fits = put_unit(w, character);
		else
			fits = put_unit(w, 0xd800 + ((character - 0x10000) >> 10)) &&
			       put_unit(w, 0xdc00 + ((character - 0x10000) & 0x3ff));
		if (!fits || w->end - start > U16_MAX)
			return vhdx_bad_argument(w->diag, "a path to the parent that is too long for a parent locator");
	}
	return w->end - start;
}

static int put_entry(struct writing *w, u32 index, const char *key, const char *value)
{
	struct vhdx_ondisk_locator_entry *entry = &w->locator->entries[index];
	int length;

	entry->key_offset = cpu_to_le32(w->end);
	length = put_text(w, key);
	if (length < 0)
		return length;
	entry->key_length = cpu_to_le16(length);
	entry->value_offset = cpu_to_le32(w->end);
	length = put_text(w, value);
	if (length < 0)
		return length;
	entry->value_length = cpu_to_le16(length);
	return 0;
}

static void brace(const vhdx_guid *guid, char text[BRACED_GUID])
{
	char plain[VHDX_GUID_TEXT];

	vhdx_guid_format(guid, plain);
	snprintf(text, BRACED_GUID, "{%s}", plain);
}

int vhdx_locator_write(const struct vhdx_locator_text *text, void *buf, u32 capacity,
		       u32 *length, struct vhdx_diag *diag)
{
	static const vhdx_guid type = VHDX_LOCATOR_TYPE_VHDX;
	static const vhdx_guid none;
	struct writing w = { .locator = buf, .capacity = capacity, .diag = diag };
	char linkage[BRACED_GUID];
	char linkage2[BRACED_GUID];
	const char *const pairs[ENTRY_COUNT][2] = {
		{ "parent_linkage", linkage },
		{ "absolute_win32_path", text->absolute },
		{ "relative_path", text->relative },
		{ "volume_path", text->volume },
		{ "parent_linkage2", linkage2 },
	};
	int err = 0;
	u32 i;

	brace(&text->linkage, linkage);
	brace(&none, linkage2);
	w.end = sizeof(*w.locator) + ENTRY_COUNT * sizeof(w.locator->entries[0]);
	if (w.end > capacity)
		return vhdx_bad_argument(diag, "no room for a parent locator");
	w.locator->type = type;
	w.locator->entry_count = cpu_to_le16(ENTRY_COUNT);
	for (i = 0; i < ENTRY_COUNT && !err; i++)
		err = put_entry(&w, i, pairs[i][0], pairs[i][1]);
	*length = w.end;
	return err;
}
