/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Random numbers that are the same in every run: splitmix64.
 */
#ifndef VHDX_UNIT_RANDOM_H
#define VHDX_UNIT_RANDOM_H

#include <stdint.h>

extern _Thread_local uint64_t random_state;	/* random.c */

static inline void random_seed(uint64_t seed)
{
	random_state = seed;
}

static inline uint64_t random_next(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* 0 … limit - 1; @limit is not zero. */
static inline uint64_t random_below(uint64_t limit)
{
	return random_next() % limit;
}

#endif
