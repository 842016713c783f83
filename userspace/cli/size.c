// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sizes as people write and read them.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "cli.h"

static const char suffixes[] = "KMGTPE";

/* "" is 1, "K" and "KiB" 1024, "KB" 1000. 0: no such suffix. */
static uint64_t factor_of(const char *suffix)
{
	unsigned int base = 1024;
	uint64_t factor = 1;
	const char *found;
	const char *power;

	if (!*suffix || !strcasecmp(suffix, "B"))
		return 1;
	found = strchr(suffixes, toupper((unsigned char)*suffix));
	if (!found)
		return 0;
	if (!strcasecmp(suffix + 1, "B"))
		base = 1000;
	else if (suffix[1] && strcasecmp(suffix + 1, "iB") != 0)
		return 0;
	for (power = suffixes; power <= found; power++)
		factor *= base;
	return factor;
}

int parse_size(const char *text, uint64_t *size)
{
	const size_t digits = strspn(text, "0123456789");
	const uint64_t factor = factor_of(text + digits);
	uint64_t number;

	if (!digits || !factor)
		return -EINVAL;
	errno = 0;
	number = strtoull(text, NULL, 10);
	if (errno || __builtin_mul_overflow(number, factor, size))
		return -EINVAL;
	return 0;
}

static bool for_people(void)
{
	return !output.bytes && !output.json && isatty(STDOUT_FILENO);
}

const char *size_text(uint64_t size, char text[SIZE_TEXT])
{
	uint64_t unit = 1;
	int power = -1;

	while (size / unit >= 1024 && suffixes[power + 1]) {
		unit *= 1024;
		power++;
	}
	if (power < 0 || !for_people())
		snprintf(text, SIZE_TEXT, "%" PRIu64, size);
	else if (size % unit)
		snprintf(text, SIZE_TEXT, "%.1f%c", (double)size / unit, suffixes[power]);
	else
		snprintf(text, SIZE_TEXT, "%" PRIu64 "%c", size / unit, suffixes[power]);
	return text;
}

int check_unit(uint64_t unit)
{
	if (unit >= VHDX_UNIT_MIN && unit <= VHDX_UNIT_MAX && !(unit & (unit - 1)))
		return 0;
	return usage_error("--unit: %" PRIu64 " is not a power of two between 4K and 1M", unit);
}
