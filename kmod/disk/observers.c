// SPDX-License-Identifier: GPL-2.0-only
#include "observers.h"
#include "disk.h"

#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/vhdx_api.h>

/*
 * So many writes are told however little memory there is; the next one waits for the end of one.
 * No more swap-outs than that are under way at a time, and those that are not have no clone.
 */
#define CATCHES	VHDX_SWAP_OUTS

/**
 * struct catch - a bio that was told, until its end is
 * @observers:	of the disk, of which the bio holds a reference (rule K2)
 * @bio:	from the block layer. It ends by bio_endio(), as one of a chain has to
 * @op:		what was told
 * @offset:	likewise
 * @length:	likewise
 * @newest:	observers up to this number were told
 * @swap_out:	it is a write of swapped memory under way (swap_out.h)
 * @clone:	goes on in its place
 */
struct catch {
	struct vhdx_observers *observers;
	struct bio *bio;
	enum vhdx_write_op op;
	u64 offset;
	u64 length;
	u64 newest;
	bool swap_out;
	struct bio clone;
};

/* ---- writes ------------------------------------------------------------------------------- */

static void tell_submitted(struct catch *caught)
{
	struct vhdx_observer *observer;

	rcu_read_lock();
	list_for_each_entry_rcu(observer, &caught->observers->list, link) {
		if (observer->ops->submitted)
			observer->ops->submitted(observer->context, caught->op, caught->offset,
						 caught->length);
		caught->newest = observer->number;
	}
	rcu_read_unlock();
}

static void tell_completed(const struct catch *caught, int err)
{
	struct vhdx_observer *observer;

	rcu_read_lock();
	list_for_each_entry_rcu(observer, &caught->observers->list, link) {
		if (observer->number > caught->newest)
			break;
		if (observer->ops->completed)
			observer->ops->completed(observer->context, caught->op, caught->offset,
						 caught->length, err);
	}
	rcu_read_unlock();
}

/* Before its owner is told. Any context. */
static void caught_end(struct bio *clone)
{
	struct catch *caught = container_of(clone, struct catch, clone);
	struct vhdx_disk *disk = container_of(caught->observers, struct vhdx_disk, observers);
	struct bio *bio = caught->bio;
	bool swap_out = caught->swap_out;

	if (clone->bi_status)
		bio->bi_status = clone->bi_status;
	tell_completed(caught, blk_status_to_errno(clone->bi_status));
	bio_put(clone);
	/* The next one finds the clone's memory. */
	if (unlikely(swap_out))
		vhdx_swap_out_leave(disk);
	bio_endio(bio);
}

static enum vhdx_write_op op_of(const struct bio *bio)
{
	switch (bio_op(bio)) {
	case REQ_OP_DISCARD:
		return VHDX_OP_DISCARD;
	case REQ_OP_WRITE_ZEROES:
		return VHDX_OP_ZEROES;
	default:
		return bio_sectors(bio) ? VHDX_OP_WRITE : VHDX_OP_FLUSH;
	}
}

/**
 * vhdx_observers_caught() - was it told?
 * @bio:	from the block layer, or the rest of one that was cut
 *
 * Returns true if it goes on in the place of one that was told.
 */
bool vhdx_observers_caught(const struct bio *bio)
{
	return bio->bi_end_io == caught_end;
}

/**
 * vhdx_observers_catch() - tell that a bio is about to be written, if it is
 * @disk:	of which the bio holds a reference
 * @bio:	from the block layer, or a part of one that was told
 *
 * Waits for nothing but memory that earlier ones give back. Returns what goes on in its place, or
 * @bio. NULL: it may not wait even for that, and has failed; the reference is still the caller's.
 */
struct bio *vhdx_observers_catch(struct vhdx_disk *disk, struct bio *bio)
{
	struct vhdx_observers *observers = &disk->observers;
	struct catch *caught;
	struct bio *clone;

