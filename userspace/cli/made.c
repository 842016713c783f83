// SPDX-License-Identifier: GPL-2.0-only
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "json.h"
#include "made.h"

int take_size(const char *option, uint64_t size, uint32_t *field)
{
	if (size > UINT32_MAX)
		return usage_error("--%s: %" PRIu64 " is too large", option, size);
	*field = size;
	return 0;
}

/* It was made, and not everything is as one would wish; to be freed, or NULL. */
static char *take_warning(void)
{
	if (!*vhdx_error_message())
		return NULL;
	complain("warning: %s", vhdx_error_message());
	return strdup(vhdx_error_message());
}

/* @info: NULL where it is no VHDX. */
static int print_made(const char *path, const char *type, uint64_t size,
		      const struct vhdx_info *info, const char *warning)
{
	struct json_object *reply = json_reply();

	json_text(reply, "container", path);
	json_text(reply, "type", type);
	if (info) {
		json_uuid(reply, "virtual_disk_id", info->virtual_disk_id);
		json_uuid(reply, "data_write_guid", info->data_write_guid);
	} else {
		json_text(reply, "virtual_disk_id", NULL);
		json_text(reply, "data_write_guid", NULL);
	}
	json_bytes(reply, "size", size);
	if (info)
		json_bytes(reply, "block_size", info->block_size);
	else
		json_text(reply, "block_size", NULL);
	json_text(reply, "warning", warning);
	return json_finish(reply);
}

static int print_vhdx(const char *path, const char *type, const char *warning)
{
	struct vhdx_info info = { .size = sizeof(info) };
	struct vhdx_disk *disk;
	int err;

	err = vhdx_disk_open(path, NULL, 0, &disk);
	if (err)
		return report(err);
	err = vhdx_disk_get_info(disk, &info);
	vhdx_disk_close(disk);
	if (err)
		return report(err);
	return print_made(path, type, info.virtual_disk_size, &info, warning);
}

int report_made_vhdx(const char *path, const char *type)
{
	char *warning = take_warning();
	int code = output.json ? print_vhdx(path, type, warning) : EXIT_DONE;

	free(warning);
	return code;
}

int report_made_raw(const char *path, uint64_t size)
{
	char *warning = take_warning();
	int code = output.json ? print_made(path, "raw", size, NULL, warning) : EXIT_DONE;

	free(warning);
	return code;
}
