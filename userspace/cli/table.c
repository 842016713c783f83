// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tables through libsmartcols, as lsblk and zramctl print them.
 */
#include <errno.h>
#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "cli.h"

#define COLUMNS_MAX	16

/**
 * struct table - a table being filled
 * @chosen:	which of the caller's columns are shown, in the order shown
 */
struct table {
	struct libscols_table *scols;
	size_t chosen[COLUMNS_MAX];
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

	for (i = 0; !name && i < count; i++)
		if (!columns[i].hidden)
			table->chosen[table->count++] = i;
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
	scols_init_debug(0);
	table->scols = scols_new_table();
	if (!table->scols)
		goto out_memory;
	scols_table_enable_noheadings(table->scols, output.noheadings);
	for (i = 0; i < table->count; i++) {
		const struct column *column = &columns[table->chosen[i]];

		if (!scols_table_new_column(table->scols, column->name, 0,
					    column->right ? SCOLS_FL_RIGHT : 0))
			goto out_memory;
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

		if (cell && scols_line_set_data(line, i, cell))
			table->failed = true;
	}
	if (!line)
		table->failed = true;
}

void table_free(struct table *table)
{
	scols_unref_table(table->scols);
	free(table);
}

int table_finish(struct table *table)
{
	int code = EXIT_DONE;

	if (table->failed || scols_print_table(table->scols)) {
		complain("the table could not be printed");
		code = EXIT_FAILED;
	}
	table_free(table);
	return code;
}
