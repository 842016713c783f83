// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Paths in the syntax of Windows, as text: nothing here looks at files.
 */
#include <stdio.h>
#include <string.h>
#include "internal.h"

static bool is_separator(char c)
{
	return c == '\\' || c == '/';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_relative_path(const char *path)
{
	return !is_separator(path[0]) && !(is_letter(path[0]) && path[1] == ':');
}

/* Windows compares without case; of other letters than ASCII's its rules are its own. */
static bool same_character(char one, char other)
{
	if (is_separator(one) || is_letter(one))
		return (is_separator(one) && is_separator(other)) ||
		       (is_letter(one) && is_letter(other) && (one | 0x20) == (other | 0x20));
	return one == other;
}

/* Behind any "./" that it begins with. */
static const char *skip_here(const char *path)
{
	while (path[0] == '.' && is_separator(path[1]))
		for (path++; is_separator(*path); path++)
			;
	return path;
}

static const char *behind_root(const char *path)
{
	return is_separator(path[0]) && !is_separator(path[1]) ? path + 1 : NULL;
}

static const char *behind(const char *path, const char *from)
{
	size_t length = strlen(from);
	size_t i;

	while (length && is_separator(from[length - 1]))
		length--;
	for (i = 0; i < length; i++)
		if (!path[i] || !same_character(path[i], from[i]))
			return NULL;
	if (!length || (path[length] && !is_separator(path[length])))
		return NULL;
	path += length;
	while (is_separator(*path))
		path++;
	return path;
}

const char *path_behind(const char *path, const char *from)
{
	if (is_separator(from[0]) && !from[1])
		return behind_root(path);
	return behind(path, from) ?: behind(skip_here(path), skip_here(from));
}

char *path_beneath(const char *directory, const char *path)
{
	char *joined;
	char *c;

	if (asprintf(&joined, "%s%s%s", directory, *directory ? "/" : "", skip_here(path)) < 0)
		return NULL;
	for (c = joined + strlen(directory); *c; c++)
		if (*c == '\\')
			*c = '/';
	return joined;
}
