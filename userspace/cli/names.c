// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "cli.h"

struct output output;

const char *tracking_name(unsigned int state)
{
	switch (state) {
	case VHDX_TRACKING_ON:
		return "on";
	case VHDX_TRACKING_DISABLED:
		return "disabled";
	default:
		return "off";
	}
}

const char *kind_name(unsigned int kind)
{
	return kind == VHDX_POINT_SNAPSHOT ? "snapshot" : "reference";
}

const char *text_or_null(const char *text)
{
	return *text ? text : NULL;
}

const char *reason_or_null(unsigned int reason)
{
	return reason == VHDX_REASON_NONE ? NULL : vhdx_reason_name(reason);
}

bool points_are_known(const struct vhdx_tracking_state *state)
{
	return state->state != VHDX_TRACKING_OFF || !state->gap_reason ||
	       state->gap_reason == VHDX_REASON_DISABLED;
}

const char *time_text(uint64_t time_ns, char text[TIME_TEXT])
{
	const time_t seconds = time_ns / 1000000000;
	const unsigned int rest = time_ns % 1000000000;
	struct tm tm;
	size_t length;

	gmtime_r(&seconds, &tm);
	length = strftime(text, TIME_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + length, TIME_TEXT - length, ".%09uZ", rest);
	return text;
}
