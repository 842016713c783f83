// SPDX-License-Identifier: GPL-2.0-only
/*
 * What would be found if the power went now: for some of what the devices may have kept, the real
 * load, and for each id the answer.
 */
#include "simulation.h"
#include "core/rct/ondisk.h"
#include "leaf_words.h"

#define OUTCOMES	3	/* of each crash point */
#define COPIES		4

/* Sidecars and containers of other times. */
struct copy {
	struct fake_store store;
	u64 epoch;
	bool strict;		/* of a strict session that had begun */
};

static struct copy old_files[COPIES], old_containers[COPIES];

/* Joins what a leaf of it has to @words. 0 or -errno. */
typedef int (*leaf_fn)(const void *from, u32 leaf, u64 *words);

static int units_of(leaf_fn add_leaf, const void *from, unit_mask *units)
{
	static u64 words[VHDX_LEAF_WORDS];
	u32 i, leaf = ~0U;
	int err;

	*units = 0;
	for (i = 0; i < UNITS; i++) {
		u64 unit = unit_offset(i) >> UNIT_SHIFT;
		u32 bit = unit % LEAF_UNITS;

		if (leaf != unit / LEAF_UNITS) {
			leaf = unit / LEAF_UNITS;
			memset(words, 0, sizeof(words));
			err = add_leaf(from, leaf, words);
			if (err)
				return err;
		}
		*units |= (words[bit / 64] >> (bit % 64) & 1) << i;
	}
	return 0;
}

static int add_leaf_of_map(const void *from, u32 leaf, u64 *words)
{
	vhdx_changemap_leaf_or(from, leaf, words);
	return 0;
}

unit_mask units_of_map(const struct vhdx_changemap *map)
{
	unit_mask units;

	units_of(add_leaf_of_map, map, &units);
	return units;
}

struct saved {
	const struct vhdx_sidecar *sidecar;
	const struct vhdx_delta *delta;
	struct vhdx_index_cache *cache;
};

static int add_leaf_of_delta(const void *from, u32 leaf, u64 *words)
{
	const struct saved *saved = from;

	return read_words(saved->sidecar, saved->delta, leaf, words, saved->cache);
}

int units_of_delta(const struct vhdx_sidecar *sidecar, const struct vhdx_delta *delta,
		   struct vhdx_index_cache *cache, unit_mask *units)
{
	const struct saved saved = { sidecar, delta, cache };

	return units_of(add_leaf_of_delta, &saved, units);
}

/* One outcome. */
struct outcome {
	struct vhdx_sidecar sidecar;
	struct vhdx_changemap live;
	struct vhdx_diag diag;
	struct found found;
	u32 leniency;
};

static void check_answer(struct outcome *outcome, struct known_point *point,
			 const unit_mask *deltas, unit_mask live)
{
	const struct vhdx_timeline *timeline = &outcome->sidecar.timeline;
	static const struct vhdx_point_id now;
	unit_mask should = point->differs, answer = 0;
	struct vhdx_span span;
	u32 i, number = point - sim.agent.points;
	int err;

	err = vhdx_timeline_span(timeline, &point->id, &now, &span, &outcome->diag);
	if (err == -ENODATA && (point->forgotten || outcome->leniency & MAY_REFUSE))
		return;
	if (err) {
		wrong("an answer is refused", number, -err, outcome->diag.reason);
		return;
	}
	for (i = 0; i < UNITS; i++)
		if (outcome->found.content[i] != point->content[i])
			should |= 1U << i;
	for (i = span.first; i < span.end; i++)
		answer |= deltas[i];
	answer |= live;
	sim.counters.answers++;
	if (should & ~answer)
		wrong("an answer misses units", number, should, answer);
	if (outcome->sidecar.recovered_units && !(span.flags & VHDX_DELTA_COARSE))
		wrong("an answer does not say that it is coarse", number, answer, span.flags);
	if (!(outcome->leniency & MAY_BE_MORE) &&
	    answer & ~(point->marked | sim.bound.regions))
		wrong("an answer has more units than the bound", number, answer,
		      point->marked | sim.bound.regions);
}

/* From one point to another: what was acknowledged in between. */
static void check_between(struct outcome *outcome, u32 to, const unit_mask *deltas)
{
	const struct vhdx_timeline *timeline = &outcome->sidecar.timeline;
	const struct known_point *point = &sim.agent.points[to];
	u32 from, i;
	int first, last = vhdx_timeline_find(timeline, &point->id);

	for (from = 0; last >= 0 && from < to; from++) {
		unit_mask answer = 0;

		if (!point->between[from])
			continue;
		first = vhdx_timeline_find(timeline, &sim.agent.points[from].id);
		if (first < 0)
			continue;
		for (i = first + 1; i <= (u32)last; i++)
			answer |= deltas[i];
		if (point->between[from] & ~answer)
			wrong("an answer between two points misses units", to,
			      point->between[from], answer);
	}
}

