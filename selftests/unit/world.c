// SPDX-License-Identifier: GPL-2.0-only
#include "world.h"
#include "random.h"
#include "core/bits.h"
#include "leaf_words.h"
#include "core/rct/ondisk.h"

static const vhdx_guid disk_id = { "the disk's id 01" };

static void wrong(struct world *w, const char *what, u32 a, u32 b, u32 c)
{
	if (w->wrong)
		return;
	w->wrong = w->wrong_text;
	snprintf(w->wrong_text, sizeof(w->wrong_text), "%s (%u, %u, %u)", what, a, b, c);
}

static vhdx_guid new_guid(struct world *w)
{
	vhdx_guid guid = { { 1 } };

	w->guids++;
	memcpy(guid.b + 8, &w->guids, sizeof(w->guids));
	return guid;
}

/* Neighbours, both sides of words and of leaves, both ends of the disk. */
u64 world_offset(u32 unit)
{
	static const u64 units[WORLD_UNITS] = {
		0, 1, 2, 63, 64, 1000, 20000, 32766, 32767,
		32768, 32769, 40000, 50000, 65534, 65535,
		65536, 70000, 80000, 98303, 98304, 98305, 110000, 131070, 131071,
	};

	return units[unit] << WORLD_SHIFT;
}

void world_init(struct world *w, u64 size, u64 limit)
{
	memset(w, 0, sizeof(*w));
	w->cache = vhdx_index_cache_new(WORLD_POINTS);
	fake_store_init(&w->fake, size, limit);
	w->cached.dwg = new_guid(w);
	w->cached.kind = WORLD_STRANGER;
	w->durable = w->cached;
}

static void let_go(struct world *w)
{
	if (w->attached) {
		vhdx_changemap_release(&w->live);
		vhdx_sidecar_release(&w->sidecar);
	}
	w->attached = false;
	w->active = false;
}

void world_release(struct world *w)
{
	let_go(w);
	vhdx_index_cache_free(w->cache);
	fake_store_release(&w->fake);
}

/* ---- the container ---- */

int world_flush(struct world *w)
{
	int err = fake_store_step(&w->fake);

	if (!err)
		w->durable = w->cached;
	return err;
}

/* Everything written is durable, then the header. */
static int set_guid(struct world *w, const vhdx_guid *guid, enum world_guid kind, u32 gap)
{
	int err = world_flush(w);

	if (err)
		return err;
	w->cached.dwg = *guid;
	w->cached.kind = kind;
	w->cached.gap = gap;
	w->cached.version = 0;
	err = world_flush(w);
	if (!err)
		return 0;
	/*
	 * Nobody knows which header a disk has whose header could not be written: it is
	 * poisoned, and nothing more happens to it. Leave that out here. When the power
	 * went, the header that was under way may have arrived.
	 */
	if (!fake_store_is_off(&w->fake))
		return world_flush(w);
	if (random_below(2))
		w->durable = w->cached;
	return err;
}

/* Rule T7: a container that the sidecar doesn't know. Until it has that, nothing goes on. */
static void invalidate(struct world *w)
{
	vhdx_guid guid = new_guid(w);

	while (set_guid(w, &guid, WORLD_STRANGER, 0) && !fake_store_is_off(&w->fake))
		;
	let_go(w);
}

static bool is_harmless(int err)
{
	return err == -ENOSPC || err == -ENOMEM;
}

static int fail(struct world *w, int err)
{
	if (!is_harmless(err) && !fake_store_is_off(&w->fake))
		invalidate(w);
	return err;
}

/* ---- regions ---- */

static int write_regions(struct world *w)
{
	u8 *block = vhdx_alloc(VHDX_SIDECAR_BLOCK);
	int err = -ENOMEM;

	if (block) {
		vhdx_coarse_encode(0, w->sidecar.sequence, ++w->sidecar.coarse_commit, w->ondisk,
				   block);
		err = w->fake.store.write(&w->fake.store, VHDX_SIDECAR_COARSE_BLOCK *
					  VHDX_SIDECAR_BLOCK, block, VHDX_SIDECAR_BLOCK);
	}
	vhdx_free(block);
	return err;
}

