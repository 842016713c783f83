/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A victim: a container or a sidecar in memory, which is damaged and then written out.
 */
#ifndef VHDX_FUZZ_VICTIM_H
#define VHDX_FUZZ_VICTIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "random.h"

#define KIB			1024ULL
#define MIB			(1024 * KIB)
#define PAGE			4096ULL

/* Larger than any victim becomes by damage. */
#define VICTIM_MAX		(64 * MIB)

/* Of one child, as far as they are damaged by name. */
#define VICTIM_BITMAPS		4

/**
 * struct victim - what is damaged
 * @bytes:	VICTIM_MAX of them
 * @size:	how many count
 * @log, @bat, @metadata: where these are, for a container; as the original has them
 * @locator:	of a child: the parent locator
 * @bitmaps:	of a child: entries of the BAT that are of sector bitmap blocks in use
 */
struct victim {
	uint8_t *bytes;
	uint64_t size;
	uint64_t log, log_length;
	uint64_t bat, bat_length;
	uint64_t metadata;
	uint64_t locator, locator_length;
	uint64_t bitmaps[VICTIM_BITMAPS];
	unsigned int bitmap_count;
};

/* A field of a structure: where, and how wide. */
struct field {
	unsigned short offset;
	unsigned short width;
};

static inline bool victim_has(const struct victim *v, uint64_t offset, uint64_t length)
{
	return offset <= v->size && length <= v->size - offset;
}

static inline uint64_t victim_get(const struct victim *v, uint64_t offset, unsigned int width)
{
	uint64_t value = 0;

	if (victim_has(v, offset, width))
		__builtin_memcpy(&value, v->bytes + offset, width);
	return value;
}

static inline void victim_put(struct victim *v, uint64_t offset, unsigned int width,
			      uint64_t value)
{
	if (victim_has(v, offset, width))
		__builtin_memcpy(v->bytes + offset, &value, width);
}

static inline bool one_in(unsigned int n)
{
	return !random_below(n);
}

/* victim.c */
void victim_survey(struct victim *v);
uint64_t victim_place(const struct victim *v);
uint64_t interesting(const struct victim *v, unsigned int width, uint64_t now);
void damage_anything(struct victim *v);

/* container.c */
void damage_field(struct victim *v, uint64_t base, const struct field *fields,
		  unsigned int count);
void damage_container(struct victim *v);
void repair_container(struct victim *v);

#define DAMAGE_FIELD(v, base, fields) damage_field(v, base, fields, ARRAY_SIZE(fields))

/* child.c */
void survey_child(struct victim *v);
void damage_child(struct victim *v);

/* sidecar.c */
void damage_sidecar(struct victim *v);
void repair_sidecar(struct victim *v);

#endif
