/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Block mapping: where in the container the bytes of the disk are. VHDX is one
 * implementation; an identity mapping of a raw device can be another.
 */
#ifndef VHDX_MAPPING_H
#define VHDX_MAPPING_H

#include "core/guid.h"

#include <linux/types.h>

struct vhdx_commit_waiter;
struct vhdx_container;
struct vhdx_freed;
struct vhdx_open_layer;
struct vhdx_page;
struct vhdx_survey;

/**
 * enum vhdx_mapping_kind - where the bytes of an extent are
 * @VHDX_MAPPING_UNKNOWN: not in memory: ->load(), then look again
 * @VHDX_MAPPING_DATA:	in the container
 * @VHDX_MAPPING_ZERO:	nowhere: reads as zeroes, a write allocates
 * @VHDX_MAPPING_PARENT: not in this layer: in the next one, or below it
 * @VHDX_MAPPING_BUSY:	an operation on the block is under way: wait for its end, outside of the
 *			gate
 * @VHDX_MAPPING_BAD:	the mapping is damaged: an I/O error
 */
enum vhdx_mapping_kind {
	VHDX_MAPPING_UNKNOWN,
	VHDX_MAPPING_DATA,
	VHDX_MAPPING_ZERO,
	VHDX_MAPPING_PARENT,
	VHDX_MAPPING_BUSY,
	VHDX_MAPPING_BAD,
};

/**
 * struct vhdx_mapping - some bytes of the disk, as they are mapped
 * @kind:	where they are
 * @durable:	VHDX_MAPPING_DATA: the mapping survives power loss already (rule V4)
 * @absent:	VHDX_MAPPING_PARENT: so is all of the block that the first of them is in
 * @offset:	VHDX_MAPPING_DATA: of the first one in the container
 * @length:	how many, one at least. Of VHDX_MAPPING_DATA it may be several blocks, as far as
 *		these lie side by side, and of VHDX_MAPPING_ZERO and VHDX_MAPPING_PARENT for a
 *		read; of all else no more than one
 */
struct vhdx_mapping {
	enum vhdx_mapping_kind kind;
	bool durable;
	bool absent;
	u64 offset;
	u64 length;
};

/**
 * struct vhdx_pin - what keeps in memory what is mapped at an offset
 * @entry:	the page that names its block
 * @bitmap_entry: the one that names the sector bitmap of the block; or NULL
 * @bitmap:	the one of the sector bitmap; or NULL
 * @freed:	held blocks: for the space that they have; or NULL
 * @whole:	held: once it is written, no sector of the block is the parent's any more
 */
struct vhdx_pin {
	struct vhdx_page *entry;
	struct vhdx_page *bitmap_entry;
	struct vhdx_page *bitmap;
	struct vhdx_freed *freed;
	bool whole;
};

/**
 * struct vhdx_room - where data goes for which the mapping changes
 * @where:	its block in the container
 * @fresh:	was made for it; otherwise there was one that had other sectors
 * @zeroed:	what is not written reads as zeroes, or is not read
 */
struct vhdx_room {
	u64 where;
	bool fresh;
	bool zeroed;
};

/* What is unmapped at once: is marked as changed, and waits for its regions. No block is larger. */
#define VHDX_UNMAP_MAX	(256U << 20)

/**
 * enum vhdx_unmapped - what blocks read as that had something
 * @VHDX_UNMAPPED_DISCARDED: nobody needs what they have
 * @VHDX_UNMAPPED_ZERO:	zeroes, for every program
 */
enum vhdx_unmapped {
	VHDX_UNMAPPED_DISCARDED,
	VHDX_UNMAPPED_ZERO,
};

/*
 * Headers with numbers up to @sequence are about to be written (rule T6). The lock is held that
 * updates of the header take; may sleep, for a bounded time. Returns 0; -ECANCELED: then that
 * update is the first one that does not happen, as after vhdx_mapping_ops.keep(); or -errno: then
 * it is the first one of vhdx_mapping_ops.distrust().
 */
