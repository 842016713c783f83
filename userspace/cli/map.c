// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where on the disk the changes are: a picture of cells, each an equal share of
 * what was looked at, darker the more of it changed.
 */
#include <langinfo.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "changes.h"

#define ROWS		16
#define WIDTH_DEFAULT	64
#define WIDTH_MAX	192
#define MARGIN		16	/* the offset that each row begins with */
#define SHADES		5

/* A cell with any change at all is never drawn as one without. */
static const char *const ascii_shades[SHADES] = { ".", "-", "+", "*", "#" };
static const char *const unicode_shades[SHADES] = { "·", "░", "▒", "▓", "█" };

struct map {
	uint64_t start;
	uint64_t end;
	uint64_t cell;		/* bytes of each */
	unsigned int width;
	uint64_t changed[ROWS * WIDTH_MAX];
};

static unsigned int terminal_width(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || size.ws_col <= MARGIN)
		return WIDTH_DEFAULT;
	return size.ws_col - MARGIN < WIDTH_MAX ? size.ws_col - MARGIN : WIDTH_MAX;
}

/* A cell is whole units, so that what is drawn is what is reported. */
static void lay_out(struct map *map, const struct vhdx_changes *changes)
{
	const uint64_t unit = changes->unit ? changes->unit : 1;
	uint64_t cells;
	uint64_t units;

	memset(map, 0, sizeof(*map));
	map->start = changes->offset;
	map->end = changes->offset + changes->processed;
	map->width = terminal_width();
	cells = (uint64_t)ROWS * map->width;
	units = (changes->processed + unit - 1) / unit;
	map->cell = units > cells ? (units + cells - 1) / cells * unit : unit;
}

static void add_range(struct map *map, const struct vhdx_range *range)
{
	const uint64_t end = range->byte_offset + range->byte_length;
	uint64_t at = range->byte_offset;

	while (at < end) {
		uint64_t index = (at - map->start) / map->cell;
		uint64_t behind = map->start + (index + 1) * map->cell;
		uint64_t until = end < behind ? end : behind;

		map->changed[index] += until - at;
		at = until;
	}
}

static const char *shade(const struct map *map, size_t index, const char *const *shades)
{
	const uint64_t changed = map->changed[index];

	if (!changed)
		return shades[0];
	if (changed >= map->cell)
		return shades[SHADES - 1];
	return shades[1 + changed * (SHADES - 2) / map->cell];
}

static void draw(const struct map *map, const char *const *shades)
{
	const uint64_t row = map->cell * map->width;
	char offset[SIZE_TEXT];
	uint64_t at;
	size_t index = 0;

	for (at = map->start; at < map->end; at += map->cell, index++) {
		if (index % map->width == 0)
			printf("%*s ", MARGIN - 2, offset_text(at, offset));
		fputs(shade(map, index, shades), stdout);
		if ((at - map->start) % row == row - map->cell || at + map->cell >= map->end)
			putchar('\n');
	}
}

int print_map(const struct answer *answer)
{
	const bool unicode = !strcmp(nl_langinfo(CODESET), "UTF-8");
	const char *const *shades = unicode ? unicode_shades : ascii_shades;
	static struct map map;
	uint64_t changed = 0;
	char cell[SIZE_TEXT];
	char sum[SIZE_TEXT];
	size_t i;

	lay_out(&map, &answer->changes);
	for (i = 0; i < answer->ranges.count; i++) {
		add_range(&map, &answer->ranges.list[i]);
		changed += answer->ranges.list[i].byte_length;
	}
	draw(&map, shades);
	printf("\n%s: nothing changed … %s: all changed; each mark is %s\n",
	       shades[0], shades[SHADES - 1], size_text(map.cell, cell));
	printf("changed: %s in %zu ranges\n", size_text(changed, sum),
	       answer->ranges.count);
	return EXIT_DONE;
}
