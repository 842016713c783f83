// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <core/utf8.h>
#include "cli.h"
#include "json.h"

#define VERSION_OF_KEYS	1

struct json_object *json_reply(void)
{
	struct json_object *object = json_object_new_object();

	json_object_object_add(object, "version", json_object_new_int(VERSION_OF_KEYS));
	return object;
}

static const char *as_text(struct json_object *object)
{
	return json_object_to_json_string_ext(object, JSON_C_TO_STRING_NOSLASHESCAPE);
}

int json_finish(struct json_object *object)
{
	puts(as_text(object));
	json_object_put(object);
	return EXIT_DONE;
}

/* Paths and labels may be any bytes, JSON may not. */
static struct json_object *new_string(const char *text)
{
	static const char replacement[] = "\xef\xbf\xbd";
	struct json_object *string;
	char *clean = malloc(3 * strlen(text) + 1);
	char *out = clean;
	u32 character;
	size_t length;

	if (!clean)
		return NULL;
	while (*text) {
		length = vhdx_utf8_decode((const u8 *)text, strlen(text), &character);

		if (length) {
			out = mempcpy(out, text, length);
			text += length;
		} else {
			out = mempcpy(out, replacement, sizeof(replacement) - 1);
			text++;
		}
	}
	*out = '\0';
	string = json_object_new_string(clean);
	free(clean);
	return string;
}

void json_text(struct json_object *object, const char *key, const char *text)
{
	json_object_object_add(object, key, text ? new_string(text) : NULL);
}

void json_bytes(struct json_object *object, const char *key, uint64_t value)
{
	json_object_object_add(object, key, json_object_new_uint64(value));
}

void json_positive(struct json_object *object, const char *key, uint64_t value)
{
	if (value)
		json_bytes(object, key, value);
	else
		json_text(object, key, NULL);
}

void json_flag(struct json_object *object, const char *key, bool value)
{
	json_object_object_add(object, key, json_object_new_boolean(value));
}

void json_id(struct json_object *object, const char *key, const struct vhdx_point_id *id)
{
	char text[VHDX_ID_TEXT];

	vhdx_id_format(id, text);
	json_text(object, key, vhdx_id_is_none(id) ? NULL : text);
}

void json_uuid(struct json_object *object, const char *key, const uint8_t *guid)
{
	char text[VHDX_UUID_TEXT];

	vhdx_uuid_format(guid, text);
	json_text(object, key, text);
}

void json_disk(struct json_object *object, int index)
{
	char device[VHDX_DEVICE_NAME];

	snprintf(device, sizeof(device), "/dev/vhdx%d", index);
	if (index >= 0)
		json_bytes(object, "disk", index);
	else
		json_text(object, "disk", NULL);
	json_text(object, "device", index >= 0 ? device : NULL);
}

void json_identity(struct json_object *object, const uint8_t *virtual_disk_id,
		   uint64_t disk_seq)
{
	json_uuid(object, "virtual_disk_id", virtual_disk_id);
	json_positive(object, "disk_seq", disk_seq);
}

void json_reason(struct json_object *object, const char *key, unsigned int reason)
{
	json_text(object, key, reason_or_null(reason));
}

void json_error(struct json_object *object, int error, unsigned int reason, const char *message,
		bool full_backup_needed)
{
	struct json_object *inner = json_object_new_object();

	json_bytes(inner, "errno", error);
	json_reason(inner, "reason", reason);
	json_text(inner, "message", message);
	json_flag(inner, "full_backup_needed", full_backup_needed);
	json_object_object_add(object, "error", inner);
}

struct json_object *json_list(struct json_object *object, const char *key)
{
	struct json_object *list = json_object_new_array();

	json_object_object_add(object, key, list);
	return list;
}

void json_begin_long_list(struct json_object *object, const char *key)
{
	const char *text = as_text(object);
	const int without_brace = strlen(text) - 1;

	printf("%.*s,\"%s\":[", without_brace, text, key);
	json_object_put(object);
}

int json_end_long_list(void)
{
	puts("]}");
	return EXIT_DONE;
}
