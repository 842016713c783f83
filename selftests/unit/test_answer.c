// SPDX-License-Identifier: GPL-2.0-only
#include "ktap.h"
#include "random.h"
#include "core/rct/answer.h"

/* Leaves of a small disk in memory; one source ORs two maps, as a span does. */
#define LEAVES		3
#define SHIFT		12
#define LEAF_BYTES	((u64)VHDX_LEAF_UNITS << SHIFT)

struct model {
	u64 size;
	u8 bits[2][LEAVES * VHDX_LEAF_UNITS / 8];
	bool finds_empty;
	bool fills;
	bool lends;
	u32 calls;
	int error;
};

static struct model model;
static struct vhdx_leaf_bits units;
/* Of the question. */
static u32 granule_shift = SHIFT;
static u64 min_gap;
/* Leaves that were lent. */
static u32 lendings;
/* At once. */
static u32 most_lent;

static int model_read(void *context, u32 leaf, struct vhdx_leaf_bits *into)
{
	struct model *m = context;
	u64 from[VHDX_LEAF_WORDS];
	u32 i, map;

	m->calls++;
	if (m->error)
		return m->error;
	for (map = 0; map < 2; map++) {
		for (i = 0; i < VHDX_LEAF_WORDS; i++) {
			const u8 *byte = m->bits[map] + leaf * VHDX_PAGE + i * 8;
			u64 word = 0;
			u32 j;

			for (j = 8; j--;)
				word = word << 8 | byte[j];
			from[i] = word;
		}
		vhdx_leaf_bits_or(into, from, vhdx_leaf_bits_groups_of(from));
	}
	return 0;
}

static bool model_changed(const struct model *m, u64 unit)
{
	return (m->bits[0][unit / 8] | m->bits[1][unit / 8]) >> (unit % 8) & 1;
}

/* What is in memory says nothing of leaves: one that is empty may be found, too. */
static int model_find(void *context, u32 leaf, u32 *end)
{
	struct model *m = context;

	if (m->error)
		return m->error;
	while (leaf < *end && !memchr_inv(m->bits[0] + leaf * VHDX_PAGE, 0, VHDX_PAGE) &&
	       !memchr_inv(m->bits[1] + leaf * VHDX_PAGE, 0, VHDX_PAGE) &&
	       !(m->finds_empty && leaf % 2))
		leaf++;
	*end = leaf;
	return 0;
}

static bool is_full(const struct model *m, u32 leaf)
{
	u32 i;

	for (i = leaf * VHDX_PAGE; i < (leaf + 1) * VHDX_PAGE; i++)
		if ((m->bits[0][i] | m->bits[1][i]) != 0xff)
			return false;
	return true;
}

static int model_fill(void *context, u32 leaf, u32 *end)
{
	struct model *m = context;

	while (m->fills && leaf < *end && is_full(m, leaf))
		leaf++;
	*end = leaf;
	return 0;
}

/* Where only one map has it. */
static int lend_one(struct model *m, u32 leaf, struct vhdx_lent_leaf *lent)
{
	const u8 *first = m->bits[0] + leaf * VHDX_PAGE, *second = m->bits[1] + leaf * VHDX_PAGE;

	if (!m->lends || (memchr_inv(first, 0, VHDX_PAGE) && memchr_inv(second, 0, VHDX_PAGE)))
		return 0;
	lent->page = vhdx_shared_new();
	if (!lent->page)
		return -ENOMEM;
	memcpy(lent->page, memchr_inv(first, 0, VHDX_PAGE) ? first : second, VHDX_PAGE);
	lent->units = vhdx_count_bits(lent->page, VHDX_LEAF_WORDS);
	lendings++;
	return 1;
}

static int model_lend(void *context, u32 leaf, struct vhdx_lent_leaf *lent, u32 count)
{
	struct model *m = context;
	int ret = m->error;
	u32 i;

	for (i = 0; !ret && i < count; i++) {
		EXPECT(leaf + i < LEAVES);
		ret = lend_one(m, leaf + i, &lent[i]);
		if (ret <= 0)
			break;
		ret = 0;
	}
	most_lent = max(most_lent, i);
	return i ? (int)i : ret;
}

static const struct vhdx_leaf_source model_source = {
	.find = model_find,
	.lend = model_lend,
	.fill = model_fill,
	.read = model_read,
};