typedef int (*vhdx_announce_fn)(void *context, u64 sequence);

/**
 * struct vhdx_mapping_ops - one way to map
 * @lookup:	what is mapped at an offset, for a read or a @write; of more than @wanted bytes
 *		nothing need be said. In the read side in which the gate was entered. The answer is
 *		true until the gate is left (rule V1)
 * @load:	make the next lookup of this offset answer, from what is read through @container;
 *		sleeps; 0 or -errno
 * @unload:	undoes @load: the answer may go again
 * @survey:	what is mapped at an offset that a @lookup for a read does not know, without making
 *		it known: out of a long read, for those who ask about much. Kind and length only, of
 *		however many blocks, at most as many as hold @wanted bytes; VHDX_MAPPING_UNKNOWN:
 *		@load. What was acknowledged before the call that @survey is for is in it. Sleeps
 * @hold:	@load within an operation on the block (block_op.h), which is busy then, to write
 *		@length bytes. -EAGAIN: after the next commit
 * @release:	undoes @hold
 * @held:	@lookup between @hold and @release: never VHDX_MAPPING_UNKNOWN or VHDX_MAPPING_BUSY
 * @place:	reserve room for an unmapped block, or find the one that has other sectors; and for
 *		all that @publish and the commit after it will write: those must not run out of
 *		space. Sleeps; -EAGAIN: after the next commit
 * @take:	@hold, @held and @place in one, of a block of which all is in memory, and for which
 *		room is ready that reads as zeroes where it has to. Any process context, also inside
 *		the gate; never waits. False: nothing has happened
 * @publish:	@length bytes at @offset are complete in @room: map them. Never fails, since the
 *		block is held. Any context, and so is @release then
 * @abandon:	give the room of @place back; @err says why
 * @whole:	how many of @length bytes from @offset on can be unmapped at once: whole blocks,
 *		counting a last one that the disk ends in; 0: no whole block begins there
 * @hold_blocks: the blocks of @length bytes, in an operation on all of them, are busy from now on,
 *		and what names them is pinned. @taken receives whether any of them has room in the
 *		container: then I/O may be on its way there. Sleeps. 0; -EUCLEAN: nothing may be
 *		unmapped; or -errno
 * @release_blocks: undoes @hold_blocks
 * @unmap:	blocks that are held, and to which no I/O is on its way, have nothing from now on.
 *		Of one whose content was up to the parent, too. Never fails, and never waits. Their
 *		space is other blocks' once that is durable (rule V2)
 * @prepare:	memory for all that is written, and room for what @begin writes, before the first
 *		write of a session (rule K3); once more does no harm. Sleeps; 0, -ENOMEM, -ENOSPC,
 *		or -errno
 * @begin:	say in the container, durably, that it is in use, and that it is @data_write_guid's
 *		from now on. Sleeps. After a failure either may be in it
 * @flush:	waiter->done() once everything that was done so far is durable. Any context
 * @commit:	@flush, and wait for it. Not where the container's own I/O waits for the caller.
 *		Sleeps; 0, or the error after which writes fail
 * @verify:	0, or -EIO: the container is not the one that was attached, or it can't be read.
 *		Sleeps
 * @guid:	the DataWriteGuid that the container has now. Does not wait for one that is being
 *		written. False after @distrust: then no sidecar is to be told that it fits it
 * @distrust:	from now on it never gets one that a sidecar was told: @begin and @close give it
 *		one that says that tracking failed, whatever they are asked for. Sleeps
 * @invalidate:	@distrust, and it gets that one now, durably. Sleeps; 0, or the error after which
 *		writes fail
 * @trust:	the end of @distrust: no sidecar that was told one is used any more. Sleeps
 * @keep:	the header stays as it is: what would write it fails from now on, and so do commits
 *		that would. For good. Sleeps
 * @announce:	have each write of the header announced from now on, and at once the one that it
 *		has; NULL: not any more, and no call is under way. Sleeps; 0, or what was returned
 *		at once
 * @step:	give the header the next number, durably, and announce that in this way instead.
 *		Sleeps; 0; what was returned; -ESTALE after @distrust; or the error after which
 *		writes fail
 * @retire:	give it this one, durably, and leave nothing for the next attach to replay.
 *		Sleeps; 0; -ESTALE after @distrust; or the error after which writes fail
 * @close:	the same at the end of a session, behind @commit and a flush of the container
 * @trim:	behind @close: cut off room that was made ahead
 * @stop:	no commit and no growth begins by itself any more. Sleeps
 */
