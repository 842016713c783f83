// SPDX-License-Identifier: GPL-2.0-only
/* Ids and GUIDs as text. */
#include "core/diag.h"
#include "core/guid.h"
#include "sparse.h"
#include <strings.h>

static void check_guid(const char *text)
{
	char formatted[VHDX_GUID_TEXT];
	vhdx_guid guid, again;

	if (vhdx_guid_parse(&guid, text))
		return;
	vhdx_guid_format(&guid, formatted);
	MUST(strlen(text) == strlen(formatted) && !strcasecmp(text, formatted));
	MUST(!vhdx_guid_parse(&again, formatted) && vhdx_guid_equal(&guid, &again));
}

static void check_id(const char *text)
{
	struct vhdx_point_id id, again;
	char formatted[VHDX_POINT_ID_TEXT];

	if (vhdx_point_id_parse(&id, text))
		return;
	MUST(id.kind != VHDX_POINT_NONE && id.kind <= VHDX_POINT_WINDOWS);
	vhdx_point_id_format(&id, formatted);
	MUST(!vhdx_point_id_parse(&again, formatted) && !memcmp(&id, &again, sizeof(id)));
	/* Braces and white space may differ; the digits don't. */
	MUST(strlen(text) + 2 >= strlen(formatted));
}

int LLVMFuzzerTestOneInput(const u8 *input, size_t length)
{
	char *text = malloc(length + 1);

	memcpy(text, input, length);
	text[length] = '\0';
	check_guid(text);
	check_id(text);
	free(text);
	return 0;
}