/* Nothing counts of what was there before. */
static void poison(void *memory, size_t size)
{
	memset(memory, 0xa5, size);
}

static void model_set(struct model *m, u64 unit, u64 count)
{
	while (count--) {
		m->bits[random_below(2)][unit / 8] |= 1 << (unit % 8);
		unit++;
	}
}

/* Is anything of a granule changed, as far as [begin, end) has it? */
static bool granule_changed(const struct model *m, u64 at, u32 shift, u64 begin, u64 end)
{
	u64 unit = max(begin, at >> shift << shift) >> SHIFT;
	u64 last = (min(end, ((at >> shift) + 1) << shift) - 1) >> SHIFT;

	while (unit <= last)
		if (model_changed(m, unit++))
			return true;
	return false;
}

/* What the answer for [offset, end) must be, bit by bit. */
static u32 model_answer(const struct model *m, u64 offset, u64 end, struct vhdx_range *ranges)
{
	const u64 begin = offset;
	u32 count = 0;

	while (offset < end) {
		u64 next = min(end, ((offset >> granule_shift) + 1) << granule_shift);

		if (granule_changed(m, offset, granule_shift, begin, end)) {
			struct vhdx_range *last = ranges + count - 1;

			if (count && offset - last->byte_offset - last->byte_length <
				     max(min_gap, (u64)1))
				last->byte_length = next - last->byte_offset;
			else
				ranges[count++] = (struct vhdx_range) {
					.byte_offset = offset,
					.byte_length = next - offset,
				};
		}
		offset = next;
	}
	return count;
}

static void make_model(u64 size, u32 density)
{
	u64 units = (size + (1 << SHIFT) - 1) >> SHIFT;
	u32 i;

	memset(&model, 0, sizeof(model));
	model.size = size;
	for (i = 0; i < density; i++) {
		u64 unit = random_below(units);

		model_set(&model, unit, min(units - unit,
					    random_below(random_below(8) ? 40 : 3000) + 1));
	}
	/* Runs that cross every leaf boundary, and both ends of the disk. */
	for (i = 1; i < LEAVES && density; i++)
		if (i * VHDX_LEAF_UNITS < units && random_below(2))
			model_set(&model, i * VHDX_LEAF_UNITS - 3,
				  min(6, units - i * VHDX_LEAF_UNITS + 3));
	if (density && random_below(2))
		model_set(&model, 0, 1);
	if (density && random_below(2))
		model_set(&model, units - 1, 1);
}

#define MOST	8192
static struct vhdx_range expected[MOST], got[MOST];

/*
 * Ask for [offset, end) as the driver does: arrays of @capacity, each query going on
 * where the last one stopped, in steps of at most @step bytes. The ranges are put
 * together as a caller would.
 */
static u32 ask(u64 offset, u64 end, u32 capacity, u64 step)
{
	const u32 size = capacity & 1 ? VHDX_RANGE_SIZE_VER0 : sizeof(struct vhdx_range);
	u32 total = 0;

	while (offset < end) {
		struct vhdx_range chunk[64];
		struct vhdx_answer answer = {
			.form = &vhdx_answer_ranges,
			.begin = offset,
			.offset = offset,
			.end = min(end, offset + step),
			.unit_shift = SHIFT,
			.granule_shift = granule_shift,
			.ranges.min_gap = min_gap,
			.ranges.array = chunk,
			.ranges.size = size,
			.ranges.capacity = capacity,
			.units = &units,
		};
		u64 begin = offset, sum = 0, behind = 0;
		u32 i;
		int more;

		poison(&units, sizeof(units));

		do {
			u64 before = answer.offset;
			bool room = answer.ranges.count < capacity;

			more = vhdx_answer_leaf(&answer, &model_source, &model);
			if (room && before < answer.end)
				EXPECT(answer.offset > before);
		} while (more > 0);
		if (!EXPECT_EQ(more, 0) || !EXPECT(answer.offset > offset))
			return 0;
		for (i = 0; i < answer.ranges.count; i++) {
			const struct vhdx_range *range = vhdx_ranges_at(&answer.ranges, i);
			struct vhdx_range *last = got + total - 1;

			EXPECT(range->byte_length > 0);
			EXPECT(range->byte_offset >= begin);
			EXPECT(range->byte_offset + range->byte_length <= answer.offset);
			if (i)
				EXPECT(range->byte_offset >= behind + max(min_gap, (u64)1));
			behind = range->byte_offset + range->byte_length;
			sum += range->byte_length;
			if (total && last->byte_offset + last->byte_length == range->byte_offset)
				last->byte_length += range->byte_length;
			else
				memcpy(&got[total++], range, size);
		}
		EXPECT_EQ(answer.ranges.sum, sum);
		offset = answer.offset;
	}
	return total;
}

