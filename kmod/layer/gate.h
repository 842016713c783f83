/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The gate that all I/O of a disk goes through before it is mapped (rule V1).
 *
 * A piece of I/O holds a reference of the gate from before it is looked up until the container
 * is done with it and what it made is mapped; apart from the disk's own reference of the whole
 * piece (rule K2). A piece that is put on a list to wait drops its reference of the gate first,
 * comes in again afterwards, and is looked up again: so a task that waits for pieces inside the
 * gate never waits for a piece that waits for that task.
 *
 * References belong to epochs. vhdx_gate_flip() begins a new epoch, and waits for the pieces of the
 * old one while others come and go in the new one. A gate that is closed to a kind of I/O lets none
 * of it in; such a piece is parked, and comes in when the gate is opened: in a worker, never in the
 * task that opens it.
 *
 *	take something out of the mapping	take it out, flip: no piece uses what it was
 *	begin to track				begin to mark, flip: every write is marked
 *	seal several disks			close all, grace period, exchange maps, open all
 */
#ifndef VHDX_GATE_H
#define VHDX_GATE_H

#include <linux/bits.h>
#include <linux/completion.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/percpu-refcount.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

/* Kinds of I/O. A flush in front of data is a flush, and then a write. */
#define VHDX_GATE_READS		BIT(0)
#define VHDX_GATE_WRITES	BIT(1)
#define VHDX_GATE_FLUSHES	BIT(2)

/**
 * struct vhdx_epoch - the pieces that came in between two flips
 * @ref:	one reference for each piece, and one while the epoch is the gate's
 * @drained:	the last reference is gone
 */
struct vhdx_epoch {
	struct percpu_ref ref;
	struct completion drained;
};

/**
 * struct vhdx_pass - what a piece of I/O has of the gate
 * @epoch:	holds a reference of it; NULL: it is not inside
 * @link:	in gate->parked
 */
struct vhdx_pass {
	struct vhdx_epoch *epoch;
	struct list_head link;
};

/**
 * struct vhdx_gate - see the file comment
 * @epoch:	the epoch that pieces enter now
 * @closed:	VHDX_GATE_*: kinds that are parked
 * @epochs:	this one and the one before, or the next
 * @resume:	what goes on with a piece that was parked: enters again, and never waits for
 *		another piece that is parked
 * @workqueue:	where @resume is called
 * @resume_work: in @workqueue
 * @lock:	@closed, to change it, and @parked; any context
 * @parked:	pieces, in the order in which they came
 * @flip_lock:	@begun and @ended, and to change @epoch; nothing is waited for under it
 * @begun:	how many flips have begun
 * @ended:	how many have ended: as many, or one less while pieces may be in the former epoch
 */
struct vhdx_gate {
	struct vhdx_epoch *epoch;
	unsigned int closed;
	struct vhdx_epoch epochs[2];
	void (*resume)(struct vhdx_pass *pass);
	struct workqueue_struct *workqueue;
	struct work_struct resume_work;
	spinlock_t lock;
	struct list_head parked;
	struct mutex flip_lock;
	u64 begun;
	u64 ended;
};

int vhdx_gate_init(struct vhdx_gate *gate, void (*resume)(struct vhdx_pass *pass),
		   struct workqueue_struct *workqueue);
void vhdx_gate_destroy(struct vhdx_gate *gate);
bool vhdx_gate_park(struct vhdx_gate *gate, struct vhdx_pass *pass, unsigned int kind);
void vhdx_gate_close(struct vhdx_gate *gate, unsigned int kinds);
void vhdx_gate_open(struct vhdx_gate *gate);
int vhdx_gate_flip(struct vhdx_gate *gate, unsigned long timeout);

/**
 * vhdx_gate_enter() - a piece of I/O comes in
 * @gate:	the gate
 * @pass:	of the piece, which is not inside
 * @kind:	one of VHDX_GATE_*
 *
 * Under rcu_read_lock(): once a grace period has passed since the gate was closed, every task that
 * found it open has left that read side. Returns false if it is closed to this kind.
 */
static inline bool vhdx_gate_enter(struct vhdx_gate *gate, struct vhdx_pass *pass,
				   unsigned int kind)
{
	struct vhdx_epoch *epoch;

	if (unlikely(READ_ONCE(gate->closed) & kind))
		return false;
	/* A flip may have ended this epoch by now; then the new one is there. */
	do {
		/* Pairs with vhdx_gate_flip(): sees everything that was done before it. */
		epoch = smp_load_acquire(&gate->epoch);
	} while (unlikely(!percpu_ref_tryget_live_rcu(&epoch->ref)));
	pass->epoch = epoch;
	return true;
}

/**
 * vhdx_gate_leave() - a piece of I/O goes out
 * @pass:	of the piece; harmless if it is not inside
 *
 * Any context.
 */
static inline void vhdx_gate_leave(struct vhdx_pass *pass)
{
	struct vhdx_epoch *epoch = pass->epoch;

	if (!epoch)
		return;
	pass->epoch = NULL;
	percpu_ref_put(&epoch->ref);
}

#endif
