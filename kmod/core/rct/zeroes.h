/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * Ranges that changed, split where they read as zeroes now (VHDX_RANGE_ZERO). Who asks the
 * mapping, and hands the ranges on, is up to the caller: the driver, or the offline commands.
 *
 * A border lies between two granules, or is one of the range itself: what is told as zeroes is
 * rounded inwards. Where ranges are joined over small gaps, so are data over short zeroes: less
 * than @min_gap of them are told apart only if they are a whole range.
 */
#ifndef VHDX_CORE_ZEROES_H
#define VHDX_CORE_ZEROES_H

#include "core/ranges.h"

/* So many ranges at most are told by one call of vhdx_zeroes_add() or vhdx_zeroes_cut(). */
#define VHDX_ZEROES_ROOM	3U

/**
 * struct vhdx_zeroes - one range after the other
 * @told:	their parts; with room for them, and taken out, by the caller
 * @granule_shift: log2 of what is told as a whole
 * @min_gap:	see above
 * @sum:	of all parts that were told, in bytes
 * @from:	where the range begins that is being split
 * @to:		behind it
 * @at:		what lies before this is known
 * @zeroes:	from here up to @at are zeroes
 * @done:	everything before this is told
 */
struct vhdx_zeroes {
	struct vhdx_ranges told;
	u32 granule_shift;
	u64 min_gap;
	u64 sum;
	u64 from;
	u64 to;
	u64 at;
	u64 zeroes;
	u64 done;
};

/* The next range; the one before was split up to its end. */
void vhdx_zeroes_begin(struct vhdx_zeroes *zeroes, u64 from, u64 to);

/**
 * vhdx_zeroes_add() - what the next bytes from @at on are
 * @zeroes:	begun, and @at lies before @to
 * @length:	so many; what lies behind the range does not count
 * @zero:	they read as zeroes; else they may be anything
 *
 * False: not all that is known fits. Only what lies before @done is told, then.
 */
bool vhdx_zeroes_add(struct vhdx_zeroes *zeroes, u64 length, bool zero);

/* It ends before the range does: tell what there is to tell by now. As vhdx_zeroes_add(). */
bool vhdx_zeroes_cut(struct vhdx_zeroes *zeroes);

#endif
