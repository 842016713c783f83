/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For other modules: VHDX disks with Resilient Change Tracking, without a system call.
 *
 *	MODULE_IMPORT_NS(VHDX), or MODULE_IMPORT_NS("VHDX") where the kernel wants that
 *
 * A *hold* names a disk and keeps it attached. What it is asked for is what the ioctls of
 * <uapi/linux/vhdx.h> are asked for; one engine answers both. An *observer* hears of writes.
 *
 * Unless it says otherwise a call is made in process context, may sleep, and can be killed: -EINTR.
 * It is not made under a lock that I/O to this disk needs, nor in the callbacks that must not
 * sleep. Any number of tasks may call at once, also with one hold; vhdx_hold_put() is the last call
 * with it. Offsets and lengths are bytes of the whole disk, also where it is held by one of its
 * partitions. A @reason is VHDX_REASON_*: why the call failed.
 *
 * Structures of the uapi have their present size here. A module is built against the header of the
 * driver that it is loaded with: where the kernel has CONFIG_MODVERSIONS it is refused otherwise.
 *
 * kernel-api.rst is for who writes such a module: in Documentation, and installed beside include/.
 */
#ifndef _LINUX_VHDX_API_H
#define _LINUX_VHDX_API_H

#include <linux/list.h>
#include <linux/types.h>
#include <uapi/linux/vhdx.h>

struct module;
struct vhdx_hold;

/* ---- a disk ------------------------------------------------------------------------------ */

/**
 * vhdx_hold_get() - hold the disk behind a block device
 * @devt:	of an attached disk, or of a partition of it
 * @owner:	whom sysfs names as a holder: THIS_MODULE
 *
 * While it is held the disk is not detached: who tries waits for observers that are told
 * going_away, and for their owners to let go, 5 seconds, and gets EBUSY then. The disk can be
 * opened by others, and written.
 *
 * Returns it; or an ERR_PTR(): -ENODEV there is no such disk, or it is being detached; -ENOMEM.
 */
struct vhdx_hold *vhdx_hold_get(dev_t devt, struct module *owner);

/**
 * vhdx_hold_put() - let go of the disk
 * @hold:	of vhdx_hold_get(), with no observer and in no other call; or NULL
 *
 * The last one may be what a detach waits for.
 */
void vhdx_hold_put(struct vhdx_hold *hold);

/* ---- what the ioctls tell ----------------------------------------------------------------- */

/**
 * vhdx_hold_get_info() - VHDX_GET_INFO
 * @hold:	the disk
 * @info:	is filled in; @size, @message and @reason mean nothing
 *
 * Does not wait for I/O, and is not killed. Returns 0.
 */
int vhdx_hold_get_info(struct vhdx_hold *hold, struct vhdx_info *info);

/**
 * vhdx_hold_get_state() - VHDX_GET_TRACKING_STATE
 * @hold:	the disk
 * @state:	is filled in; as for vhdx_hold_get_info()
 *
 * Returns 0.
 */
int vhdx_hold_get_state(struct vhdx_hold *hold, struct vhdx_tracking_state *state);

/**
 * vhdx_hold_get_points() - VHDX_GET_POINTS
 * @hold:	the disk
 * @after:	points behind this one; NULL or all zero: from the oldest on
 * @points:	receives them, oldest first
 * @capacity:	how many there is room for; with 0 nothing is told, not even how many there are
 * @count:	receives how many are told; fewer than @capacity: there are no more
 * @reason:	of a failure; may be NULL
 *
 * Returns 0 or -errno, as the ioctl.
 */
int vhdx_hold_get_points(struct vhdx_hold *hold, const struct vhdx_point_id *after,
			 struct vhdx_point *points, u32 capacity, u32 *count, u32 *reason);

/**
 * vhdx_hold_forget() - VHDX_FORGET
 * @hold:	the disk
 * @id:		of the point, which is no limit and no target any more
 * @reason:	of a failure; may be NULL
 *
 * A question about the point that is under way may end with -ENODATA. Returns 0 or -errno, as the
 * ioctl.
 */
int vhdx_hold_forget(struct vhdx_hold *hold, const struct vhdx_point_id *id, u32 *reason);

