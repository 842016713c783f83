/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Arrays of u64 words that are maps of bits: bit n is bit n & 63 of word n >> 6.
 */
#ifndef VHDX_CORE_BITS_H
#define VHDX_CORE_BITS_H

#include "platform.h"

/* The first bit at or behind @bit that is set in @words ^ @flip; @end if none before it. */
static inline u32 vhdx_find_bit(const u64 *words, u64 flip, u32 bit, u32 end)
{
	u32 index = bit >> 6;
	u64 word;

	if (bit >= end)
		return end;
	word = (words[index] ^ flip) & (~0ULL << (bit & 63));
	while (!word) {
		if (++index >= (end + 63) >> 6)
			return end;
		word = words[index] ^ flip;
	}
	return min(end, (index << 6) + (u32)__ffs64(word));
}

/* Set bits @from up to @end. */
static inline void vhdx_set_bits(u64 *words, u32 from, u32 end)
{
	for (; from < end && from & 63; from++)
		words[from >> 6] |= 1ULL << (from & 63);
	for (; from + 64 <= end; from += 64)
		words[from >> 6] = ~0ULL;
	for (; from < end; from++)
		words[from >> 6] |= 1ULL << (from & 63);
}

#endif
