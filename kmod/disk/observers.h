/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Other modules that are told of writes, and of what happens to the disk's history
 * (linux/vhdx_api.h).
 *
 * A write is told as its bio comes from the block layer, and again as that bio ends: a clone goes
 * on in its place, whose end is that of the bio; in between nothing knows of it. Whether a bio is
 * told is decided once: as it comes, or, of a swap-out, when its turn has come. Of its parts, which
 * are submitted again, none is; nor does a part of a swap-out wait for its turn once more: it would
 * keep the clone's memory, which those in front of it may wait for.
 */
#ifndef VHDX_OBSERVERS_H
#define VHDX_OBSERVERS_H

#include <linux/bio.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/srcu.h>
#include <linux/workqueue.h>
#include <uapi/linux/vhdx.h>

struct vhdx_disk;
struct vhdx_observer;

enum vhdx_event_kind { VHDX_EVENT_SEALED, VHDX_EVENT_FORGOTTEN, VHDX_EVENT_GAP,
		       VHDX_EVENT_GOING_AWAY };

/**
 * struct vhdx_event - something that happened to the history, until all have been told
 * @link:	in the disk's queue
 * @kind:	what
 * @newest:	observers that came later are not told
 * @id:		of a point
 * @reason:	of a gap
 */
struct vhdx_event {
	struct list_head link;
	enum vhdx_event_kind kind;
	u64 newest;
	struct vhdx_point_id id;
	u32 reason;
};

/**
 * struct vhdx_observers - see the file comment
 * @any:	there are some; read without a lock by every write
 * @lock:	who comes and goes
 * @list:	in the order in which they came; read under RCU by writes, under @readers by @work
 * @newest:	number of the one that came last
 * @catches:	of clones; there from the first observer on
 * @can_catch:	it is
 * @readers:	@work calls an observer
 * @events_lock: @events, @gap, @going_away and @reason; under tracker->tree, and disks_lock
 * @events:	that wait to be told
 * @gap:	there is one at a time: the newest tells all
 * @going_away:	likewise: a detach does not fail for want of memory to tell it
 * @reason:	of the gap that was told last
 * @work:	tells them
 */
struct vhdx_observers {
	bool any;
	struct mutex lock;
	struct list_head list;
	u64 newest;
	struct bio_set catches;
	bool can_catch;
	struct srcu_struct readers;
	spinlock_t events_lock;
	struct list_head events;
	struct vhdx_event gap;
	struct vhdx_event going_away;
	u32 reason;
	struct work_struct work;
};

int vhdx_observers_init(struct vhdx_observers *observers);
void vhdx_observers_destroy(struct vhdx_observers *observers);
int vhdx_observers_add(struct vhdx_observers *observers, struct vhdx_observer *observer);
void vhdx_observers_remove(struct vhdx_observers *observers, struct vhdx_observer *observer);

struct bio *vhdx_observers_catch(struct vhdx_disk *disk, struct bio *bio);
bool vhdx_observers_caught(const struct bio *bio);
void vhdx_observers_caught_swap_out(struct bio *bio);

struct vhdx_event *vhdx_event_alloc(void);
void vhdx_observers_tell(struct vhdx_observers *observers, struct vhdx_event *event,
			 enum vhdx_event_kind kind, const struct vhdx_point_id *id);
void vhdx_observers_tell_going_away(struct vhdx_observers *observers);
void vhdx_observers_tell_gap(struct vhdx_observers *observers, u32 reason);

/* What goes on in its place; NULL: there was no memory, and the bio does not wait. It has ended. */
static inline struct bio *vhdx_observers_see(struct vhdx_disk *disk,
					     const struct vhdx_observers *observers,
					     struct bio *bio)
{
	return likely(!READ_ONCE(observers->any)) ? bio : vhdx_observers_catch(disk, bio);
}

#endif
