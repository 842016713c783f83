// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli.h"
#include "monotonic.h"
#include "progress.h"

#define WIDTH_MAX	60
#define MARGIN		40	/* what stands beside the bar */
#define INTERVAL_NS	100000000ULL

static const int ending[] = { SIGINT, SIGTERM, SIGHUP };

#define ENDING	(sizeof(ending) / sizeof(ending[0]))

static volatile sig_atomic_t ended;
static struct sigaction ending_before[ENDING];
static struct sigaction limit_before;

static struct {
	const char *what;
	bool shown;
	uint64_t next_ns;
} bar;

static void note_end(int signal)
{
	(void)signal;
	ended = 1;
}

void progress_begin(const char *what, unsigned int patience_ms)
{
	struct sigaction action = { .sa_handler = note_end };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	size_t i;

	memset(&bar, 0, sizeof(bar));
	bar.what = what;
	bar.next_ns = now_ns() + NS_PER_MS * patience_ms;
	/* Too large a file is an error, and not the end of us. */
	sigaction(SIGXFSZ, &ignore, &limit_before);
	for (i = 0; i < ENDING; i++) {
		sigaction(ending[i], &action, &ending_before[i]);
		/* Whoever started us in the background, or by nohup(1), wants that kept. */
		if (ending_before[i].sa_handler == SIG_IGN)
			sigaction(ending[i], &ignore, NULL);
	}
}

static int bar_width(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col <= MARGIN)
		return 0;
	return size.ws_col - MARGIN < WIDTH_MAX ? size.ws_col - MARGIN : WIDTH_MAX;
}

static void draw(uint64_t done, uint64_t total)
{
	static const char marks[WIDTH_MAX + 1] =
		"############################################################";
	const int width = bar_width();
	const double share = (double)done / total;
	const int filled = share * width;

	fprintf(stderr, "\r%s [%.*s%*s] %3d%% of %.1fG", bar.what, filled, marks, width - filled, "",
		(int)(100 * share), (double)total / (1 << 30));
	fflush(stderr);
	bar.shown = true;
}

int progress_tell(void *context, uint64_t done, uint64_t total)
{
	(void)context;
	if (ended)
		return PROGRESS_ENDED;
	if (!total || !isatty(STDERR_FILENO) || now_ns() < bar.next_ns)
		return 0;
	bar.next_ns = now_ns() + INTERVAL_NS;
	draw(done, total);
	return 0;
}

void progress_end(void)
{
	size_t i;

	if (bar.shown)
		fputs("\r\033[K", stderr);
	for (i = 0; i < ENDING; i++)
		sigaction(ending[i], &ending_before[i], NULL);
	sigaction(SIGXFSZ, &limit_before, NULL);
}

int progress_report_end(const char *path, const char *what_became_of_it)
{
	char text[VHDX_PATH_TEXT + 64];

	snprintf(text, sizeof(text), "%s: interrupted: %s", path, what_became_of_it);
	return report_own(EINTR, VHDX_REASON_NONE, text);
}

int progress_report_taken_back(const char *path)
{
	struct stat st;

	if (!stat(path, &st) && S_ISBLK(st.st_mode))
		return progress_report_end(path, "its first MiB was cleared");
	return progress_report_end(path, "what was there of it was removed again");
}
