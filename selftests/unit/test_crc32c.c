// SPDX-License-Identifier: GPL-2.0-only
#include "ktap.h"
#include "core/platform.h"

/* RFC 3720, B.4; the check value of the catalogue of CRCs is the first. */
CASE(known_values)
{
	u8 block[32];
	int i;

	EXPECT_EQ(~vhdx_crc32c(~0U, "123456789", 9), 0xe3069283U);
	memset(block, 0, sizeof(block));
	EXPECT_EQ(~vhdx_crc32c(~0U, block, sizeof(block)), 0x8a9136aaU);
	memset(block, 0xff, sizeof(block));
	EXPECT_EQ(~vhdx_crc32c(~0U, block, sizeof(block)), 0x62a8ab43U);
	for (i = 0; i < 32; i++)
		block[i] = i;
	EXPECT_EQ(~vhdx_crc32c(~0U, block, sizeof(block)), 0x46dd794eU);
}

CASE(pieces_join)
{
	u32 crc = vhdx_crc32c(~0U, "1234", 4);

	EXPECT_EQ(~vhdx_crc32c(crc, "56789", 5), 0xe3069283U);
}

SUITE("crc32c")