/* Only what is issued counts: an id that nobody was given names nothing. */
static void check_ids(struct outcome *outcome)
{
	u32 i;

	for (i = 0; i < sim.agent.count; i++)
		if (!sim.agent.points[i].confirmed &&
		    vhdx_timeline_find(&outcome->sidecar.timeline, &sim.agent.points[i].id) >= 0)
			wrong("a point is there that was never issued", i, 0, 0);
}

static void check_answers(struct outcome *outcome)
{
	const struct vhdx_timeline *timeline = &outcome->sidecar.timeline;
	struct vhdx_index_cache *cache = vhdx_index_cache_new(POINTS);
	unit_mask live = units_of_map(&outcome->live);
	unit_mask deltas[POINTS + 1];
	int err;
	u32 i;

	/* The delta before the oldest point is part of no answer. */
	for (i = 1; i < timeline->count; i++) {
		err = units_of_delta(&outcome->sidecar, &timeline->points[i]->before, cache,
				     &deltas[i]);
		/* That is loud, too. */
		if (err == -EUCLEAN && outcome->leniency & MAY_REFUSE)
			deltas[i] = ~0U;
		else if (err)
			wrong("a leaf can't be read", -err, i, 0);
	}
	for (i = 0; i < sim.agent.count; i++)
		if (sim.agent.points[i].given) {
			check_answer(outcome, &sim.agent.points[i], deltas, live);
			check_between(outcome, i, deltas);
		}
	vhdx_index_cache_free(cache);
}

/* After a gap there are no answers, and no id is taken for another one. */
static void check_refusal(struct outcome *outcome, int err)
{
	const u32 reason = outcome->diag.reason;
	static const struct vhdx_point_id now;
	struct vhdx_span span;
	u32 i;

	sim.counters.gaps++;
	if (!(outcome->leniency & MAY_REFUSE) && !sim.driver.invalid &&
	    !sim.was_invalid)
		wrong("everything is refused", reason, 0, 0);
	for (i = 0; !err && i < sim.agent.count; i++)
		if (!vhdx_timeline_span(&outcome->sidecar.timeline, &sim.agent.points[i].id, &now,
					&span, &outcome->diag))
			wrong("an answer in spite of a gap", i, reason, 0);
}

static u32 regions_of(unit_mask units)
{
	u32 i, count = 0;

	for (i = 0; i < UNITS; i++)
		count += units >> i & 1;
	return count;
}

static void judge(struct vhdx_store *container, struct vhdx_store *file, u32 leniency)
{
	struct outcome outcome = { .leniency = leniency };
	int err;

	sim.counters.outcomes++;
	container_read(container, &outcome.found);
	if (!(leniency & MAY_BE_OLD) && !sim.wrong[0])
		history_judge(outcome.found.sectors);
	err = vhdx_sidecar_load(&outcome.sidecar, file, true, true, &outcome.diag);
	if (!err)
		err = bind_to_container(&outcome.sidecar, &outcome.found.header,
					outcome.found.header.sequence, &outcome.diag);
	if (!err)
		err = vhdx_changemap_init(&outcome.live, DISK_SIZE, UNIT_SHIFT);
	if (!err)
		err = vhdx_sidecar_load_live(&outcome.sidecar, &outcome.live, &outcome.diag);
	if (err == -EUCLEAN || (!err && outcome.sidecar.timeline.live.gap_reason)) {
		check_refusal(&outcome, err);
	} else if (err) {
		wrong("the sidecar can't be loaded", -err, outcome.diag.reason, 0);
	} else {
		check_ids(&outcome);
		check_answers(&outcome);
		if (!(leniency & MAY_BE_MORE) && outcome.sidecar.recovered_units >
		    (u64)4 * regions_of(sim.bound.regions) << AROUND_MOST)
			wrong("more was recovered than is in the regions", 0,
			      outcome.sidecar.recovered_units, sim.bound.regions);
	}
	vhdx_changemap_release(&outcome.live);
	vhdx_sidecar_release(&outcome.sidecar);
}

static void look_at(struct fake_image *image, const struct fake_store *store)
{
	fake_image_init(image, store, random_below(FAKE_ARRIVALS), random_next());
}

