/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * From leaves to an answer: the part of GET_VIRTUAL_DISK_CHANGES that knows nothing of
 * disks. Leaves come from a source; ranges or bits are made of them. Used by the driver and
 * by the offline command.
 */
#ifndef VHDX_CORE_ANSWER_H
#define VHDX_CORE_ANSWER_H

#include "core/ranges.h"
#include "leaf_bits.h"
#include "timeline.h"

/**
 * struct vhdx_leaf_source - all deltas of a span, seen as one
 * @find:	the first leaf from @leaf on, and before @end, in which anything may have changed
 *		goes to @end. What is marked in a leaf that was passed over was marked after the
 *		question was asked
 * @lend:	leaves as they are: this one and those behind it, up to @count, as long as there is
 *		no other among them; how many it lent. 0: the first one has to be found and read.
 *		NULL: they all have. Not after @read has begun with it
 * @fill:	of a leaf that was found: all changed in the leaves from there up to the one that
 *		goes to @end, which may be @leaf itself. NULL: that is not known
 * @read:	OR that leaf of every delta into @units. After an error it may be asked for the same
 *		leaf again, with what @units has by then
 *
 * All others return 0; or -errno.
 */
struct vhdx_leaf_source {
	int (*find)(void *context, u32 leaf, u32 *end);
	int (*fill)(void *context, u32 leaf, u32 *end);
	int (*lend)(void *context, u32 leaf, struct vhdx_lent_leaf *lent, u32 count);
	int (*read)(void *context, u32 leaf, struct vhdx_leaf_bits *units);
};

/* Of bits whose granules are several units, so many words are made at a time. */
#define VHDX_ANSWER_WORDS	8192U
/* Of others, so many parts. */
#define VHDX_ANSWER_PARTS	128U
/* So many leaves are borrowed at once, at most. */
#define VHDX_ANSWER_BORROWS	16U

struct vhdx_answer;

/**
 * struct vhdx_answer_form - what is made of leaves
 * @take:	what @units say of [@offset, @to), which lies in one leaf; advances @offset
 * @skip:	nothing changed in [@offset, @to), in however many leaves; likewise
 * @fill:	all of that changed; likewise
 * @can_borrow:	@borrow will do for so many leaves, from the one that @offset lies in, and has room
 *		for them. NULL: for none
 * @borrow:	as @take, but of a leaf that was lent, which goes over to the answer
 *
 * 0: it is full; everything before @offset is told. 1: it is not; or -errno.
 */
struct vhdx_answer_form {
	int (*take)(struct vhdx_answer *answer, u64 to);
	int (*skip)(struct vhdx_answer *answer, u64 to);
	int (*fill)(struct vhdx_answer *answer, u64 to);
	u32 (*can_borrow)(const struct vhdx_answer *answer);
	int (*borrow)(struct vhdx_answer *answer, const struct vhdx_lent_leaf *lent, u64 to);
};

/* Ranges, or their sum. */
extern const struct vhdx_answer_form vhdx_answer_ranges;
/* A bit for each granule, which is a unit. */
extern const struct vhdx_answer_form vhdx_answer_bits;
/* The same where a granule is several units. */
extern const struct vhdx_answer_form vhdx_answer_folded;

/**
 * struct vhdx_bits_part - some words of an answer in bits
 * @page:	they lie in it, as they are in files; shared. NULL: they are zeroes
 * @first:	which word of it is the first one
 * @count:	how many; may be more than that has, if all of it is alike
 */
struct vhdx_bits_part {
	void *page;
	u32 first;
	u32 count;
};