/**
 * vhdx_hold_seal() - VHDX_SEAL: a point on each of these disks, at one instant
 * @holds:	each of another disk
 * @count:	1 to VHDX_SEAL_MAX
 * @label:	text of up to VHDX_LABEL_MAX bytes, or NULL
 * @ids:	receives @count ids
 * @failed:	receives which of them it was that failed, or was named twice; 0 where it was none
 *		of them, as with a bad label; may be NULL
 * @reason:	of a failure; may be NULL
 *
 * All ids or none. Every write that was answered before the call lies before the point, and every
 * one that is submitted after it returns lies behind.
 * Returns 0 or -errno, as the ioctl.
 */
int vhdx_hold_seal(struct vhdx_hold *const *holds, u32 count, const char *label,
		   struct vhdx_point_id *ids, u32 *failed, u32 *reason);

/**
 * struct vhdx_query - a question about a part of the disk
 * @limit:		changes since this point. What is allocated is asked without
 * @target:		until this one; all zero: until now
 * @byte_offset:	first byte of the request
 * @byte_length:	of it; offset + length is not beyond the disk
 * @granularity:	0, or a power of two, not less than the unit: what is told as a whole
 * @min_gap:		ranges that are closer than this are told as one
 * @processed_byte_length: out: how much of the request is told
 * @virtual_disk_size:	out, also where it fails because of the arguments
 * @unit:		out: what changes are recorded by, in bytes
 * @answer_flags:	out: VHDX_ANSWER_*
 * @reason:		out: of a failure
 */
struct vhdx_query {
	struct vhdx_point_id limit;
	struct vhdx_point_id target;
	u64 byte_offset;
	u64 byte_length;
	u64 granularity;
	u64 min_gap;

	u64 processed_byte_length;
	u64 virtual_disk_size;
	u32 unit;
	u32 answer_flags;
	u32 reason;
};

/**
 * vhdx_hold_get_ranges() - GET_VIRTUAL_DISK_CHANGES, as many ranges as there is room for
 * @hold:	the disk
 * @query:	in and out
 * @ranges:	receives them: ascending, and not touching each other
 * @capacity:	how many there is room for, at least 1
 * @count:	receives how many there are
 *
 * All of the request is told, unless there is no room for more, or a signal is pending. What was
 * not processed is asked again, from byte_offset + processed_byte_length on: there is progress
 * unless it fails.
 * Returns 0 or -errno, as the ioctl.
 */
int vhdx_hold_get_ranges(struct vhdx_hold *hold, struct vhdx_query *query,
			 struct vhdx_range *ranges, u32 capacity, u32 *count);

/**
 * vhdx_hold_each_range() - the same, one call for each range
 * @hold:	the disk
 * @query:	in and out
 * @fn:		called for each range, in order, with no lock held; may sleep, may read and
 *		write this disk, and make other calls. Not 0, be it positive or negative: it is not
 *		called again, and that is what is returned
 * @context:	for @fn
 *
 * What was told before a failure, or before @fn had enough, was told: processed_byte_length is 0
 * all the same. Who goes on asks from the end of the last range that it was told. A task with a
 * pending signal may be told less than all, without an error: see processed_byte_length. A kernel
 * thread that allows none never is. What was found already is told to a task that was killed
 * as well: an @fn that takes long looks for fatal_signal_pending() itself.
 * Returns 0, -errno as the ioctl, or what @fn returned.
 */
int vhdx_hold_each_range(struct vhdx_hold *hold, struct vhdx_query *query,
			 int (*fn)(void *context, const struct vhdx_range *range), void *context);

/**
 * vhdx_hold_get_bits() - the same as a bitmap
 * @hold:	the disk
 * @query:	in and out; byte_offset is a multiple of 64 granules, min_gap is 0
 * @words:	receives bit i % 64 of word i / 64 for granule i from byte_offset on; bits behind
 *		the last granule that was processed are zero in its word
 * @word_count:	how many there is room for, at least 1
 *
 * What was processed is told by processed_byte_length; words behind it are as they were.
 * Returns 0 or -errno, as the ioctl.
 */
int vhdx_hold_get_bits(struct vhdx_hold *hold, struct vhdx_query *query, u64 *words,
		       u32 word_count);

