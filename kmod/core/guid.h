/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * GUIDs as MS-VHDX stores them: 16 bytes, the first three fields little endian.
 * They are compared as bytes; only the text form knows the fields.
 */
#ifndef VHDX_CORE_GUID_H
#define VHDX_CORE_GUID_H

#include "platform.h"

#define VHDX_GUID_TEXT	37	/* 8-4-4-4-12 and a NUL */

typedef struct {
	u8 b[16];
} vhdx_guid;

static inline bool vhdx_guid_equal(const vhdx_guid *a, const vhdx_guid *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static inline bool vhdx_guid_is_zero(const vhdx_guid *g)
{
	static const vhdx_guid zero;

	return vhdx_guid_equal(g, &zero);
}

/* Lower case, with dashes, without braces. */
void vhdx_guid_format(const vhdx_guid *guid, char text[VHDX_GUID_TEXT]);

/* Exactly 36 characters with dashes, any case. Returns 0 or -EINVAL. */
int vhdx_guid_parse(vhdx_guid *guid, const char *text);

/**
 * vhdx_guid_invalidate() - the DataWriteGuid of a container whose sidecar failed
 * @disk_id:	VirtualDiskId of the container
 * @random:	fresh
 * @guid:	filled in
 *
 * No sidecar knows it, and an attach can tell why (rule T7).
 */
void vhdx_guid_invalidate(const vhdx_guid *disk_id, const u8 random[8], vhdx_guid *guid);
bool vhdx_guid_is_invalidation(const vhdx_guid *disk_id, const vhdx_guid *guid);

/*
 * Text forms of point ids: "rct:GUID:16 hex digits", "{GUID}" or a bare
 * GUID, and Windows' "rctX:…", which is kind WINDOWS and in no timeline. Any case,
 * with white space around it. What is written is lower case, and a GUID in braces.
 */
struct vhdx_point_id;
#define VHDX_POINT_ID_TEXT	64
void vhdx_point_id_format(const struct vhdx_point_id *id, char text[VHDX_POINT_ID_TEXT]);
int vhdx_point_id_parse(struct vhdx_point_id *id, const char *text);

#endif
