/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a layer has, for those who ask about much of it: a part of the BAT in one long read.
 *
 * A BAT may have half a gigabyte, nearly all of it zeroes, and is not pushed through the cache of
 * metadata pages for that. What was read is as of some moment of the call that asks. Whatever was
 * acknowledged before is in it: until an entry is written in place its page stays in the cache, and
 * of a page that was there before the container was read nothing is taken from here.
 */
#ifndef VHDX_SURVEY_H
#define VHDX_SURVEY_H

#include "mapping.h"

/* Pages of the BAT that are read at once: as many as a word has bits. */
#define VHDX_SURVEY_PAGES	64U

/**
 * struct vhdx_survey - of one layer, for one call; all zero: nothing was read
 * @most:	pages to read at once, VHDX_SURVEY_PAGES at most; 0: none, it did not work
 * @entries:	what was read, or NULL
 * @offset:	where in the container
 * @pages:	how many
 * @current_pages: bit i: of page i it counts
 */
struct vhdx_survey {
	u32 most;
	__le64 *entries;
	u64 offset;
	u32 pages;
	u64 current_pages;
};

void vhdx_survey_release(struct vhdx_survey *survey);
void vhdx_survey_bat(struct vhdx_open_layer *layer, struct vhdx_container *container,
		     struct vhdx_survey *survey, u64 offset, u64 wanted,
		     struct vhdx_mapping *extent);

#endif
