// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * VHDX_GET_VIRTUAL_DISK_CHANGES of a disk that is not attached.
 */
#include <core/rct/report.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "offline_changes.h"
#include "offline_zeroes.h"

uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint64_t deadline_of(const struct vhdx_get_virtual_disk_changes *query)
{
	return query->time_limit_ms ? now_ms() + query->time_limit_ms : UINT64_MAX;
}

/* 0: all of it; 1: the array is full, or the time is over. */
static int answer_ranges(struct offline_chain *chain, struct vhdx_answer *answer,
			 struct vhdx_delta_list *list,
			 struct vhdx_get_virtual_disk_changes *query)
{
	const uint64_t deadline = deadline_of(query);
	int more;

	if (wants_flags(query) && chain->content.count)
		return offline_flagged(chain, answer, list, query, deadline);
	answer->ranges.array = (void *)(uintptr_t)query->output;
	answer->ranges.capacity = query->output_capacity;
	do {
		more = vhdx_answer_leaf(answer, &vhdx_delta_list_source, list);
	} while (more > 0 && now_ms() < deadline);
	query->output_count = answer->ranges.count;
	return more;
}

static int put_words(void *context, const void *words, u32 count)
{
	struct vhdx_get_virtual_disk_changes *query = context;
	char *to = (char *)(uintptr_t)query->output + query->output_count;
	const u32 bytes = sizeof(u64) * count;

	if (words)
		memcpy(to, words, bytes);
	else
		memset(to, 0, bytes);
	query->output_count += bytes;
	return 0;
}

static int answer_bits(struct vhdx_answer *answer, struct vhdx_delta_list *list,
		       struct vhdx_get_virtual_disk_changes *query)
{
	const uint64_t deadline = deadline_of(query);
	const uint64_t limit = vhdx_report_bitmap_end(query, answer);
	int more = vhdx_answer_bits_room(answer);

	if (more)
		return more;
	/* Once at least: there is progress, however short the time is. */
	do {
		vhdx_answer_bits_begin(answer, limit);
		do {
			more = vhdx_answer_leaf(answer, &vhdx_delta_list_source, list);
		} while (more > 0);
		if (!more)
			more = vhdx_answer_bits_tell(answer, put_words, query);
	} while (!more && answer->offset < limit && now_ms() < deadline);
	vhdx_answer_bits_release(answer);
	return more;
}

/**
 * struct sources - all that an answer is made of
 * @live:	the history, for its live map
 * @merge:	of what is stored
 */
struct sources {
	struct offline_chain *chain;
	struct vhdx_history live;
	struct vhdx_stored_deltas stored;
	struct vhdx_delta_merge merge;
	struct vhdx_derived_delta *derived;
	struct vhdx_delta_list list;
};

static int look(void *context, u32 layer, u64 offset, u64 *to)
{
	struct offline_chain *chain = context;
	struct vhdx_diag diag = { 0 };

	return vhdx_content_has(&chain->content, layer, offset, to, &diag);
}

static void add_source(struct sources *sources, const struct vhdx_leaf_source *ops, void *context)
{
	sources->list.sources[sources->list.count++] = (struct vhdx_delta_source) {
		.ops = ops,
		.context = context,
	};
}

/* Of the leaf the live delta is a map by now; that of a parent is where it was kept. */
static int list_sources(struct sources *sources, const struct vhdx_route *route)
{
	const struct vhdx_history *history = &sources->live;
	struct vhdx_stored_deltas *stored = &sources->stored;
	const u32 parents = history->parent_count;

	sources->derived = calloc(parents + 1, sizeof(*sources->derived));
	sources->list.sources = calloc(parents + 2, sizeof(*sources->list.sources));
	if (!sources->derived || !sources->list.sources)
		return -ENOMEM;
	vhdx_route_derive(route, history, look, sources->chain, sources->derived, &sources->list);
	if (!route->tracked)
		return 0;
	*stored = (struct vhdx_stored_deltas) {
		.sidecar = route->layer ? history->parents[route->layer - 1].sidecar :
					  history->sidecar,
		.first = route->stored.first,
		.end = route->stored.end,
		.live = route->layer && route->stored.live,
		.cache = vhdx_index_cache_new(route->stored.end - route->stored.first + 1),
		.merge = &sources->merge,
	};
	if (!stored->cache)
		return -ENOMEM;
	add_source(sources, &vhdx_stored_source, stored);
	if (!route->layer && route->stored.live)
		add_source(sources, &vhdx_live_source, &sources->live);
	return 0;
}

static void release_sources(struct sources *sources)
{
	vhdx_delta_merge_release(&sources->merge);
	vhdx_index_cache_free(sources->stored.cache);
	free(sources->list.sources);
	free(sources->derived);
}

static int answer(struct sources *sources, const struct vhdx_route *route,
		  struct vhdx_get_virtual_disk_changes *query, struct vhdx_diag *diag)
{
	struct vhdx_answer answer = {
		.unit_shift = route->unit_shift,
		.units = vhdx_alloc(sizeof(*answer.units)),
	};
	int more = vhdx_report_begin(query, &answer, diag);

	if (more)
		goto free;
	more = answer.units ? list_sources(sources, route) : -ENOMEM;
	if (!more)
		more = query->flags & VHDX_CHANGES_BITMAP ?
		       answer_bits(&answer, &sources->list, query) :
		       answer_ranges(sources->chain, &answer, &sources->list, query);
	if (more >= 0)
		vhdx_report_end(query, &answer);
	else
		more = vhdx_report_failure(more, route->layer, diag);
free:
	vhdx_free(answer.units);
	return min(more, 0);
}

int offline_changes(const struct vhdx_history *history, struct offline_chain *chain,
		    struct vhdx_get_virtual_disk_changes *query, struct vhdx_diag *diag)
{
	struct sources sources = { .chain = chain, .live = *history };
	struct vhdx_route route;
	int err;

	query->virtual_disk_size = history->disk_size;
	err = vhdx_report_check(history, query, diag);
	if (!err)
		err = vhdx_report_route(history, query, &route, diag);
	if (!err)
		err = answer(&sources, &route, query, diag);
	release_sources(&sources);
	return err;
}
