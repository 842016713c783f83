// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>
#include "chain.h"
#include "made.h"
#include "progress.h"

static struct {
	const char *from;
	const char *type;
	uint64_t block_size;
	uint64_t sector_size;
	uint64_t physical_sector_size;
	uint64_t log_size;
} wanted;

static const struct cli_option options[] = {
	{ "from", "FORMAT", "what the source is: vhdx (default) or raw", OPTION_TEXT,
	  &wanted.from },
	{ "type", "TYPE", "what to make: dynamic (default), fixed or raw", OPTION_TEXT,
	  &wanted.type },
	PARENT_OPTIONS,
	{ "block-size", "SIZE", "1M … 256M (default 32M; 2M if fixed)", OPTION_SIZE,
	  &wanted.block_size },
	{ "sector-size", "SIZE", "of a raw source: 512 (default) or 4096", OPTION_SIZE,
	  &wanted.sector_size },
	{ "physical-sector-size", "SIZE", "512 or 4096 (default: the source's)", OPTION_SIZE,
	  &wanted.physical_sector_size },
	{ "log-size", "SIZE", "size of the log (default 1M)", OPTION_SIZE, &wanted.log_size },
	JSON_OPTION,
	{ 0 }
};

static const char *const type_names[] = {
	[VHDX_TYPE_DYNAMIC] = "dynamic",
	[VHDX_TYPE_FIXED] = "fixed",
	[VHDX_TYPE_RAW] = "raw",
};

static int take_formats(struct vhdx_convert_options *convert)
{
	const size_t count = sizeof(type_names) / sizeof(type_names[0]);

	if (wanted.from && !strcmp(wanted.from, "raw"))
		convert->flags = VHDX_CONVERT_FROM_RAW;
	else if (wanted.from && strcmp(wanted.from, "vhdx") != 0)
		return usage_error("--from: \"%s\" is neither vhdx nor raw", wanted.from);
	while (wanted.type && convert->type < count &&
	       strcmp(wanted.type, type_names[convert->type]) != 0)
		convert->type++;
	if (convert->type == count)
		return usage_error("--type: \"%s\" is neither dynamic nor fixed nor raw",
				   wanted.type);
	return 0;
}

static int take_options(struct vhdx_convert_options *convert)
{
	int code;

	convert->parents = named_parents.parents;
	convert->path_maps = named_parents.path_maps;
	convert->log_size = wanted.log_size;
	code = check_named_parents();
	if (!code)
		code = take_formats(convert);
	if (!code)
		code = take_size("block-size", wanted.block_size, &convert->block_size);
	if (!code)
		code = take_size("sector-size", wanted.sector_size, &convert->logical_sector_size);
	if (!code)
		code = take_size("physical-sector-size", wanted.physical_sector_size,
				 &convert->physical_sector_size);
	return code;
}

/* The content comes last: then @total is the disk's size. */
static int tell(void *context, uint64_t done, uint64_t total)
{
	*(uint64_t *)context = total;
	return progress_tell(NULL, done, total);
}

static int convert(int count, char **arguments)
{
	uint64_t size = 0;
	struct vhdx_convert_options convert = {
		.size = sizeof(convert),
		.progress = tell,
		.context = &size,
	};
	const char *target = arguments[1];
	int code;
	int err;

	(void)count;
	code = take_options(&convert);
	if (code)
		return code;
	progress_begin("convert", 0);
	err = vhdx_convert(arguments[0], target, &convert);
	progress_end();
	if (err > 0)
		return progress_report_taken_back(target);
	if (err)
		return report(err);
	return convert.type == VHDX_TYPE_RAW ? report_made_raw(target, size) :
	       report_made_vhdx(target, type_names[convert.type]);
}

const struct command convert_command = {
	.name = "convert",
	.summary = "Copy a disk into a new file of another kind, its parents included",
	.arguments = "SOURCE TARGET",
	.minimum = 2,
	.maximum = 2,
	.options = options,
	.run = convert,
};
