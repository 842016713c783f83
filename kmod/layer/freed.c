// SPDX-License-Identifier: GPL-2.0-only
#include "freed.h"
#include "layer.h"
#include "store/scope.h"

#include <linux/slab.h>
#include <linux/sort.h>

static struct vhdx_open_layer *layer_of(struct vhdx_freed_space *space)
{
	return container_of(space, struct vhdx_open_layer, writer.space.freed);
}

/**
 * vhdx_freed_alloc() - before anything is unmapped: it does not wait for memory then
 * @blocks:	that are
 *
 * Sleeps. NULL without memory: the space is lost until the next attach, whose scan finds it free.
 */
struct vhdx_freed *vhdx_freed_alloc(u32 blocks)
{
	struct vhdx_freed *freed = kvmalloc(struct_size(freed, extents, blocks), GFP_KERNEL);

	if (freed)
		freed->count = 0;
	return freed;
}

/**
 * vhdx_freed_add() - one block more
 * @freed:	has room for it
 * @where:	it is in the container
 * @length:	of a block
 */
void vhdx_freed_add(struct vhdx_freed *freed, u64 where, u32 length)
{
	struct vhdx_extent *last = freed->count ? &freed->extents[freed->count - 1] : NULL;

	if (last && where == last->offset + last->length) {
		last->length += length;
		return;
	}
	freed->extents[freed->count++] = (struct vhdx_extent){ .offset = where, .length = length };
}

/**
 * vhdx_freed_give() - its blocks are unmapped
 * @layer:	open for writing
 * @freed:	all of them; it is taken
 * @transaction: that drops their mappings
 *
 * Any process context. Waits for nothing.
 */
void vhdx_freed_give(struct vhdx_open_layer *layer, struct vhdx_freed *freed, u64 transaction)
{
	struct vhdx_freed_space *space = &layer->writer.space.freed;

	freed->transaction = transaction;
	freed->zero = false;
	spin_lock(&space->lock);
	list_add_tail(&freed->link, &space->unmapped);
	spin_unlock(&space->lock);
}

/* The oldest one, if its old mapping can't come back. It is on no list then. */
static struct vhdx_freed *next_logged(struct vhdx_freed_space *space)
{
	u64 logged = READ_ONCE(layer_of(space)->pages.marks.logged);
	struct vhdx_freed *freed;

	spin_lock(&space->lock);
	freed = list_first_entry_or_null(&space->unmapped, struct vhdx_freed, link);
	if (freed && freed->transaction > logged)
		freed = NULL;
	if (freed)
		list_del(&freed->link);
	spin_unlock(&space->lock);
	return freed;
}

/* Whether the host takes it or not: the space is free. */
static void give_back(struct vhdx_open_layer *layer, struct vhdx_freed *freed)
{
	struct vhdx_container *c = layer->writer.container;
	int err = 0;
	u32 i;

	for (i = 0; i < freed->count && !err; i++) {
		/* Not in an image that was written over this one. */
		err = vhdx_layer_verify(layer);
		if (!err)
			err = c->ops->discard(c, freed->extents[i].offset,
					      freed->extents[i].length);
	}
	/* What a device has afterwards is up to it. */
	freed->zero = !err && c->ops->can_grow;
}

static void give_back_logged(struct vhdx_open_layer *layer)
{
	struct vhdx_freed_space *space = &layer->writer.space.freed;
	struct vhdx_freed *freed;

	while ((freed = next_logged(space)) != NULL) {
		give_back(layer, freed);
		spin_lock(&space->lock);
		list_add(&freed->link, &space->free);
		spin_unlock(&space->lock);
		cond_resched();
	}
}

static void give_back_work(struct work_struct *work)
{
	struct vhdx_freed_space *space = container_of(work, struct vhdx_freed_space, give_back);
	unsigned int flags = vhdx_scope_enter();

	give_back_logged(layer_of(space));
	vhdx_scope_leave(flags);
}

/**
 * vhdx_freed_logged() - a commit has succeeded
 * @layer:	open for writing
 */
void vhdx_freed_logged(struct vhdx_open_layer *layer)
{
	struct vhdx_freed_space *space = &layer->writer.space.freed;

	if (!list_empty_careful(&space->unmapped))
		queue_work(layer->writer.space_wq, &space->give_back);
}

