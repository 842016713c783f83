/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ranges of a disk, and the ways to print them.
 */
#ifndef VHDXCTL_RANGES_H
#define VHDXCTL_RANGES_H

#include "cli.h"
#include "progress.h"

/**
 * struct ranges - ascending
 * @flagged:	what is shown has flags: a whole struct vhdx_range
 */
struct ranges {
	struct vhdx_range *list;
	size_t count;
	size_t capacity;
	bool flagged;
};

/* A vhdx_range_fn: @context is a struct ranges. 0 or ENOMEM. */
int ranges_keep(void *context, const struct vhdx_range *range);
void ranges_release(struct ranges *ranges);
static inline uint64_t end_of_range(const struct vhdx_range *range)
{
	return range->byte_offset + range->byte_length;
}

/* Leave of @ranges what is in none of @others. 0 or ENOMEM. */
int ranges_subtract(struct ranges *ranges, const struct ranges *others);

/**
 * struct range_format - how they are wanted
 * @name:	what the user calls it; NULL: he does not
 * @max_results: ranges in a message; 0: as many as suit
 * @csi:	as a Kubernetes SnapshotMetadata service has them, see csi.h
 */
struct range_format {
	const char *name;
	int max_results;
	bool csi;
};

extern struct range_format range_format;

#define RANGE_FORMAT_OPTIONS \
	{ "format", "FORMAT", "json, or csi: messages of Kubernetes' SnapshotMetadata", \
	  OPTION_TEXT, &range_format.name }, \
	{ "max-results", "N", "with --format csi: at most so many ranges a message", \
	  OPTION_NUMBER, &range_format.max_results }

/* Once all options are known: 0 or EXIT_USAGE. */
int take_range_format(void);

/* @zeroes: show which read as zeroes, too. Returns an exit code. */
int print_ranges(const struct ranges *ranges, bool zeroes);
/* The last key of @reply, which is freed. Returns an exit code. */
int json_ranges(struct json_object *reply, const struct ranges *ranges);

/**
 * struct extent - a part of a disk that was asked about
 * @disk_size:	0: no disk answered
 */
struct extent {
	uint64_t offset;
	uint64_t length;
	uint64_t disk_size;
};

/*
 * The question about @extent of disk @name failed with @err, or was ended by the user: say so as
 * the output is wanted. @history: the answer hangs on it. Returns an exit code.
 */
int report_ranges(int err, const char *name, const struct extent *extent, bool history);

#endif