/**
 * struct vhdx_answer - a query under way
 * @form:	what is made
 * @begin:	first byte of the request, or of the part of it that there is room for
 * @offset:	next byte to look at; advances. May be beyond what was looked at, where a granule
 *		is told as a whole
 * @end:	behind the last byte of it (not beyond the disk)
 * @unit_shift:	log2 of the tracking unit
 * @granule_shift: log2 of what is told as a whole; not less than @unit_shift
 * @changed:	of bits that were told: how much they say, in bytes
 * @units:	room for a leaf; NULL: it is made when the first one has to be read. To be freed
 * @lent:	or leaves as they are, @lent_count of them
 * @leaf:	the one that is looked at, and the first of
 * @filled:	all that changed as a whole, up to this one
 * @known:	what is known of it: nothing; that something may have changed in it; that it has to
 *		be read, which may have begun; that all of it changed, and of those up to @filled;
 *		which of its @units; what was @lent
 *
 * @ranges:	ascending, coalesced, clipped to the request; and their sum
 * @bits:	granules of several units: bit i % 64 of word i / 64 is granule i from @begin on,
 *		which is a multiple of 64 granules, as is @end unless the request ends there
 * @parts:	granules of a unit: from @begin on; room for VHDX_ANSWER_PARTS
 * @part_count:	of these
 */
struct vhdx_answer {
	const struct vhdx_answer_form *form;
	u64 begin;
	u64 offset;
	u64 end;
	u32 unit_shift;
	u32 granule_shift;
	u64 changed;
	struct vhdx_leaf_bits *units;
	struct vhdx_lent_leaf lent[VHDX_ANSWER_BORROWS];
	u32 lent_count;
	u32 leaf;
	u32 filled;
	enum {
		VHDX_LEAF_UNKNOWN,
		VHDX_LEAF_FOUND,
		VHDX_LEAF_TO_READ,
		VHDX_LEAF_FILLED,
		VHDX_LEAF_LOADED,
		VHDX_LEAF_LENT,
	} known;

	struct vhdx_ranges ranges;
	u64 *bits;
	struct vhdx_bits_part *parts;
	u32 part_count;
};

/**
 * vhdx_answer_bits_room() - the memory that an answer in bits needs
 * @answer:	of bits; its shifts are set
 *
 * @bits or @parts. 0 or -ENOMEM; vhdx_answer_bits_release() frees it.
 */
int vhdx_answer_bits_room(struct vhdx_answer *answer);

/* Free it, and what is in it. Harmless where there is none. */
void vhdx_answer_bits_release(struct vhdx_answer *answer);

/**
 * vhdx_answer_bits_begin() - the next bits, from @offset on
 * @answer:	of bits, which has room for them
 * @limit:	end of the request
 *
 * @end becomes where they end; they may become full before.
 */
void vhdx_answer_bits_begin(struct vhdx_answer *answer, u64 limit);

/* There is no room for more of them. */
bool vhdx_answer_bits_are_full(const struct vhdx_answer *answer);

/**
 * vhdx_answer_bits_tell() - tell the bits so far
 * @answer:	of bits. Where it did not come to its end, @offset goes back to a whole word
 * @put:	takes the next @count words, of which bit i is bit i % 8 of byte i / 8; NULL: they
 *		are zeroes. 0 or -errno
 * @context:	of it
 *
 * Adds them to @changed. Those from @offset on are the next ones to begin. 0 or what @put returned.
 */
int vhdx_answer_bits_tell(struct vhdx_answer *answer,
			  int (*put)(void *context, const void *words, u32 count), void *context);

/**
 * vhdx_answer_leaf() - consume the next leaf in which anything changed
 * @answer:	begun; full ranges may be taken out of it between two calls
 * @source:	of leaves
 * @context:	of the source
 *
 * Or all leaves from there on that changed as a whole, as far as the source knows at once; or a few
 * that were lent.
 * Advances @offset to the end of that leaf or of the request, or, when the answer is full, to
 * where everything before it is told. A range that goes on in the next leaf is joined with it.
 * Progress is at least one unit (or the rest of the request) whenever there is room on entry.
 * A leaf that was read stays in @units until the answer has left it.
 * Returns 1: go on; 0: done (end reached or full); -errno from the source.
 */
int vhdx_answer_leaf(struct vhdx_answer *answer, const struct vhdx_leaf_source *source,
		     void *context);

#endif