/**
 * vhdx_freed_take() - a block of the space that is free
 * @space:	of the container
 * @length:	of blocks
 * @zero:	it is to read as zeroes
 * @where:	receives it
 * @zeroed:	receives whether it does
 *
 * Returns 0; -ENOENT: there is none; -EAGAIN: the next one does not read as zeroes. Waits for
 * nothing.
 */
int vhdx_freed_take(struct vhdx_freed_space *space, u32 length, bool zero, u64 *where, bool *zeroed)
{
	struct vhdx_freed *freed, *empty = NULL;
	struct vhdx_extent *extent;
	int err = 0;

	spin_lock(&space->lock);
	freed = list_first_entry_or_null(&space->free, struct vhdx_freed, link);
	if (!freed) {
		err = -ENOENT;
	} else if (zero && !freed->zero) {
		err = -EAGAIN;
	} else {
		extent = &freed->extents[freed->count - 1];
		*where = extent->offset;
		*zeroed = freed->zero;
		extent->offset += length;
		extent->length -= length;
		if (!extent->length && !--freed->count) {
			list_del(&freed->link);
			empty = freed;
		}
	}
	spin_unlock(&space->lock);
	if (empty)
		kvfree_rcu(empty, rcu);
	return err;
}

/**
 * vhdx_freed_wait() - there is no other room
 * @space:	of the container
 *
 * Sleeps. Returns 0: some is free now; -EAGAIN: after the next commit; -ENOSPC.
 */
int vhdx_freed_wait(struct vhdx_freed_space *space)
{
	int err = -ENOSPC;

	queue_work(layer_of(space)->writer.space_wq, &space->give_back);
	flush_work(&space->give_back);
	spin_lock(&space->lock);
	if (!list_empty(&space->free))
		err = 0;
	else if (!list_empty(&space->unmapped))
		err = -EAGAIN;
	spin_unlock(&space->lock);
	return err;
}

static int from_the_end(const void *a, const void *b)
{
	const struct vhdx_extent *one = a, *other = b;

	return one->offset < other->offset ? 1 : -1;
}

static u32 count_free(const struct vhdx_freed_space *space)
{
	const struct vhdx_freed *freed;
	u32 count = 0;

	list_for_each_entry(freed, &space->free, link)
		count += freed->count;
	return count;
}

/**
 * vhdx_freed_finish() - the session has ended: where does what is in use end?
 * @layer:	its log is durably empty, and nothing is done in it any more
 * @end:	where the next block would go
 *
 * All that was unmapped is given back. Sleeps. Returns @end, or less.
 */
u64 vhdx_freed_finish(struct vhdx_open_layer *layer, u64 end)
{
	struct vhdx_freed_space *space = &layer->writer.space.freed;
	struct vhdx_extent *all;
	struct vhdx_freed *freed;
	u32 i, count;

	/* The last commit has begun it. */
	cancel_work_sync(&space->give_back);
	give_back_logged(layer);
	count = count_free(space);
	all = count ? kvmalloc_array(count, sizeof(*all), GFP_KERNEL) : NULL;
	if (!all)
		return end;
	i = 0;
	list_for_each_entry(freed, &space->free, link) {
		memcpy(all + i, freed->extents, freed->count * sizeof(*all));
		i += freed->count;
	}
	sort(all, count, sizeof(*all), from_the_end, NULL);
	for (i = 0; i < count && all[i].offset + all[i].length == end; i++)
		end = all[i].offset;
	kvfree(all);
	return end;
}

/**
 * vhdx_freed_init() - nothing was unmapped
 * @space:	zeroed
 */
void vhdx_freed_init(struct vhdx_freed_space *space)
{
	spin_lock_init(&space->lock);
	INIT_LIST_HEAD(&space->unmapped);
	INIT_LIST_HEAD(&space->free);
	INIT_WORK(&space->give_back, give_back_work);
}

/**
 * vhdx_freed_stop() - nothing is given back by itself any more
 * @space:	no block is unmapped, and no commit is under way
 */
void vhdx_freed_stop(struct vhdx_freed_space *space)
{
	cancel_work_sync(&space->give_back);
}

static void free_all(struct list_head *list)
{
	struct vhdx_freed *freed, *next;

	list_for_each_entry_safe(freed, next, list, link)
		kvfree(freed);
	INIT_LIST_HEAD(list);
}

/**
 * vhdx_freed_destroy() - free the memory
 * @space:	stopped
 */
void vhdx_freed_destroy(struct vhdx_freed_space *space)
{
	free_all(&space->unmapped);
	free_all(&space->free);
}
