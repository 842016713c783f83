// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "csi.h"
#include "json.h"
#include "ranges.h"

struct range_format range_format;

int ranges_keep(void *context, const struct vhdx_range *range)
{
	struct ranges *ranges = context;
	struct vhdx_range *longer;

	if (ranges->count == ranges->capacity) {
		ranges->capacity = ranges->capacity ? 2 * ranges->capacity : 1024;
		longer = reallocarray(ranges->list, ranges->capacity, sizeof(*longer));
		if (!longer)
			return ENOMEM;
		ranges->list = longer;
	}
	ranges->list[ranges->count++] = (struct vhdx_range) {
		.byte_offset = range->byte_offset,
		.byte_length = range->byte_length,
		.flags = ranges->flagged ? range->flags : 0,
	};
	return 0;
}

void ranges_release(struct ranges *ranges)
{
	free(ranges->list);
}

/* Add to @left what of @range is in none of @others, from the @next one on. */
static int keep_rest(struct ranges *left, const struct vhdx_range *range,
		     const struct ranges *others, size_t *next)
{
	const uint64_t end = end_of_range(range);
	struct vhdx_range part = *range;
	uint64_t until;
	int err = 0;

	while (part.byte_offset < end && !err) {
		while (*next < others->count &&
		       end_of_range(&others->list[*next]) <= part.byte_offset)
			(*next)++;
		until = *next < others->count ? others->list[*next].byte_offset : end;
		if (until > end)
			until = end;
		if (until > part.byte_offset) {
			part.byte_length = until - part.byte_offset;
			err = ranges_keep(left, &part);
		}
		part.byte_offset = until == end ? end : end_of_range(&others->list[*next]);
	}
	return err;
}

int ranges_subtract(struct ranges *ranges, const struct ranges *others)
{
	struct ranges left = { .flagged = ranges->flagged };
	size_t next = 0;
	size_t i;
	int err = 0;

	for (i = 0; i < ranges->count && !err; i++)
		err = keep_rest(&left, &ranges->list[i], others, &next);
	ranges_release(ranges);
	*ranges = left;
	return err;
}

int take_range_format(void)
{
	const char *name = range_format.name;

	range_format.csi = name && !strcmp(name, "csi");
	if (name && !range_format.csi && strcmp(name, "json") != 0)
		return usage_error("--format: \"%s\" is neither json nor csi", name);
	if (range_format.csi && output.json)
		return usage_error("--format csi and --json exclude each other");
	if (range_format.max_results && !range_format.csi)
		return usage_error("--max-results is for --format csi");
	if (range_format.csi && output.columns)
		return usage_error("--output and --format csi exclude each other: it has no columns");
	output.json = output.json || (name && !range_format.csi);
	return 0;
}

enum { OFFSET, LENGTH, ZERO, COLUMN_COUNT };

int print_ranges(const struct ranges *ranges, bool zeroes)
{
	const struct column columns[COLUMN_COUNT] = {
		[OFFSET] = { "OFFSET", .right = true },
		[LENGTH] = { "LENGTH", .right = true },
		[ZERO] = { "ZERO", .hidden = !zeroes },
	};
	struct table *table = table_new(columns, COLUMN_COUNT);
	const char *cells[COLUMN_COUNT];
	char offset[SIZE_TEXT];
	char length[SIZE_TEXT];
	size_t i;

	if (!table)
		return EXIT_USAGE;
	for (i = 0; i < ranges->count; i++) {
		cells[OFFSET] = offset_text(ranges->list[i].byte_offset, offset);
		cells[LENGTH] = size_text(ranges->list[i].byte_length, length);
		cells[ZERO] = ranges->list[i].flags & VHDX_RANGE_ZERO ? "yes" : "no";
		table_row(table, cells);
	}
	return table_finish(table);
}

int json_ranges(struct json_object *reply, const struct ranges *ranges)
{
	size_t i;

	json_begin_long_list(reply, "ranges");
	for (i = 0; i < ranges->count; i++)
		printf("%s{\"offset\":%llu,\"length\":%llu,\"zero\":%s}", i ? "," : "",
		       ranges->list[i].byte_offset, ranges->list[i].byte_length,
		       ranges->list[i].flags & VHDX_RANGE_ZERO ? "true" : "false");
	return json_end_long_list();
}

static bool is_beyond(const struct extent *extent)
{
	return extent->disk_size &&
	       (extent->offset > extent->disk_size ||
		(extent->length != VHDX_TO_END &&
		 extent->length > extent->disk_size - extent->offset));
}

int report_ranges(int err, const char *name, const struct extent *extent, bool history)
{
	if (range_format.csi)
		return csi_report(err == PROGRESS_ENDED ? -EINTR : err, is_beyond(extent));
	if (err == PROGRESS_ENDED)
		return progress_report_end(name, "nothing was told");
	return history ? report_history(err) : report(err);
}