static void compare(u64 offset, u64 end, u32 capacity, u64 step)
{
	u32 count = model_answer(&model, offset, end, expected);
	u32 is = ask(offset, end, capacity, step);

	if (!EXPECT_EQ(is, count) || !EXPECT(!memcmp(got, expected, count * sizeof(*got))))
		printf("# offset %llu end %llu capacity %u step %llu\n",
		       (unsigned long long)offset, (unsigned long long)end, capacity,
		       (unsigned long long)step);
}

CASE(every_way_of_cutting_gives_the_same_union)
{
	static const u32 capacities[] = { 1, 2, 3, 7, 64 };
	u32 round, i;

	random_seed(1);
	for (round = 0; round < 60; round++) {
		u64 size = LEAVES * LEAF_BYTES - random_below(2 * LEAF_BYTES / 512) * 512;

		make_model(size, random_below(5) * random_below(60));
		for (i = 0; i < ARRAY_SIZE(capacities); i++) {
			u64 offset = random_below(size);
			u64 end = offset + random_below(size - offset + 1);

			compare(0, size, capacities[i], size);
			compare(offset, end, capacities[i], random_below(LEAF_BYTES) + 1);
			compare(offset, end, capacities[i], size);
		}
	}
}

CASE(an_empty_disk_has_no_ranges_and_reads_nothing)
{
	make_model(LEAVES * LEAF_BYTES, 0);
	EXPECT_EQ(ask(0, model.size, 4, model.size), 0);
	EXPECT_EQ(model.calls, 0);
}

CASE(a_leaf_of_many_ranges_is_read_once)
{
	struct vhdx_range chunk[16];
	struct vhdx_answer answer = {
		.form = &vhdx_answer_ranges, .end = LEAF_BYTES,
		.unit_shift = SHIFT, .granule_shift = SHIFT,
		.ranges = { .array = chunk, .size = sizeof(chunk[0]), .capacity = 16 },
		.units = &units,
	};
	u32 told = 0;

	make_model(LEAF_BYTES, 0);
	memset(model.bits[0], 0x55, VHDX_PAGE);
	/* As the driver does: what was told is taken out, but for what may go on. */
	while (answer.offset < answer.end && told < VHDX_LEAF_UNITS) {
		EXPECT(vhdx_answer_leaf(&answer, &model_source, &model) >= 0);
		told += answer.ranges.count - 1;
		chunk[0] = chunk[answer.ranges.count - 1];
		answer.ranges.count = 1;
	}
	EXPECT_EQ(told + 1, VHDX_LEAF_UNITS / 2);
	EXPECT_EQ(answer.ranges.sum, LEAF_BYTES / 2);
	EXPECT_EQ(model.calls, 1);
}

CASE(granules_are_told_as_a_whole)
{
	static const u32 capacities[] = { 1, 2, 7, 64 };
	u32 round, i;

	random_seed(3);
	for (round = 0; round < 60; round++) {
		u64 size = LEAVES * LEAF_BYTES - random_below(2 * LEAF_BYTES / 512) * 512;
		u64 offset = random_below(size);
		u64 end = offset + random_below(size - offset + 1);

		granule_shift = SHIFT + 1 + random_below(20);
		make_model(size, random_below(5) * random_below(60));
		model.finds_empty = random_below(2);
		for (i = 0; i < ARRAY_SIZE(capacities); i++) {
			compare(0, size, capacities[i], size);
			/* The next question goes on where a granule ends. */
			compare(offset, end, capacities[i], size);
		}
	}
	granule_shift = SHIFT;
}

static u64 covered(const struct vhdx_range *some, u32 count, u64 from, u64 to)
{
	u64 sum = 0;

	for (; count--; some++) {
		u64 begin = max(from, some->byte_offset);
		u64 end = min(to, some->byte_offset + some->byte_length);

		sum += begin < end ? end - begin : 0;
	}
	return sum;
}

