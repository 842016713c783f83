// SPDX-License-Identifier: GPL-2.0-only
#include "space.h"
#include "layer.h"
#include "store/scope.h"

#include <linux/ktime.h>
#include <linux/slab.h>

#define SCAN_PAGES	16

/*
 * How far room is made ahead: so much, or one block, at the least; so many blocks of a file, or of
 * a device, where that takes no longer than SOON_NS, and half as much again where it takes longer
 * than LATE_NS: a write may wait for it. A file is left that much longer by a crash.
 */
#define AHEAD		(32 * VHDX_MIB)
#define BLOCKS_GROWN	16
#define BLOCKS_CLEARED	64
#define SOON_NS		(4 * NSEC_PER_MSEC)
#define LATE_NS		(32 * NSEC_PER_MSEC)

/*
 * A device is cleared in pieces, from the first size up to the last one while they are quick. What
 * stops the allocator, and a write that waits for room, wait for one of them that is slow.
 */
#define FIRST_PIECE	AHEAD
#define LAST_PIECE	(512 * VHDX_MIB)

/* So many first pieces in succession that are late: zeroes are written to the device. */
#define LATE_PIECES	2

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
	vhdx_freed_init(&allocator->freed);
}

/**
 * vhdx_allocator_stop() - the container does not grow any more
 * @allocator:	no block is being allocated
 */
void vhdx_allocator_stop(struct vhdx_allocator *allocator)
{
	cancel_work_sync(&allocator->prepare);
	vhdx_freed_stop(&allocator->freed);
}

/**
 * vhdx_allocator_destroy() - free what it holds
 * @allocator:	unused
 */
void vhdx_allocator_destroy(struct vhdx_allocator *allocator)
{
	vhdx_freed_destroy(&allocator->freed);
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
	bool first;

	spin_lock(&allocator->state_lock);
	first = allocator->scan != VHDX_SCAN_FAILED;
	if (first) {
		allocator->scan = VHDX_SCAN_FAILED;
		strscpy(allocator->why, why, sizeof(allocator->why));
	}
	spin_unlock(&allocator->state_lock);
	if (first && !vhdx_layer_is_read_only(layer))
		vhdx_layer_refused(layer, why);
}

/*
 * What the container has behind the last block was left there by another program, or by this
 * driver before a crash. Once it is cleared, or the container has grown
 * beyond it, new blocks need not be zeroed one by one.
 */
