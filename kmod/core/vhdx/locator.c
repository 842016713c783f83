// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Parent locator, MS-VHDX 2.6.2.6: pairs of a key and a value, both text.
 */
#include "locator.h"
#include "private.h"
#include "core/utf8.h"

/* As many as any writer could want, and few enough to compare each with each. */
#define ENTRIES_MAX	256U

#define GUID_IN_BRACES	(VHDX_GUID_TEXT - 1 + 2)

/* A locator under examination. */
struct locator {
	const u8 *raw;
	u32 length;
	u64 offset;
	struct vhdx_diag *diag;
};

/* A key or a value: UTF-16LE. */
struct piece {
	u32 offset;
	u16 length;
};

#define bad_locator(l, fmt, ...)	\
	vhdx_damaged((l)->diag, "parent locator at 0x%llx " fmt, (l)->offset, ##__VA_ARGS__)

static u32 entry_count(const struct locator *l)
{
	return le16_to_cpu(((const struct vhdx_ondisk_locator *)l->raw)->entry_count);
}

static const struct vhdx_ondisk_locator_entry *entry_of(const struct locator *l, u32 index)
{
	return &((const struct vhdx_ondisk_locator *)l->raw)->entries[index];
}

static struct piece key_of(const struct locator *l, u32 index)
{
	const struct vhdx_ondisk_locator_entry *entry = entry_of(l, index);

	return (struct piece){ le32_to_cpu(entry->key_offset), le16_to_cpu(entry->key_length) };
}

static struct piece value_of(const struct locator *l, u32 index)
{
	const struct vhdx_ondisk_locator_entry *entry = entry_of(l, index);

	return (struct piece){ le32_to_cpu(entry->value_offset), le16_to_cpu(entry->value_length) };
}

static int check_table(const struct locator *l)
{
	static const vhdx_guid known = VHDX_LOCATOR_TYPE_VHDX;
	const struct vhdx_ondisk_locator *ondisk = (const void *)l->raw;
	char guid[VHDX_GUID_TEXT];

	if (l->length < sizeof(*ondisk))
		return bad_locator(l, "has %u bytes, fewer than its head", l->length);
	if (!vhdx_guid_equal(&ondisk->type, &known)) {
		vhdx_guid_format(&ondisk->type, guid);
		return vhdx_unsupported(l->diag, "parent locator at 0x%llx is of type %s, which is not known here: use the program that made the container",
					l->offset, guid);
	}
	if (entry_count(l) > ENTRIES_MAX)
		return bad_locator(l, "has %u entries, at most %u are allowed", entry_count(l),
				   ENTRIES_MAX);
	if (sizeof(*ondisk) + entry_count(l) * sizeof(ondisk->entries[0]) > l->length)
		return bad_locator(l, "has %u bytes, too few for %u entries", l->length,
				   entry_count(l));
	return 0;
}

/* Text of several entries may share its bytes: nothing forbids it, and nothing comes of it. */
static int check_text(const struct locator *l, struct piece text, u32 index, const char *what)
{
	u32 behind_table = sizeof(struct vhdx_ondisk_locator) +
			   entry_count(l) * sizeof(struct vhdx_ondisk_locator_entry);
	u32 character;
	size_t bytes;
	u32 at;

	if (!text.length || text.length % 2)
		return bad_locator(l, "has in entry %u a %s of %u bytes, must be a text of 16-bit characters",
				   index, what, text.length);
	if (text.offset < behind_table || (u64)text.offset + text.length > l->length)
		return bad_locator(l, "has in entry %u a %s of %u bytes at offset 0x%x, which is not between the entries and the end at 0x%x",
				   index, what, text.length, text.offset, l->length);
	for (at = 0; at < text.length; at += bytes) {
		bytes = vhdx_utf16_decode(l->raw + text.offset + at, text.length - at, &character);
		if (!bytes || !character)
			return bad_locator(l, "has in entry %u a %s that is no UTF-16 at offset 0x%x",
					   index, what, text.offset + at);
	}
	return 0;
}

static bool same_text(const struct locator *l, struct piece one, struct piece other)
{
	return one.length == other.length &&
	       !memcmp(l->raw + one.offset, l->raw + other.offset, one.length);
}

static int check_entry(const struct locator *l, u32 index)
{
	u32 i;
	int err;

	err = check_text(l, key_of(l, index), index, "key");
	if (!err)
		err = check_text(l, value_of(l, index), index, "value");
	for (i = 0; !err && i < index; i++)
		if (same_text(l, key_of(l, i), key_of(l, index)))
			err = bad_locator(l, "has the key of entry %u again in entry %u", i, index);
	return err;
}

/* The characters of @text, if these are ASCII and exactly @count. */
static bool get_ascii(const struct locator *l, struct piece text, char *ascii, u32 count)
{
	const u8 *raw = l->raw + text.offset;
	u32 i;

	if (text.length != 2 * count)
		return false;
	for (i = 0; i < count; i++) {
		if (raw[2 * i] & 0x80 || raw[2 * i + 1])
			return false;
		ascii[i] = raw[2 * i];
	}
	return true;
}

/* Keys are compared as they are, MS-VHDX says. */
static bool is_key(const struct locator *l, struct piece text, const char *key)
{
	char ascii[32];
	u32 length = strlen(key);

	return get_ascii(l, text, ascii, length) && !memcmp(ascii, key, length);
}

/* The entry whose key is @key, or -1. */
static int find_key(const struct locator *l, const char *key)
{
	u32 i;

	for (i = 0; i < entry_count(l); i++)
		if (is_key(l, key_of(l, i), key))
			return i;
	return -1;
}

/* Lower case, MS-VHDX says; upper case can't mean another one. */
static int get_guid(const struct locator *l, const char *key, vhdx_guid *guid)
{
	char text[GUID_IN_BRACES];
	int index = find_key(l, key);

	memset(guid, 0, sizeof(*guid));
	if (index < 0)
		return 0;
	if (!get_ascii(l, value_of(l, index), text, GUID_IN_BRACES) ||
	    text[0] != '{' || text[GUID_IN_BRACES - 1] != '}')
		return bad_locator(l, "has a %s (entry %d) that is no GUID in braces", key, index);
	text[GUID_IN_BRACES - 1] = '\0';
	if (vhdx_guid_parse(guid, text + 1))
		return bad_locator(l, "has a %s (entry %d) that is no GUID in braces", key, index);
	return 0;
}

static void find_path(const struct locator *l, const char *key, struct vhdx_extent *path)
{
	int index = find_key(l, key);

	memset(path, 0, sizeof(*path));
	if (index < 0)
		return;
	path->offset = l->offset + value_of(l, index).offset;
	path->length = value_of(l, index).length;
}

int vhdx_locator_parse(const void *raw, u32 length, u64 offset, struct vhdx_locator *locator,
		       struct vhdx_diag *diag)
{
	static const char *const keys[VHDX_LOCATOR_PATHS] = {
		[VHDX_LOCATOR_RELATIVE] = "relative_path",
		[VHDX_LOCATOR_VOLUME] = "volume_path",
		[VHDX_LOCATOR_ABSOLUTE] = "absolute_win32_path",
	};
	const struct locator l = { .raw = raw, .length = length, .offset = offset, .diag = diag };
	u32 i;
	int err;

	err = check_table(&l);
	for (i = 0; !err && i < entry_count(&l); i++) {
		err = check_entry(&l, i);
		vhdx_breathe();
	}
	if (!err)
		err = get_guid(&l, "parent_linkage", &locator->linkage);
	if (!err)
		err = get_guid(&l, "parent_linkage2", &locator->linkage2);
	if (err)
		return err;
	if (vhdx_guid_is_zero(&locator->linkage) && vhdx_guid_is_zero(&locator->linkage2))
		return bad_locator(&l, "names no parent: there is no parent_linkage, or it is zero");
	for (i = 0; i < VHDX_LOCATOR_PATHS; i++)
		find_path(&l, keys[i], &locator->paths[i]);
	locator->offset = offset;
	return 0;
}

/* It was judged when it was loaded; but whose bytes it is may write them. */
static int to_utf8(const u8 *raw, u32 length, u64 offset, u8 *text, struct vhdx_diag *diag)
{
	u32 character;
	size_t bytes;

	while (length) {
		bytes = vhdx_utf16_decode(raw, length, &character);
		if (!bytes || !character)
			return vhdx_damaged(diag, "parent locator: the path at 0x%llx is no UTF-16",
					    offset);
		text += vhdx_utf8_encode(character, text);
		raw += bytes;
		length -= bytes;
	}
	*text = '\0';
	return 0;
}

int vhdx_locator_path(struct vhdx_store *store, const struct vhdx_locator *locator,
		      enum vhdx_locator_path which, char **text, struct vhdx_diag *diag)
{
	const struct vhdx_extent *path = &locator->paths[which];
	u64 start = path->offset & ~511ULL;
	size_t span = (path->offset + path->length + 511 - start) & ~511ULL;
	u8 *utf8 = NULL;
	u8 *raw = NULL;
	int err = 0;

	*text = NULL;
	if (!path->length)
		return 0;
	raw = vhdx_alloc(span);
	utf8 = vhdx_alloc(path->length / 2 * 3 + 1);
	if (!raw || !utf8)
		err = vhdx_no_memory(diag);
	if (!err)
		err = vhdx_read(store, start, raw, span, "parent locator", diag);
	if (!err)
		err = to_utf8(raw + (path->offset - start), path->length, path->offset, utf8, diag);
	vhdx_free(raw);
	if (err)
		vhdx_free(utf8);
	else
		*text = (char *)utf8;
	return err;
}

static bool is_linked(const struct vhdx_locator *locator, const vhdx_guid *parent)
{
	return !vhdx_guid_is_zero(parent) && (vhdx_guid_equal(parent, &locator->linkage) ||
					      vhdx_guid_equal(parent, &locator->linkage2));
}

static int another_parent(const struct vhdx_locator *locator, const vhdx_guid *parent,
			  struct vhdx_diag *diag)
{
	bool first = !vhdx_guid_is_zero(&locator->linkage);
	bool both = first && !vhdx_guid_is_zero(&locator->linkage2);
	char wanted[VHDX_GUID_TEXT];
	char second[VHDX_GUID_TEXT];
	char found[VHDX_GUID_TEXT];

	vhdx_guid_format(first ? &locator->linkage : &locator->linkage2, wanted);
	vhdx_guid_format(&locator->linkage2, second);
	vhdx_guid_format(parent, found);
	return vhdx_corrupt(diag, "parent locator at 0x%llx: the parent has DataWriteGuid %s, not %s%s%s: name the right file (--parent), or restore it",
			    locator->offset, found, wanted, both ? " or " : "",
			    both ? second : "");
}

int vhdx_parent_check(const struct vhdx_image *child, const struct vhdx_image *parent,
		      struct vhdx_diag *diag)
{
	const struct vhdx_locator *locator = &child->locator;

	if (!is_linked(locator, &parent->header.data_write_guid))
		return another_parent(locator, &parent->header.data_write_guid, diag);
	if (child->geo.logical_sector_size != parent->geo.logical_sector_size)
		return vhdx_corrupt(diag, "parent locator at 0x%llx: the parent has logical sectors of %u bytes, not %u",
				    locator->offset, parent->geo.logical_sector_size,
				    child->geo.logical_sector_size);
	if (child->geo.disk_size < parent->geo.disk_size)
		return vhdx_corrupt(diag, "parent locator at 0x%llx: the parent has a disk of %llu bytes, larger than the child's of %llu",
				    locator->offset, parent->geo.disk_size, child->geo.disk_size);
	return 0;
}
