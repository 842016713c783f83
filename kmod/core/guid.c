// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Text forms of GUIDs and of point ids; GUIDs that say what they are.
 */
#include "diag.h"
#include "guid.h"

#define GUID_LENGTH	(VHDX_GUID_TEXT - 1)

/* Which byte each pair of hex digits stands for: three fields are little endian. */
static const u8 byte_order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

static bool dash_before(unsigned int pair)
{
	return pair == 4 || pair == 6 || pair == 8 || pair == 10;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static void format_fields(const vhdx_guid *guid, char separator, char text[VHDX_GUID_TEXT])
{
	static const char digits[] = "0123456789abcdef";
	unsigned int pair;

	for (pair = 0; pair < 16; pair++) {
		u8 byte = guid->b[byte_order[pair]];

		if (dash_before(pair))
			*text++ = separator;
		*text++ = digits[byte >> 4];
		*text++ = digits[byte & 15];
	}
	*text = '\0';
}

void vhdx_guid_format(const vhdx_guid *guid, char text[VHDX_GUID_TEXT])
{
	format_fields(guid, '-', text);
}

/* Exactly GUID_LENGTH characters are consumed; a NUL among them is -EINVAL. */
static int parse_fields(vhdx_guid *guid, const char *text, char separator)
{
	unsigned int pair;
	int high, low;

	for (pair = 0; pair < 16; pair++) {
		if (dash_before(pair) && *text++ != separator)
			return -EINVAL;
		high = hex_value(*text++);
		if (high < 0)
			return -EINVAL;
		low = hex_value(*text++);
		if (low < 0)
			return -EINVAL;
		guid->b[byte_order[pair]] = high << 4 | low;
	}
	return 0;
}

int vhdx_guid_parse(vhdx_guid *guid, const char *text)
{
	vhdx_guid parsed;

	if (parse_fields(&parsed, text, '-') || text[GUID_LENGTH])
		return -EINVAL;
	*guid = parsed;
	return 0;
}

void vhdx_point_id_format(const struct vhdx_point_id *id, char text[VHDX_POINT_ID_TEXT])
{
	char guid_text[VHDX_GUID_TEXT];
	vhdx_guid guid;

	memcpy(&guid, id->guid, sizeof(guid));
	format_fields(&guid, id->kind == VHDX_POINT_WINDOWS ? ':' : '-', guid_text);
	switch (id->kind) {
	case VHDX_POINT_REFERENCE:
		snprintf(text, VHDX_POINT_ID_TEXT, "rct:%s:%016llx", guid_text, id->sequence);
		break;
	case VHDX_POINT_SNAPSHOT:
		snprintf(text, VHDX_POINT_ID_TEXT, "{%s}", guid_text);
		break;
	case VHDX_POINT_WINDOWS:
		snprintf(text, VHDX_POINT_ID_TEXT, "rctX:%s:%08llx", guid_text, id->sequence);
		break;
	default:
		text[0] = '\0';
	}
}

/* @count hex digits and the end of the text. */
static int parse_sequence(u64 *sequence, const char *text, unsigned int count)
{
	u64 value = 0;
	int digit;

	while (count--) {
		digit = hex_value(*text++);
		if (digit < 0)
			return -EINVAL;
		value = value << 4 | digit;
	}
	*sequence = value;
	return *text ? -EINVAL : 0;
}

/* "GUID:sequence", the GUID's fields kept apart by @separator. */
static int parse_numbered(struct vhdx_point_id *id, u32 kind, const char *text, char separator,
			  unsigned int digits)
{
	vhdx_guid guid;
	u64 sequence;

	if (parse_fields(&guid, text, separator) || text[GUID_LENGTH] != ':' ||
	    parse_sequence(&sequence, text + GUID_LENGTH + 1, digits))
		return -EINVAL;
	memcpy(id->guid, &guid, sizeof(guid));
	id->sequence = sequence;
	id->kind = kind;
	return 0;
}

/* A GUID, and what is behind it. */
static int parse_snapshot(struct vhdx_point_id *id, const char *text, const char *end)
{
	vhdx_guid guid;

	if (parse_fields(&guid, text, '-') || strcmp(text + GUID_LENGTH, end))
		return -EINVAL;
	memcpy(id->guid, &guid, sizeof(guid));
	id->kind = VHDX_POINT_SNAPSHOT;
	return 0;
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Without the white space around it, such as the end of the line that it was stored in. */
static int trim(char trimmed[VHDX_POINT_ID_TEXT], const char *text)
{
	size_t length;

	while (is_space(*text))
		text++;
	length = strlen(text);
	while (length && is_space(text[length - 1]))
		length--;
	if (length >= VHDX_POINT_ID_TEXT)
		return -EINVAL;
	memcpy(trimmed, text, length);
	trimmed[length] = '\0';
	return 0;
}

int vhdx_point_id_parse(struct vhdx_point_id *id, const char *text)
{
	char trimmed[VHDX_POINT_ID_TEXT];

	memset(id, 0, sizeof(*id));
	if (trim(trimmed, text))
		return -EINVAL;
	if (trimmed[0] == '{')
		return parse_snapshot(id, trimmed + 1, "}");
	if (!strncasecmp(trimmed, "rct:", 4))
		return parse_numbered(id, VHDX_POINT_REFERENCE, trimmed + 4, '-', 16);
	/* Windows: colons within the GUID, and a 32-bit sequence. */
	if (!strncasecmp(trimmed, "rctX:", 5))
		return parse_numbered(id, VHDX_POINT_WINDOWS, trimmed + 5, ':', 8);
	return parse_snapshot(id, trimmed, "");
}

/* ---- invalidation ---- */

/* Eight bytes that nothing but the eight @random ones and the disk decide. */
static void sign(const vhdx_guid *disk_id, const u8 *random, u8 *signature)
{
	u32 crc = vhdx_crc32c(vhdx_crc32c(~0U, random, 8), disk_id, sizeof(*disk_id));
	__le32 raw[2];

	raw[0] = cpu_to_le32(crc);
	crc = vhdx_crc32c(vhdx_crc32c(crc, disk_id, sizeof(*disk_id)), random, 8);
	raw[1] = cpu_to_le32(crc);
	memcpy(signature, raw, sizeof(raw));
}

void vhdx_guid_invalidate(const vhdx_guid *disk_id, const u8 random[8], vhdx_guid *guid)
{
	memcpy(guid->b, random, 8);
	sign(disk_id, random, guid->b + 8);
}

bool vhdx_guid_is_invalidation(const vhdx_guid *disk_id, const vhdx_guid *guid)
{
	u8 signature[8];

	sign(disk_id, guid->b, signature);
	return !memcmp(guid->b + 8, signature, sizeof(signature));
}
