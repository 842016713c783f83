// SPDX-License-Identifier: GPL-2.0-only
/*
 * A container, made small: the two copies of its header, each with a checksum, and two sectors
 * for each unit that is written. A full commit is a flush.
 */
#include "simulation.h"

#define SECTOR		512U
#define HEADER		4096U
#define DATA		(2 * HEADER)
#define UNIT		(2 * SECTOR)
#define WORDS		(HEADER / sizeof(u64))
#define SIZE		(DATA + UNITS * UNIT)

struct raw_header {
	u64 sequence;
	vhdx_guid dwg;
	u64 filler[WORDS - 4];		/* of this header alone: a torn one is none */
	u64 checksum;
};

static_assert(sizeof(struct raw_header) == HEADER);

vhdx_guid new_guid(void)
{
	vhdx_guid guid = { { 1 } };

	sim.guids++;
	memcpy(guid.b + 8, &sim.guids, sizeof(sim.guids));
	return guid;
}

u64 *epoch_of(const vhdx_guid *guid)
{
	u64 number;

	memcpy(&number, guid->b + 8, sizeof(number));
	return &sim.epochs.of[number % EPOCHS];
}

/*
 * Neighbours in a region, on both sides of regions, sectors and blocks of the coarse area, of
 * leaves, and at both ends of the disk.
 */
static const u32 units[UNITS] = {
	0, 1, 2, 4, 15615, 15616, 32767, 32768, 32769, 124927, 124928, 131071, 131072, 139263,
};

u64 unit_offset(u32 unit)
{
	return units[unit] * UNIT_BYTES;
}

unit_mask neighbours(unit_mask mask)
{
	unit_mask all = 0;
	u32 i, j;

	for (i = 0; i < UNITS; i++)
		for (j = 0; mask >> i & 1 && j < UNITS; j++)
			if (units[i] / 4 == units[j] / 4)
				all |= 1U << j;
	return all;
}

static u64 checksum(const struct raw_header *raw)
{
	return vhdx_crc32c(~0U, raw, offsetof(struct raw_header, checksum));
}

/*
 * Two may have the same number, where the first one was torn by a power loss. What is left of it
 * does not become whole when the second one is torn, too: a real header is whole in one sector.
 */
static void encode(const struct header *header, struct raw_header *raw)
{
	u32 i;

	raw->sequence = header->sequence;
	raw->dwg = header->dwg;
	for (i = 0; i < ARRAY_SIZE(raw->filler); i++)
		raw->filler[i] = vhdx_crc32c(header->sequence, &header->dwg, sizeof(header->dwg));
	raw->checksum = checksum(raw);
}

void container_format(void)
{
	struct raw_header raw[2];
	u32 i;

	fake_store_init(&sim.container, 0, SIZE);
	sim.driver.header = (struct header) { .sequence = 1, .dwg = new_guid() };
	sim.driver.slot = 0;
	encode(&sim.driver.header, &raw[0]);
	memset(&raw[1], 0, sizeof(raw[1]));
	memcpy(sim.container.bytes, raw, sizeof(raw));
	sim.container.length = SIZE;
	memcpy(sim.container.durable, sim.container.bytes, SIZE);
	sim.container.durable_length = SIZE;
	for (i = 0; i < UNITS; i++)
		agent_sees(i, 0);
}

/* What a torn write left is like nothing that was ever written. */
static u64 content_of(const u64 *sectors)
{
	u64 first = sectors[0], second = sectors[SECTOR / sizeof(u64)];

	return first == second ? first : 1ULL << 63 | first << 32 | second;
}

void container_read(struct vhdx_store *store, struct header *header, u32 *slot, u64 *content)
{
	static u8 bytes[SIZE];
	const struct raw_header *raw = (void *)bytes;
	bool found = false;
	u32 i;

	store->read(store, 0, bytes, SIZE);
	for (i = 0; i < 2; i++)
		if (raw[i].checksum == checksum(&raw[i]) && raw[i].sequence &&
		    (!found || raw[i].sequence > header->sequence)) {
			*header = (struct header) { raw[i].sequence, raw[i].dwg };
			*slot = i;
			found = true;
		}
	if (!found)
		wrong("the container has no header", 0, 0, 0);
	for (i = 0; i < UNITS; i++)
		content[i] = content_of((const u64 *)(bytes + DATA + i * UNIT));
}

void container_write(u32 unit, u64 version)
{
	u64 data[UNIT / sizeof(u64)];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(data); i++)
		data[i] = version;
	agent_sees(unit, version);
	sim.container.store.write(&sim.container.store, DATA + unit * UNIT, data, sizeof(data));
}

int container_flush(void)
{
	return sim.container.store.flush(&sim.container.store);
}

static int write_header(const struct header *header)
{
	struct raw_header *raw = vhdx_alloc(sizeof(*raw));
	int err;

	encode(header, raw);
	err = fake_store_write_fua(&sim.container, !sim.driver.slot * HEADER, raw, sizeof(*raw));
	vhdx_free(raw);
	if (err)
		return err;
	sim.driver.slot = !sim.driver.slot;
	sim.driver.header = *header;
	return 0;
}

/* One copy: the other one differs in the number alone. */
int container_step(void)
{
	struct header header = sim.driver.header;

	header.sequence++;
	return write_header(&header);
}

/* Both copies. Other data need not be durable for it. */
int container_set_guid(const vhdx_guid *guid, bool even_if_invalid)
{
	struct header header = sim.driver.header;
	int err = 0, round;

	if (sim.driver.invalid && !even_if_invalid && RULE(look_again))
		return -EIO;
	if (!even_if_invalid)
		err = strict_announce(header.sequence + 2);
	header.dwg = *guid;
	for (round = 0; !err && round < 2; round++) {
		header.sequence++;
		err = write_header(&header);
	}
	return err;
}