/* A byte of the newest header, or of the coarse area, is not what was written. */
static void judge_rotten(void)
{
	struct fake_image container, file;
	struct vhdx_sidecar sidecar;
	struct vhdx_diag diag = { 0 };
	u32 leniency = MAY_BE_MORE;
	int err;

	look_at(&container, &sim.container);
	look_at(&file, &sim.file);
	err = vhdx_sidecar_load(&sidecar, &file.store, true, true, &diag);
	if (!err && random_below(2)) {
		file.rotten = sidecar.slot * VHDX_SIDECAR_BLOCK + random_below(256);
		leniency |= MAY_REFUSE;
	} else if (!err) {
		file.rotten = VHDX_SIDECAR_COARSE_BLOCK * VHDX_SIDECAR_BLOCK +
			      random_below(sidecar.coarse.sectors * VHDX_COARSE_SECTOR);
	}
	vhdx_sidecar_release(&sidecar);
	if (err)
		return;
	sim.counters.rotten++;
	judge(&container.store, &file.store, leniency);
}

static void take_copy(struct copy *copies, const struct fake_store *store, u64 epoch)
{
	struct copy *copy = &copies[random_below(COPIES)];
	struct fake_image image;

	look_at(&image, store);
	if (copy->store.bytes)
		fake_store_release(&copy->store);
	fake_image_boot(&image, &copy->store);
	copy->epoch = epoch;
	copy->strict = sim.driver.announces && sim.driver.begun;
}

static bool is_of_older_epoch(const struct copy *file)
{
	return file->epoch < *epoch_of(&sim.driver.header.data_write_guid);
}

/*
 * One of the two is put back. A container from before an invalidation is not looked at after it:
 * its sidecar tells all that led to it, but not what was written, and read, untracked since. A
 * sidecar of the same epoch is found out if it is of a strict session.
 */
static void judge_old(void)
{
	const struct copy *old_file = &old_files[random_below(COPIES)];
	const struct copy *old_container = &old_containers[random_below(COPIES)];
	struct fake_image container, file;

	if (sim.driver.invalid)
		return;
	sim.counters.old++;
	if (random_below(2) && old_container->store.bytes) {
		look_at(&container, &old_container->store);
		look_at(&file, &sim.file);
		judge(&container.store, &file.store, MAY_REFUSE | MAY_BE_MORE | MAY_BE_OLD);
	} else if (old_file->store.bytes && (old_file->strict || is_of_older_epoch(old_file))) {
		sim.counters.same_epoch += !is_of_older_epoch(old_file);
		look_at(&container, &sim.container);
		look_at(&file, &old_file->store);
		judge(&container.store, &file.store, MAY_REFUSE | MAY_BE_MORE);
	}
}

/* No crash: the answer out of memory, where it takes no reading. */
static void judge_memory(void)
{
	const struct driver *driver = &sim.driver;
	const struct vhdx_timeline_point *newest;
	unit_mask answer;
	u32 i;

	if (driver->invalid)
		return;
	answer = units_of_map(driver->live);
	if (driver->sealing)
		answer |= units_of_map(driver->sealing);
	newest = vhdx_timeline_newest(&driver->sidecar.timeline);
	for (i = 0; i < sim.agent.count; i++) {
		const struct known_point *point = &sim.agent.points[i];

		if (point->given && newest && !memcmp(&newest->id, &point->id, sizeof(point->id)) &&
		    point->differs & ~answer)
			wrong("the live map misses units", i, point->differs, answer);
	}
}

void check_outcomes(void)
{
	struct fake_image container, file;
	u32 i;

	sim.counters.points++;
	for (i = 0; i < OUTCOMES; i++) {
		look_at(&container, &sim.container);
		look_at(&file, &sim.file);
		judge(&container.store, &file.store, 0);
	}
}

void check_crash_point(void)
{
	judge_memory();
	check_outcomes();
	if (chance(15))
		judge_rotten();
	if (chance(25))
		judge_old();
	if (chance(sim.driver.strict ? 25 : 8))
		take_copy(old_files, &sim.file, sim.epochs.announced);
	if (chance(8))
		take_copy(old_containers, &sim.container, 0);
}

void check_reset(void)
{
	u32 i;

	for (i = 0; i < COPIES; i++) {
		if (old_files[i].store.bytes)
			fake_store_release(&old_files[i].store);
		if (old_containers[i].store.bytes)
			fake_store_release(&old_containers[i].store);
	}
}
