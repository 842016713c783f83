// SPDX-License-Identifier: GPL-2.0-only
#include "space.h"
#include "layer.h"
#include "message.h"
#include "store/scope.h"

#include <linux/slab.h>

#define SCAN_PAGES	16

/* What a container grows by, at the least. */
#define GROW_STEP	(32 * VHDX_MIB)

static void prepare_work(struct work_struct *work);

/**
 * vhdx_allocator_init() - nothing is known yet
 * @allocator:	zeroed
 */
void vhdx_allocator_init(struct vhdx_allocator *allocator)
{
	mutex_init(&allocator->lock);
	spin_lock_init(&allocator->state_lock);
	INIT_WORK(&allocator->prepare, prepare_work);
}

/**
 * vhdx_allocator_stop() - the container does not grow any more
 * @allocator:	nobody allocates
 */
void vhdx_allocator_stop(struct vhdx_allocator *allocator)
{
	cancel_work_sync(&allocator->prepare);
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
	struct vhdx_open_layer *layer = container_of(allocator, struct vhdx_open_layer,
						     writer.space);

	spin_lock(&allocator->state_lock);
	if (allocator->scan != VHDX_SCAN_FAILED) {
		allocator->scan = VHDX_SCAN_FAILED;
		strscpy(allocator->why, why, sizeof(allocator->why));
		vhdx_say_warn(layer->container.claim.disk, "no more blocks are allocated: %s", why);
	}
	spin_unlock(&allocator->state_lock);
}

/*
 * What the container has behind the last block is whatever somebody left there, and
 * perhaps what we did before a crash. Once it is cleared, or the container has grown
 * beyond it, new blocks need not be zeroed one by one.
 */
static void take_tail(struct vhdx_open_layer *layer, u64 end)
{
	struct vhdx_container *c = &layer->container;
	struct vhdx_allocator *a = &layer->writer.space;

	lockdep_assert_held(&a->lock);
	a->end = end;
	a->found = READ_ONCE(c->size);
	a->ready = max(end, a->found);
	a->zero = a->ready;
	if (end < a->ready && !c->ops->clear(c, end, a->ready - end))
		a->zero = end;
}

/*
 * The scan reads the BAT from the container, past the page cache, so that a BAT of
 * 512 MiB does not sweep it clean. Nothing is dirty before the first allocation.
 */
static int scan(struct vhdx_open_layer *layer, struct vhdx_diag *diag)
{
	const struct vhdx_geometry *geo = &layer->image.geo;
	u64 size = layer->container.size, index = 0;
	struct vhdx_space space;
	void *buf;
	int i, err;

	/* A new block is named in the log first. Nobody judged the offset of a log
	 * that has no length: it may be anybody's.
	 */
	if (!layer->image.header.log_length)
		return vhdx_unsupported(diag,
			"header %u: the log's length is 0: no block can be allocated without a log; copy the disk into a new container",
			layer->image.header.slot + 1);

	buf = kvmalloc(SCAN_PAGES * VHDX_PAGE, GFP_KERNEL);
	if (!buf)
		return -ENOMEM;
	err = vhdx_space_init(&space, &layer->image, size, diag);
	while (!err && index < geo->bat_entry_count) {
		err = layer->store->read(layer->store, vhdx_bat_entry_offset(geo, index), buf,
					SCAN_PAGES * VHDX_PAGE);
		if (vhdx_layer_is_lost(layer))
			err = -EIO;
		for (i = 0; i < SCAN_PAGES && index < geo->bat_entry_count && !err; i++) {
			err = vhdx_space_add_page(&space, &layer->image, index,
						  buf + i * VHDX_PAGE, size, diag);
			index += VHDX_PAGE_ENTRIES;
		}
		cond_resched();
	}
	/* What follows is cleared: it had better still be ours. */
	if (!err)
		err = vhdx_layer_verify(layer);
	if (!err)
		take_tail(layer, space.end);
	vhdx_space_release(&space);
	kvfree(buf);
	return err;
}

