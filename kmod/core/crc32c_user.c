// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * CRC-32C for user space; the module uses the kernel's.
 */
#include "platform.h"

#define CRC32C_POLYNOMIAL	0x82f63b78U	/* 0x1EDC6F41, bits reversed */

static u32 table[256];

__attribute__((constructor))
static void fill_table(void)
{
	u32 byte, crc;
	int bit;

	for (byte = 0; byte < 256; byte++) {
		crc = byte;
		for (bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? CRC32C_POLYNOMIAL : 0);
		table[byte] = crc;
	}
}

u32 vhdx_crc32c(u32 seed, const void *data, size_t length)
{
	const u8 *byte = data;

	while (length--)
		seed = (seed >> 8) ^ table[(seed ^ *byte++) & 0xff];
	return seed;
}
