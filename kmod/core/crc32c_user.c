// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * CRC-32C for user space; the module uses the kernel's.
 */
#include "platform.h"

#define CRC32C_POLYNOMIAL	0x82f63b78U	/* 0x1EDC6F41, bits reversed */

/* What a byte adds that has so many others behind it: eight at a time (slicing-by-8). */
static u32 table[8][256];

__attribute__((constructor))
static void fill_table(void)
{
	u32 byte, crc, behind;
	int bit;

	for (byte = 0; byte < 256; byte++) {
		crc = byte;
		for (bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? CRC32C_POLYNOMIAL : 0);
		table[0][byte] = crc;
	}
	for (behind = 1; behind < 8; behind++)
		for (byte = 0; byte < 256; byte++) {
			crc = table[behind - 1][byte];
			table[behind][byte] = (crc >> 8) ^ table[0][crc & 0xff];
		}
}

static u32 add_eight(u32 seed, const u8 *bytes)
{
	__le64 raw;
	u64 word;

	memcpy(&raw, bytes, sizeof(raw));
	word = le64_to_cpu(raw) ^ seed;
	return table[7][word & 0xff] ^ table[6][word >> 8 & 0xff] ^
	       table[5][word >> 16 & 0xff] ^ table[4][word >> 24 & 0xff] ^
	       table[3][word >> 32 & 0xff] ^ table[2][word >> 40 & 0xff] ^
	       table[1][word >> 48 & 0xff] ^ table[0][word >> 56];
}

u32 vhdx_crc32c(u32 seed, const void *data, size_t length)
{
	const u8 *byte = data;

	for (; length >= 8; length -= 8, byte += 8)
		seed = add_eight(seed, byte);
	while (length--)
		seed = (seed >> 8) ^ table[0][(seed ^ *byte++) & 0xff];
	return seed;
}