static int scan_once(struct vhdx_open_layer *layer)
{
	struct vhdx_allocator *a = &layer->writer.space;
	struct vhdx_diag diag = { };
	int err = 0;

	lockdep_assert_held(&a->lock);
	if (a->scan == VHDX_SCAN_PENDING) {
		/* Somebody else's BAT says nothing about ours. */
		err = vhdx_layer_verify(layer);
		if (err)
			return err;
		err = scan(layer, &diag);
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
 * file, or shared with a copy of it. Only what was allocated is logged, so there is no entry
 * in it yet; and whoever writes in place needs no room for it.
 */
static int reserve_log(struct vhdx_open_layer *layer)
{
	const struct vhdx_header *header = &layer->image.header;
	struct vhdx_container *c = &layer->container;
	int err;

	lockdep_assert_held(&layer->writer.space.lock);
	if (layer->writer.space.log_reserved)
		return 0;
	err = vhdx_layer_verify(layer);
	if (!err && c->ops->can_grow)
		err = c->ops->zero(c, header->log_offset, vhdx_journal_ring(header));
	layer->writer.space.log_reserved = !err;
	return err;
}

/*
 * Room for one block is enough: that there is not more fails nobody. @from receives where the
 * container ended: what we make it grow by is zero; what somebody else gave it meanwhile is
 * whatever is there.
 */
static int grow(struct vhdx_open_layer *layer, u64 end, u64 *from)
{
	struct vhdx_container *c = &layer->container;
	u32 block_size = layer->image.geo.block_size;
	int err;

	err = c->ops->extend(c, end + max_t(u64, block_size, GROW_STEP), from);
	return err ? c->ops->extend(c, end + block_size, from) : 0;
}

static void prepare_work(struct work_struct *work)
{
	struct vhdx_allocator *a = container_of(work, struct vhdx_allocator, prepare);
	struct vhdx_open_layer *layer = container_of(a, struct vhdx_open_layer, writer.space);
	unsigned int flags = vhdx_scope_enter();
	u64 end, from = 0;
	int err;

	mutex_lock(&a->lock);
	err = vhdx_layer_is_lost(layer) ? -EIO : scan_once(layer);
	if (!err)
		err = reserve_log(layer);
	end = a->end;
	mutex_unlock(&a->lock);
	if (!err)
		err = grow(layer, end, &from);
	mutex_lock(&a->lock);
	a->error = err;
	/* Given by somebody else: neither zero, nor ours to cut off. */
	if (from > a->ready) {
		a->zero = from;
		a->found = from;
	}
	a->ready = max(a->ready, READ_ONCE(layer->container.size));
	mutex_unlock(&a->lock);
	vhdx_scope_leave(flags);
}

static int wait_for_room(struct vhdx_open_layer *layer)
{
	struct vhdx_allocator *a = &layer->writer.space;

	mutex_unlock(&a->lock);
	queue_work(layer->writer.space_wq, &a->prepare);
	flush_work(&a->prepare);
	mutex_lock(&a->lock);
	return a->error;
}

static bool take_ready(struct vhdx_open_layer *layer, u64 *offset, bool *zeroed)
{
	struct vhdx_allocator *a = &layer->writer.space;
	u32 block_size = layer->image.geo.block_size;

	lockdep_assert_held(&a->lock);
	if (a->scan != VHDX_SCAN_OK || !a->log_reserved)
		return false;
	*zeroed = false;
	if (a->spare_count) {
		*offset = a->spare[--a->spare_count];
		return true;
	}
	if (a->end + block_size > a->ready)
		return false;
	*offset = a->end;
	*zeroed = a->end >= a->zero;
	a->end += block_size;
	if (a->ready - a->end < max_t(u64, block_size, GROW_STEP / 2))
		queue_work(layer->writer.space_wq, &a->prepare);
	return true;
}

static u64 oldest_bad(struct vhdx_allocator *a)
{
	u64 oldest = a->bad[0];

	lockdep_assert_held(&a->lock);
	memmove(a->bad, a->bad + 1, --a->bad_count * sizeof(*a->bad));
	return oldest;
}

/**
 * vhdx_allocator_take() - room for one payload block
 * @layer:	open for writing
 * @offset:	receives its container offset
 * @zeroed:	it reads as zeroes already
 *
 * Sleeps; waits for the scan the first time. Returns 0, -EUCLEAN (the scan failed),
 * -ENOSPC, or -errno.
 */
int vhdx_allocator_take(struct vhdx_open_layer *layer, u64 *offset, bool *zeroed)
{
	struct vhdx_allocator *a = &layer->writer.space;
	int err = 0;

	mutex_lock(&a->lock);
	while (!err && !take_ready(layer, offset, zeroed))
		err = wait_for_room(layer);
	if (err && a->scan == VHDX_SCAN_OK && a->bad_count) {
		*offset = oldest_bad(a);
		*zeroed = false;
		err = 0;
	}
	mutex_unlock(&a->lock);
	return err;
}

/**
 * vhdx_allocator_give_back() - a block that no mapping ever named
 * @layer:	open for writing
 * @offset:	from vhdx_allocator_take()
 * @err:	why it was not used
 *
 * One bad sector of the container should not fail every new block from then on: a place
 * that could not be written is the last to be tried again. Without memory a place is lost
 * until the next attach, whose scan finds it free.
 */
void vhdx_allocator_give_back(struct vhdx_open_layer *layer, u64 offset, int err)
{
	struct vhdx_allocator *a = &layer->writer.space;
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

/**
 * vhdx_allocator_trim() - the session has ended: cut what was grown ahead
 * @layer:	its allocator is stopped, and its log durably empty (rule V2): until then a
 *		log entry may refer to the size that the container had
 *
 * What was behind the last block when the disk was attached stays, and what somebody else
 * appended since. A failure leaves room that nobody uses, which is no damage.
 */
void vhdx_allocator_trim(struct vhdx_open_layer *layer)
{
	struct vhdx_allocator *a = &layer->writer.space;

	if (a->scan == VHDX_SCAN_OK)
		layer->container.ops->trim(&layer->container, max(a->end, a->found));
}
