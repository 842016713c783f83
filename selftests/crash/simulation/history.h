/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What was written to each unit, or zeroed in it, and what of that must be there after a power
 * loss: all that was made durable, or something that came later; and nothing else.
 */
#ifndef VHDX_SIMULATION_HISTORY_H
#define VHDX_SIMULATION_HISTORY_H

#include "container.h"

#define EVENTS	80	/* of a unit between two power losses */

struct event {
	u64 sectors[UNIT_SECTORS];
	u64 begun;		/* by the history's clock */
	u64 done;		/* 0: nobody was told yet */
	bool durable;
};

struct history {
	u64 clock;
	u32 count[UNITS];
	struct event events[UNITS][EVENTS];
};

/* The power is back, and this is what there is. */
void history_boots(const u64 sectors[UNITS][UNIT_SECTORS]);
/* @value is on its way to a unit. Returns which event that is. */
u32 history_begins(u32 unit, u64 value);
/* Somebody was told. @durable: that it would survive a power loss, too. */
void history_ends(u32 unit, u32 event, bool durable);
u64 history_flush_begins(void);
/* What had ended by then is durable. */
void history_flush_ends(u64 begun);
/* After a power loss. */
void history_judge(const u64 sectors[UNITS][UNIT_SECTORS]);
/* What a read has found that began then. */
void history_judge_read(u32 unit, const u64 *sectors, u64 begun);

#endif
