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

/* "error": what went wrong. @error is an errno. */
void json_error(struct json_object *object, int error, unsigned int reason, const char *message,
		bool full_backup_needed);

void json_text(struct json_object *object, const char *key, const char *text);
void json_bytes(struct json_object *object, const char *key, uint64_t value);
/* null for 0 */
void json_positive(struct json_object *object, const char *key, uint64_t value);
void json_flag(struct json_object *object, const char *key, bool value);
void json_id(struct json_object *object, const char *key, const struct vhdx_point_id *id);
void json_uuid(struct json_object *object, const char *key, const uint8_t *guid);
/* Which one: "disk", its number, and "device"; both null for -1, a file that is not attached. */
void json_disk(struct json_object *object, int index);
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