static void take_tail(struct vhdx_open_layer *layer, u64 end)
{
	struct vhdx_container *c = layer->writer.container;
	struct vhdx_allocator *a = &layer->writer.space;

	lockdep_assert_held(&a->lock);
	a->end = end;
	/* What a device has there may be most of it: it is cleared ahead of what is needed. */
	a->ready = c->ops->can_grow ? max(end, READ_ONCE(c->size)) : end;
	a->found = end < a->ready ? a->ready : 0;
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
	struct vhdx_store *store = &layer->writer.container->store;
	u64 size = layer->writer.container->size, index = 0;
	struct vhdx_space space;
	void *buf;
	int i, err;

	/* A new block is named in the log first. The offset of a log that has no
	 * length was not judged: it may be that of payload.
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
		err = store->read(store, vhdx_bat_entry_offset(geo, index), buf,
				  SCAN_PAGES * VHDX_PAGE);
		if (vhdx_writer_is_lost(layer))
			err = -EIO;
		for (i = 0; i < SCAN_PAGES && index < geo->bat_entry_count && !err; i++) {
			err = vhdx_space_add_page(&space, &layer->image, index,
						  buf + i * VHDX_PAGE, size, diag);
			index += VHDX_PAGE_ENTRIES;
		}
		cond_resched();
	}
	/* What follows is cleared: only of the container that was attached. */
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
		/* The BAT of an image that was written over this one says nothing of its space. */
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
 * in it yet; and a write in place needs no room for it.
 */
static int reserve_log(struct vhdx_open_layer *layer)
{
	const struct vhdx_header *header = &layer->image.header;
	struct vhdx_container *c = layer->writer.container;
	int err;

	lockdep_assert_held(&layer->writer.space.lock);
	if (layer->writer.space.log_reserved)
		return 0;
	err = vhdx_layer_verify(layer);
	if (!err && c->ops->can_grow)
		err = c->ops->zero(c, header->log_offset, vhdx_journal_ring(header), true);
	layer->writer.space.log_reserved = !err;
	return err;
}

static u64 blocks_or_more(const struct vhdx_open_layer *layer, u64 blocks)
{
	return max_t(u64, AHEAD, blocks * layer->image.geo.block_size);
}

/* How far room is made ahead; of @prepare alone. */
static u64 step(const struct vhdx_open_layer *layer)
{
	return max(READ_ONCE(layer->writer.space.step), blocks_or_more(layer, 1));
}

static void adapt_step(struct vhdx_open_layer *layer, u64 took_ns)
{
	u64 most = blocks_or_more(layer, layer->writer.container->ops->can_grow ? BLOCKS_GROWN :
										  BLOCKS_CLEARED);
	u64 next = step(layer);

	if (took_ns < SOON_NS)
		next = min(2 * next, most);
	else if (took_ns > LATE_NS)
		next /= 2;
	WRITE_ONCE(layer->writer.space.step, next);
}

static bool is_low(const struct vhdx_open_layer *layer)
{
	const struct vhdx_allocator *a = &layer->writer.space;

	lockdep_assert_held(&a->lock);
	return a->ready - a->end < max_t(u64, step(layer) / 2, layer->image.geo.block_size);
}

/*
 * Room for one block is enough: no write fails because there is not more. A device may have some
 * more than that. @from receives where the container ended: what it grows by here is zero; what
 * another program appended meanwhile is whatever that wrote.
 */
static int extend(struct vhdx_open_layer *layer, u64 end, u64 *to, u64 *from)
{
	struct vhdx_container *c = layer->writer.container;
	u64 least = end + layer->image.geo.block_size;
	int err = c->ops->extend(c, *to, from);

	if (!err)
		return 0;
	*to = c->ops->can_grow ? least : max(least, round_down(*from, VHDX_MIB));
	return c->ops->extend(c, *to, from);
}

/*
 * Clears pieces up to @to, or until that is late: then @to is where it ended, and the rest is left
 * to another run, should it still be needed. @cleared: the device could be.
 */
static int clear_pieces(struct vhdx_open_layer *layer, u64 from, u64 *to, bool *cleared)
{
	struct vhdx_allocator *a = &layer->writer.space;
	struct vhdx_container *c = layer->writer.container;
	u64 begin = ktime_get_ns(), piece = FIRST_PIECE, at = from, start, took;
	int err;

	*cleared = true;
	while (at < *to && *cleared) {
		/* Not in an image that has come into this one's place, since the last piece too. */
		err = vhdx_layer_verify(layer);
		if (err)
			return err;
		piece = min(piece, *to - at);
		start = ktime_get_ns();
		*cleared = !c->ops->clear(c, at, piece);
		took = ktime_get_ns() - start;
		if (took <= LATE_NS)
			a->late = 0;
		else if (piece <= FIRST_PIECE)
			a->late++;
		at += piece;
		if (start + took - begin > LATE_NS && *cleared)
			*to = at;
		else if (took < SOON_NS)
			piece = min_t(u64, 2 * piece, LAST_PIECE);
	}
	return 0;
}

/*
 * Where a device can't be cleared, or takes as long as if zeroes were written, blocks are zeroed as
 * they come: those that are written as a whole are not zeroed at all.
 */
static int clear_ahead(struct vhdx_open_layer *layer, u64 from, u64 *to, u64 *zero)
{
	bool cleared = false;
	int err = 0;

	if (*to <= from)
		return 0;
	if (layer->writer.space.late < LATE_PIECES)
		err = clear_pieces(layer, from, to, &cleared);
	if (!err && !cleared)
		*zero = *to;
	return err;
}

/*
 * @ready and @zero receive where room ends then, and from where on it reads as zeroes. No block is
 * behind @ready before.
 */
static int grow(struct vhdx_open_layer *layer, u64 end, u64 *ready, u64 *zero)
{
	struct vhdx_container *c = layer->writer.container;
	u64 from, start = ktime_get_ns(), to = end + step(layer);
	int err = extend(layer, end, &to, &from);

	if (err)
		return err;
	if (c->ops->can_grow) {
		to = READ_ONCE(c->size);
		if (from > *ready)
			*zero = from;
	} else {
		err = clear_ahead(layer, *ready, &to, zero);
	}
	if (err || to <= *ready)
		return err;
	*ready = to;
	adapt_step(layer, ktime_get_ns() - start);
	return 0;
}

static void prepare_work(struct work_struct *work)
{
	struct vhdx_allocator *a = container_of(work, struct vhdx_allocator, prepare);
	struct vhdx_open_layer *layer = container_of(a, struct vhdx_open_layer, writer.space);
	unsigned int flags = vhdx_scope_enter();
	u64 end, ready, zero = 0;
	int err;

	mutex_lock(&a->lock);
	err = vhdx_writer_is_lost(layer) ? -EIO : scan_once(layer);
	if (!err)
		err = reserve_log(layer);
	end = a->end;
	ready = a->ready;
	mutex_unlock(&a->lock);
	if (!err)
		err = grow(layer, end, &ready, &zero);
	mutex_lock(&a->lock);
	a->error = err;
	/* Appended by another program: neither zero, nor to be cut off. */
	if (zero > a->zero) {
		a->zero = zero;
		a->found = zero;
	}
	if (ready > a->ready) {
		a->ready = ready;
		if (is_low(layer))
			queue_work(layer->writer.space_wq, &a->prepare);
	}
	mutex_unlock(&a->lock);
	vhdx_scope_leave(flags);
}

static int wait_for_room(struct vhdx_open_layer *layer)
{
	struct vhdx_allocator *a = &layer->writer.space;
	u64 before = a->ready;
	bool waited;

	/* A run that is under way may make it. */
	mutex_unlock(&a->lock);
	waited = flush_work(&a->prepare);
	mutex_lock(&a->lock);
	if (waited && a->ready > before)
		return 0;
	mutex_unlock(&a->lock);
	queue_work(layer->writer.space_wq, &a->prepare);
	flush_work(&a->prepare);
	mutex_lock(&a->lock);
	return a->error;
}

static bool may_log(const struct vhdx_allocator *a)
{
	lockdep_assert_held(&a->lock);
	return a->scan == VHDX_SCAN_OK && a->log_reserved;
}

/**
 * vhdx_allocator_ready() - may metadata be changed that takes no room?
 * @layer:	open for writing
 *
 * Sleeps; waits for the scan the first time. Returns 0, -EUCLEAN (the scan failed), or -errno.
 */
int vhdx_allocator_ready(struct vhdx_open_layer *layer)
{
	struct vhdx_allocator *a = &layer->writer.space;
	int err = 0;

	mutex_lock(&a->lock);
	if (!may_log(a))
		err = wait_for_room(layer);
	/* There may be no more room, which is not needed. */
	if (may_log(a))
		err = 0;
	mutex_unlock(&a->lock);
	return err;
}

/* What is given back are payload blocks. */
static bool may_be_spare(const struct vhdx_open_layer *layer, u32 length)
{
	return length == layer->image.geo.block_size;
}

/* Of what was given back, first; -ENOENT: there is nothing; -EAGAIN: it does not read as zeroes. */
static int take_used(struct vhdx_open_layer *layer, u32 length, bool zero, u64 *offset,
		     bool *zeroed)
{
	struct vhdx_allocator *a = &layer->writer.space;

	lockdep_assert_held(&a->lock);
	if (!may_be_spare(layer, length))
		return -ENOENT;
	if (!a->spare_count)
		return vhdx_freed_take(&a->freed, length, zero, offset, zeroed);
	if (zero)
		return -EAGAIN;
	*offset = a->spare[--a->spare_count];
	*zeroed = false;
	return 0;
}

/* @zero: only what reads as zeroes. Others may give back meanwhile: to look is to take. */
static bool take_ready(struct vhdx_open_layer *layer, u32 length, bool zero, u64 *offset,
		       bool *zeroed)
{
	struct vhdx_allocator *a = &layer->writer.space;
	int err;

	if (!may_log(a))
		return false;
	err = take_used(layer, length, zero, offset, zeroed);
	if (err != -ENOENT)
		return !err;
	if (a->end + length > a->ready || (zero && a->end < a->zero))
		return false;
	*offset = a->end;
	*zeroed = a->end >= a->zero;
	a->end += length;
	if (is_low(layer))
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

/* Returns 0 if there is room in what was unmapped; -EAGAIN: after the next commit; -ENOSPC. */
static int wait_for_freed(struct vhdx_open_layer *layer, u32 length)
{
	struct vhdx_allocator *a = &layer->writer.space;
	int err;

	if (!may_log(a) || !may_be_spare(layer, length))
		return -ENOSPC;
	mutex_unlock(&a->lock);
	err = vhdx_freed_wait(&a->freed);
	mutex_lock(&a->lock);
	return err;
}

/* There is room, or will be after the next commit; or -errno. */
static int make_room(struct vhdx_open_layer *layer, u32 length)
{
	int err = wait_for_room(layer);
	int freed = err ? wait_for_freed(layer, length) : 0;

	return freed == -ENOSPC ? err : freed;
}

/**
 * vhdx_allocator_take() - room for one payload block, or sector bitmap block
 * @layer:	open for writing
 * @length:	of the block
 * @offset:	receives its container offset
 * @zeroed:	it reads as zeroes already
 *
 * Sleeps; waits for the scan the first time. Returns 0, -EUCLEAN (the scan failed),
 * -EAGAIN (after the next commit), -ENOSPC, or -errno.
 */
int vhdx_allocator_take(struct vhdx_open_layer *layer, u32 length, u64 *offset, bool *zeroed)
{
	struct vhdx_allocator *a = &layer->writer.space;
	int err = 0;

	mutex_lock(&a->lock);
	while (!err && !take_ready(layer, length, false, offset, zeroed))
		err = make_room(layer, length);
	if (err && err != -EAGAIN && a->scan == VHDX_SCAN_OK && a->bad_count &&
	    may_be_spare(layer, length)) {
		*offset = oldest_bad(a);
		*zeroed = false;
		err = 0;
	}
	mutex_unlock(&a->lock);
	return err;
}

/**
 * vhdx_allocator_take_now() - vhdx_allocator_take() of what is ready, without any wait
 * @layer:	open for writing
 * @length:	of the block
 * @zero:	it is to read as zeroes already
 * @offset:	receives its container offset
 * @zeroed:	receives whether it does
 *
 * Any process context. Returns false if nothing is ready, or if another task looks just now.
 */
bool vhdx_allocator_take_now(struct vhdx_open_layer *layer, u32 length, bool zero, u64 *offset,
			     bool *zeroed)
{
	struct vhdx_allocator *a = &layer->writer.space;
	bool taken;

	if (!mutex_trylock(&a->lock))
		return false;
	taken = take_ready(layer, length, zero, offset, zeroed);
	mutex_unlock(&a->lock);
	return taken;
}

/**
 * vhdx_allocator_give_back() - a block that no mapping ever named
 * @layer:	open for writing
 * @offset:	from vhdx_allocator_take()
 * @length:	the same as there
 * @err:	why it was not used
 *
 * One bad sector of the container should not fail every new block from then on: a place
 * that could not be written is the last to be tried again. Without memory a place is lost
 * until the next attach, whose scan finds it free; so is one of another length than blocks have,
 * behind which there are others, or which could not be written.
 */
void vhdx_allocator_give_back(struct vhdx_open_layer *layer, u64 offset, u32 length, int err)
{
	struct vhdx_allocator *a = &layer->writer.space;
	/* -EAGAIN: of a write that did not wait for the device below. */
	bool bad = err != -ENOSPC && err != -ENOMEM && err != -EAGAIN;
	u64 *spare;

	mutex_lock(&a->lock);
	if (!may_be_spare(layer, length)) {
		if (bad && a->lost_count < VHDX_BAD_PLACES)
			a->lost_count++;
		else if (a->end == offset + length)
			a->end = offset;
		goto out;
	}
	if (bad && a->bad_count < VHDX_BAD_PLACES) {
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
 * With blocks at the end that were unmapped. What was behind the last block when the disk was
 * attached stays, and what another program appended since. A failure leaves room that is not used,
 * which is no damage.
 */
void vhdx_allocator_trim(struct vhdx_open_layer *layer)
{
	struct vhdx_allocator *a = &layer->writer.space;

	if (a->scan != VHDX_SCAN_OK)
		return;
	a->end = vhdx_freed_finish(layer, a->end);
	layer->writer.container->ops->trim(layer->writer.container, max(a->end, a->found));
}
