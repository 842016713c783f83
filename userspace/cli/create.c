// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>
#include "cli.h"
#include "made.h"
#include "progress.h"

static struct {
	const char *parent;
	uint64_t size;
	const char *type;
	uint64_t block_size;
	uint64_t sector_size;
	uint64_t physical_sector_size;
	uint64_t log_size;
} wanted;

static const struct cli_option options[] = {
	{ "parent", "FILE|BLOCKDEV", "make a differencing disk of this one, and of its size",
	  OPTION_FILE, &wanted.parent },
	{ "size", "SIZE", "size of the disk", OPTION_SIZE, &wanted.size },
	{ "type", "TYPE", "dynamic (default) or fixed", OPTION_TEXT, &wanted.type },
	{ "block-size", "SIZE", "1M … 256M (default 32M; 2M if fixed or differencing)",
	  OPTION_SIZE, &wanted.block_size },
	{ "sector-size", "SIZE", "512 (default) or 4096", OPTION_SIZE, &wanted.sector_size },
	{ "physical-sector-size", "SIZE", "512 or 4096 (default)", OPTION_SIZE,
	  &wanted.physical_sector_size },
	{ "log-size", "SIZE", "size of the log (default 1M)", OPTION_SIZE, &wanted.log_size },
	JSON_OPTION,
	{ 0 }
};

static int take_type(struct vhdx_create_options *create)
{
	if (!wanted.type || !strcmp(wanted.type, "dynamic"))
		create->type = VHDX_TYPE_DYNAMIC;
	else if (!strcmp(wanted.type, "fixed"))
		create->type = VHDX_TYPE_FIXED;
	else
		return usage_error("--type: \"%s\" is neither dynamic nor fixed", wanted.type);
	return 0;
}

static int take_options(struct vhdx_create_options *create)
{
	int code;

	if (!wanted.size && !wanted.parent)
		return usage_error("create: --size SIZE is needed, or --parent");
	if (wanted.parent && (wanted.size || wanted.type || wanted.sector_size))
		return usage_error("create: --parent gives size, type and sector size: leave them out");
	create->parent = wanted.parent;
	create->disk_size = wanted.size;
	create->log_size = wanted.log_size;
	code = take_type(create);
	if (!code)
		code = take_size("block-size", wanted.block_size, &create->block_size);
	if (!code)
		code = take_size("sector-size", wanted.sector_size, &create->logical_sector_size);
	if (!code)
		code = take_size("physical-sector-size", wanted.physical_sector_size,
				 &create->physical_sector_size);
	return code;
}

static int create(int count, char **arguments)
{
	struct vhdx_create_options create = {
		.size = sizeof(create),
		.progress = progress_tell,
	};
	const char *path = arguments[0];
	int code;
	int err;

	(void)count;
	code = take_options(&create);
	if (code)
		return code;
	progress_begin("create", 0);
	err = vhdx_create(path, &create);
	progress_end();
	if (err > 0)
		return progress_report_taken_back(path);
	if (err)
		return report(err);
	if (wanted.parent)
		return report_made_vhdx(path, "differencing");
	return report_made_vhdx(path, wanted.type ? wanted.type : "dynamic");
}

const struct command create_command = {
	.name = "create",
	.summary = "Make a new VHDX; nothing is ever overwritten",
	.arguments = "FILE|BLOCKDEV",
	.minimum = 1,
	.maximum = 1,
	.options = options,
	.run = create,
};