	/* What is submitted again is the clone itself, without what was cut off in front. */
	if (!op_is_write(bio_op(bio)) || vhdx_observers_caught(bio))
		return bio;
	clone = bio_alloc_clone(bio->bi_bdev, bio,
				bio->bi_opf & REQ_NOWAIT ? GFP_NOWAIT : GFP_NOIO,
				&observers->catches);
	if (!clone) {
		bio_wouldblock_error(bio);
		return NULL;
	}
	caught = container_of(clone, struct catch, clone);
	caught->observers = observers;
	caught->bio = bio;
	caught->op = op_of(bio);
	caught->length = bio->bi_iter.bi_size;
	caught->offset = caught->length ? (u64)bio->bi_iter.bi_sector << SECTOR_SHIFT : 0;
	caught->newest = 0;
	caught->swap_out = false;
	clone->bi_end_io = caught_end;
	tell_submitted(caught);
	return clone;
}

/**
 * vhdx_observers_caught_swap_out() - vhdx_swap_out_leave() is called as it ends, with all its parts
 * @bio:	vhdx_observers_caught(), just now
 */
void vhdx_observers_caught_swap_out(struct bio *bio)
{
	container_of(bio, struct catch, clone)->swap_out = true;
}

/* ---- what happens to the history ------------------------------------------------------------ */

static void tell_one(const struct vhdx_observer *observer, const struct vhdx_event *event)
{
	const struct vhdx_observer_ops *ops = observer->ops;

	switch (event->kind) {
	case VHDX_EVENT_SEALED:
		if (ops->sealed)
			ops->sealed(observer->context, &event->id);
		break;
	case VHDX_EVENT_FORGOTTEN:
		if (ops->forgotten)
			ops->forgotten(observer->context, &event->id);
		break;
	case VHDX_EVENT_GAP:
		if (ops->gap)
			ops->gap(observer->context, event->reason);
		break;
	case VHDX_EVENT_GOING_AWAY:
		if (ops->going_away)
			ops->going_away(observer->context);
		break;
	}
}

static void tell_all(struct vhdx_observers *observers, const struct vhdx_event *event)
{
	struct vhdx_observer *observer;
	int reader = srcu_read_lock(&observers->readers);

	list_for_each_entry_srcu(observer, &observers->list, link,
				 srcu_read_lock_held(&observers->readers)) {
		if (observer->number > event->newest)
			break;
		tell_one(observer, event);
	}
	srcu_read_unlock(&observers->readers, reader);
}

/* Of which there is one, which is part of the disk. */
static bool is_part(const struct vhdx_observers *observers, const struct vhdx_event *event)
{
	return event == &observers->gap || event == &observers->going_away;
}

/* Such an event is told as a copy: the next one may come meanwhile. */
static struct vhdx_event *next_event(struct vhdx_observers *observers, struct vhdx_event *copy)
{
	struct vhdx_event *event;

	spin_lock(&observers->events_lock);
	event = list_first_entry_or_null(&observers->events, struct vhdx_event, link);
	if (event)
		list_del_init(&event->link);
	if (event && is_part(observers, event)) {
		*copy = *event;
		event = copy;
	}
	spin_unlock(&observers->events_lock);
	return event;
}

/* Outside of all locks of the disk: an observer may ask what there is now. */
static void events_work(struct work_struct *work)
{
	struct vhdx_observers *observers = container_of(work, struct vhdx_observers, work);
	struct vhdx_event *event, copy;

	while ((event = next_event(observers, &copy)) != NULL) {
		tell_all(observers, event);
		if (event != &copy)
			kfree(event);
	}
}

/* Under events_lock. */
static void queue_event(struct vhdx_observers *observers, struct vhdx_event *event)
{
	event->newest = READ_ONCE(observers->newest);
	list_add_tail(&event->link, &observers->events);
	schedule_work(&observers->work);
}

/**
 * vhdx_event_alloc() - for something that is about to happen
 *
 * Before it does: it does not fail for want of this any more. Returns NULL without memory; kfree()
 * it if nothing happened.
 */
struct vhdx_event *vhdx_event_alloc(void)
{
	return kzalloc(sizeof(struct vhdx_event), GFP_KERNEL);
}

/**
 * vhdx_observers_tell() - it has happened
 * @observers:	of the disk
 * @event:	of vhdx_event_alloc(), which is taken
 * @kind:	what
 * @id:		of the point, or NULL
 *
 * Any process context, under the lock that orders what happens. Waits for nobody.
 */