/* All that changed is told, and of the rest only what lies in small gaps. */
static void compare_with_gaps(u64 offset, u64 end, u32 capacity)
{
	static struct vhdx_range exact[MOST];
	u64 gap = min_gap;
	u32 is, count, i;

	is = ask(offset, end, capacity, end);
	count = model_answer(&model, offset, end, expected);
	for (i = 0; i < is; i++)
		EXPECT_EQ(covered(expected, count, got[i].byte_offset,
				  got[i].byte_offset + got[i].byte_length), got[i].byte_length);
	if (capacity == 64 && count <= 64)
		EXPECT(is == count && !memcmp(got, expected, count * sizeof(*got)));
	min_gap = 0;
	count = model_answer(&model, offset, end, exact);
	min_gap = gap;
	for (i = 0; i < count; i++)
		EXPECT_EQ(covered(got, is, exact[i].byte_offset,
				  exact[i].byte_offset + exact[i].byte_length),
			  exact[i].byte_length);
}

CASE(small_gaps_are_told_too)
{
	u32 round;

	random_seed(4);
	for (round = 0; round < 200; round++) {
		u64 size = LEAVES * LEAF_BYTES - random_below(2 * LEAF_BYTES / 512) * 512;
		u64 offset = random_below(size);
		u64 end = offset + random_below(size - offset + 1);

		min_gap = 1 + random_below(1ULL << random_below(30));
		/* And just what lies between two units. */
		if (random_below(2))
			min_gap = ((1 + random_below(40)) << SHIFT) + random_below(2);
		granule_shift = SHIFT + random_below(3) * random_below(8);
		make_model(size, random_below(5) * random_below(60));
		compare_with_gaps(offset, end, 1 + random_below(8));
		compare_with_gaps(offset, end, 64);
	}
	min_gap = 0;
	granule_shift = SHIFT;
}

/* A gap is as large as the least one that is not small, or a byte short of it. */
CASE(gaps_are_compared_exactly)
{
	u32 i;

	make_model(LEAF_BYTES, 0);
	for (i = 0; i < 8; i++)
		model_set(&model, 10 * i, 5);
	min_gap = 5 << SHIFT;
	EXPECT_EQ(ask(0, model.size, 64, model.size), 8);
	min_gap++;
	EXPECT_EQ(ask(0, model.size, 64, model.size), 1);
	EXPECT_EQ(got[0].byte_length, 75 << SHIFT);
	min_gap = 0;
}

static const struct vhdx_answer_form *form_of_bits(void)
{
	return granule_shift == SHIFT ? &vhdx_answer_bits : &vhdx_answer_folded;
}

/* What was told of bits. */
static u8 told[LEAVES * VHDX_LEAF_UNITS / 8];
static u32 told_words;

static int hear(void *context, const void *words, u32 count)
{
	u8 *to = told + 8 * told_words;

	(void)context;
	told_words += count;
	if (!EXPECT(told_words <= sizeof(told) / 8))
		return -E2BIG;
	if (words)
		memcpy(to, words, 8 * count);
	else
		memset(to, 0, 8 * count);
	return 0;
}

/* A disk all of which changed, however large it is. */
static int find_all(void *context, u32 leaf, u32 *end)
{
	(void)context;
	*end = leaf;
	return 0;
}

static int fill_all(void *context, u32 leaf, u32 *end)
{
	(void)context;
	(void)leaf;
	(void)end;
	return 0;
}

static int count_words(void *context, const void *words, u32 count)
{
	(void)words;
	*(u64 *)context += count;
	return 0;
}

CASE(more_units_than_32_bits_count)
{
	static const struct vhdx_leaf_source all = { .find = find_all, .fill = fill_all };
	const u64 size = 4ULL << 40;
	struct vhdx_answer answer = {
		.form = &vhdx_answer_bits, .unit_shift = 9, .granule_shift = 9, .units = &units,
	};
	u64 words = 0;

	ASSERT_EQ(vhdx_answer_bits_room(&answer), 0);
	vhdx_answer_bits_begin(&answer, size);
	while (vhdx_answer_leaf(&answer, &all, NULL) > 0)
		;
	EXPECT_EQ(vhdx_answer_bits_tell(&answer, count_words, &words), 0);
	EXPECT_EQ(answer.offset, size);
	EXPECT_EQ(answer.changed, size);
	EXPECT_EQ(words, size >> 9 >> 6);
	vhdx_answer_bits_release(&answer);
}

