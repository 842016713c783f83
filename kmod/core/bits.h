/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Arrays of u64 words that are maps of bits: bit n is bit n & 63 of word n >> 6.
 */
#ifndef VHDX_CORE_BITS_H
#define VHDX_CORE_BITS_H

#include "platform.h"

/* Words are in memory as they are in files. */
static inline bool vhdx_is_little_endian(void)
{
	return (__force u64)cpu_to_le64(1) == 1;
}

/* Most of most maps is all alike: four words are looked at in one go. */
#define VHDX_WORDS_AT_ONCE	4U

static inline bool vhdx_are_all(const u64 *words, u64 flip)
{
	return !((words[0] ^ flip) | (words[1] ^ flip) | (words[2] ^ flip) | (words[3] ^ flip));
}

/* The first bit at or behind @bit that is set in @words ^ @flip; @end if none before it. */
static inline u32 vhdx_find_bit(const u64 *words, u64 flip, u32 bit, u32 end)
{
	const u32 count = (end + 63) >> 6;
	u32 index = bit >> 6;
	u64 word;

	if (bit >= end)
		return end;
	word = (words[index] ^ flip) & (~0ULL << (bit & 63));
	while (!word) {
		index++;
		while (index + VHDX_WORDS_AT_ONCE <= count && vhdx_are_all(words + index, flip))
			index += VHDX_WORDS_AT_ONCE;
		if (index >= count)
			return end;
		word = words[index] ^ flip;
	}
	return min(end, (index << 6) + (u32)__ffs64(word));
}

/* How many there are, in words of either byte order. */
static inline u32 vhdx_count_bits(const u64 *words, u32 count)
{
	u32 i, sum = 0;

	for (i = 0; i < count; i++)
		sum += hweight64(words[i]);
	return sum;
}

/* @to |= @from, which others may set bits in meanwhile; @count is a multiple of four. */
static inline void vhdx_or_words(u64 *to, const u64 *from, u32 count)
{
	u64 a, b, c, d;
	u32 i;

	for (i = 0; i < count; i += VHDX_WORDS_AT_ONCE) {
		a = READ_ONCE(from[i]);
		b = READ_ONCE(from[i + 1]);
		c = READ_ONCE(from[i + 2]);
		d = READ_ONCE(from[i + 3]);
		if (!(a | b | c | d))
			continue;
		to[i] |= a;
		to[i + 1] |= b;
		to[i + 2] |= c;
		to[i + 3] |= d;
	}
}

/* The same of words as they are in files. */
static inline void vhdx_or_le_words(u64 *to, const void *from, u32 count)
{
	const __le64 *raw = from;
	u32 i;

	if (vhdx_is_little_endian()) {
		vhdx_or_words(to, from, count);
		return;
	}
	for (i = 0; i < count; i++)
		to[i] |= le64_to_cpu(raw[i]);
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
