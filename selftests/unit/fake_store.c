// SPDX-License-Identifier: GPL-2.0-only
#include <sys/mman.h>

#include "fake_store.h"
#include "random.h"

#define SECTOR	512

/* Of the same number the same one, in no order. */
static u64 hash(u64 z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

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

static void take_turns(struct fake_store *fake)
{
	if (fake->pause && !fake_store_is_off(fake))
		fake->pause(fake);
}

/*
 * Of two that were under way together either may be the later one; otherwise one that was
 * answered is there before the next one begins.
 */
static struct fake_write *insert(struct fake_store *fake, u64 offset, size_t length)
{
	u32 at = fake->pending_count;

	fake->pending = realloc(fake->pending, (fake->pending_count + 1) * sizeof(*fake->pending));
	while (fake->pause && at && !fake->pending[at - 1].done && !fake->pending[at - 1].over &&
	       random_below(2))
		at--;
	memmove(&fake->pending[at + 1], &fake->pending[at],
		(fake->pending_count++ - at) * sizeof(*fake->pending));
	fake->pending[at] = (struct fake_write) {
		.offset = offset, .length = length, .data = length ? malloc(length) : NULL,
		.begun = ++fake->clock,
	};
	return &fake->pending[at];
}

/* What is cut off is zero when the file is longer again. */
static void put(const struct fake_store *fake, u8 *bytes, u64 *length,
		const struct fake_write *write)
{
	if (write->data) {
		memcpy(bytes + write->offset, write->data, write->length);
		if (!fake->keeps_size)
			*length = max(*length, write->offset + write->length);
		return;
	}
	if (write->offset < *length)
		memset(bytes + write->offset, 0, *length - write->offset);
	*length = write->offset;
}

/* What reads see: @write, and those that are later ones. */
static void show(struct fake_store *fake, const struct fake_write *write)
{
	for (; write < fake->pending + fake->pending_count; write++)
		put(fake, fake->bytes, &fake->length, write);
}

static void end_write(struct fake_store *fake, u64 begun)
{
	u32 i;

	fake->clock++;
	for (i = 0; i < fake->pending_count; i++)
		if (fake->pending[i].begun == begun)
			fake->pending[i].done = fake->clock;
}

/* Where @later is durable what was begun before it, and is still under way, changes nothing. */
static void supersede(struct fake_write *earlier, const struct fake_write *later)
{
	u64 at = max(earlier->offset, later->offset);
	u64 end = min(earlier->offset + earlier->length, later->offset + later->length);

	if (at >= end)
		return;
	earlier->over = true;
	memcpy(earlier->data + (at - earlier->offset), later->data + (at - later->offset),
	       end - at);
}

/* What was answered by @when is durable; @only: of that, the write that began then. */
static void settle(struct fake_store *fake, u64 when, u64 only)
{
	u32 i, j, left = 0;

	for (i = 0; i < fake->pending_count; i++) {
		struct fake_write *write = &fake->pending[i];

		if (!write->done || write->done > when || (only && write->begun != only)) {
			fake->pending[left++] = *write;
			continue;
		}
		for (j = 0; j < left; j++)
			supersede(&fake->pending[j], write);
		put(fake, fake->durable, &fake->durable_length, write);
		free(write->data);
	}
	fake->pending_count = left;
}

static int write_at(struct fake_store *fake, u64 offset, const void *buf, size_t length, bool fua)
{
	struct fake_write *write;
	u64 begun;
	int err;

	assert(!(offset % SECTOR) && !(length % SECTOR) && !fake->read_only);
	take_turns(fake);
	/* The power may go in the middle of the write. */
	err = fake_store_step(fake);
	if (err && fake->steps != fake->power_step)
		return err;
	if (offset + length > fake->limit)
		return -ENOSPC;

	write = insert(fake, offset, length);
	begun = write->begun;
	if (length)
		memcpy(write->data, buf, length);
	show(fake, write);
	take_turns(fake);
	end_write(fake, begun);
	if (fake_store_is_off(fake))
		return -EIO;
	if (fua)
		settle(fake, fake->clock, begun);
	return err;
}

static int fake_write(struct vhdx_store *store, u64 offset, const void *buf, size_t length)
{
	return write_at(to_fake(store), offset, buf, length, false);
}

int fake_store_resize(struct fake_store *fake, u64 length)
{
	return write_at(fake, length, NULL, 0, false);
}

static void forget_pending(struct fake_store *fake)
{
	while (fake->pending_count)
		free(fake->pending[--fake->pending_count].data);
	free(fake->pending);
	fake->pending = NULL;
}

void fake_store_lose(struct fake_store *fake)
{
	u32 i, left = 0;

	for (i = 0; i < fake->pending_count; i++) {
		struct fake_write *write = &fake->pending[i];

		if (!write->done || !write->data) {
			fake->pending[left++] = *write;
			continue;
		}
		if (random_below(2))
			put(fake, fake->durable, &fake->durable_length, write);
		free(write->data);
	}
	fake->pending_count = left;
}

static int fake_flush(struct vhdx_store *store)
{
	struct fake_store *fake = to_fake(store);
	u64 begun;
	int err;

	take_turns(fake);
	err = fake_store_step(fake);
	if (err)
		return err;
	begun = fake->clock;
	take_turns(fake);
	if (fake_store_is_off(fake))
		return -EIO;
	settle(fake, begun, 0);
	return 0;
}

/*
 * All zeroes. Most of it is never touched, and a test makes thousands: the sanitizer's malloc()
 * would touch a byte of its own for every eight. Who reads and writes here keeps to the limit.
 */
static u8 *new_medium(u64 limit)
{
	u8 *medium = mmap(NULL, limit, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert(medium != MAP_FAILED);
	return medium;
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
	fake->room = limit;
	fake->length = size;
	fake->durable_length = size;
	fake->bytes = new_medium(limit);
	fake->durable = new_medium(limit);
}

void fake_store_release(struct fake_store *fake)
{
	forget_pending(fake);
	if (fake->bytes) {
		munmap(fake->bytes, fake->room);
		munmap(fake->durable, fake->room);
	}
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

int fake_store_write_fua(struct fake_store *fake, u64 offset, const void *buf, size_t length)
{
	return write_at(fake, offset, buf, length, true);
}

void fake_store_cut(struct fake_store *fake)
{
	fake->power_step = ++fake->steps;
}

/* @policy: 0 nothing arrived, 1 all did, 2 chance decides sector by sector. */
static void arrive(struct fake_store *after, const struct fake_write *write, u32 policy)
{
	size_t at;

	if (!write->data && (policy == 1 || (policy == 2 && random_below(2))))
		put(after, after->bytes, &after->length, write);
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

/* ---- images ---- */

static bool is_there(const struct fake_image *image, u32 write, u64 part)
{
	return hash(image->chance ^ hash((u64)write << 32 | part)) & 1;
}

/* Did the sector at @offset of this write? */
static bool has_arrived(const struct fake_image *image, u32 write, u64 offset)
{
	switch (image->arrival) {
	case FAKE_NOTHING:
		return false;
	case FAKE_WRITES:
		return is_there(image, write, 0);
	case FAKE_BLOCKS:
		return is_there(image, write, offset / 4096);
	case FAKE_SECTORS:
		return is_there(image, write, offset / SECTOR);
	default:
		return true;
	}
}

static void overlay(const struct fake_image *image, u32 number, u64 offset, u8 *buf,
		    size_t length)
{
	const struct fake_write *write = &image->fake->pending[number];
	u64 at = max(offset, write->offset);
	u64 end = min(offset + length, write->offset + write->length);

	if (!write->data && has_arrived(image, number, write->offset) && at < offset + length)
		memset(buf + (at - offset), 0, offset + length - at);
	for (; at < end; at += SECTOR)
		if (has_arrived(image, number, at))
			memcpy(buf + (at - offset), write->data + (at - write->offset), SECTOR);
}

static int image_read(struct vhdx_store *store, u64 offset, void *buf, size_t length)
{
	struct fake_image *image = container_of(store, struct fake_image, store);
	const struct fake_store *fake = image->fake;
	u64 there = offset < fake->durable_length ? min(length, fake->durable_length - offset) : 0;
	u64 rotten = image->rotten;
	u32 i;

	memcpy(buf, fake->durable + offset, there);
	memset((u8 *)buf + there, 0, length - there);
	for (i = 0; i < fake->pending_count; i++)
		overlay(image, i, offset, buf, length);
	if (rotten >= offset && rotten < offset + length)
		((u8 *)buf)[rotten - offset] ^= 0x40;
	return 0;
}

void fake_image_init(struct fake_image *image, const struct fake_store *fake,
		     enum fake_arrival arrival, u64 chance)
{
	const struct fake_write *write;
	u64 at;
	u32 i;

	*image = (struct fake_image) {
		.fake = fake, .arrival = arrival, .chance = chance, .rotten = ~0ULL,
		.store.size = fake->durable_length, .store.read = image_read,
	};
	for (i = 0; i < fake->pending_count; i++) {
		write = &fake->pending[i];
		if (!write->data && has_arrived(image, i, write->offset))
			image->store.size = write->offset;
		for (at = write->offset; at < write->offset + write->length; at += SECTOR)
			if (!fake->keeps_size && has_arrived(image, i, at))
				image->store.size = max(image->store.size, at + SECTOR);
	}
}

void fake_image_boot(struct fake_image *image, struct fake_store *after)
{
	fake_store_init(after, 0, image->fake->limit);
	after->can_grow = image->fake->can_grow;
	after->keeps_size = image->fake->keeps_size;
	after->length = image->store.size;
	image_read(&image->store, 0, after->bytes, after->length);
	memcpy(after->durable, after->bytes, after->length);
	after->durable_length = after->length;
	fake_store_reopen(after);
}