struct vhdx_mapping_ops {
	void (*lookup)(struct vhdx_open_layer *layer, u64 offset, u64 wanted, bool write,
		       struct vhdx_mapping *extent);
	int (*load)(struct vhdx_open_layer *layer, struct vhdx_container *container, u64 offset,
		    struct vhdx_pin *pin);
	void (*unload)(struct vhdx_open_layer *layer, struct vhdx_pin *pin);
	void (*survey)(struct vhdx_open_layer *layer, struct vhdx_container *container,
		       struct vhdx_survey *survey, u64 offset, u64 wanted,
		       struct vhdx_mapping *extent);
	int (*hold)(struct vhdx_open_layer *layer, u64 offset, u64 length, struct vhdx_pin *pin);
	void (*release)(struct vhdx_open_layer *layer, u64 offset, struct vhdx_pin *pin);
	void (*held)(struct vhdx_open_layer *layer, u64 offset, u64 length, struct vhdx_pin *pin,
		     struct vhdx_mapping *extent);
	int (*place)(struct vhdx_open_layer *layer, u64 offset, struct vhdx_pin *pin,
		     struct vhdx_room *room);
	bool (*take)(struct vhdx_open_layer *layer, u64 offset, u64 length, struct vhdx_pin *pin,
		     struct vhdx_room *room);
	void (*publish)(struct vhdx_open_layer *layer, u64 offset, u64 length,
			const struct vhdx_room *room, struct vhdx_pin *pin);
	void (*abandon)(struct vhdx_open_layer *layer, const struct vhdx_room *room, int err);
	u64 (*whole)(const struct vhdx_open_layer *layer, u64 offset, u64 length);
	int (*hold_blocks)(struct vhdx_open_layer *layer, u64 offset, u64 length,
			   struct vhdx_pin *pin, bool *taken);
	void (*release_blocks)(struct vhdx_open_layer *layer, u64 offset, u64 length,
			       struct vhdx_pin *pin);
	void (*unmap)(struct vhdx_open_layer *layer, u64 offset, u64 length, struct vhdx_pin *pin,
		      enum vhdx_unmapped what);
	int (*prepare)(struct vhdx_open_layer *layer);
	int (*begin)(struct vhdx_open_layer *layer, const vhdx_guid *data_write_guid);
	void (*flush)(struct vhdx_open_layer *layer, struct vhdx_commit_waiter *waiter);
	int (*commit)(struct vhdx_open_layer *layer);
	int (*verify)(struct vhdx_open_layer *layer);
	bool (*guid)(struct vhdx_open_layer *layer, vhdx_guid *data_write_guid);
	void (*distrust)(struct vhdx_open_layer *layer);
	int (*invalidate)(struct vhdx_open_layer *layer);
	void (*trust)(struct vhdx_open_layer *layer);
	void (*keep)(struct vhdx_open_layer *layer);
	int (*announce)(struct vhdx_open_layer *layer, vhdx_announce_fn announce, void *context);
	int (*step)(struct vhdx_open_layer *layer, vhdx_announce_fn announce, void *context);
	int (*retire)(struct vhdx_open_layer *layer, const vhdx_guid *data_write_guid);
	int (*close)(struct vhdx_open_layer *layer, const vhdx_guid *data_write_guid);
	void (*trim)(struct vhdx_open_layer *layer);
	void (*stop)(struct vhdx_open_layer *layer);
};

extern const struct vhdx_mapping_ops vhdx_mapping_bat;

#endif
