// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tables through libsmartcols, as lsblk and zramctl print them.
 */
#include <errno.h>
#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "cli.h"

#define COLUMNS_MAX	16

/**
 * struct table - a table being filled
 * @columns:	the caller's
 * @chosen:	which of them are shown, in the order shown
 * @width:	of the widest cell of each that is shown, in bytes
 * @filled:	which have a cell with anything in it
 */
struct table {
	struct libscols_table *scols;
	const struct column *columns;
	size_t chosen[COLUMNS_MAX];
	size_t width[COLUMNS_MAX];
	bool filled[COLUMNS_MAX];
	size_t count;
	bool failed;
};

static int choose(struct table *table, const struct column *columns, size_t count,
		  const char *name, size_t length)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (strlen(columns[i].name) == length &&
		    !strncasecmp(columns[i].name, name, length)) {
			if (table->count == COLUMNS_MAX)
				return usage_error("--output: too many columns");
			table->chosen[table->count++] = i;
			return 0;
		}
	}
	complain("--output: there is no column \"%.*s\"; there are:", (int)length, name);
	for (i = 0; i < count; i++)
		complain("  %s", columns[i].name);
	return EXIT_USAGE;
}

static int choose_columns(struct table *table, const struct column *columns, size_t count)
{
	const char *name = output.columns;
	size_t length;
	size_t i;

	for (i = 0; (!name || *name == '+') && i < count; i++)
		if (!columns[i].hidden)
			table->chosen[table->count++] = i;
	if (name && *name == '+')
		name++;
	while (name) {
		length = strcspn(name, ",");
		if (choose(table, columns, count, name, length))
			return -EINVAL;
		name = name[length] ? name + length + 1 : NULL;
	}
	return 0;
}

struct table *table_new(const struct column *columns, size_t count)
{
	struct table *table = calloc(1, sizeof(*table));
	size_t i;

	if (!table)
		goto out_memory;
	if (choose_columns(table, columns, count)) {
		free(table);
		return NULL;
	}
	table->columns = columns;
	scols_init_debug(0);
	table->scols = scols_new_table();
	if (!table->scols)
		goto out_memory;
	scols_table_enable_noheadings(table->scols, output.noheadings);
	for (i = 0; i < table->count; i++) {
		const struct column *column = &columns[table->chosen[i]];

		if (!scols_table_new_column(table->scols, column->name, 0,
					    (column->right ? SCOLS_FL_RIGHT : 0) |
					    (column->wrap ? SCOLS_FL_WRAP : 0)))
			goto out_memory;
		table->width[i] = strlen(column->name);
	}
	return table;

out_memory:
	complain("out of memory");
	if (table)
		table_free(table);
	return NULL;
}

void table_row(struct table *table, const char *const *cells)
{
	struct libscols_line *line = scols_table_new_line(table->scols, NULL);
	size_t i;

	for (i = 0; line && i < table->count; i++) {
		const char *cell = cells[table->chosen[i]];

		if (!cell)
			continue;
		if (scols_line_set_data(line, i, cell))
			table->failed = true;
		table->filled[i] = true;
		if (strlen(cell) > table->width[i])
			table->width[i] = strlen(cell);
	}
	if (!line)
		table->failed = true;
}

void table_free(struct table *table)
{
	scols_unref_table(table->scols);
	free(table);
}

/* With one space between two; what wraps needs no more than this. */
#define WRAPPED_WIDTH	12

static size_t total_width(const struct table *table)
{
	size_t sum = 0;
	size_t i;

	for (i = 0; i < table->count; i++) {
		const bool wrap = table->columns[table->chosen[i]].wrap;

		if (!table->width[i])
			continue;
		sum += 1 + (wrap && table->width[i] > WRAPPED_WIDTH ? WRAPPED_WIDTH :
			    table->width[i]);
	}
	return sum - 1;
}

/* Columns go until the rest fits: those with nothing in them, then those that can be spared. */
static void fit(struct table *table, size_t room)
{
	const bool rounds[] = { false, true };
	size_t round, i;

	for (round = 0; round < 2; round++)
		for (i = 0; i < table->count && total_width(table) > room; i++) {
			const bool spare = table->columns[table->chosen[i]].spare;

			if (rounds[round] ? !spare : table->filled[i])
				continue;
			table->width[i] = 0;
			scols_column_set_flags(scols_table_get_column(table->scols, i),
					       SCOLS_FL_HIDDEN);
		}
}

int table_finish(struct table *table)
{
	int code = EXIT_DONE;
	struct winsize size;

	if (!output.columns && isatty(STDOUT_FILENO) &&
	    !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col)
		fit(table, size.ws_col);
	if (table->failed || scols_print_table(table->scols)) {
		complain("the table could not be printed");
		code = EXIT_FAILED;
	}
	table_free(table);
	return code;
}