/* [offset, end) in windows that are as large as there is room, or end where the caller's does. */
static void compare_bits(u64 offset, u64 end, u64 step)
{
	struct vhdx_answer answer = {
		.form = form_of_bits(), .offset = offset,
		.unit_shift = SHIFT, .granule_shift = granule_shift, .units = &units,
	};
	u64 sum = 0;

	poison(&units, sizeof(units));
	ASSERT_EQ(vhdx_answer_bits_room(&answer), 0);
	while (answer.offset < end) {
		u64 i, from = answer.offset;
		int more;

		poison(told, sizeof(told));
		told_words = 0;
		vhdx_answer_bits_begin(&answer, min(end, answer.offset + step));
		do {
			more = vhdx_answer_leaf(&answer, &model_source, &model);
		} while (more > 0);
		EXPECT_EQ(more, 0);
		EXPECT(vhdx_answer_bits_are_full(&answer));
		EXPECT_EQ(vhdx_answer_bits_tell(&answer, hear, NULL), 0);
		EXPECT(told_words && answer.offset > from);
		EXPECT_EQ(answer.begin, answer.offset);
		for (i = 0; i < 64ULL * told_words; i++) {
			u64 at = from + (i << granule_shift);
			bool is = told[i / 8] >> (i % 8) & 1;
			bool should = at < answer.offset &&
				      granule_changed(&model, at, granule_shift, from,
						      answer.offset);

			if (!EXPECT_EQ(is, should))
				goto out;
			if (is)
				sum += min(answer.offset - at, 1ULL << granule_shift);
		}
	}
	EXPECT_EQ(answer.changed, sum);
out:
	vhdx_answer_bits_release(&answer);
}

CASE(bits_say_the_same)
{
	u32 round;

	random_seed(5);
	for (round = 0; round < 60; round++) {
		u64 size = LEAVES * LEAF_BYTES - random_below(2 * LEAF_BYTES / 512) * 512;
		u64 word, offset, end;

		granule_shift = SHIFT + random_below(2) * random_below(12);
		word = 64ULL << granule_shift;
		offset = random_below(size) / word * word;
		end = offset + random_below(size - offset + 1);
		make_model(size, random_below(5) * random_below(60));
		model.finds_empty = random_below(2);
		model.fills = random_below(2);
		model.lends = random_below(2);
		if (random_below(2))
			memset(model.bits[random_below(2)] + random_below(LEAVES) * VHDX_PAGE, 0xff,
			       VHDX_PAGE);
		if (random_below(2))
			memset(model.bits[random_below(2)], 0, sizeof(model.bits[0]));
		compare_bits(0, size, size);
		compare_bits(offset, end, size);
		compare_bits(offset, end, word * (1 + random_below(2000)));
	}
	EXPECT(lendings > 0);
	EXPECT(most_lent > 1);
	granule_shift = SHIFT;
}

/* Out of time in the middle of a word, as a granule of the last leaf may be. */
CASE(bits_that_end_early_are_whole_words)
{
	struct vhdx_answer answer = {
		.form = &vhdx_answer_folded, .unit_shift = SHIFT, .granule_shift = SHIFT + 11,
		.units = &units,
	};

	told_words = 0;
	ASSERT_EQ(vhdx_answer_bits_room(&answer), 0);
	make_model(LEAVES * LEAF_BYTES, 0);
	memset(model.bits[0], 0xff, sizeof(model.bits[0]));
	vhdx_answer_bits_begin(&answer, model.size);
	EXPECT_EQ(vhdx_answer_leaf(&answer, &model_source, &model), 1);
	EXPECT_EQ(answer.offset, LEAF_BYTES);
	EXPECT_EQ(vhdx_answer_bits_tell(&answer, hear, NULL), 0);
	EXPECT_EQ(told_words, 0);
	EXPECT_EQ(answer.offset, 0);
	EXPECT_EQ(answer.changed, 0);
	vhdx_answer_bits_release(&answer);
}

CASE(a_fully_changed_disk_is_one_range_even_with_capacity_one)
{
	make_model(LEAVES * LEAF_BYTES - 512, 0);
	memset(model.bits[0], 0xff, sizeof(model.bits[0]));
	EXPECT_EQ(ask(0, model.size, 1, model.size), 1);
	EXPECT_EQ(got[0].byte_offset, 0);
	EXPECT_EQ(got[0].byte_length, model.size);
	EXPECT_EQ(model.calls, LEAVES);
}