void vhdx_observers_tell(struct vhdx_observers *observers, struct vhdx_event *event,
			 enum vhdx_event_kind kind, const struct vhdx_point_id *id)
{
	if (!READ_ONCE(observers->any)) {
		kfree(event);
		return;
	}
	event->kind = kind;
	if (id)
		event->id = *id;
	spin_lock(&observers->events_lock);
	queue_event(observers, event);
	spin_unlock(&observers->events_lock);
}

/**
 * vhdx_observers_tell_going_away() - someone wants to detach the disk
 * @observers:	of the disk
 *
 * As vhdx_observers_tell().
 */
void vhdx_observers_tell_going_away(struct vhdx_observers *observers)
{
	struct vhdx_event *event = &observers->going_away;

	spin_lock(&observers->events_lock);
	event->kind = VHDX_EVENT_GOING_AWAY;
	if (READ_ONCE(observers->any) && list_empty(&event->link))
		queue_event(observers, event);
	spin_unlock(&observers->events_lock);
}

/**
 * vhdx_observers_tell_gap() - why changes since the newest point can't be told
 * @observers:	of the disk
 * @reason:	VHDX_REASON_*, NONE: they can. What was told before is not told again
 *
 * As vhdx_observers_tell().
 */
void vhdx_observers_tell_gap(struct vhdx_observers *observers, u32 reason)
{
	struct vhdx_event *gap = &observers->gap;

	spin_lock(&observers->events_lock);
	if (reason && reason != observers->reason && READ_ONCE(observers->any)) {
		gap->kind = VHDX_EVENT_GAP;
		gap->reason = reason;
		if (list_empty(&gap->link))
			queue_event(observers, gap);
	}
	observers->reason = reason;
	spin_unlock(&observers->events_lock);
}

/* ---- who is told ---------------------------------------------------------------------------- */

/**
 * vhdx_observers_init() - of a disk
 * @observers:	zeroed
 *
 * Returns 0 or -ENOMEM.
 */
int vhdx_observers_init(struct vhdx_observers *observers)
{
	mutex_init(&observers->lock);
	INIT_LIST_HEAD(&observers->list);
	spin_lock_init(&observers->events_lock);
	INIT_LIST_HEAD(&observers->events);
	INIT_LIST_HEAD(&observers->gap.link);
	INIT_LIST_HEAD(&observers->going_away.link);
	INIT_WORK(&observers->work, events_work);
	return init_srcu_struct(&observers->readers);
}

/**
 * vhdx_observers_destroy() - nobody holds the disk
 * @observers:	without observers; no write is under way
 *
 * What happened and was not told is freed.
 */
void vhdx_observers_destroy(struct vhdx_observers *observers)
{
	flush_work(&observers->work);
	if (observers->can_catch)
		bioset_exit(&observers->catches);
	cleanup_srcu_struct(&observers->readers);
}

/**
 * vhdx_observers_add() - vhdx_observe()
 * @observers:	of the disk
 * @observer:	zeroed, or removed
 */
int vhdx_observers_add(struct vhdx_observers *observers, struct vhdx_observer *observer)
{
	int err = 0;

	mutex_lock(&observers->lock);
	if (observer->number)
		err = -EEXIST;
	if (!err && !observers->can_catch)
		err = bioset_init(&observers->catches, CATCHES, offsetof(struct catch, clone), 0);
	if (!err) {
		observers->can_catch = true;
		observer->number = observers->newest + 1;
		WRITE_ONCE(observers->newest, observer->number);
		list_add_tail_rcu(&observer->link, &observers->list);
		/* Who sees this finds the set, and the list: a grace period lies in between. */
		synchronize_rcu();
		WRITE_ONCE(observers->any, true);
	}
	mutex_unlock(&observers->lock);
	return err;
}

/**
 * vhdx_observers_remove() - vhdx_unobserve()
 * @observers:	of the disk
 * @observer:	in the list, or removed
 */
void vhdx_observers_remove(struct vhdx_observers *observers, struct vhdx_observer *observer)
{
	if (!observer->number)
		return;
	mutex_lock(&observers->lock);
	list_del_rcu(&observer->link);
	if (list_empty(&observers->list))
		WRITE_ONCE(observers->any, false);
	mutex_unlock(&observers->lock);
	synchronize_rcu();
	synchronize_srcu(&observers->readers);
	observer->number = 0;
}