/* Nothing is written to a region that is not set, durably. */
static int arm(struct world *w, u64 offset, u64 length)
{
	const u32 shift = w->sidecar.coarse.region_shift;
	u32 first = offset >> shift, end = ((min(offset + length, WORLD_SIZE) - 1) >> shift) + 1;
	int err;

	if (vhdx_find_bit(w->armed, ~0ULL, first, end) == end)
		return 0;
	vhdx_set_bits(w->ondisk, first, end);
	err = write_regions(w);
	err = err ?: w->fake.store.flush(&w->fake.store);
	if (!err)
		vhdx_set_bits(w->armed, first, end);
	else if (!fake_store_is_off(&w->fake))
		invalidate(w);
	return err;
}

/* ---- the driver ---- */

int world_enable(struct world *w)
{
	vhdx_guid guid = new_guid(w);
	int err = set_guid(w, &guid, WORLD_SESSION, 0);

	if (err)
		return err;
	w->sidecar.disk_id = disk_id;
	w->sidecar.disk_size = WORLD_SIZE;
	w->sidecar.unit_shift = WORLD_SHIFT;
	w->sidecar.state = VHDX_SIDECAR_ON;
	w->sidecar.current_guid = w->cached.dwg;
	memset(&w->sidecar.next_guid, 0, sizeof(w->sidecar.next_guid));
	err = vhdx_sidecar_format(&w->sidecar, &w->fake.store, w->fake.can_grow, &w->diag);
	if (!err)
		err = vhdx_changemap_init(&w->live, WORLD_SIZE, WORLD_SHIFT);
	w->attached = true;
	if (err) {
		let_go(w);
		return err;
	}
	memset(w->armed, 0, sizeof(w->armed));
	memset(w->ondisk, 0, sizeof(w->ondisk));
	w->formatted = true;
	w->active = true;
	return world_seal(w);
}

int world_attach(struct world *w)
{
	int err;

	fake_store_reopen(&w->fake);
	memset(&w->diag, 0, sizeof(w->diag));
	err = vhdx_sidecar_load(&w->sidecar, &w->fake.store, w->fake.can_grow, false, &w->diag);
	if (!err)
		err = vhdx_sidecar_bind(&w->sidecar, &disk_id, WORLD_SIZE, &w->cached.dwg,
					0, &w->diag);
	if (!err)
		err = vhdx_changemap_init(&w->live, WORLD_SIZE, WORLD_SHIFT);
	if (!err)
		err = vhdx_sidecar_load_live(&w->sidecar, &w->live, &w->diag);
	memset(w->ondisk, 0, sizeof(w->ondisk));
	if (w->sidecar.found)
		memcpy(w->ondisk, w->sidecar.found, sizeof(w->ondisk));
	memcpy(w->armed, w->ondisk, sizeof(w->armed));
	w->attached = true;
	if (err)
		let_go(w);
	return err;
}

/* What the driver does in the background, at any time, and may not get done. */
void world_walk(struct world *w)
{
	if (w->attached)
		vhdx_sidecar_walk(&w->sidecar, random_below(8), NULL);
}

static int activate(struct world *w)
{
	vhdx_guid guid = new_guid(w);
	int err;

	if (!w->attached || w->active)
		return 0;
	w->sidecar.current_guid = w->cached.dwg;
	w->sidecar.next_guid = guid;
	err = vhdx_sidecar_commit(&w->sidecar);
	if (err && !fake_store_is_off(&w->fake))
		invalidate(w);
	if (err)
		return err;
	err = set_guid(w, &guid, WORLD_SESSION, w->sidecar.timeline.live.gap_reason);
	if (err)
		return err;
	w->active = true;
	w->mixed = false;
	if (!w->name_both) {
		w->sidecar.current_guid = guid;
		memset(&w->sidecar.next_guid, 0, sizeof(guid));
	}
	return 0;
}

/* The newest one is where @w->witness_at is. */
static void testify(struct world *w)
{
	struct world_witness *witness = &w->witness[w->witness_at];

	if (!vhdx_guid_equal(&witness->dwg, &w->cached.dwg)) {
		w->witness_at = (w->witness_at + 1) % WORLD_WITNESSES;
		witness = &w->witness[w->witness_at];
	}
	witness->dwg = w->cached.dwg;
	witness->version = w->version;
}

