/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vhdxctl: commands are tables, options are tables, and each command is a file.
 */
#ifndef VHDXCTL_CLI_H
#define VHDXCTL_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <libvhdx.h>

struct json_object;

enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_FULL_BACKUP = 3,	/* the next backup has to be a full one */
};

/* What the value of an option is, and what it points to. */
enum option_kind {
	OPTION_FLAG,	/* bool */
	OPTION_TEXT,	/* const char * */
	OPTION_FILE,	/* const char *, a path: not empty */
	OPTION_SIZE,	/* uint64_t, with a suffix; not 0 */
	OPTION_BYTES,	/* the same, or 0 */
	OPTION_NUMBER,	/* int, not negative */
	OPTION_LIST,	/* const char **, ended by NULL: as often as it is given; none is empty */
};

struct cli_option {
	const char *name;
	const char *argument;	/* what the usage calls it; NULL for a flag */
	const char *help;
	enum option_kind kind;
	void *value;
};

/**
 * struct command - one word of the command line
 * @arguments:	what follows the options, for the usage
 * @minimum:	fewest arguments
 * @maximum:	most arguments; negative: any number
 * @options:	ended by an empty one
 * @words:	commands below this one, ended by an empty one; then nothing else counts
 * @run:	gets what follows the options; returns an exit code
 * @notes:	a few lines behind the options, or NULL
 */
struct command {
	const char *name;
	const char *summary;
	const char *arguments;
	int minimum;
	int maximum;
	const struct cli_option *options;
	const struct command *words;
	int (*run)(int count, char **arguments);
	const char *notes;
};

extern const struct command attach_command;
extern const struct command detach_command;
extern const struct command list_command;
extern const struct command info_command;
extern const struct command track_command;
extern const struct command seal_command;
extern const struct command points_command;
extern const struct command forget_command;
extern const struct command changes_command;
extern const struct command allocated_command;
extern const struct command verify_command;
extern const struct command create_command;
extern const struct command convert_command;
extern const struct command check_command;

/* ---- Output ---- */

/**
 * struct output - how the user wants it; set by the options of every command
 */
struct output {
	bool json;
	bool bytes;
	bool noheadings;
	const char *columns;
};

extern struct output output;

#define JSON_OPTION \
	{ "json", NULL, "print JSON", OPTION_FLAG, &output.json }
#define BYTES_OPTION \
	{ "bytes", NULL, "print sizes in bytes", OPTION_FLAG, &output.bytes }
#define TABLE_OPTIONS \
	JSON_OPTION, \
	BYTES_OPTION, \
	{ "noheadings", NULL, "print no headings", OPTION_FLAG, &output.noheadings }, \
	{ "output", "COLUMNS", "these columns, separated by commas; +COLUMNS: these too", \
	  OPTION_TEXT, &output.columns }

/* udev looks into a disk that was just attached, and into one that a writer closed. */
#define DETACH_PATIENCE_MS	5000

/* ---- usage.c ---- */

/* Print "vhdxctl: …" to stderr. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, and where to find help; returns EXIT_USAGE. */
int usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* What is to be said of a failure of the library, @err. */
const char *failure_text(int err);
/* The library failed with @err: say so, in JSON too if that is wanted; returns an exit code. */
int report(int err);
/* The same where the library had no part in it. @error is an errno. */
int report_own(int error, unsigned int reason, const char *text);
/* The same for a question about history: if that is lost, the next backup is a full one. */
int report_history(int err);
/* One of several things failed: the same, into a reply that is printed later, if there is one. */
void report_one_of(struct json_object *reply, int err);
/*
 * Did what was printed not arrive, on a full disk say? Then that is said once. Who prints
 * the name of what it made asks, and takes it back.
 */
bool output_is_lost(void);
void print_help(const char *path, const struct command *command);

/* ---- options.c ---- */

/* The short form of an option; NUL: it has none. */
char letter_of(const char *option);
/* Parse and run @command; @path is its name, with the words before it. */
int run_command(const char *path, const struct command *command, int argc, char **argv);

/* ---- size.c ---- */

#define SIZE_TEXT	32

/* "4096", "16K", "1.5KiB", "16KB" (1000). 0 or -EINVAL. */
int parse_size(const char *text, uint64_t *size);
/* For people on a terminal, in bytes everywhere else. */
const char *size_text(uint64_t size, char text[SIZE_TEXT]);
/* In bytes, always: a place that is rounded is another place. */
const char *offset_text(uint64_t offset, char text[SIZE_TEXT]);
/* 0, or EXIT_USAGE: a unit is a power of two between 4K and 1M. */
int check_unit(uint64_t unit);

/* ---- table.c ---- */

struct column {
	const char *name;
	bool right;	/* a number */
	bool hidden;	/* only if asked for */
	bool spare;	/* the first to go where a terminal is too narrow */
	bool wrap;	/* a long text: goes on in the next line there */
};

struct table;

/* NULL: an unknown column was asked for, or out of memory; it was said. */
struct table *table_new(const struct column *columns, size_t count);
void table_row(struct table *table, const char *const *cells);
/* Print and free; returns an exit code. */
int table_finish(struct table *table);
/* Of what it would have shown not all is known. */
void table_free(struct table *table);

/* ---- names.c ---- */

const char *tracking_name(unsigned int state);
const char *kind_name(unsigned int kind);
/* NULL for an empty one. */
const char *text_or_null(const char *text);
/* NULL for VHDX_REASON_NONE. */
const char *reason_or_null(unsigned int reason);

/* Where tracking is off for a reason, there may be some in a sidecar that can't be used. */
bool points_are_known(const struct vhdx_tracking_state *state);

#define TIME_TEXT	40

/* RFC 3339, UTC. */
const char *time_text(uint64_t time_ns, char text[TIME_TEXT]);

#endif
