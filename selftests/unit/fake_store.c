// SPDX-License-Identifier: GPL-2.0-only
#include "fake_store.h"
#include "random.h"

#define SECTOR	512

static struct fake_store *to_fake(struct vhdx_store *store)
{
	return container_of(store, struct fake_store, store);
}

static int fake_read(struct vhdx_store *store, u64 offset, void *buf, size_t length)
{
	struct fake_store *fake = to_fake(store);
	u64 there = offset < fake->length ? min(length, fake->length - offset) : 0;

	assert(!(offset % SECTOR) && !(length % SECTOR));
	fake->reads++;
	if (fake_store_is_off(fake))
		return -EIO;
	memset(buf, 0, length);
	memcpy(buf, fake->bytes + offset, there);
	return 0;
}

int fake_store_step(struct fake_store *fake)
{
	fake->steps++;
	if (fake_store_is_off(fake))
		return -EIO;
	return fake->steps == fake->fail_step ? fake->fail_error : 0;
}

static int fake_write(struct vhdx_store *store, u64 offset, const void *buf, size_t length)
{
	struct fake_store *fake = to_fake(store);
	struct fake_write *write;
	int err;

	assert(!(offset % SECTOR) && !(length % SECTOR) && !fake->read_only);
	/* The power may go in the middle of the write. */
	err = fake_store_step(fake);
	if (err && fake->steps != fake->power_step)
		return err;
	if (offset + length > fake->limit)
		return -ENOSPC;

	fake->pending = realloc(fake->pending, (fake->pending_count + 1) * sizeof(*fake->pending));
	write = &fake->pending[fake->pending_count++];
	write->offset = offset;
	write->length = length;
	write->data = malloc(length);
	memcpy(write->data, buf, length);
	memcpy(fake->bytes + offset, buf, length);
	fake->length = max(fake->length, offset + length);
	return err;
}

static void forget_pending(struct fake_store *fake)
{
	while (fake->pending_count)
		free(fake->pending[--fake->pending_count].data);
	free(fake->pending);
	fake->pending = NULL;
}

static int fake_flush(struct vhdx_store *store)
{
	struct fake_store *fake = to_fake(store);
	int err = fake_store_step(fake);

	if (err)
		return err;
	memcpy(fake->durable, fake->bytes, fake->length);
	fake->durable_length = fake->length;
	forget_pending(fake);
	return 0;
}

void fake_store_init(struct fake_store *fake, u64 size, u64 limit)
{
	memset(fake, 0, sizeof(*fake));
	fake->store.size = size;
	fake->store.read = fake_read;
	fake->store.write = fake_write;
	fake->store.flush = fake_flush;
	fake->can_grow = !size;
	fake->limit = limit;
	fake->length = size;
	fake->durable_length = size;
	fake->bytes = calloc(1, limit);
	fake->durable = calloc(1, limit);
}

void fake_store_release(struct fake_store *fake)
{
	forget_pending(fake);
	free(fake->bytes);
	free(fake->durable);
	memset(fake, 0, sizeof(*fake));
}

void fake_store_reopen(struct fake_store *fake)
{
	fake->store.size = fake->length;
	fake->steps = 0;
	fake->fail_step = 0;
	fake->power_step = 0;
}

bool fake_store_is_off(const struct fake_store *fake)
{
	return fake->power_step && fake->steps >= fake->power_step;
}

/* @policy: 0 nothing arrived, 1 all did, 2 chance decides sector by sector. */
static void arrive(struct fake_store *after, const struct fake_write *write, u32 policy)
{
	size_t at;

	for (at = 0; at < write->length; at += SECTOR) {
		if (policy == 0 || (policy == 2 && random_below(2)))
			continue;
		memcpy(after->bytes + write->offset + at, write->data + at, SECTOR);
		after->length = max(after->length, write->offset + at + SECTOR);
	}
}

void fake_store_reboot(const struct fake_store *fake, struct fake_store *after)
{
	u32 policy = random_below(4);
	u32 i;

	fake_store_init(after, 0, fake->limit);
	after->can_grow = fake->can_grow;
	after->length = fake->durable_length;
	memcpy(after->bytes, fake->durable, fake->durable_length);
	for (i = 0; i < fake->pending_count; i++)
		arrive(after, &fake->pending[i], policy == 3 ? random_below(3) : policy);
	memcpy(after->durable, after->bytes, after->length);
	after->durable_length = after->length;
	fake_store_reopen(after);
}

void fake_store_copy(const struct fake_store *fake, struct fake_store *copy)
{
	fake_store_init(copy, 0, fake->limit);
	copy->can_grow = fake->can_grow;
	copy->length = fake->length;
	copy->durable_length = fake->length;
	memcpy(copy->bytes, fake->bytes, fake->length);
	memcpy(copy->durable, fake->bytes, fake->length);
	fake_store_reopen(copy);
}