/**
 * vhdx_hold_get_allocated() - VHDX_GET_ALLOCATED_RANGES: what a full copy has to read
 * @hold:	the disk
 * @query:	in and out; @unit and @answer_flags are not. With a point or a granularity: -EINVAL
 * @ranges:	see vhdx_hold_get_ranges(); what is not told reads as zeroes
 * @capacity:	likewise
 * @count:	likewise
 *
 * No range has VHDX_RANGE_ZERO. It is short as vhdx_hold_get_ranges() is.
 * Returns 0 or -errno, as the ioctl.
 */
int vhdx_hold_get_allocated(struct vhdx_hold *hold, struct vhdx_query *query,
			    struct vhdx_range *ranges, u32 capacity, u32 *count);

/* ---- observers ------------------------------------------------------------------------------ */

/**
 * enum vhdx_write_op - what is done to a part of the disk
 * @VHDX_OP_WRITE:	data are written, with or without a flush in front of them
 * @VHDX_OP_ZEROES:	it is to read as zeroes
 * @VHDX_OP_DISCARD:	nobody needs it any more: it reads as before, or as zeroes
 * @VHDX_OP_FLUSH:	all that was completed becomes durable; offset and length are 0
 *
 * Whoever keeps a copy treats what it does not know as a write: it reads the disk.
 */
enum vhdx_write_op {
	VHDX_OP_WRITE,
	VHDX_OP_ZEROES,
	VHDX_OP_DISCARD,
	VHDX_OP_FLUSH,
};

/**
 * struct vhdx_observer_ops - what an observer is told; those that are NULL it is not told
 * @submitted:	this is about to be written. In any context, interrupts too: no sleep, no
 *		allocation. Before any of it goes out
 * @completed:	it ended, with @err (0 or -errno) for whoever submitted it, who is told next. The
 *		same context. Each that was @submitted is told once; a write that was submitted
 *		before vhdx_observe() returned, and of which @submitted was not told, is not
 * @sealed:	a point was sealed. This and what follows: in process context, with no lock of the
 *		disk held, in the order in which it happened; must not call vhdx_unobserve()
 * @forgotten:	a point was forgotten
 * @gap:	changes since the newest point can't be told any more, or tracking ended
 * @resized:	the disk's size is another one
 * @layer_changed: a layer was added, or went away
 * @going_away:	someone detaches the disk: let go of it soon
 *
 * A write that carries a flush (REQ_PREFLUSH), or is durable when it completes (REQ_FUA), is a
 * write: nothing tells it from others.
 */
struct vhdx_observer_ops {
	void (*submitted)(void *context, enum vhdx_write_op op, u64 offset, u64 length);
	void (*completed)(void *context, enum vhdx_write_op op, u64 offset, u64 length, int err);
	void (*sealed)(void *context, const struct vhdx_point_id *id);
	void (*forgotten)(void *context, const struct vhdx_point_id *id);
	void (*gap)(void *context, u32 reason);
	void (*resized)(void *context, u64 size);
	void (*layer_changed)(void *context);
	void (*going_away)(void *context);
};

/**
 * struct vhdx_observer - who is told
 * @ops:	what of; constant
 * @context:	the first argument of each of @ops
 *
 * The rest is zero before the first vhdx_observe(), and the disk's from then on.
 */
struct vhdx_observer {
	const struct vhdx_observer_ops *ops;
	void *context;

	/* private: */
	struct list_head link;
	u64 number;
};

/**
 * vhdx_observe() - be told
 * @hold:	of the disk; outlives the observer's registration
 * @observer:	@ops and @context are set
 *
 * Every write that is submitted after it returns is told. Returns 0; -ENOMEM; or -EEXIST: it
 * observes a disk already.
 */
int vhdx_observe(struct vhdx_hold *hold, struct vhdx_observer *observer);

/**
 * vhdx_unobserve() - be told no more
 * @hold:	of the disk
 * @observer:	of vhdx_observe()
 *
 * Waits for calls that are under way. When it returns none runs, and none will. Where it observes
 * nothing, or no more, there is nothing to do; but two tasks do not take away one observer at once.
 */
void vhdx_unobserve(struct vhdx_hold *hold, struct vhdx_observer *observer);

#endif