/* Without the sidecar the write goes on; without the header's new GUID it does not. */
static int start_write(struct world *w, u64 offset, u64 length)
{
	int err = activate(w);

	if (!err && w->attached)
		err = arm(w, offset, length);
	if (fake_store_is_off(&w->fake))
		return -EIO;
	if (w->attached && err)
		return err;
	w->cached.version = ++w->version;
	if (w->attached) {
		vhdx_changemap_mark(&w->live, offset, length);
		testify(w);
	}
	return 0;
}

int world_write(struct world *w, u32 unit)
{
	int err = start_write(w, world_offset(unit), 512);

	if (!err)
		w->cached.content[unit] = w->version;
	return err;
}

int world_write_leaf(struct world *w, u32 leaf)
{
	int err = start_write(w, leaf * WORLD_LEAF, WORLD_LEAF);
	u32 unit;

	for (unit = 0; !err && unit < WORLD_UNITS; unit++)
		if (world_offset(unit) / WORLD_LEAF == leaf)
			w->cached.content[unit] = w->version;
	return err;
}

static int write_point(struct world *w, const struct vhdx_timeline_point *point,
		       const struct vhdx_changemap *map, const vhdx_guid *guid, bool *added)
{
	struct vhdx_delta before;
	int err;

	err = world_flush(w);
	if (err)
		return err;
	err = vhdx_sidecar_write_delta(&w->sidecar, map, &before);
	if (err)
		return err;
	err = vhdx_sidecar_add_point(&w->sidecar, point, &before);
	if (err) {
		vhdx_sidecar_drop_delta(&w->sidecar, &before);
		return err;
	}
	*added = true;
	w->sidecar.current_guid = w->cached.dwg;
	w->sidecar.next_guid = *guid;
	return vhdx_sidecar_commit(&w->sidecar);
}

int world_seal(struct world *w)
{
	const struct vhdx_timeline *timeline = &w->sidecar.timeline;
	struct vhdx_timeline_point point = { .id.kind = VHDX_POINT_REFERENCE };
	struct world_point *known = &w->points[w->point_count];
	struct vhdx_changemap old;
	vhdx_guid guid;
	bool added = false, committed = false;
	int err;

	err = activate(w);
	if (err || !w->attached || w->point_count == WORLD_POINTS)
		return err;
	guid = new_guid(w);
	memcpy(point.id.guid, &guid, sizeof(guid));
	point.id.sequence = timeline->next_sequence;
	guid = new_guid(w);
	known->id = point.id;
	memcpy(known->content, w->cached.content, sizeof(known->content));
	w->point_count++;

	old = w->live;
	err = vhdx_changemap_init(&w->live, WORLD_SIZE, WORLD_SHIFT);
	if (err) {
		w->live = old;
		known->gone = true;
		return err;
	}
	err = write_point(w, &point, &old, &guid, &added);
	if (!err) {
		committed = true;
		err = set_guid(w, &guid, WORLD_SESSION, w->cached.gap);
	}
	if (!err) {
		vhdx_sidecar_issue_point(&w->sidecar);
		w->sidecar.current_guid = guid;
		memset(&w->sidecar.next_guid, 0, sizeof(guid));
		err = vhdx_sidecar_commit(&w->sidecar);
	}
	if (!err) {
		vhdx_changemap_release(&old);
		known->given_out = true;
		return 0;
	}

	known->gone = true;
	vhdx_changemap_or(&old, &w->live);
	vhdx_changemap_release(&w->live);
	w->live = old;
	if (added)
		vhdx_sidecar_drop_last_point(&w->sidecar);
	if (committed && is_harmless(err)) {
		w->sidecar.current_guid = w->cached.dwg;
		memset(&w->sidecar.next_guid, 0, sizeof(guid));
		if (vhdx_sidecar_commit(&w->sidecar))
			err = -EIO;
	}
	return fail(w, err);
}

