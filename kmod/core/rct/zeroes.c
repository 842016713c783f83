// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "zeroes.h"

void vhdx_zeroes_begin(struct vhdx_zeroes *zeroes, u64 from, u64 to)
{
	zeroes->from = from;
	zeroes->to = to;
	zeroes->at = from;
	zeroes->zeroes = from;
	zeroes->done = from;
}

/* [@done, @to). False if it doesn't fit. */
static bool tell(struct vhdx_zeroes *zeroes, u64 to, u32 flags)
{
	if (to <= zeroes->done)
		return true;
	if (!vhdx_ranges_add(&zeroes->told, zeroes->done, to, flags))
		return false;
	zeroes->sum += to - zeroes->done;
	zeroes->done = to;
	return true;
}

static u64 round_down_in(const struct vhdx_zeroes *zeroes, u64 at)
{
	return at == zeroes->to ? at : at >> zeroes->granule_shift << zeroes->granule_shift;
}

static u64 round_up_in(const struct vhdx_zeroes *zeroes, u64 at)
{
	return at == zeroes->from ? at :
	       (((at - 1) >> zeroes->granule_shift) + 1) << zeroes->granule_shift;
}

/* They end at @at, or are not known any further. */
static bool tell_zeroes(struct vhdx_zeroes *zeroes)
{
	u64 from = round_up_in(zeroes, zeroes->zeroes);
	u64 to = round_down_in(zeroes, zeroes->at);
	bool whole = from == zeroes->from && to == zeroes->to;

	if (from >= to || (to - from < zeroes->min_gap && !whole))
		return true;
	return tell(zeroes, from, 0) && tell(zeroes, to, VHDX_RANGE_ZERO);
}

bool vhdx_zeroes_add(struct vhdx_zeroes *zeroes, u64 length, bool zero)
{
	if (!zero && !tell_zeroes(zeroes))
		return false;
	zeroes->at += min(length, zeroes->to - zeroes->at);
	if (!zero)
		zeroes->zeroes = zeroes->at;
	if (zeroes->at < zeroes->to)
		return true;
	return tell_zeroes(zeroes) && tell(zeroes, zeroes->to, 0);
}

bool vhdx_zeroes_cut(struct vhdx_zeroes *zeroes)
{
	if (!tell_zeroes(zeroes))
		return false;
	/* Zeroes that are not told may be more than these. */
	return tell(zeroes, round_down_in(zeroes, zeroes->zeroes), 0);
}
