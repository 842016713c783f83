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

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
	return b ? common_divisor(b, a % b) : a;
}

/* The digits behind a point, in parts of @factor: whole bytes, or it is no size. */
static int parse_fraction(const char *digits, size_t count, uint64_t factor, uint64_t *part)
{
	uint64_t scale = 1;
	uint64_t common;
	size_t i;

	if (!count || count > 18)
		return -EINVAL;
	for (i = 0; i < count; i++)
		scale *= 10;
	common = common_divisor(factor, scale);
	*part = strtoull(digits, NULL, 10);
	if (*part % (scale / common))
		return -EINVAL;
	*part = *part / (scale / common) * (factor / common);
	return 0;
}

int parse_size(const char *text, uint64_t *size)
{
	const char *const decimal = "0123456789";
	const size_t digits = strspn(text, decimal);
	const bool has_point = text[digits] == '.';
	const char *fraction = text + digits + has_point;
	const size_t more = has_point ? strspn(fraction, decimal) : 0;
	const uint64_t factor = factor_of(fraction + more);
	uint64_t part = 0;
	uint64_t number;

	if (!digits || !factor || (has_point && parse_fraction(fraction, more, factor, &part)))
		return -EINVAL;
	errno = 0;
	number = strtoull(text, NULL, 10);
	if (errno || __builtin_mul_overflow(number, factor, size) ||
	    __builtin_add_overflow(*size, part, size))
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

const char *offset_text(uint64_t offset, char text[SIZE_TEXT])
{
	snprintf(text, SIZE_TEXT, "%" PRIu64, offset);
	return text;
}

int check_unit(uint64_t unit)
{
	if (unit >= VHDX_UNIT_MIN && unit <= VHDX_UNIT_MAX && !(unit & (unit - 1)))
		return 0;
	return usage_error("--unit: %" PRIu64 " is not a power of two between 4K and 1M", unit);
}
