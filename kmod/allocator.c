// SPDX-License-Identifier: GPL-2.0-only
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "allocator.h"
#include "disk.h"

#include <linux/slab.h>

#define SCAN_PAGES	16

/**
 * vhdx_allocator_init() - nothing is known yet
 * @allocator:	zeroed
 */
void vhdx_allocator_init(struct vhdx_allocator *allocator)
{
	mutex_init(&allocator->lock);
	spin_lock_init(&allocator->state_lock);
}

/**
 * vhdx_allocator_destroy() - free what it holds
 * @allocator:	unused
 */
void vhdx_allocator_destroy(struct vhdx_allocator *allocator)
{
	kvfree(allocator->spare);
	allocator->spare = NULL;
}

/**
 * vhdx_allocator_refuse() - the container is damaged: allocate no more
 * @allocator:	the allocator
 * @why:	for the administrator, in sysfs
 */
void vhdx_allocator_refuse(struct vhdx_allocator *allocator, const char *why)
{
	spin_lock(&allocator->state_lock);
	if (allocator->scan != VHDX_SCAN_FAILED) {
		allocator->scan = VHDX_SCAN_FAILED;
		strscpy(allocator->why, why, sizeof(allocator->why));
		pr_warn("vhdx%d: no more blocks are allocated: %s\n",
			container_of(allocator, struct vhdx_disk, allocator)->index, why);
	}
	spin_unlock(&allocator->state_lock);
}

/*
 * The scan reads the BAT from the container, past the page cache, so that a BAT of
 * 512 MiB does not sweep it clean. Nothing is dirty before the first allocation.
 */
static int scan(struct vhdx_disk *disk, struct vhdx_diag *diag)
{
	const struct vhdx_geometry *geo = &disk->image.geo;
	u64 size = disk->container.size, index = 0;
	struct vhdx_space space;
	void *buf;
	int i, err;

	/* A new block is named in the log first. Nobody judged the offset of a log
	 * that has no length: it may be anybody's.
	 */
	if (!disk->image.header.log_length)
		return vhdx_unsupported(diag,
			"header %u: the log's length is 0: no block can be allocated without a log; copy the disk into a new container",
			disk->image.header.slot + 1);

	buf = kvmalloc(SCAN_PAGES * VHDX_PAGE, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	err = vhdx_space_init(&space, &disk->image, size, diag);
	while (!err && index < geo->bat_entry_count) {
		err = disk->store->read(disk->store, vhdx_bat_entry_offset(geo, index), buf,
					SCAN_PAGES * VHDX_PAGE);
		if (vhdx_loss_found(disk))
			err = -EIO;
		for (i = 0; i < SCAN_PAGES && index < geo->bat_entry_count && !err; i++) {
			err = vhdx_space_add_page(&space, &disk->image, index,
						  buf + i * VHDX_PAGE, size, diag);
			index += VHDX_META_ENTRIES;
		}
		cond_resched();
	}
	if (!err)
		disk->allocator.end = space.end;
	vhdx_space_release(&space);
	kvfree(buf);
	return err;
}

static int scan_once(struct vhdx_disk *disk)
{
	struct vhdx_allocator *a = &disk->allocator;
	struct vhdx_diag diag = { };
	int err = 0;

	if (a->scan == VHDX_SCAN_PENDING) {
		err = scan(disk, &diag);
		if (err == -EUCLEAN || err == -EOPNOTSUPP)
			vhdx_allocator_refuse(a, diag.text);
		else if (err)
			return err;
		spin_lock(&a->state_lock);
		if (a->scan == VHDX_SCAN_PENDING)
			a->scan = VHDX_SCAN_OK;
		spin_unlock(&a->state_lock);
	}
	return a->scan == VHDX_SCAN_OK ? 0 : -EUCLEAN;
}

/*
 * A commit must not run out of space in the middle, and the log may be a hole of a sparse
 * file. Only what was allocated is logged: whoever writes in place needs no room for it.
 */
static int reserve_log(struct vhdx_disk *disk)
{
	const struct vhdx_header *header = &disk->image.header;
	struct vhdx_container *c = &disk->container;
	int err;

	if (disk->allocator.log_reserved)
		return 0;
	err = c->ops->reserve(c, header->log_offset, header->log_length);
	disk->allocator.log_reserved = !err;
	return err;
}

/* Behind the last block. */
static int grow(struct vhdx_disk *disk, u64 *offset, bool *zeroed)
{
	struct vhdx_allocator *a = &disk->allocator;
	u32 block_size = disk->image.geo.block_size;
	/* What we make the container grow by is zero; what it had behind the last block,
	 * or was given by somebody else meanwhile, is whatever is there.
	 */
	u64 known_end = vhdx_container_length(&disk->container);
	int err = disk->container.ops->extend(&disk->container, a->end + block_size);

	if (err)
		return err;
	*offset = a->end;
	*zeroed = a->end >= known_end;
	a->end += block_size;
	return 0;
}

static u64 oldest_bad(struct vhdx_allocator *a)
{
	u64 oldest = a->bad[0];

	memmove(a->bad, a->bad + 1, --a->bad_count * sizeof(*a->bad));
	return oldest;
}

/**
 * vhdx_allocator_take() - room for one payload block
 * @disk:	attached for writing
 * @offset:	receives its container offset
 * @zeroed:	it reads as zeroes already
 *
 * Sleeps; runs the scan the first time. Returns 0, -EUCLEAN (the scan failed), -ENOSPC,
 * or -errno.
 */
int vhdx_allocator_take(struct vhdx_disk *disk, u64 *offset, bool *zeroed)
{
	struct vhdx_allocator *a = &disk->allocator;
	int err;

	mutex_lock(&a->lock);
	err = scan_once(disk);
	if (!err)
		err = reserve_log(disk);
	if (err)
		goto out;
	*zeroed = false;
	if (a->spare_count) {
		*offset = a->spare[--a->spare_count];
		goto out;
	}
	err = grow(disk, offset, zeroed);
	if (err && a->bad_count) {
		*offset = oldest_bad(a);
		err = 0;
	}
out:
	mutex_unlock(&a->lock);
	return err;
}

/**
 * vhdx_allocator_give_back() - a block that no mapping ever named
 * @disk:	the disk
 * @offset:	from vhdx_allocator_take()
 * @err:	why it was not used
 *
 * One bad sector of the container should not fail every new block from then on: a place
 * that could not be written is the last to be tried again. Without memory a place is lost
 * until the next attach, whose scan finds it free.
 */
void vhdx_allocator_give_back(struct vhdx_disk *disk, u64 offset, int err)
{
	struct vhdx_allocator *a = &disk->allocator;
	u64 *spare;

	mutex_lock(&a->lock);
	if (err != -ENOSPC && err != -ENOMEM && a->bad_count < VHDX_BAD_PLACES) {
		a->bad[a->bad_count++] = offset;
		goto out;
	}
	if (a->spare_count == a->spare_capacity) {
		spare = kvcalloc(a->spare_capacity + 64, sizeof(*spare), GFP_KERNEL);
		if (!spare)
			goto out;
		if (a->spare)
			memcpy(spare, a->spare, a->spare_count * sizeof(*spare));
		kvfree(a->spare);
		a->spare = spare;
		a->spare_capacity += 64;
	}
	a->spare[a->spare_count++] = offset;
out:
	mutex_unlock(&a->lock);
}
