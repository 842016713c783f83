/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Which regions of the disk may be written at once, and which are set in the coarse area
 * (coarse.h). A region is
 *
 *	nothing		not set; a write to it has to wait
 *	want		a write waits
 *	taken		it is being set by the commit that is under way
 *	armed		set, durably: writes go out
 *	clearing	chosen by a checkpoint, which saves what it has; set still
 *	cleared		saved, durably: it need not be set any more, but it is still
 *
 * A write that finds its region clearing or cleared arms it again, and that cancels the clear. Only
 * when the committer has taken what is cleared it is too late for that: then the region is nothing,
 * and the commit that sets it again comes after the one that clears it (rule T3).
 *
 * Callers serialise everything here, except where a function says that it is lock-free.
 */
#ifndef VHDX_CORE_REGIONS_H
#define VHDX_CORE_REGIONS_H

#include "coarse.h"

/* Of as many regions as a word has bits. */
#define VHDX_REGIONS_AROUND_MAX	6

/**
 * struct vhdx_regions - the regions of one disk; each set as bits, bit n being region n
 * @geo:	of the coarse area
 * @ahead:	how many regions behind a write are set with it at most, where the disk is being
 *		written from one region to the next; the caller's, 0 at first
 * @around:	a commit sets all of the group of 1 << @around regions that a wanted one is in; the
 *		caller's, 0 at first, VHDX_REGIONS_AROUND_MAX at most
 * @armed:	writes look at it without a lock
 * @ondisk:	what the coarse area says, or is about to; only the committer changes it
 * @want:	want
 * @taken:	taken
 * @clearing:	clearing
 * @cleared:	cleared
 * @fresh:	became armed since the last checkpoint chose
 * @want_blocks: of the coarse area, bit n being block n, with regions of @want
 * @cleared_blocks: with regions of @cleared
 * @set:	how many are in @ondisk
 * @commit:	of the coarse area, counted
 */
struct vhdx_regions {
	struct vhdx_coarse_geometry geo;
	u32 ahead;
	u32 around;
	u64 *armed;
	u64 *ondisk;
	u64 *want;
	u64 *taken;
	u64 *clearing;
	u64 *cleared;
	u64 *fresh;
	u64 want_blocks;
	u64 cleared_blocks;
	u32 set;
	u64 commit;
};

/**
 * vhdx_regions_init() - no region is set
 * @regions:	filled in
 * @geo:	of the coarse area
 *
 * 0 or -ENOMEM; nothing else here allocates.
 */
int vhdx_regions_init(struct vhdx_regions *regions, const struct vhdx_coarse_geometry *geo);
void vhdx_regions_release(struct vhdx_regions *regions);

/**
 * vhdx_regions_recover() - regions that the last session left set stay set
 * @regions:	as initialised
 * @found:	in the coarse area, as vhdx_coarse_judge() says; NULL: none
 * @commit:	the largest one found there
 *
 * They are wanted, none is armed: what was read need not be durable. A flush that failed may have
 * left it in a cache alone, where no later flush writes it; and a sector that says all since it
 * could not be read may be read the next time, and say less.
 */
void vhdx_regions_recover(struct vhdx_regions *regions, const u64 *found, u64 commit);

/**
 * vhdx_regions_are_armed() - may a write go out at once?
 * @regions:	of its disk
 * @offset:	on the disk
 * @length:	in bytes; zero: there is nothing to write, and nothing to wait for
 *
 * Lock-free. The caller has marked what it writes before, and looks in the same RCU read side:
 * between taking regions away from the armed ones and reading marks, a checkpoint waits for a grace
 * period (rule T3).
 */
static inline bool vhdx_regions_are_armed(const struct vhdx_regions *regions, u64 offset,
					  u64 length)
{
	u32 region = offset >> regions->geo.region_shift;
	u32 last = (offset + length - 1) >> regions->geo.region_shift;

	if (!length)
		return true;
	while (READ_ONCE(regions->armed[region >> 6]) >> (region & 63) & 1)
		if (region++ == last)
			return true;
	return false;
}

/* What a write waits for. */
enum vhdx_regions_wait {
	VHDX_REGIONS_ARMED,	/* for nothing */
	VHDX_REGIONS_TAKEN,	/* for the commit that is under way */
	VHDX_REGIONS_WANTED,	/* for the next one */
};

/**
 * vhdx_regions_want() - a write has found a region that was not armed
 * @regions:	of its disk
 * @offset:	on the disk
 * @length:	in bytes; zero does no harm
 *
 * Arms what is clearing or cleared; the rest is wanted, unless it is taken already.
 */
enum vhdx_regions_wait vhdx_regions_want(struct vhdx_regions *regions, u64 offset, u64 length);

/**
 * vhdx_regions_take_want() - the committer sets what is wanted
 * @regions:	no commit is under way
 *
 * Returns the blocks of the coarse area to write, bit n for block n; then flush, and
 * vhdx_regions_committed(). Zero: nothing is wanted.
 */
u64 vhdx_regions_take_want(struct vhdx_regions *regions);

/**
 * vhdx_regions_committed() - what vhdx_regions_take_want() took is set, durably: it is armed
 * @regions:	of the disk
 */
void vhdx_regions_committed(struct vhdx_regions *regions);

/**
 * vhdx_regions_take_cleared() - the committer clears what need not be set
 * @regions:	no commit is under way
 *
 * Returns the blocks of the coarse area to write, in which no flush need follow; or zero.
 */
u64 vhdx_regions_take_cleared(struct vhdx_regions *regions);

/**
 * vhdx_regions_encode() - make one block of the coarse area
 * @regions:	of the disk
 * @block:	its number in the area
 * @generation:	sequence of the newest header that is durable
 * @buf:	VHDX_SIDECAR_BLOCK bytes, filled in
 *
 * By the committer, after it has taken; needs no lock.
 */
void vhdx_regions_encode(const struct vhdx_regions *regions, u32 block, u64 generation,
			 void *buf);

/**
 * vhdx_regions_begin_clear() - a checkpoint chooses regions; one checkpoint at a time
 * @regions:	of the disk
 * @all:	of those that are armed; otherwise those that were no more than that since the
 *		last one chose: were not armed since, and no write kept them from being cleared
 *
 * Writes find them unarmed from now on. Returns how many are clearing. What they have is saved
 * after a grace period and vhdx_regions_keep(); then vhdx_regions_confirm_clear() or
 * vhdx_regions_cancel_clear().
 */
u32 vhdx_regions_begin_clear(struct vhdx_regions *regions, bool all);

/**
 * vhdx_regions_keep() - a write is in flight there: these are not cleared
 * @regions:	of the disk
 * @offset:	on the disk
 * @length:	in bytes; zero does no harm
 */
void vhdx_regions_keep(struct vhdx_regions *regions, u64 offset, u64 length);

/**
 * vhdx_regions_confirm_clear() - what is clearing is saved, durably
 * @regions:	of the disk
 *
 * Returns how many regions are cleared by it: they are the committer's.
 */
u32 vhdx_regions_confirm_clear(struct vhdx_regions *regions);

/**
 * vhdx_regions_cancel_clear() - what is clearing could not be saved: it is armed again
 * @regions:	of the disk
 */
void vhdx_regions_cancel_clear(struct vhdx_regions *regions);

/**
 * vhdx_regions_give_up() - the coarse area does not count any more: all is armed
 * @regions:	of the disk
 */
void vhdx_regions_give_up(struct vhdx_regions *regions);

#endif
