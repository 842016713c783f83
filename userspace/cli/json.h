/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * JSON: integers in bytes, ids as strings, absent = null.
 */
#ifndef VHDXCTL_JSON_H
#define VHDXCTL_JSON_H

#include <json-c/json.h>
#include <libvhdx.h>

/* An object that says "version": 1. */
struct json_object *json_reply(void);
/* Print on one line and free; returns an exit code. */
int json_finish(struct json_object *object);

void json_text(struct json_object *object, const char *key, const char *text);
void json_bytes(struct json_object *object, const char *key, uint64_t value);
void json_flag(struct json_object *object, const char *key, bool value);
void json_id(struct json_object *object, const char *key, const struct vhdx_point_id *id);
void json_uuid(struct json_object *object, const char *key, const uint8_t *guid);
/* Which disk, and which attachment of it; no attachment is null. */
void json_identity(struct json_object *object, const uint8_t *virtual_disk_id,
		   uint64_t disk_seq);
/* null for VHDX_REASON_NONE */
void json_reason(struct json_object *object, const char *key, unsigned int reason);
/* An empty array below @key. */
struct json_object *json_list(struct json_object *object, const char *key);

/*
 * Print @object, to which a list that may be very long is added under @key: its
 * items are printed by the caller, separated by commas. Frees the object.
 */
void json_begin_long_list(struct json_object *object, const char *key);
/* Returns an exit code. */
int json_end_long_list(void);

#endif
