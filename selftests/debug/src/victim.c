// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damage that needs no knowledge of what the bytes mean, and numbers that hurt.
 */
#include <string.h>

#include "core/vhdx/ondisk.h"
#include "victim.h"

/**
 * victim_survey() - find out where a good container has its structures
 * @v:	bytes and size are there
 */
void victim_survey(struct victim *v)
{
	const vhdx_guid bat = VHDX_REGION_BAT;
	uint64_t header = VHDX_HEADER_OFFSET_1;
	unsigned int i;

	if (victim_get(v, VHDX_HEADER_OFFSET_2 + 8, 8) > victim_get(v, header + 8, 8))
		header = VHDX_HEADER_OFFSET_2;
	v->log_length = victim_get(v, header + 68, 4);
	v->log = victim_get(v, header + 72, 8);
	for (i = 0; i < victim_get(v, VHDX_REGION_TABLE_OFFSET_1 + 8, 4); i++) {
		uint64_t entry = VHDX_REGION_TABLE_OFFSET_1 + 16 + 32 * i;

		if (!memcmp(v->bytes + entry, &bat, sizeof(bat))) {
			v->bat = victim_get(v, entry + 16, 8);
			v->bat_length = victim_get(v, entry + 24, 4);
		} else {
			v->metadata = victim_get(v, entry + 16, 8);
		}
	}
}

/**
 * victim_place() - an offset where something begins or ends
 * @v:	a container
 */
uint64_t victim_place(const struct victim *v)
{
	const uint64_t places[] = {
		0, VHDX_HEADER_OFFSET_1, VHDX_HEADER_OFFSET_2, VHDX_REGION_TABLE_OFFSET_1,
		VHDX_REGION_TABLE_OFFSET_2, MIB, v->log, v->bat, v->metadata,
		v->size, v->size - MIB, v->size + MIB, v->size & ~(MIB - 1),
	};

	return places[random_below(sizeof(places) / sizeof(*places))];
}

/**
 * interesting() - a number for a field
 * @v:		where the field is
 * @width:	in bytes
 * @now:	what it holds
 */
uint64_t interesting(const struct victim *v, unsigned int width, uint64_t now)
{
	unsigned int bits = 8 * width;
	uint64_t value;

	switch (random_below(8)) {
	case 0:
		return random_below(3) - 1;
	case 1:
		value = 1ULL << random_below(bits);
		return value + random_below(3) - 1;
	case 2:
		return ~0ULL >> (64 - bits) >> random_below(bits);
	case 3:
		return now + random_below(5) - 2;
	case 4:
		return one_in(2) ? now << (1 + random_below(4)) : now >> (1 + random_below(4));
	case 5:
		return now ^ 1ULL << random_below(bits);
	case 6:
		return victim_place(v) + (one_in(4) ? random_below(3) - 1 : 0);
	default:
		return random_next() >> random_below(64);
	}
}

/* Not past the head of the file so often that nothing else is hit. */
static uint64_t somewhere(const struct victim *v, uint64_t length)
{
	uint64_t end = v->size > length ? v->size - length : 0;

	if (end > 4 * MIB && !one_in(4))
		end = 4 * MIB;
	return random_below(end + 1);
}

static void flip(struct victim *v)
{
	unsigned int n = 1 + random_below(8);
	uint64_t at = somewhere(v, PAGE);

	while (n--)
		victim_put(v, at + random_below(one_in(2) ? 64 : PAGE), 1, random_next());
}

/* Of one structure to the place of another, or of one version to another. */
static void move(struct victim *v)
{
	static const uint64_t lengths[] = { 512, PAGE, 64 * KIB, MIB };
	uint64_t length = lengths[random_below(4)];
	uint64_t from = somewhere(v, length) & ~(length - 1);
	uint64_t to = somewhere(v, length) & ~(length - 1);
	static uint8_t saved[MIB];

	if (!victim_has(v, from, length) || !victim_has(v, to, length))
		return;
	memcpy(saved, v->bytes + to, length);
	memmove(v->bytes + to, v->bytes + from, length);
	if (one_in(2))
		memcpy(v->bytes + from, saved, length);
}

static void resize(struct victim *v)
{
	uint64_t size = one_in(2) ? victim_place(v) : random_below(v->size + 2 * MIB);

	if (one_in(2))
		size &= ~(PAGE - 1);
	if (size > VICTIM_MAX)
		return;
	if (size > v->size)
		memset(v->bytes + v->size, 0, size - v->size);
	v->size = size;
}

static void fill(struct victim *v)
{
	static const uint64_t lengths[] = { 16, 512, PAGE, 64 * KIB };
	uint64_t length = lengths[random_below(4)];
	uint64_t at = somewhere(v, length) & ~(length - 1);

	if (victim_has(v, at, length))
		memset(v->bytes + at, one_in(2) ? 0 : (int)random_below(256), length);
}

/**
 * damage_anything() - damage it without regard to structure
 * @v:	any victim
 */
void damage_anything(struct victim *v)
{
	static void (*const ways[])(struct victim *) = { flip, flip, move, resize, fill };

	ways[random_below(5)](v);
}