int world_forget(struct world *w, u32 position)
{
	const struct vhdx_timeline *timeline = &w->sidecar.timeline;
	struct vhdx_point_id id;
	u32 i;
	int err;

	if (!w->attached || timeline->count < 2)
		return 0;
	position %= timeline->count;
	id = timeline->points[position]->id;
	err = vhdx_sidecar_forget_point(&w->sidecar, position, &w->live);
	if (err)
		return fail(w, err);
	for (i = 0; i < w->point_count; i++)
		if (!memcmp(&w->points[i].id, &id, sizeof(id)))
			w->points[i].gone = true;
	err = vhdx_sidecar_commit(&w->sidecar);
	/* The gap before the newest point is in the live delta now, or almost. */
	if (w->sidecar.timeline.live.gap_reason) {
		w->cached.gap = w->sidecar.timeline.live.gap_reason;
		w->durable.gap = w->cached.gap;
		w->mixed |= !!err;
	}
	/* What is gone from memory stays gone. */
	if (is_harmless(err))
		err = -EIO;
	return err ? fail(w, err) : 0;
}

int world_checkpoint(struct world *w)
{
	u64 regions[VHDX_COARSE_SECTOR_WORDS];
	u32 i;
	int err;

	if (!w->active)
		return 0;
	for (i = 0; i < VHDX_COARSE_SECTOR_WORDS; i++)
		regions[i] = w->armed[i] & ((u64)random_next() << 32 | random_next());
	err = vhdx_sidecar_checkpoint(&w->sidecar, &w->live, regions);
	err = err ?: vhdx_sidecar_commit(&w->sidecar);
	if (err)
		return fail(w, err);
	for (i = 0; i < VHDX_COARSE_SECTOR_WORDS; i++) {
		w->armed[i] &= ~regions[i];
		w->ondisk[i] &= ~regions[i];
	}
	/* Where it fails more is told than was written. */
	write_regions(w);
	return 0;
}

int world_detach(struct world *w)
{
	vhdx_guid guid = new_guid(w);
	bool saved;
	int err;

	if (!w->active) {
		let_go(w);
		return 0;
	}
	/* What is in no region that is set was saved before. */
	err = vhdx_sidecar_checkpoint(&w->sidecar, &w->live, random_below(2) ? w->ondisk : NULL);
	saved = !err;
	if (is_harmless(err))
		err = 0;
	if (!err) {
		w->sidecar.current_guid = w->cached.dwg;
		w->sidecar.next_guid = guid;
		err = vhdx_sidecar_commit(&w->sidecar);
	}
	if (err) {
		if (!fake_store_is_off(&w->fake))
			invalidate(w);
		let_go(w);
		return err;
	}
	if (saved) {
		memset(w->ondisk, 0, sizeof(w->ondisk));
		write_regions(w);
	}
	err = set_guid(w, &guid, WORLD_CLOSED, w->sidecar.timeline.live.gap_reason);
	if (!err) {
		w->sidecar.current_guid = guid;
		memset(&w->sidecar.next_guid, 0, sizeof(guid));
		/* Failing to confirm is harmless. */
		vhdx_sidecar_commit(&w->sidecar);
	}
	let_go(w);
	return err;
}

void world_reboot(struct world *w)
{
	struct fake_store after;
	u32 unit;

	let_go(w);
	for (unit = 0; unit < WORLD_UNITS; unit++)
		if (random_below(2))
			w->durable.content[unit] = w->cached.content[unit];
	if (vhdx_guid_equal(&w->durable.dwg, &w->cached.dwg))
		w->durable.version = w->cached.version;
	w->cached = w->durable;
	fake_store_reboot(&w->fake, &after);
	fake_store_release(&w->fake);
	w->fake = after;
}

bool world_is_expected(const struct world *w, u32 gap)
{
	if (w->durable.kind == WORLD_STRANGER)
		return gap == VHDX_REASON_CHANGED_OFFLINE;
	/* A seal since then may have left the gap behind. */
	return gap == w->durable.gap || (!gap && w->durable.kind == WORLD_SESSION);
}

/* ---- the agent ---- */

