/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * The token of strict mode (rule T6): how far the container's header has got, as the sidecar was
 * told before each time it was written. A sidecar that went back in time, with its file system,
 * has an older token than the header that it lies beside.
 *
 * There are two slots. A token is written beside the sectors of the coarse area that belong to
 * it, and one flush makes them all durable: which of them a power loss has left is seen by the
 * number of the commit, that all of them have. So a token without its sectors does not count, and
 * it goes to the slot that does not have the newest one that does.
 */
#ifndef VHDX_CORE_TOKEN_H
#define VHDX_CORE_TOKEN_H

#include "coarse.h"

#define VHDX_TOKEN_SLOTS	2U
#define VHDX_TOKEN_WORDS	8U	/* u64 words: a bit for each sector that there can be */

/**
 * struct vhdx_token - one of them
 * @commit:	of the coarse area, counted with its sectors; zero: there was none
 * @sequence:	SequenceNumber that the container's header may have from now on
 * @sectors:	of the coarse area, written with it; bit n is sector n
 */
struct vhdx_token {
	u64 commit;
	u64 sequence;
	u64 sectors[VHDX_TOKEN_WORDS];
};

/**
 * struct vhdx_token_state - what both slots say
 * @sequence:	of the newest token that counts; zero: none does
 * @slot:	where that is: the next one goes to the other
 * @commit:	the largest one of all intact tokens, whether they count or not
 */
struct vhdx_token_state {
	u64 sequence;
	unsigned int slot;
	u64 commit;
};

/**
 * vhdx_token_encode() - make the block of a slot
 * @token:	what it says
 * @block:	4 KiB, filled in
 */
void vhdx_token_encode(const struct vhdx_token *token, void *block);

/**
 * vhdx_token_decode() - read the block of a slot
 * @block:	4 KiB; NULL: they could not be read
 * @token:	filled in, if it is intact
 *
 * Returns whether it is.
 */
bool vhdx_token_decode(const void *block, struct vhdx_token *token);

/**
 * vhdx_token_judge() - which token is the newest one that counts?
 * @slots:	the two blocks; NULL: one that could not be read
 * @geo:	of the coarse area
 * @area:	its blocks; what could not be read of it is zero
 * @state:	filled in
 *
 * A token counts if each sector that it names is at least as new, or is damaged: then it says that
 * all its regions are set, which is more than was written.
 */
void vhdx_token_judge(const void *const slots[VHDX_TOKEN_SLOTS],
		      const struct vhdx_coarse_geometry *geo, const void *area,
		      struct vhdx_token_state *state);

#endif
