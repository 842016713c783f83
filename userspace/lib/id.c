// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Ids and GUIDs as text: the forms are those of kmod/core/guid.c.
 */
#include <core/guid.h>
#include "internal.h"

static_assert(VHDX_ID_TEXT >= VHDX_POINT_ID_TEXT, "room for an id");
static_assert(VHDX_UUID_TEXT >= VHDX_GUID_TEXT, "room for a GUID");

int vhdx_id_parse(const char *text, struct vhdx_point_id *id)
{
	int err = text ? vhdx_point_id_parse(id, text) : -EINVAL;

	if (err)
		return fail(err, VHDX_REASON_ID_MALFORMED,
			    "\"%.80s\" is not the id of a point: want rct:GUID:16 hex digits, or {GUID} (`vhdxctl points` lists them); where the id of the last backup was damaged, make a full backup",
			    text ? text : "");
	return 0;
}

void vhdx_id_format(const struct vhdx_point_id *id, char *text)
{
	vhdx_point_id_format(id, text);
}

bool vhdx_id_is_none(const struct vhdx_point_id *id)
{
	static const struct vhdx_point_id none;

	return !memcmp(id, &none, sizeof(none));
}

void vhdx_uuid_format(const uint8_t *guid, char *text)
{
	vhdx_guid g;

	memcpy(g.b, guid, sizeof(g.b));
	vhdx_guid_format(&g, text);
}