static void read_answer(struct world *w, const struct vhdx_sidecar *sidecar,
			const struct vhdx_changemap *live, const struct vhdx_span *span, u32 leaf,
			u64 *words)
{
	u32 i;

	memset(words, 0, VHDX_LEAF_WORDS * sizeof(*words));
	for (i = span->first; i < span->end; i++)
		if (read_words(sidecar, &sidecar->timeline.points[i]->before, leaf, words,
			       w->cache))
			wrong(w, "a leaf can't be read", i, leaf, 0);
	if (span->live)
		vhdx_changemap_leaf_or(live, leaf, words);
}

static void check_span(struct world *w, const struct vhdx_sidecar *sidecar,
		       const struct vhdx_changemap *live, const struct world_point *from,
		       const struct vhdx_point_id *target, const u32 *content)
{
	u64 words[VHDX_LEAF_WORDS];
	struct vhdx_span span;
	u32 unit, leaf = ~0U;
	struct vhdx_diag diag = { 0 };
	int err = vhdx_timeline_span(&sidecar->timeline, &from->id, target, &span, &diag);

	if (err) {
		w->gaps++;
		if (!diag.reason || (err != -ESTALE && err != -EINVAL))
			wrong(w, "an answer is refused", -err, diag.reason, 0);
		return;
	}
	w->answers++;
	for (unit = 0; unit < WORLD_UNITS; unit++) {
		u32 bit = (world_offset(unit) >> WORLD_SHIFT) % VHDX_LEAF_UNITS;

		if (from->content[unit] == content[unit])
			continue;
		if (leaf != world_offset(unit) / WORLD_LEAF) {
			leaf = world_offset(unit) / WORLD_LEAF;
			read_answer(w, sidecar, live, &span, leaf, words);
		}
		if (!(words[bit / 64] >> (bit % 64) & 1))
			wrong(w, "an answer misses a unit", from - w->points, span.live, unit);
	}
}

void world_check(struct world *w, const struct vhdx_sidecar *sidecar,
		 const struct vhdx_changemap *live, const struct world_container *container,
		 bool complete)
{
	static const struct vhdx_point_id now;
	u32 i, j;

	/* A cache is for one sidecar, not for copies of other times. */
	vhdx_index_cache_free(w->cache);
	w->cache = vhdx_index_cache_new(WORLD_POINTS);
	for (i = 0; i < w->point_count; i++) {
		const struct world_point *from = &w->points[i];

		if (vhdx_timeline_find(&sidecar->timeline, &from->id) < 0) {
			if (complete && from->given_out && !from->gone)
				wrong(w, "a point is lost", i, 0, 0);
			continue;
		}
		check_span(w, sidecar, live, from, &now, container->content);
		for (j = 0; j < w->point_count; j++)
			if (vhdx_timeline_find(&sidecar->timeline, &w->points[j].id) >= 0)
				check_span(w, sidecar, live, from, &w->points[j].id,
					   w->points[j].content);
	}
}

bool world_has_seen(const struct world_witness *witness, const struct world_container *container)
{
	u32 i;

	for (i = 0; i < WORLD_WITNESSES; i++)
		if (vhdx_guid_equal(&witness[i].dwg, &container->dwg))
			return witness[i].version >= container->version;
	return !container->version;
}

int world_check_copy(struct world *w, const struct fake_store *fake,
		     const struct world_witness *witness,
		     const struct world_container *container)
{
	struct vhdx_diag diag = { 0 };
	struct vhdx_sidecar sidecar;
	struct vhdx_changemap live = { 0 };
	struct fake_store copy;
	int err;

	fake_store_copy(fake, &copy);
	copy.read_only = true;
	err = vhdx_sidecar_load(&sidecar, &copy.store, copy.can_grow, true, &diag);
	if (!err)
		err = vhdx_sidecar_bind(&sidecar, &disk_id, WORLD_SIZE, &container->dwg, 0, &diag);
	if (!err)
		err = vhdx_changemap_init(&live, WORLD_SIZE, WORLD_SHIFT);
	if (!err)
		err = vhdx_sidecar_load_live(&sidecar, &live, &diag);
	if (!err && (sidecar.timeline.live.gap_reason || world_has_seen(witness, container)))
		world_check(w, &sidecar, &live, container, false);
	vhdx_changemap_release(&live);
	vhdx_sidecar_release(&sidecar);
	fake_store_release(&copy);
	return err;
}
