// SPDX-License-Identifier: GPL-2.0-only
/*
 * VHD Sets. An input is what is at 0x10000, at 0x20000 and from 0x40000 on, where it is wanted; its
 * first byte tells which checksums are made right, and how long the file is.
 */
#include "core/utf8.h"
#include "sparse.h"
#include "../../userspace/lib/vhds.h"

#define HEADER	4096
#define PART	64	/* of a header, the rest is zero */
#define CRC_AT	0x14
#define NAMES	0x40000ULL

static const u8 *parts;
static size_t parts_length;
static u8 headers[2][HEADER];

static int read_set(struct vhdx_store *store, u64 offset, void *buf, size_t length)
{
	u8 *to = buf;

	MUST(length && length <= HEADER);
	for (size_t i = 0; i < length; i++, offset++) {
		to[i] = 0;
		if (offset >= store->size)
			continue;
		if (offset >= NAMES && offset - NAMES < parts_length)
			to[i] = parts[offset - NAMES];
		else if (offset >= 0x10000 && offset < 0x10000 + HEADER)
			to[i] = headers[0][offset - 0x10000];
		else if (offset >= 0x20000 && offset < 0x20000 + HEADER)
			to[i] = headers[1][offset - 0x20000];
	}
	return 0;
}

static void take_header(int slot, bool sealed)
{
	const size_t length = parts_length < PART ? parts_length : PART;
	u32 crc;

	memset(headers[slot], 0, HEADER);
	memcpy(headers[slot], parts, length);
	parts += length;
	parts_length -= length;
	if (!sealed)
		return;
	memset(headers[slot] + CRC_AT, 0, 4);
	crc = cpu_to_le32(~vhdx_crc32c(~0U, headers[slot], HEADER));
	memcpy(headers[slot] + CRC_AT, &crc, sizeof(crc));
}

static void check_name(const char *name)
{
	u32 character;
	size_t bytes;

	MUST(*name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
	for (; *name; name += bytes) {
		bytes = vhdx_utf8_decode((const u8 *)name, strlen(name), &character);
		MUST(bytes && character >= ' ' && character != 0x7f);
		MUST(character != '/' && character != '\\' && character != ':');
	}
}

int LLVMFuzzerTestOneInput(const u8 *input, size_t length)
{
	struct vhdx_store store = { .size = NAMES + 0x1000, .read = read_set };
	struct vhdx_diag diag = { 0 };
	struct vhds set;
	u8 how = length ? input[0] : 0;
	int err;

	parts = input + !!length;
	parts_length = length - !!length;
	take_header(0, how & 1);
	take_header(1, how & 2);
	if (how & 4)
		store.size = NAMES + parts_length;
	if (how & 8)
		store.size = (u64)how << 12;
	err = vhds_read(&store, &set, &diag);
	if (!err)
		check_name(set.name);
	else
		MUST((err == -EUCLEAN || err == -EOPNOTSUPP) && diag.text[0]);
	return 0;
}