CASE(stops_behind_the_last_range_that_fitted)
{
	struct vhdx_range range;
	struct vhdx_answer answer = {
		.form = &vhdx_answer_ranges,
		.end = 2 * LEAF_BYTES, .unit_shift = SHIFT, .granule_shift = SHIFT,
		.ranges = { .array = &range, .size = sizeof(range), .capacity = 1 },
		.units = &units,
	};

	make_model(2 * LEAF_BYTES, 0);
	model.bits[0][0] = 0x6;		/* units 1 and 2 */
	model.bits[1][8] = 0x1;		/* unit 64 */
	EXPECT_EQ(vhdx_answer_leaf(&answer, &model_source, &model), 0);
	EXPECT_EQ(answer.ranges.count, 1);
	EXPECT_EQ(answer.offset, 3 << SHIFT);
	EXPECT_EQ(range.byte_offset, 1 << SHIFT);
	EXPECT_EQ(range.byte_length, 2 << SHIFT);
}

CASE(an_array_full_at_the_end_of_a_leaf_joins_or_stops)
{
	struct vhdx_range range;
	struct vhdx_answer answer = {
		.form = &vhdx_answer_ranges,
		.end = 2 * LEAF_BYTES, .unit_shift = SHIFT, .granule_shift = SHIFT,
		.ranges = { .array = &range, .size = sizeof(range), .capacity = 1 },
		.units = &units,
	};

	make_model(2 * LEAF_BYTES, 0);
	model.bits[0][VHDX_PAGE - 1] = 0x80;
	EXPECT_EQ(vhdx_answer_leaf(&answer, &model_source, &model), 1);
	EXPECT_EQ(answer.offset, LEAF_BYTES);
	answer.known = VHDX_LEAF_UNKNOWN;
	model.bits[0][VHDX_PAGE] = 0x02;	/* not the neighbour */
	EXPECT_EQ(vhdx_answer_leaf(&answer, &model_source, &model), 0);
	EXPECT_EQ(answer.offset, LEAF_BYTES);
	answer.known = VHDX_LEAF_UNKNOWN;
	model.bits[0][VHDX_PAGE] = 0x03;
	EXPECT_EQ(vhdx_answer_leaf(&answer, &model_source, &model), 0);
	/* That there is nothing behind it is known, too. */
	EXPECT_EQ(answer.offset, 2 * LEAF_BYTES);
	EXPECT_EQ(answer.ranges.count, 1);
	EXPECT_EQ(range.byte_length, 3 << SHIFT);
}

CASE(sums_need_no_room)
{
	u32 round;

	random_seed(2);
	for (round = 0; round < 60; round++) {
		struct vhdx_answer answer = {
			.form = &vhdx_answer_ranges,
			.unit_shift = SHIFT, .granule_shift = SHIFT, .units = &units,
		};
		u64 size = LEAVES * LEAF_BYTES - random_below(2 * LEAF_BYTES / 512) * 512;
		u64 sum = 0;
		u32 count;

		make_model(size, random_below(5) * random_below(60));
		answer.begin = random_below(size);
		answer.offset = answer.begin;
		answer.end = answer.offset + random_below(size - answer.offset) + 1;
		count = model_answer(&model, answer.offset, answer.end, expected);
		while (count--)
			sum += expected[count].byte_length;
		while (vhdx_answer_leaf(&answer, &model_source, &model) > 0)
			;
		EXPECT_EQ(answer.offset, answer.end);
		EXPECT_EQ(answer.ranges.sum, sum);
		EXPECT_EQ(answer.ranges.count, 0);
	}
}

CASE(an_error_of_the_source_is_passed_on)
{
	struct vhdx_answer answer = {
		.form = &vhdx_answer_ranges, .end = LEAF_BYTES,
		.unit_shift = SHIFT, .granule_shift = SHIFT, .units = &units,
	};

	make_model(LEAF_BYTES, 0);
	model.error = -EUCLEAN;
	EXPECT_EQ(vhdx_answer_leaf(&answer, &model_source, &model), -EUCLEAN);
	EXPECT_EQ(answer.offset, 0);
}

CASE(nothing_asked_is_done)
{
	struct vhdx_answer answer = { .offset = 512, .end = 512, .unit_shift = SHIFT };

	EXPECT_EQ(vhdx_answer_leaf(&answer, NULL, NULL), 0);
}

SUITE("answer")
